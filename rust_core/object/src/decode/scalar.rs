//! Values with a form of their own: quantities, times, base64, numbers. Errors are the messages of the Go types.

use std::borrow::Cow;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine};

use super::token_name;
use crate::facts::Scalar;
use crate::tree::Node;
use crate::{quantity, time};

/// A JSON string as one of the types that read their own JSON.
pub(super) fn from_text<'a>(scalar: Scalar, text: Cow<'a, str>) -> Result<Node<'a>, String> {
    Ok(Node::String(match scalar {
        Scalar::Quantity => quantity::canonical(text).map_err(|error| error.to_string())?,
        Scalar::Time => match text.is_empty() {
            true => return Err(time::empty_error(time::Precision::Seconds)),
            false => time::canonical(text, time::Precision::Seconds)?,
        },
        Scalar::MicroTime => time::canonical(text, time::Precision::Micros)?,
        _ => text,
    }))
}

/// Why a JSON value that is no string is not one of those types.
pub(super) enum OtherError {
    Message(String),
    /// What was found, and the Go type that it is not.
    Type {
        found: String,
        kind: &'static str,
    },
}

/// Any other JSON value, null aside, as one of those types. `token` is its first byte.
pub(super) fn from_other<'a>(
    scalar: Scalar,
    token: u8,
    text: &'a str,
) -> Result<Node<'a>, OtherError> {
    let found = token_name(token);
    match scalar {
        Scalar::Quantity => {
            let spelled = quantity::canonical(Cow::Borrowed(text));
            spelled
                .map(Node::String)
                .map_err(|error| OtherError::Message(error.to_string()))
        }
        Scalar::IntOrString => number(Scalar::Int32, text).ok_or_else(|| OtherError::Type {
            found: if found == "number" {
                format!("number {text}")
            } else {
                found.to_owned()
            },
            kind: "int32",
        }),
        _ => Err(OtherError::Type {
            found: found.to_owned(),
            kind: "string",
        }),
    }
}

/// A JSON number's text as a number of that width; None if it does not fit.
pub(super) fn number(scalar: Scalar, text: &str) -> Option<Node<'static>> {
    match scalar {
        Scalar::Int32 => text
            .parse::<i32>()
            .ok()
            .map(|value| Node::Integer(value.into())),
        Scalar::Uint16 => text
            .parse::<u16>()
            .ok()
            .map(|value| Node::Integer(value.into())),
        Scalar::Int64 => text.parse().ok().map(Node::Integer),
        _ => {
            let value: f64 = text.parse().ok()?;
            if !value.is_finite() {
                return None;
            }
            // Go writes a float without a fraction as an integer; beyond 2^53 it would need an exponent.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            let whole = value.fract() == 0.0 && value.abs() < EXACT;
            Some(if whole {
                Node::Integer(value as i64)
            } else {
                Node::Float(value)
            })
        }
    }
}

/// Base64 text, checked, without the line breaks that Go skips.
pub(super) fn bytes(text: Cow<'_, str>) -> Result<Node<'_>, String> {
    let is_break = |byte: u8| byte == b'\r' || byte == b'\n';
    let text = match text.bytes().any(is_break) {
        true => Cow::Owned(text.replace(['\r', '\n'], "")),
        false => text,
    };
    let at = match STANDARD.decode(text.as_bytes()) {
        Ok(_) => return Ok(Node::String(text)),
        Err(DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _)) => at,
        Err(DecodeError::InvalidLength(_) | DecodeError::InvalidPadding) => text.len() / 4 * 4,
    };
    Err(format!("illegal base64 data at input byte {at}"))
}
