//! JSON merge patch (RFC 7386): members replace members, null removes, anything but an object replaces the whole.

use serde_json::{Map, Value};

use super::{MAP, PatchError, parse, undecodable, wrong_type};

pub fn apply(current: Value, body: &[u8]) -> Result<Value, PatchError> {
    let patch = parse(body).or_else(|error| undecodable(&error))?;
    if !patch.is_object() {
        return undecodable(&wrong_type(&patch, MAP));
    }
    Ok(merge(current, patch))
}

fn merge(target: Value, patch: Value) -> Value {
    let patch = match patch {
        Value::Object(members) => members,
        other => return without_nulls(other),
    };
    let mut merged = match target {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    for (key, change) in patch {
        if change.is_null() {
            merged.shift_remove(&key);
            continue;
        }
        // The member keeps its place: the order of fields is the order in which objects are written.
        let before = merged.get_mut(&key).map_or(Value::Null, Value::take);
        merged.insert(key, merge(before, change));
    }
    Value::Object(merged)
}

/// An array without null members of the objects in it. The RFC would keep them; upstream does not.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        Value::Object(_) => merge(Value::Null, value),
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
            assert_eq!(
                apply(target, patch.to_string().as_bytes()),
                Ok(expected),
                "{patch}"
            );
        }
    }
}
