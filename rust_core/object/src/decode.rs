//! Bodies into objects: JSON bytes in, a pruned and canonical tree out, with upstream's words for what is wrong.
//!
//! Pruned: fields that the kind does not have are left out, and named in `strict_errors`. Canonical: what Go's decoder and
//! encoder would make of it. Null is absence; empty values go where Go omits them and stay where Go writes them; quantities,
//! times and typed maps have one form. Two refusals have bounds: nesting (`DEPTH_MAX`) and strict errors (`STRICT_ERRORS_MAX`).
//! How long a body may be is its reader's business.

use std::borrow::Cow;

use crate::facts::{Gvk, api_version, facts};
use crate::reader::{Reader, SyntaxError};
use crate::tree::Node;

mod path;
mod scalar;
mod typed;
mod untyped;

pub use untyped::untyped;

/// As upstream: more mistakes than this are not listed.
pub const STRICT_ERRORS_MAX: usize = 100;
const SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";

/// Why a body is no object of the kind that was asked for. The text is the message of upstream's BadRequest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not even its kind could be read.
    #[error(
        "the object provided is unrecognized (must be of type {expected}): {reason} ({summary})"
    )]
    Unrecognized {
        expected: String,
        reason: String,
        summary: String,
    },
    /// It says what it is, but is not one that can be used here.
    #[error("{kind} in version {version:?} cannot be handled as a {expected}: {reason}")]
    Unusable {
        kind: String,
        version: String,
        expected: String,
        reason: String,
    },
    #[error(
        "the API version in the data ({found}) does not match the expected API version ({expected})"
    )]
    OtherVersion { found: String, expected: String },
}

/// An object of a known kind.
#[derive(Clone, PartialEq, Debug)]
pub struct Decoded<'a> {
    /// A [`Node::Struct`] with its apiVersion and kind set.
    pub object: Node<'a>,
    pub kind: Gvk<'static>,
    /// `unknown field "spec.foo"`, `duplicate field "spec.replicas"`: what fieldValidation judges.
    pub strict_errors: Vec<String>,
}

/// Decodes a JSON body. An empty `expected.kind` takes the kind from the body; a body without a kind gets the expected one.
pub fn decode<'a>(expected: Gvk<'_>, body: &'a [u8]) -> Result<Decoded<'a>, DecodeError> {
    let unreadable = |reason: String| DecodeError::Unrecognized {
        expected: expected.kind.to_owned(),
        reason: format!("couldn't get version/kind; json parse error: {reason}"),
        summary: summary(body),
    };
    // As upstream, which checks the whole text before it looks at anything in it.
    let unless_unreadable = |error: DecodeError| match syntax_error(body) {
        Some(syntax) => unreadable(syntax.to_string()),
        None => error,
    };
    let type_meta = TypeMeta::read(body).map_err(|reason| unless_unreadable(unreadable(reason)))?;
    let kind = type_meta
        .resolve(expected, body)
        .map_err(unless_unreadable)?;
    let id = facts()
        .by_kind(kind.group, kind.version, kind.kind)
        .ok_or_else(|| not_registered(kind, expected))?;
    match typed::decode(id, body) {
        Ok((mut object, strict_errors)) => {
            let kind = static_kind(kind);
            set_type_meta(&mut object, kind);
            Ok(Decoded {
                object,
                kind,
                strict_errors,
            })
        }
        Err(typed::Refusal::Syntax(syntax)) => Err(unreadable(syntax.to_string())),
        Err(typed::Refusal::Type(reason)) => {
            Err(unless_unreadable(unusable(kind, expected, reason)))
        }
    }
}

/// What is wrong with the text as JSON, if anything is.
fn syntax_error(body: &[u8]) -> Option<SyntaxError> {
    let check = || {
        let mut reader = Reader::new(body)?;
        reader.skip()?;
        reader.end()
    };
    check().err()
}

