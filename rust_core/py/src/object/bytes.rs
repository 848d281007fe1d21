//! Dictionaries as the bytes that the store keeps: `{"apiVersion":..,"kind":..,"metadata":{"resourceVersion":"",..},..}`.
//!
//! The fixed beginning is what lets the store put the revision in without reading the object.

use kubecore_object::write::{write_float, write_string};
use pyo3::exceptions::{PyRecursionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Python's own recursion would end long before this.
const DEPTH_MAX: usize = 512;

/// The bytes, and the offset at which the revision's digits belong.
pub fn encode(object: &Bound<'_, PyDict>) -> PyResult<(Vec<u8>, usize)> {
    let mut out = Vec::with_capacity(1024);
    out.push(b'{');
    for name in ["apiVersion", "kind"] {
        if let Some(value) = object.get_item(name)? {
            write_key(name, &mut out);
            write_value(&value, &mut out, 1)?;
            out.push(b',');
        }
    }
    out.extend_from_slice(br#""metadata":{"resourceVersion":""#);
    let splice = out.len();
    out.push(b'"');
    if let Some(metadata) = object.get_item("metadata")?
        && !metadata.is_none()
    {
        write_entries(
            metadata.cast::<PyDict>()?,
            &["resourceVersion"],
            false,
            &mut out,
            2,
        )?;
    }
    out.push(b'}');
    write_entries(
        object,
        &["apiVersion", "kind", "metadata"],
        false,
        &mut out,
        1,
    )?;
    out.push(b'}');
    Ok((out, splice))
}

fn write_key(name: &str, out: &mut Vec<u8>) {
    write_string(name, out);
    out.push(b':');
}

/// A dictionary's entries without its braces. `first`: no comma stands before them.
fn write_entries(
    dict: &Bound<'_, PyDict>,
    without: &[&str],
    mut first: bool,
    out: &mut Vec<u8>,
    depth: usize,
) -> PyResult<()> {
    if depth > DEPTH_MAX {
        return Err(PyRecursionError::new_err("the object is nested too deeply"));
    }
    for (key, value) in dict.iter() {
        let key = key
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err("an object's keys are strings"))?;
        let name = key.to_cow()?;
        if without.contains(&name.as_ref()) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        write_key(&name, out);
        write_value(&value, out, depth + 1)?;
    }
    Ok(())
}

fn write_value(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    if let Ok(text) = value.cast::<PyString>() {
        write_string(&text.to_cow()?, out);
    } else if let Ok(dict) = value.cast::<PyDict>() {
        out.push(b'{');
        write_entries(dict, &[], true, out, depth)?;
        out.push(b'}');
    } else if let Ok(list) = value.cast::<PyList>() {
        write_items(list.iter(), out, depth)?;
    } else if let Ok(truth) = value.cast::<PyBool>() {
        out.extend_from_slice(if truth.is_true() { b"true" } else { b"false" });
    } else if let Ok(number) = value.cast::<PyInt>() {
        out.extend_from_slice(number.str()?.to_cow()?.as_bytes());
    } else if value.is_none() {
        out.extend_from_slice(b"null");
    } else if let Ok(number) = value.cast::<PyFloat>() {
        if !number.value().is_finite() {
            return Err(PyValueError::new_err("JSON has no such number"));
        }
        write_float(number.value(), out);
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        write_items(tuple.iter(), out, depth)?;
    } else {
        return Err(PyTypeError::new_err(format!(
            "JSON has no {}",
            value.get_type().name()?
        )));
    }
    Ok(())
}

fn write_items<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    out: &mut Vec<u8>,
    depth: usize,
) -> PyResult<()> {
    if depth > DEPTH_MAX {
        return Err(PyRecursionError::new_err("the object is nested too deeply"));
    }
    out.push(b'[');
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_value(&item, out, depth + 1)?;
    }
    out.push(b']');
    Ok(())
}
