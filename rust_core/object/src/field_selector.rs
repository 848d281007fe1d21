//! Field selectors: `metadata.name=a,status.phase!=Running`, and which fields each resource offers.
//!
//! In: a selector's text and the resource that it is asked of. Out: terms that are matched by scanning an encoded object in the
//! version in which it is stored, or upstream's message when the text or a field is not supported.

use std::borrow::Cow;

use crate::field_selector_table::{Reading, resolve};
use crate::scan;

/// Why a field selector is refused, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldSelectorError(pub String);

#[derive(Clone, Debug)]
struct Term {
    field: String,
    reading: Reading,
    value: String,
    negated: bool,
}

/// A conjunction of terms; without any, it matches everything.
#[derive(Clone, Debug, Default)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

impl FieldSelector {
    /// Parses a selector asked of a resource in the version of the request. The empty string matches everything.
    pub fn parse(
        group: &str,
        version: &str,
        resource: &str,
        selector: &str,
    ) -> Result<FieldSelector, FieldSelectorError> {
        let mut parts = split_terms(selector);
        // Upstream sorts, which decides whose error is told.
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let Some((field, operator, value)) = split_term(part) else {
                return Err(FieldSelectorError(format!(
                    "invalid selector: '{selector}'; can't understand '{part}'"
                )));
            };
            terms.push((field, operator == "!=", unescape(value)?));
        }
        let resolved = terms.into_iter().map(|(field, negated, value)| {
            let (field, reading) =
                resolve(group, version, resource, field).map_err(FieldSelectorError)?;
            Ok(Term {
                field: field.to_owned(),
                reading,
                value,
                negated,
            })
        });
        Ok(FieldSelector {
            terms: resolved.collect::<Result<_, _>>()?,
        })
    }

    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that a field must have, if a term says so: `metadata.name=a` turns a list into a get.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| !term.negated && term.field == field)
            .map(|term| term.value.as_str())
    }

    /// Whether an encoded object matches.
    pub fn matches(&self, object: &[u8]) -> bool {
        self.terms
            .iter()
            .all(|term| (term.reading.read(object) == term.value.as_str()) != term.negated)
    }
}

impl Reading {
    /// The field's value as upstream would print it.
    fn read<'a>(&self, object: &'a [u8]) -> Cow<'a, str> {
        match *self {
            Reading::Path(path, absent) => scan::find(object, path)
                .and_then(scalar)
                .unwrap_or(Cow::Borrowed(absent)),
            Reading::Either(first, second) => {
                let text = |path| {
                    scan::find(object, path)
                        .and_then(scalar)
                        .filter(|text| !text.is_empty())
                };
                text(first).or_else(|| text(second)).unwrap_or_default()
            }
            Reading::FirstPodIp => {
                let addresses = scan::find(object, &["status", "podIPs"]).unwrap_or_default();
                scan::elements(addresses)
                    .next()
                    .and_then(|address| scan::find_text(address, &["ip"]))
                    .unwrap_or_default()
            }
            Reading::Never => Cow::Borrowed(""),
        }
    }
}

/// A string's text; a number or a boolean as it is written.
fn scalar(raw: &[u8]) -> Option<Cow<'_, str>> {
    match raw.first()? {
        b'"' => scan::text(raw),
        b'n' | b'{' | b'[' => None,
        _ => std::str::from_utf8(raw).ok().map(Cow::Borrowed),
    }
}

/// Splits at commas that no backslash escapes.
fn split_terms(selector: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, byte) in selector.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&selector[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms
}

/// Splits at the first operator: field, operator, value.
fn split_term(term: &str) -> Option<(&str, &str, &str)> {
    (0..term.len())
        .filter(|index| term.is_char_boundary(*index))
        .find_map(|index| {
            let rest = &term[index..];
            let operator = ["!=", "==", "="]
                .into_iter()
                .find(|operator| rest.starts_with(operator))?;
            Some((&term[..index], operator, &rest[operator.len()..]))
        })
}

