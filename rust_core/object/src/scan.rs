//! Reads single fields out of encoded JSON without parsing the object.
//!
//! In: the bytes of a stored object, which our own encoder wrote. Out: slices of those bytes. Nothing is allocated unless a string
//! has escapes. Bytes that are not JSON give `None` or end an iteration early; they never panic and never loop.

use std::borrow::Cow;

/// The members of an object, in the order in which they are written: the key between its quotes, and the raw value.
pub struct Members<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// The elements of an array, raw.
pub struct Elements<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// Iterates over an object's members. Anything but an object has none.
pub fn members(object: &[u8]) -> Members<'_> {
    Members {
        bytes: object,
        position: enter(object, b'{'),
    }
}

/// Iterates over an array's elements. Anything but an array has none.
pub fn elements(array: &[u8]) -> Elements<'_> {
    Elements {
        bytes: array,
        position: enter(array, b'['),
    }
}

/// The raw value of one member.
pub fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    members(object)
        .find(|(key, _)| key_is(key, name))
        .map(|(_, value)| value)
}

/// The raw value at a path of member names.
pub fn find<'a>(object: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(object, |value, name| member(value, name))
}

/// The text of a raw string value; `None` if the value is not a string.
pub fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<String>(raw).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// The string at a path.
pub fn find_text<'a>(object: &'a [u8], path: &[&str]) -> Option<Cow<'a, str>> {
    find(object, path).and_then(text)
}

/// `metadata.labels`, raw.
pub fn labels(object: &[u8]) -> Option<&[u8]> {
    find(object, &["metadata", "labels"])
}

/// Whether a key (as `members` gives it, without quotes) is this name.
pub fn key_is(key: &[u8], name: &str) -> bool {
    key == name.as_bytes() || (key.contains(&b'\\') && unescape_key(key).as_deref() == Some(name))
}

/// The text of a key as `members` gives it.
pub fn key_text(key: &[u8]) -> Option<Cow<'_, str>> {
    if key.contains(&b'\\') {
        return unescape_key(key).map(Cow::Owned);
    }
    std::str::from_utf8(key).ok().map(Cow::Borrowed)
}

fn unescape_key(key: &[u8]) -> Option<String> {
    let mut quoted = Vec::with_capacity(key.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(key);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).ok()
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let start = skip_separators(self.bytes, self.position);
        self.position = self.bytes.len();
        if self.bytes.get(start) != Some(&b'"') {
            return None;
        }
        let end = string_end(self.bytes, start)?;
        let colon = skip_space(self.bytes, end);
        if self.bytes.get(colon) != Some(&b':') {
            return None;
        }
        let value = skip_space(self.bytes, colon + 1);
        let value_end = value_end(self.bytes, value)?;
        self.position = value_end;
        Some((
            &self.bytes[start + 1..end - 1],
            &self.bytes[value..value_end],
        ))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let start = skip_separators(self.bytes, self.position);
        self.position = self.bytes.len();
        let end = value_end(self.bytes, start)?;
        self.position = end;
        Some(&self.bytes[start..end])
    }
}

fn enter(bytes: &[u8], bracket: u8) -> usize {
    let start = skip_space(bytes, 0);
    if bytes.get(start) == Some(&bracket) {
        start + 1
    } else {
        bytes.len()
    }
}

fn skip_space(bytes: &[u8], mut position: usize) -> usize {
    while matches!(bytes.get(position), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        position += 1;
    }
    position
}

fn skip_separators(bytes: &[u8], mut position: usize) -> usize {
    while matches!(
        bytes.get(position),
        Some(b' ' | b'\n' | b'\r' | b'\t' | b',')
    ) {
        position += 1;
    }
    position
}

/// The position after the string whose opening quote is at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut position = start + 1;
    loop {
        match bytes.get(position)? {
            b'"' => return Some(position + 1),
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
}

/// The position after the value that starts at `start`; `None` at a closing bracket, at the end, or where the value is cut off.
fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    match bytes.get(start)? {
        b'"' => string_end(bytes, start),
        b'{' | b'[' => container_end(bytes, start),
        b'}' | b']' | b':' | b',' => None,
        _ => {
            let ends =
                |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
            Some(
                bytes[start..]
                    .iter()
                    .position(ends)
                    .map_or(bytes.len(), |length| start + length),
            )
        }
    }
}

fn container_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut position = start;
    loop {
        match bytes.get(position)? {
            b'"' => {
                position = string_end(bytes, position)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(position + 1);
                }
            }
            _ => {}
        }
        position += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    #[test]
    fn a_field_is_found_by_its_path() {
        let object = br#"{"kind":"Pod","metadata":{"name":"a","labels":{"app":"web","x/y":"1"}},"spec":{"n":[1,{"a":"]"}]}}"#;
        assert_eq!(
            find_text(object, &["metadata", "name"]).as_deref(),
            Some("a")
        );
        assert_eq!(
            labels(object),
            Some(br#"{"app":"web","x/y":"1"}"#.as_slice())
        );
        assert_eq!(elements(find(object, &["spec", "n"]).unwrap()).count(), 2);
        assert_eq!(find(object, &["spec", "missing"]), None);
        assert_eq!(find(object, &["kind", "name"]), None);
    }

    #[test]
    fn escaped_keys_and_values_are_read_as_their_text() {
        let object = br#"{"a\u002fb" : "x\"y\\"}"#;
        assert_eq!(find_text(object, &["a/b"]).as_deref(), Some("x\"y\\"));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..5)
                    .prop_map(|map| Value::Object(Map::from_iter(map)))
            ]
        })
    }

    fn rebuild(raw: &[u8]) -> Value {
        match raw.first() {
            Some(b'{') => {
                let pairs = members(raw)
                    .map(|(key, value)| (key_text(key).unwrap().into_owned(), rebuild(value)));
                Value::Object(pairs.collect())
            }
            Some(b'[') => Value::Array(elements(raw).map(rebuild).collect()),
            _ => serde_json::from_slice(raw).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn scanning_sees_what_a_parser_sees(value in values(), pretty in any::<bool>()) {
            let bytes = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            prop_assert_eq!(rebuild(&bytes), value);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), Just(b'['), Just(b'"'), Just(b'\\'), Just(b','), Just(b':'), any::<u8>()], 0..64)) {
            for (key, value) in members(&bytes) {
                let _ = (key_text(key), text(value));
            }
            for value in elements(&bytes) {
                let _ = text(value);
            }
            let _ = find(&bytes, &["metadata", "labels"]);
        }
    }

    #[test]
    fn a_mapping_of_json_is_scanned_without_its_spaces() {
        let bytes =
            serde_json::to_vec_pretty(&json!({"metadata": {"labels": {"a": "b"}}})).unwrap();
        assert_eq!(
            find_text(&bytes, &["metadata", "labels", "a"]).as_deref(),
            Some("b")
        );
    }
}
