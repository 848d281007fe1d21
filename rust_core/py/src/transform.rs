//! Adapter over what kubecore-object makes of encoded objects: tables, partial metadata, other versions, selectors.

use std::collections::HashMap;

use kubecore_object::convert as object_convert;
use kubecore_object::field_selector::FieldSelector;
use kubecore_object::partial;
use kubecore_object::selector::Selector;
use kubecore_object::table::{self as object_table, IncludeObject, ListMetadata, TableRequest};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

fn raise(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A stored object in another version of its kind.
#[pyfunction]
fn convert<'py>(
    py: Python<'py>,
    value: &[u8],
    group: &str,
    version: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let converted = object_convert::convert(value, group, version).map_err(raise)?;
    Ok(PyBytes::new(py, &converted))
}

/// A Table of encoded objects.
#[pyfunction]
#[pyo3(signature = (
    group, version, resource, values, *, now_seconds, include_object = "Metadata", table_version = "v1",
    resource_version = "", continue_token = "", remaining = None,
))]
#[expect(clippy::too_many_arguments, reason = "keywords in Python")]
fn table<'py>(
    py: Python<'py>,
    group: &str,
    version: &str,
    resource: &str,
    values: Vec<Bound<'py, PyBytes>>,
    now_seconds: f64,
    include_object: &str,
    table_version: &str,
    resource_version: &str,
    continue_token: &str,
    remaining: Option<u64>,
) -> PyResult<Bound<'py, PyBytes>> {
    let include_object = match include_object {
        "None" => IncludeObject::None,
        "Metadata" => IncludeObject::Metadata,
        "Object" => IncludeObject::Object,
        other => {
            return Err(PyValueError::new_err(format!(
                "include_object cannot be {other:?}"
            )));
        }
    };
    let request = TableRequest {
        group,
        version,
        resource,
        table_version,
        include_object,
        now_seconds,
        column_definitions: true,
        metadata: ListMetadata {
            resource_version: resource_version.to_owned(),
            continue_token: continue_token.to_owned(),
            remaining,
        },
    };
    let encoded = object_table::table(&request, values.iter().map(|value| value.as_bytes()))
        .map_err(raise)?;
    Ok(PyBytes::new(py, &encoded))
}

/// An object's metadata alone.
#[pyfunction]
#[pyo3(signature = (value, *, version = "v1"))]
fn partial_metadata<'py>(py: Python<'py>, value: &[u8], version: &str) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &partial::partial_metadata(value, version))
}

/// Whether labels match a selector. Raises ValueError with upstream's message if the selector is malformed.
#[pyfunction]
fn label_selector_matches(selector: &str, labels: HashMap<String, String>) -> PyResult<bool> {
    let selector = Selector::parse(selector).map_err(raise)?;
    Ok(selector.matches_labels(|key| labels.get(key).map(String::as_str)))
}

/// Raises ValueError with upstream's message if the selector is malformed.
#[pyfunction]
fn validate_label_selector(selector: &str) -> PyResult<()> {
    Selector::parse(selector).map(drop).map_err(raise)
}

/// None if the resource offers the fields, else upstream's message.
#[pyfunction]
fn field_selector_supported(
    group: &str,
    version: &str,
    resource: &str,
    selector: &str,
) -> Option<String> {
    FieldSelector::parse(group, version, resource, selector)
        .err()
        .map(|error| error.to_string())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(convert, module)?)?;
    module.add_function(wrap_pyfunction!(table, module)?)?;
    module.add_function(wrap_pyfunction!(partial_metadata, module)?)?;
    module.add_function(wrap_pyfunction!(label_selector_matches, module)?)?;
    module.add_function(wrap_pyfunction!(validate_label_selector, module)?)?;
    module.add_function(wrap_pyfunction!(field_selector_supported, module)?)
}