/// Undoes the escaping of backslash, comma and equals sign in a value.
fn unescape(value: &str) -> Result<String, FieldSelectorError> {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                other => {
                    let sequence: String = ['\\'].into_iter().chain(other).collect();
                    return Err(FieldSelectorError(format!(
                        "invalid field selector: invalid escape sequence: {sequence}"
                    )));
                }
            },
            // Upstream prints the character's number.
            ',' | '=' => {
                let code = u32::from(character);
                return Err(FieldSelectorError(format!(
                    "invalid field selector: unescaped character in value: {code}"
                )));
            }
            _ => text.push(character),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &[u8] = br#"{"kind":"Pod","metadata":{"name":"a","namespace":"n"},"spec":{"nodeName":"n1"},"status":{"phase":"Running","podIPs":[{"ip":"10.0.0.1"}]}}"#;

    fn pods(selector: &str) -> Result<FieldSelector, FieldSelectorError> {
        FieldSelector::parse("", "v1", "pods", selector)
    }

    #[test]
    fn a_field_selector_matches_the_fields_it_names() {
        for (selector, expected) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a,metadata.namespace=n", true),
            ("metadata.name!=a", false),
            ("spec.nodeName=n1,status.phase!=Failed", true),
            ("spec.host=n1", true),
            ("spec.nodeName=", false),
            ("status.nominatedNodeName=", true),
            ("spec.hostNetwork=false", true),
            ("status.podIP=10.0.0.1", true),
            ("status.podIPs=10.0.0.1", false),
        ] {
            assert_eq!(pods(selector).unwrap().matches(POD), expected, "{selector}");
        }
    }

    #[test]
    fn defaults_stand_for_absent_fields() {
        let nodes = FieldSelector::parse("", "v1", "nodes", "spec.unschedulable=false").unwrap();
        assert!(nodes.matches(br#"{"metadata":{"name":"n"}}"#));
        assert!(!nodes.matches(br#"{"metadata":{"name":"n"},"spec":{"unschedulable":true}}"#));
        let jobs = FieldSelector::parse("batch", "v1", "jobs", "status.successful=0").unwrap();
        assert!(jobs.matches(br#"{"metadata":{"name":"j"}}"#));
    }

    #[test]
    fn events_are_selected_by_the_names_of_either_group() {
        let event = br#"{"metadata":{"name":"e"},"involvedObject":{"kind":"Pod"},"reportingComponent":"kubelet","source":{}}"#;
        assert!(
            FieldSelector::parse("", "v1", "events", "involvedObject.kind=Pod,source=kubelet")
                .unwrap()
                .matches(event)
        );
        let other = FieldSelector::parse(
            "events.k8s.io",
            "v1",
            "events",
            "regarding.kind=Pod,reportingController=kubelet",
        );
        assert!(other.unwrap().matches(event));
        assert!(
            FieldSelector::parse("events.k8s.io", "v1", "events", "involvedObject.kind=Pod")
                .is_err()
        );
    }

    #[test]
    fn an_unsupported_field_is_refused_in_upstreams_words() {
        let message = |group, version, resource, selector| {
            FieldSelector::parse(group, version, resource, selector)
                .unwrap_err()
                .0
        };
        assert_eq!(
            message("", "v1", "pods", "spec.foo=1"),
            "field label not supported: spec.foo"
        );
        assert_eq!(
            message("apps", "v1", "deployments", "spec.foo=1"),
            r#""spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace""#
        );
        assert_eq!(
            message("resource.k8s.io", "v1", "resourceslices", "a=b"),
            "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: a"
        );
        assert_eq!(
            message("", "v1", "pods", "spec"),
            "invalid selector: 'spec'; can't understand 'spec'"
        );
        assert_eq!(
            message("", "v1", "pods", "a=b\\c"),
            "invalid field selector: invalid escape sequence: \\c"
        );
        assert_eq!(
            message("", "v1", "pods", "a=b=c"),
            "invalid field selector: unescaped character in value: 61"
        );
    }

    #[test]
    fn an_exact_name_is_found_after_unescaping() {
        let selector = pods(r"metadata.name=a\,b,status.phase!=x").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("a,b"));
        assert_eq!(selector.exact("status.phase"), None);
    }
}
