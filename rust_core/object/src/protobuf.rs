//! Protobuf bodies into objects, by the fact table's field numbers.
//!
//! A body is `k8s\0` and a `runtime.Unknown`, whose `raw` is the message of the kind its type meta names. The tree that comes out
//! is the one that the same object's JSON would give. Fields that the table does not know are passed over, as Go does.
//! Source: k8s.io/apimachinery/pkg/runtime/generated.proto, https://protobuf.dev/programming-guides/encoding/.

use crate::decode::{
    DecodeError, Decoded, check_kind, not_registered, set_type_meta, static_kind, summary,
};
use crate::facts::{Gvk, facts};

mod message;
mod numbers;
mod special;
mod wire;

use wire::{Reader, WireError};

const PREFIX: &[u8] = b"k8s\0";

/// What `runtime.Unknown` says.
#[derive(Default)]
struct Unknown<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
}

/// Decodes a protobuf body. An empty `expected.kind` takes the kind from the body.
pub fn decode<'a>(expected: Gvk<'_>, body: &'a [u8]) -> Result<Decoded<'a>, DecodeError> {
    let unrecognized = |reason: String| DecodeError::Unrecognized {
        expected: expected.kind.to_owned(),
        reason,
        summary: summary(body),
    };
    let message = body.strip_prefix(PREFIX).ok_or_else(|| {
        let reason = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
        unrecognized(reason.to_owned())
    })?;
    let unknown = read_unknown(message).map_err(|error| unrecognized(error.to_string()))?;
    let (group, version) = match unknown.api_version {
        "" => (expected.group, expected.version),
        text => text.rsplit_once('/').unwrap_or(("", text)),
    };
    let kind = Gvk::new(
        group,
        version,
        if unknown.kind.is_empty() {
            expected.kind
        } else {
            unknown.kind
        },
    );
    if kind.kind.is_empty() || version.is_empty() {
        let field = if kind.kind.is_empty() {
            "Kind"
        } else {
            "apiVersion"
        };
        return Err(unrecognized(format!(
            "Object '{field}' is missing in protobuf message"
        )));
    }
    check_kind(kind, expected)?;
    let id = facts()
        .by_kind(group, version, kind.kind)
        .ok_or_else(|| not_registered(kind, expected))?;
    let mut object = message::decode(id, unknown.raw).map_err(|error| DecodeError::Unusable {
        kind: kind.kind.to_owned(),
        version: version.to_owned(),
        expected: if expected.kind.is_empty() {
            kind.kind
        } else {
            expected.kind
        }
        .to_owned(),
        reason: error.to_string(),
    })?;
    let kind = static_kind(kind);
    set_type_meta(&mut object, kind);
    Ok(Decoded {
        object,
        kind,
        strict_errors: Vec::new(),
    })
}

fn read_unknown(message: &[u8]) -> Result<Unknown<'_>, WireError> {
    let mut unknown = Unknown::default();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag.number {
            1 => {
                let mut meta = Reader::new(reader.bytes(tag)?);
                while let Some(tag) = meta.tag()? {
                    match tag.number {
                        1 => unknown.api_version = meta.text(tag)?,
                        2 => unknown.kind = meta.text(tag)?,
                        _ => meta.skip(tag)?,
                    }
                }
            }
            2 => unknown.raw = reader.bytes(tag)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(unknown)
}
