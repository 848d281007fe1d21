//! Trees as Python dictionaries. Field names are made once and shared: every pod's "spec" is one string with one hash.

use kubecore_object::facts::facts;
use kubecore_object::tree::Node;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};

/// The field names of every definition, by place.
static NAMES: PyOnceLock<Vec<Vec<Py<PyString>>>> = PyOnceLock::new();

fn names(py: Python<'_>) -> &'static [Vec<Py<PyString>>] {
    NAMES.get_or_init(py, || {
        let definitions = facts().definitions.iter();
        definitions
            .map(|definition| {
                definition
                    .fields
                    .iter()
                    .map(|field| PyString::intern(py, field.name).unbind())
                    .collect()
            })
            .collect()
    })
}

/// The value as Python's `json` would give it.
pub fn from_node<'py>(py: Python<'py>, node: &Node<'_>) -> PyResult<Bound<'py, PyAny>> {
    convert(py, names(py), node)
}

fn convert<'py>(
    py: Python<'py>,
    names: &[Vec<Py<PyString>>],
    node: &Node<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(match node {
        Node::Null => py.None().into_bound(py),
        Node::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Node::Integer(value) => PyInt::new(py, *value).into_any(),
        Node::Float(value) => PyFloat::new(py, *value).into_any(),
        Node::String(text) => PyString::new(py, text).into_any(),
        Node::List(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(convert(py, names, item)?)?;
            }
            list.into_any()
        }
        Node::Map(entries) => {
            let dict = PyDict::new(py);
            for (key, value) in entries {
                dict.set_item(PyString::new(py, key), convert(py, names, value)?)?;
            }
            dict.into_any()
        }
        Node::Struct(value) => {
            let dict = PyDict::new(py);
            let names_here = &names[value.definition.index()];
            for (place, node) in &value.fields {
                dict.set_item(
                    names_here[usize::from(*place)].bind(py),
                    convert(py, names, node)?,
                )?;
            }
            dict.into_any()
        }
    })
}
