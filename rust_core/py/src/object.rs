//! Adapter over kubecore-object.

use kubecore_object::facts::facts;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The fact table's resources as JSON.
#[pyfunction]
fn resources(py: Python<'_>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, facts().resources_json().as_bytes())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(resources, module)?)
}
