//! A tree as JSON bytes.

use crate::facts::facts;
use crate::tree::Node;

/// Appends the value as compact JSON.
pub fn write_json(node: &Node<'_>, out: &mut Vec<u8>) {
    match node {
        Node::Null => out.extend_from_slice(b"null"),
        Node::Bool(true) => out.extend_from_slice(b"true"),
        Node::Bool(false) => out.extend_from_slice(b"false"),
        Node::Integer(value) => write_display(value, out),
        Node::Float(value) => write_float(*value, out),
        Node::String(text) => write_string(text, out),
        Node::List(items) => write_sequence(b'[', b']', items.iter(), out, write_json),
        Node::Map(entries) => {
            write_sequence(b'{', b'}', entries.iter(), out, |(key, value), out| {
                write_string(key, out);
                out.push(b':');
                write_json(value, out);
            })
        }
        Node::Struct(value) => {
            let fields = &facts().definition(value.definition).fields;
            write_sequence(
                b'{',
                b'}',
                value.fields.iter(),
                out,
                |(place, node), out| {
                    out.push(b'"');
                    out.extend_from_slice(fields[usize::from(*place)].name.as_bytes());
                    out.extend_from_slice(b"\":");
                    write_json(node, out);
                },
            );
        }
    }
}

fn write_sequence<T>(
    open: u8,
    close: u8,
    items: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    write: impl Fn(T, &mut Vec<u8>),
) {
    out.push(open);
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

fn write_display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = write!(out, "{value}");
}

/// A float as JSON; what JSON has no number for becomes null.
pub fn write_float(value: f64, out: &mut Vec<u8>) {
    match serde_json::Number::from_f64(value) {
        Some(number) => write_display(number, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// A string with JSON's quotes and escapes.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        start = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}