/// The kind with strings that outlive the body: the table's, where it has them.
pub(crate) fn static_kind(kind: Gvk<'_>) -> Gvk<'static> {
    let known = facts()
        .by_kind(kind.group, kind.version, kind.kind)
        .and_then(|id| {
            facts()
                .definition(id)
                .kinds
                .iter()
                .find(|known| **known == kind)
        })
        .copied();
    // Options of a group that the table does not list them under: v1 says the same.
    known.unwrap_or_else(|| {
        let id = facts().by_kind("", "v1", kind.kind);
        id.and_then(|id| facts().definition(id).kinds.first().copied())
            .unwrap_or(Gvk::new("", "v1", ""))
    })
}

pub(crate) fn set_type_meta(object: &mut Node<'_>, kind: Gvk<'static>) {
    if let Node::Struct(value) = object {
        value.set("kind", Node::text(kind.kind));
        value.set(
            "apiVersion",
            Node::String(Cow::Owned(api_version(kind.group, kind.version))),
        );
    }
}

fn unusable(kind: Gvk<'_>, expected: Gvk<'_>, reason: String) -> DecodeError {
    let expected = if expected.kind.is_empty() {
        kind.kind
    } else {
        expected.kind
    };
    DecodeError::Unusable {
        kind: kind.kind.to_owned(),
        version: kind.version.to_owned(),
        expected: expected.to_owned(),
        reason,
    }
}

pub(crate) fn not_registered(kind: Gvk<'_>, expected: Gvk<'_>) -> DecodeError {
    let version = api_version(kind.group, kind.version);
    unusable(
        kind,
        expected,
        format!(
            "no kind {:?} is registered for version {version:?} in scheme {SCHEME:?}",
            kind.kind
        ),
    )
}

/// Whether a body of one kind may stand where another is expected.
pub(crate) fn check_kind(kind: Gvk<'_>, expected: Gvk<'_>) -> Result<(), DecodeError> {
    if kind == expected || expected.kind.is_empty() {
        return Ok(());
    }
    let (found, wanted) = (
        facts().by_kind(kind.group, kind.version, kind.kind),
        facts().by_kind(expected.group, expected.version, expected.kind),
    );
    match (found, wanted) {
        (None, _) => Err(not_registered(kind, expected)),
        // Options are one type in every group.
        (Some(found), Some(wanted)) if found == wanted => Ok(()),
        _ if kind.kind == expected.kind && kind.group == expected.group => {
            Err(DecodeError::OtherVersion {
                found: api_version(kind.group, kind.version),
                expected: api_version(expected.group, expected.version),
            })
        }
        _ => {
            let from = format!("{}.{}", kind.version, kind.kind);
            let package = if expected.group.is_empty() {
                "core"
            } else {
                expected.group.split('.').next().unwrap_or(expected.group)
            };
            let reason = format!(
                "converting ({from}) to ({package}.{}): unknown conversion",
                expected.kind
            );
            Err(unusable(kind, expected, reason))
        }
    }
}

/// The start of a body, as upstream shows it in a message.
pub(crate) fn summary(body: &[u8]) -> String {
    const BYTES_MAX: usize = 30;
    let shown = &body[..body.len().min(BYTES_MAX)];
    let text = match body.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > BYTES_MAX {
        format!("{text} ...")
    } else {
        text
    }
}

/// What a body says it is.
#[derive(Default)]
struct TypeMeta<'a> {
    api_version: Cow<'a, str>,
    kind: Cow<'a, str>,
}

impl<'a> TypeMeta<'a> {
    /// Reads no further than the second of the two fields.
    fn read(body: &'a [u8]) -> Result<Self, String> {
        let text = |error: SyntaxError| error.to_string();
        let mut reader = Reader::new(body).map_err(text)?;
        let mut found = TypeMeta::default();
        let token = reader.peek().map_err(text)?;
        if token != b'{' {
            reader.skip().map_err(text)?;
            reader.end().map_err(text)?;
            return match token_name(token) {
                "null" => Ok(found),
                name => Err(format!(
                    "json: cannot unmarshal {name} into Go value of type struct {{ APIVersion string \
                     \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
                )),
            };
        }
        reader.enter().map_err(text)?;
        let mut first = true;
        while found.api_version.is_empty() || found.kind.is_empty() {
            let Some(key) = reader.key(first).map_err(text)? else {
                break;
            };
            first = false;
            let slot = match key.as_ref() {
                "apiVersion" => &mut found.api_version,
                "kind" => &mut found.kind,
                _ => {
                    reader.skip().map_err(text)?;
                    continue;
                }
            };
            match reader.peek().map_err(text)? {
                b'"' => *slot = reader.string().map_err(text)?,
                b'n' => {
                    reader.skip().map_err(text)?;
                }
                token => {
                    reader.skip().map_err(text)?;
                    let name = token_name(token);
                    return Err(format!(
                        "json: cannot unmarshal {name} into Go struct field .{key} of type string"
                    ));
                }
            }
        }
        Ok(found)
    }

    /// The kind that the body is to be decoded as.
    fn resolve<'k>(&'k self, expected: Gvk<'k>, body: &[u8]) -> Result<Gvk<'k>, DecodeError> {
        let missing = |field: &str| DecodeError::Unrecognized {
            expected: expected.kind.to_owned(),
            reason: format!(
                "Object '{field}' is missing in '{}'",
                String::from_utf8_lossy(body)
            ),
            summary: summary(body),
        };
        let kind = if self.kind.is_empty() {
            expected.kind
        } else {
            self.kind.as_ref()
        };
        if kind.is_empty() {
            return Err(missing("Kind"));
        }
        let (group, version) = match self.api_version.as_ref() {
            "" => (expected.group, expected.version),
            text => text.rsplit_once('/').unwrap_or(("", text)),
        };
        if version.is_empty() {
            return Err(missing("apiVersion"));
        }
        let found = Gvk::new(group, version, kind);
        check_kind(found, expected)?;
        Ok(found)
    }
}

/// What Go calls the JSON value that begins with this byte.
pub(crate) fn token_name(first: u8) -> &'static str {
    match first {
        b'"' => "string",
        b'{' => "object",
        b'[' => "array",
        b't' | b'f' => "bool",
        b'n' => "null",
        _ => "number",
    }
}

#[cfg(test)]
mod tests;
