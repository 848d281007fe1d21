//! Patches: JSON patch, JSON merge patch and strategic merge patch.
//!
//! In: an encoded object, the patch's bytes and, for strategic merge, the object's definition. Out: the patched object, not yet pruned
//! or defaulted: the caller decodes it as it would a new body.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::decode;
use crate::facts::DefinitionId;
use crate::scan;

mod json;
mod merge;
mod strategic;
mod strategic_list;

/// What kind of patch a body is, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json`, RFC 6902.
    Json,
    /// `application/merge-patch+json`, RFC 7386.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

/// Why a patch is refused, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch is malformed: 400 BadRequest.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object, a failed test included: 422 Invalid.
    #[error("{0}")]
    DoesNotApply(String),
    /// More operations or more copied bytes than a patch may have: 413 RequestEntityTooLarge.
    #[error("{0}")]
    TooLarge(String),
    /// What is to be patched is no JSON: what was stored is damaged.
    #[error("{0}")]
    Unreadable(String),
}

/// What a patch made.
#[derive(Clone, Debug, PartialEq)]
pub struct Patched {
    /// Encoded.
    pub object: Vec<u8>,
    /// What is odd about the patch itself; fieldValidation judges it.
    pub strict_errors: Vec<String>,
}

/// Applies a patch. Without a definition a strategic merge patch merges maps and replaces lists.
pub fn apply(
    patch_type: PatchType,
    definition: Option<DefinitionId>,
    current: &[u8],
    body: &[u8],
) -> Result<Patched, PatchError> {
    let object = match patch_type {
        PatchType::Json => encoded(&json::apply(parsed(current)?, body)?),
        PatchType::Merge => merge::apply(current, body)?,
        PatchType::Strategic => encoded(&strategic::apply(parsed(current)?, body, definition)?),
    };
    let prefix = if patch_type == PatchType::Json {
        "json patch "
    } else {
        ""
    };
    let mut found = Vec::new();
    // The body was parsed above, so its depth is bounded by the parser.
    duplicate_fields(body, &mut String::new(), &mut found);
    if patch_type == PatchType::Json {
        unknown_operation_fields(body, &mut found);
    }
    let strict_errors = found
        .into_iter()
        .map(|error| format!("{prefix}{error}"))
        .collect();
    Ok(Patched {
        object,
        strict_errors,
    })
}

fn parsed(current: &[u8]) -> Result<Value, PatchError> {
    serde_json::from_slice(current).map_err(|error| PatchError::Unreadable(error.to_string()))
}

/// A value as compact JSON. Its keys are strings, so nothing about it cannot be written.
fn encoded(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Reads a body as JSON; errors in the words of Go's decoder.
fn parse(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|error| {
        decode::untyped(body)
            .err()
            .map_or(error.to_string(), |error| error.to_string())
    })
}

/// Go's error for a value of one type where another was wanted.
fn wrong_type(found: &Value, wanted: &str) -> String {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into Go value of type {wanted}")
}

/// What a patch that is a map is to Go.
const MAP: &str = "map[string]interface {}";

fn undecodable<T>(error: &str) -> Result<T, PatchError> {
    Err(PatchError::Malformed(format!(
        "error decoding patch: {error}"
    )))
}

/// `duplicate field "spec.x"` for every member that an object has twice.
fn duplicate_fields(raw: &[u8], path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    let mut seen = BTreeSet::new();
    for (key, value) in scan::members(raw) {
        let name = scan::key_text(key).unwrap_or_default();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&name);
        duplicate_fields(value, path, found);
        if !seen.insert(name) {
            found.push(format!("duplicate field {path:?}"));
        }
        path.truncate(length);
    }
    for (index, value) in scan::elements(raw).enumerate() {
        path.push_str(&format!("[{index}]"));
        duplicate_fields(value, path, found);
        path.truncate(length);
    }
}

fn unknown_operation_fields(body: &[u8], found: &mut Vec<String>) {
    for (index, operation) in scan::elements(body).enumerate() {
        for (key, _) in scan::members(operation) {
            let name = scan::key_text(key).unwrap_or_default();
            if !["op", "path", "from", "value"].contains(&&*name) {
                found.push(format!("unknown field \"[{index}].{name}\""));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_given_twice_is_told_with_its_path() {
        let body = br#"{"spec":{"a":1,"list":[{"b":1,"b":2}],"a":2}}"#;
        let patched = apply(PatchType::Merge, None, b"{}", body).unwrap();
        assert_eq!(
            patched.strict_errors,
            [
                r#"duplicate field "spec.list[0].b""#,
                r#"duplicate field "spec.a""#
            ]
        );
    }

    #[test]
    fn a_body_that_is_no_patch_is_told_in_the_words_of_gos_decoder() {
        let message = |patch_type, body: &str| {
            apply(patch_type, None, b"{}", body.as_bytes())
                .unwrap_err()
                .to_string()
        };
        for (patch_type, body, expected) in [
            (
                PatchType::Json,
                "{}",
                "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
            ),
            (
                PatchType::Json,
                "[1]",
                "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp",
            ),
            (
                PatchType::Merge,
                "[]",
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
            (
                PatchType::Merge,
                "{",
                "error decoding patch: unexpected end of JSON input",
            ),
            (
                PatchType::Strategic,
                "\"a\"",
                "json: cannot unmarshal string into Go value of type map[string]interface {}",
            ),
            (
                PatchType::Strategic,
                "{a}",
                "invalid character 'a' looking for beginning of object key string",
            ),
        ] {
            assert_eq!(message(patch_type, body), expected);
        }
    }

    #[test]
    fn an_operation_may_have_only_its_four_fields() {
        let body = br#"[{"op":"add","path":"/a","value":{"x":1},"force":true}]"#;
        let patched = apply(PatchType::Json, None, b"{}", body).unwrap();
        assert_eq!(
            patched.strict_errors,
            [r#"json patch unknown field "[0].force""#]
        );
    }
}
