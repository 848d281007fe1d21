//! Adapter over kubecore-object: decoded trees become dictionaries, dictionaries become bytes.

mod bytes;
mod dict;

use kubecore_object::decode::{self as object_decode, DecodeError as ObjectError};
use kubecore_object::default as object_default;
use kubecore_object::facts::{Gvk, facts};
use kubecore_object::protobuf;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

create_exception!(
    kubecore._core,
    DecodeError,
    PyException,
    "The body is not an object of that kind."
);

/// An object of a known kind.
#[pyclass(module = "kubecore._core", frozen)]
pub(crate) struct Decoded {
    /// Pruned, and defaulted if asked.
    #[pyo3(get)]
    object: Py<PyAny>,
    /// What fieldValidation judges.
    #[pyo3(get)]
    pub(crate) strict_errors: Vec<String>,
}

/// The fact table's resources as JSON.
#[pyfunction]
fn resources(py: Python<'_>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, facts().resources_json().as_bytes())
}

fn raise(error: ObjectError) -> PyErr {
    DecodeError::new_err(error.to_string())
}

/// JSON or protobuf to a dict.
#[pyfunction]
#[pyo3(signature = (group, version, kind, body, *, media_type = "application/json", defaults = true))]
pub(crate) fn decode(
    py: Python<'_>,
    group: &str,
    version: &str,
    kind: &str,
    body: &[u8],
    media_type: &str,
    defaults: bool,
) -> PyResult<Decoded> {
    let expected = Gvk::new(group, version, kind);
    let is_protobuf = media_type.starts_with("application/vnd.kubernetes.protobuf");
    let decode = if is_protobuf {
        protobuf::decode
    } else {
        object_decode::decode
    };
    let mut decoded = decode(expected, body).map_err(raise)?;
    if defaults {
        object_default::apply(&mut decoded.object);
    }
    let object = dict::from_node(py, &decoded.object)?.unbind();
    Ok(Decoded {
        object,
        strict_errors: decoded.strict_errors,
    })
}

/// The object with its kind's defaults, canonical; the one given is not changed.
#[pyfunction]
fn default<'py>(
    py: Python<'py>,
    group: &str,
    version: &str,
    kind: &str,
    object: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let (body, _) = bytes::encode(object)?;
    let mut decoded =
        object_decode::decode(Gvk::new(group, version, kind), &body).map_err(raise)?;
    object_default::apply(&mut decoded.object);
    dict::from_node(py, &decoded.object)
}

/// apiVersion, kind and an empty metadata.resourceVersion first; gives the bytes and where the revision's digits go.
#[pyfunction]
fn encode<'py>(
    py: Python<'py>,
    object: &Bound<'py, PyDict>,
) -> PyResult<(Bound<'py, PyBytes>, usize)> {
    let (bytes, splice) = bytes::encode(object)?;
    Ok((PyBytes::new(py, &bytes), splice))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("DecodeError", module.py().get_type::<DecodeError>())?;
    module.add_class::<Decoded>()?;
    module.add_function(wrap_pyfunction!(resources, module)?)?;
    module.add_function(wrap_pyfunction!(decode, module)?)?;
    module.add_function(wrap_pyfunction!(default, module)?)?;
    module.add_function(wrap_pyfunction!(encode, module)?)
}
