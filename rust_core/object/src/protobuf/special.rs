//! Messages of the types that write themselves in JSON: quantities, times, int-or-string, embedded JSON.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::message::structure;
use super::wire::{Reader, WireError};
use crate::decode::untyped;
use crate::facts::{DefinitionId, Scalar, facts};
use crate::quantity;
use crate::time::{Precision, spell};
use crate::tree::Node;

type Result<T> = std::result::Result<T, WireError>;

/// The message of one such type; `number` is the field it stands in.
pub(super) fn message<'a>(
    scalar: Scalar,
    id: DefinitionId,
    message: &'a [u8],
    number: u32,
    depth: usize,
) -> Result<Node<'a>> {
    match scalar {
        Scalar::Quantity => quantity_of(message),
        Scalar::Time => time_of(message, Precision::Seconds),
        Scalar::MicroTime => time_of(message, Precision::Micros),
        Scalar::IntOrString => int_or_string(message),
        Scalar::Duration => Ok(Node::String(Cow::Owned(duration(first_number(message)?)))),
        _ => match facts().definition(id).short_name() {
            "JSONSchemaPropsOrBool" => schema_or_bool(message, depth),
            "JSONSchemaPropsOrArray" => schema_or_list(message, depth, false),
            "JSONSchemaPropsOrStringArray" => schema_or_list(message, depth, true),
            _ => raw_json(message, number),
        },
    }
}

pub(super) fn base64(bytes: &[u8]) -> Node<'static> {
    Node::String(Cow::Owned(STANDARD.encode(bytes)))
}

/// As JSON has it: without a fraction it is an integer.
pub(super) fn float(value: f64) -> Node<'static> {
    let whole = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
    if whole {
        Node::Integer(value as i64)
    } else {
        Node::Float(value)
    }
}

fn quantity_of(message: &[u8]) -> Result<Node<'_>> {
    let mut text = "0";
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag.number {
            1 => text = reader.text(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    quantity::canonical(Cow::Borrowed(text))
        .map(Node::String)
        .map_err(WireError::Quantity)
}

/// Seconds and nanoseconds; no bytes at all is the zero time, which JSON writes as null.
fn time_of(message: &[u8], precision: Precision) -> Result<Node<'static>> {
    if message.is_empty() {
        return Ok(Node::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag.number {
            1 => seconds = reader.varint(tag)?,
            2 => nanos = reader.varint(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    // Go's years end at 9999 in JSON.
    const SECONDS_MAX: i64 = 253_402_300_799;
    let seconds = seconds.clamp(-SECONDS_MAX, SECONDS_MAX);
    Ok(Node::String(Cow::Owned(spell(
        seconds,
        nanos.clamp(0, 999_999_999) as u32,
        precision,
    ))))
}

fn int_or_string(message: &[u8]) -> Result<Node<'_>> {
    let (mut is_string, mut number, mut text) = (false, 0, "");
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag.number {
            1 => is_string = reader.varint(tag)? == 1,
            2 => number = i64::from(reader.varint(tag)? as i32),
            3 => text = reader.text(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(if is_string {
        Node::String(Cow::Borrowed(text))
    } else {
        Node::Integer(number)
    })
}

fn first_number(message: &[u8]) -> Result<i64> {
    let mut number = 0;
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag.number {
            1 => number = reader.varint(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(number)
}

/// Nanoseconds as Go writes a duration: `1h0m0s`, `1.5s`, `20ms`.
fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let decimal = |value: u64, unit: u64| {
        let fraction = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        match fraction.is_empty() || unit == 1 {
            true => (value / unit).to_string(),
            false => format!("{}.{fraction}", value / unit),
        }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// JSON text in field 1.
fn raw_json(message: &[u8], number: u32) -> Result<Node<'_>> {
    let mut text: &[u8] = b"";
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag.number {
            1 => text = reader.bytes(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    if text.is_empty() {
        return Ok(Node::Null);
    }
    untyped(text).map_err(|_| WireError::Json(number))
}

fn schema(message: &[u8], depth: usize) -> Result<Node<'_>> {
    let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    match facts().by_name(name) {
        Some(id) => structure(id, message, depth + 1),
        None => Ok(Node::Null),
    }
}

/// A schema in field 2, or whether anything is allowed in field 1.
fn schema_or_bool(message: &[u8], depth: usize) -> Result<Node<'_>> {
    let (mut allows, mut found) = (false, None);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag.number {
            1 => allows = reader.varint(tag)? != 0,
            2 => found = Some(schema(reader.bytes(tag)?, depth)?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(found.unwrap_or(Node::Bool(allows)))
}

/// A schema in field 1, or a list of schemas or strings in field 2.
fn schema_or_list(message: &[u8], depth: usize, strings: bool) -> Result<Node<'_>> {
    let (mut items, mut found) = (Vec::new(), None);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match (tag.number, strings) {
            (1, _) => found = Some(schema(reader.bytes(tag)?, depth)?),
            (2, true) => items.push(Node::String(Cow::Borrowed(reader.text(tag)?))),
            (2, false) => items.push(schema(reader.bytes(tag)?, depth)?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(found.unwrap_or(Node::List(items)))
}
