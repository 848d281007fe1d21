//! Adapter over what kubecore-object makes of encoded objects: patches, tables, partial metadata, other versions, selectors, OpenAPI.

use std::collections::HashMap;

use kubecore_object::convert as object_convert;
use kubecore_object::facts::facts;
use kubecore_object::field_selector::FieldSelector;
use kubecore_object::openapi;
use kubecore_object::partial;
use kubecore_object::patch::{self as object_patch, PatchError, PatchType};
use kubecore_object::selector::Selector;
use kubecore_object::table::{self as object_table, IncludeObject, ListMetadata, TableRequest};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::object::{self, DecodeError, Decoded};

create_exception!(
    kubecore._core,
    PatchConflict,
    PyException,
    "The patch does not fit the object: a test failed, or a path is missing."
);
create_exception!(
    kubecore._core,
    PatchTooLarge,
    PyException,
    "The patch has more operations, or copies more, than a patch may."
);

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

/// Applies a patch to an encoded object, then prunes and defaults.
#[pyfunction]
#[pyo3(signature = (group, version, kind, current, body, *, patch_type, defaults = true))]
#[expect(clippy::too_many_arguments, reason = "keywords in Python")]
fn patch(
    py: Python<'_>,
    group: &str,
    version: &str,
    kind: &str,
    current: &[u8],
    body: &[u8],
    patch_type: &str,
    defaults: bool,
) -> PyResult<Decoded> {
    let patch_type = match patch_type {
        "json" => PatchType::Json,
        "merge" => PatchType::Merge,
        "strategic" => PatchType::Strategic,
        other => {
            return Err(PyValueError::new_err(format!(
                "patch_type cannot be {other:?}"
            )));
        }
    };
    let definition = facts().by_kind(group, version, kind);
    let patched =
        object_patch::apply(patch_type, definition, current, body).map_err(
            |error| match error {
                PatchError::Malformed(message) => DecodeError::new_err(message),
                PatchError::DoesNotApply(message) => PatchConflict::new_err(message),
                PatchError::TooLarge(message) => PatchTooLarge::new_err(message),
                PatchError::Unreadable(message) => PyValueError::new_err(message),
            },
        )?;
    let mut decoded = object::decode(
        py,
        group,
        version,
        kind,
        &patched.object,
        "application/json",
        defaults,
    )?;
    decoded.strict_errors.splice(0..0, patched.strict_errors);
    Ok(decoded)
}

/// `/openapi/v2` as JSON.
#[pyfunction]
fn openapi_v2(py: Python<'_>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, openapi::v2())
}

/// `/openapi/v2` as protobuf.
#[pyfunction]
fn openapi_v2_protobuf(py: Python<'_>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, openapi::v2_protobuf())
}

/// The document of a group version. Raises KeyError if it is not served.
#[pyfunction]
fn openapi_v3<'py>(py: Python<'py>, group: &str, version: &str) -> PyResult<Bound<'py, PyBytes>> {
    let document = openapi::v3(group, version);
    document
        .map(|bytes| PyBytes::new(py, bytes))
        .ok_or_else(|| PyKeyError::new_err(format!("{group}/{version}")))
}

/// The documents of v3: path and hash.
#[pyfunction]
fn openapi_v3_paths() -> Vec<(String, String)> {
    openapi::v3_paths()
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("PatchConflict", module.py().get_type::<PatchConflict>())?;
    module.add("PatchTooLarge", module.py().get_type::<PatchTooLarge>())?;
    module.add_function(wrap_pyfunction!(convert, module)?)?;
    module.add_function(wrap_pyfunction!(table, module)?)?;
    module.add_function(wrap_pyfunction!(patch, module)?)?;
    module.add_function(wrap_pyfunction!(openapi_v2, module)?)?;
    module.add_function(wrap_pyfunction!(openapi_v2_protobuf, module)?)?;
    module.add_function(wrap_pyfunction!(openapi_v3, module)?)?;
    module.add_function(wrap_pyfunction!(openapi_v3_paths, module)?)?;
    module.add_function(wrap_pyfunction!(partial_metadata, module)?)?;
    module.add_function(wrap_pyfunction!(label_selector_matches, module)?)?;
    module.add_function(wrap_pyfunction!(validate_label_selector, module)?)?;
    module.add_function(wrap_pyfunction!(field_selector_supported, module)?)
}
