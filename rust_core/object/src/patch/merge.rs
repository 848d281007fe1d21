//! JSON merge patch (RFC 7386): members replace members, null removes, anything but an object replaces the whole.
//!
//! Most patches touch one corner of an object: what they leave alone is copied as it stands, unread.

use serde_json::{Map, Value};

use super::{MAP, PatchError, encoded, parse, undecodable, wrong_type};
use crate::scan;
use crate::write::write_string;

/// The patched object, encoded.
pub fn apply(current: &[u8], body: &[u8]) -> Result<Vec<u8>, PatchError> {
    let patch = match parse(body).or_else(|error| undecodable(&error))? {
        Value::Object(patch) => patch,
        other => return undecodable(&wrong_type(&other, MAP)),
    };
    let mut out = Vec::with_capacity(current.len() + body.len());
    merge_into(&mut out, current, patch);
    Ok(out)
}

/// Writes `current` with the patch applied. Members keep their places: the order of fields is the order in which objects are
/// written. What the patch adds comes last.
fn merge_into(out: &mut Vec<u8>, current: &[u8], mut patch: Map<String, Value>) {
    out.push(b'{');
    let start = out.len();
    for (key, value) in scan::members(current) {
        // Taken, and null is left: removing it would move all that follow, once for each member.
        let change = scan::key_text(key).and_then(|name| patch.get_mut(&*name).map(Value::take));
        if change == Some(Value::Null) {
            continue;
        }
        separate(out, start);
        out.push(b'"');
        out.extend_from_slice(key);
        out.extend_from_slice(b"\":");
        match change {
            None => out.extend_from_slice(value),
            Some(Value::Object(change)) => merge_into(out, value, change),
            Some(change) => out.extend_from_slice(&encoded(&without_nulls(change))),
        }
    }
    for (name, change) in patch {
        if !change.is_null() {
            separate(out, start);
            write_string(&name, out);
            out.push(b':');
            out.extend_from_slice(&encoded(&without_nulls(change)));
        }
    }
    out.push(b'}');
}

fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b',');
    }
}

/// A value without null members of the objects in it. The RFC would keep them within arrays; upstream does not.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, member)| !member.is_null())
            .map(|(name, member)| (name, without_nulls(member)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            let merged = apply(target.to_string().as_bytes(), patch.to_string().as_bytes());
            assert_eq!(merged, Ok(expected.to_string().into_bytes()), "{patch}");
        }
    }
    #[test]
    fn members_keep_their_places_and_what_is_not_touched_its_bytes() {
        let current = br#"{"a": {"n": 1.50, "e":"\u00e9"}, "b\"":1,"c":{"d":1,"e":2}}"#;
        let patch = br#"{"c":{"e":null,"f":[{"g":null}]},"b\"":2,"h":{"i":null}}"#;
        let merged = apply(current, patch).unwrap();
        assert_eq!(
            String::from_utf8(merged).unwrap(),
            r#"{"a":{"n": 1.50, "e":"\u00e9"},"b\"":2,"c":{"d":1,"f":[{}]},"h":{}}"#
        );
    }
}
