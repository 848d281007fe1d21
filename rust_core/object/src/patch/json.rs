//! JSON patch (RFC 6902), with the liberties that upstream takes: negative indices count from the end, replacing a member that is
//! not there adds it, and a test for null holds where nothing is.

use serde_json::{Map, Value};

use super::{PatchError, parse, undecodable, wrong_type};
use crate::reader::DEPTH_MAX;

const OPERATIONS_MAX: usize = 10_000;
/// What all copy operations of a patch may copy: the limit on a request's body.
const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

pub fn apply(current: Value, body: &[u8]) -> Result<Value, PatchError> {
    let operations = operations(body)?;
    if operations.len() > OPERATIONS_MAX {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
            operations.len()
        )));
    }
    let mut document = current;
    let mut copied_bytes = 0;
    let mut nesting = Nesting::default();
    for operation in &operations {
        match text(operation, "op").unwrap_or("unknown") {
            "add" => add(&mut document, operation),
            "remove" => remove(&mut document, operation),
            "replace" => replace(&mut document, operation),
            "move" => relocate(&mut document, operation),
            "test" => test(&mut document, operation),
            "copy" => copy(&mut document, operation, &mut copied_bytes),
            other => does_not_apply(format!("Unexpected kind: {other}")),
        }?;
        nesting.judge(operation, &document)?;
    }
    Ok(document)
}

/// Keeps moves and copies from nesting a document ever deeper: whoever walks it, and be it to free it, needs stack for each level.
/// It counts what an operation can add at most, and looks at the document only when that comes to too much.
struct Nesting {
    at_most: usize,
}

/// The parser refuses what is deeper.
const PARSED_DEPTH_MAX: usize = 128;
const UNSEEN_DEPTH_MAX: usize = 2 * DEPTH_MAX;

impl Default for Nesting {
    fn default() -> Self {
        Nesting {
            at_most: PARSED_DEPTH_MAX,
        }
    }
}

impl Nesting {
    /// To be called after each operation.
    fn judge(&mut self, operation: &Operation, document: &Value) -> Outcome {
        let steps = text(operation, "path").map_or(0, |path| path.matches('/').count());
        let added = match text(operation, "op") {
            Some("add" | "replace") => steps + PARSED_DEPTH_MAX,
            Some("move" | "copy") => steps + self.at_most,
            _ => 0,
        };
        self.at_most = self.at_most.max(added);
        if self.at_most <= UNSEEN_DEPTH_MAX {
            return Ok(());
        }
        self.at_most = depth(document);
        if self.at_most > DEPTH_MAX {
            return Err(PatchError::TooLarge(format!(
                "the patch nests the object deeper than {DEPTH_MAX} levels"
            )));
        }
        Ok(())
    }
}

/// How many arrays and objects lie inside one another.
fn depth(document: &Value) -> usize {
    let mut deepest = 0;
    let mut left = vec![(document, 1)];
    while let Some((value, level)) = left.pop() {
        deepest = deepest.max(level);
        match value {
            Value::Array(items) => left.extend(items.iter().map(|item| (item, level + 1))),
            Value::Object(members) => {
                left.extend(members.values().map(|member| (member, level + 1)));
            }
            _ => (),
        }
    }
    deepest
}

/// The operations of a patch.
fn operations(body: &[u8]) -> Result<Vec<Operation>, PatchError> {
    let items = match parse(body).or_else(|error| undecodable(&error))? {
        Value::Array(items) => items,
        other => return undecodable(&wrong_type(&other, "[]handlers.jsonPatchOp")),
    };
    let operation = |item| match item {
        Value::Object(operation) => Ok(operation),
        other => undecodable(&wrong_type(&other, "handlers.jsonPatchOp")),
    };
    items.into_iter().map(operation).collect()
}

type Operation = Map<String, Value>;
type Outcome = Result<(), PatchError>;

fn does_not_apply<T>(message: String) -> Result<T, PatchError> {
    Err(PatchError::DoesNotApply(message))
}

fn text<'a>(operation: &'a Operation, field: &str) -> Option<&'a str> {
    operation.get(field).and_then(Value::as_str)
}

fn path<'a>(operation: &'a Operation, verb: &str) -> Result<&'a str, PatchError> {
    text(operation, "path").map_or_else(
        || {
            does_not_apply(format!(
                "{verb} operation failed to decode path: missing value"
            ))
        },
        Ok,
    )
}

fn from<'a>(operation: &'a Operation, verb: &str) -> Result<&'a str, PatchError> {
    let missing = || {
        does_not_apply(format!(
            "{verb} operation failed to decode from: operation, missing from field: missing value"
        ))
    };
    text(operation, "from").map_or_else(missing, Ok)
}

fn value(operation: &Operation) -> Value {
    operation.get("value").cloned().unwrap_or(Value::Null)
}

/// The array or object that a path's last step is a step of, and that step.
fn container<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let mut steps = path
        .split('/')
        .skip(1)
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .peekable();
    let mut place = document;
    loop {
        let step = steps.next()?;
        if steps.peek().is_none() {
            return (place.is_object() || place.is_array()).then_some((place, step));
        }
        place = match place {
            Value::Object(members) => members.get_mut(&step)?,
            Value::Array(items) => {
                let index = index(&step, items.len())
                    .ok()
                    .filter(|index| *index < items.len())?;
                &mut items[index]
            }
            _ => return None,
        };
    }
}

/// The place in an array of `length` places, or upstream's words for why it is none.
fn index(step: &str, length: usize) -> Result<usize, String> {
    let Ok(number) = step.parse::<i64>() else {
        return Err(format!("strconv.Atoi: parsing {step:?}: invalid syntax"));
    };
    let counted = if number < 0 {
        number + length as i64
    } else {
        number
    };
    let place = usize::try_from(counted)
        .ok()
        .filter(|index| *index < length);
    place.ok_or_else(|| {
        format!("Unable to access invalid index: {number}: invalid index referenced")
    })
}

fn insert(container: &mut Value, step: &str, value: Value) -> Result<(), String> {
    match container {
        Value::Object(members) => {
            members.insert(step.to_owned(), value);
        }
        Value::Array(items) if step == "-" => items.push(value),
        Value::Array(items) => {
            if step.parse::<i64>().is_err() {
                let error = index(step, 0).err().unwrap_or_default();
                return Err(format!(
                    "value was not a proper array index: '{step}': {error}"
                ));
            }
            items.insert(index(step, items.len() + 1)?, value);
        }
        _ => {}
    }
    Ok(())
}

/// What is there now; null for a member that is not.
fn look(container: &Value, step: &str) -> Result<Value, String> {
    match container {
        Value::Array(items) => Ok(items[index(step, items.len())?].clone()),
        _ => Ok(container.get(step).cloned().unwrap_or(Value::Null)),
    }
}

fn take(container: &mut Value, step: &str) -> Result<Value, String> {
    match container {
        Value::Array(items) => Ok(items.remove(index(step, items.len())?)),
        Value::Object(members) => members
            .shift_remove(step)
            .ok_or_else(|| format!("Unable to remove nonexistent key: {step}: missing value")),
        _ => Ok(Value::Null),
    }
}

fn add(document: &mut Value, operation: &Operation) -> Outcome {
    let path = path(operation, "add")?;
    let Some((place, step)) = container(document, path) else {
        return does_not_apply(format!(
            "add operation does not apply: doc is missing path: \"{path}\": missing value"
        ));
    };
    insert(place, &step, value(operation))
        .or_else(|error| does_not_apply(format!("error in add for path: '{path}': {error}")))
}

fn remove(document: &mut Value, operation: &Operation) -> Outcome {
    let path = path(operation, "remove")?;
    let Some((place, step)) = container(document, path) else {
        return does_not_apply(format!(
            "remove operation does not apply: doc is missing path: \"{path}\": missing value"
        ));
    };
    take(place, &step)
        .map(drop)
        .or_else(|error| does_not_apply(format!("error in remove for path: '{path}': {error}")))
}

fn replace(document: &mut Value, operation: &Operation) -> Outcome {
    let path = path(operation, "replace")?;
    let new = value(operation);
    if path.is_empty() {
        if !new.is_object() && !new.is_array() {
            return does_not_apply("replace operation value must be object or array".to_owned());
        }
        *document = new;
        return Ok(());
    }
    let Some((place, step)) = container(document, path) else {
        return does_not_apply(format!(
            "replace operation does not apply: doc is missing path: {path}: missing value"
        ));
    };
    match place {
        Value::Array(items) => match index(&step, items.len()) {
            Ok(index) => items[index] = new,
            Err(_) => {
                return does_not_apply(format!(
                    "replace operation does not apply: doc is missing key: {path}: missing value"
                ));
            }
        },
        _ => place[step] = new,
    }
    Ok(())
}

fn relocate(document: &mut Value, operation: &Operation) -> Outcome {
    let source = from(operation, "move")?;
    let Some((place, step)) = container(document, source) else {
        return does_not_apply(format!(
            "move operation does not apply: doc is missing from path: {source}: missing value"
        ));
    };
    let moved = take(place, &step)
        .or_else(|error| does_not_apply(format!("error in move for path: '{step}': {error}")))?;
    let target = path(operation, "move")?;
    let Some((place, step)) = container(document, target) else {
        return does_not_apply(format!(
            "move operation does not apply: doc is missing destination path: {target}: missing value"
        ));
    };
    insert(place, &step, moved)
        .or_else(|error| does_not_apply(format!("error in move for path: '{target}': {error}")))
}

fn copy(document: &mut Value, operation: &Operation, copied_bytes: &mut usize) -> Outcome {
    let source = from(operation, "copy")?;
    let Some((place, step)) = container(document, source) else {
        return does_not_apply(format!(
            "copy operation does not apply: doc is missing from path: {source}: missing value"
        ));
    };
    let copied = look(place, &step)
        .or_else(|error| does_not_apply(format!("error in copy for from: '{source}': {error}")))?;
    *copied_bytes += copied.to_string().len();
    if *copied_bytes > COPIED_BYTES_MAX {
        return Err(PatchError::TooLarge(format!(
            "Unable to complete the copy, the accumulated size increase of copy is {copied_bytes}, exceeding the limit {COPIED_BYTES_MAX}"
        )));
    }
    let target = path(operation, "copy")?;
    let Some((place, step)) = container(document, target) else {
        return does_not_apply(format!(
            "copy operation does not apply: doc is missing destination path: {target}: missing value"
        ));
    };
    insert(place, &step, copied)
        .or_else(|error| does_not_apply(format!("error while adding value during copy: {error}")))
}

fn test(document: &mut Value, operation: &Operation) -> Outcome {
    let path = path(operation, "test")?;
    let found = if path.is_empty() {
        document.clone()
    } else {
        let Some((place, step)) = container(document, path) else {
            return does_not_apply(format!(
                "test operation does not apply: is missing path: {path}: missing value"
            ));
        };
        look(place, &step)
            .or_else(|error| does_not_apply(format!("error in test for path: '{path}': {error}")))?
    };
    if found == value(operation) {
        Ok(())
    } else {
        does_not_apply(format!("testing value {path} failed: test failed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(document: Value, patch: &Value) -> Result<Value, PatchError> {
        apply(document, patch.to_string().as_bytes())
    }

    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (document, patch, expected) in [
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "qux"}]),
                json!({"foo": "bar", "baz": "qux"}),
            ),
            (
                json!({"foo": ["bar", "baz"]}),
                json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
                json!({"foo": ["bar", "qux", "baz"]}),
            ),
            (
                json!({"foo": ["bar"]}),
                json!([{"op": "add", "path": "/foo/-", "value": ["abc"]}]),
                json!({"foo": ["bar", ["abc"]]}),
            ),
            (
                json!({"baz": "qux", "foo": "bar"}),
                json!([{"op": "remove", "path": "/baz"}]),
                json!({"foo": "bar"}),
            ),
            (
                json!({"foo": ["bar", "qux", "baz"]}),
                json!([{"op": "remove", "path": "/foo/1"}]),
                json!({"foo": ["bar", "baz"]}),
            ),
            (
                json!({"baz": "qux"}),
                json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
                json!({"baz": "boo"}),
            ),
            (
                json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
                json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
                json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
            ),
            (
                json!({"foo": ["all", "cows", "eat"]}),
                json!([{"op": "move", "from": "/foo/0", "path": "/foo/2"}]),
                json!({"foo": ["cows", "eat", "all"]}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "copy", "from": "/a", "path": "/b"}]),
                json!({"a": 1, "b": 1}),
            ),
            (
                json!({"a/b": 1, "m~n": 2}),
                json!([{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/m~0n"}]),
                json!({"a/b": 1}),
            ),
            (
                json!({"a": null}),
                json!([{"op": "test", "path": "/b", "value": null}]),
                json!({"a": null}),
            ),
            (
                json!({"a": [1, 2]}),
                json!([{"op": "replace", "path": "/a/-1", "value": 3}]),
                json!({"a": [1, 3]}),
            ),
            (
                json!({}),
                json!([{"op": "replace", "path": "/a", "value": 3}]),
                json!({"a": 3}),
            ),
        ] {
            assert_eq!(patched(document, &patch), Ok(expected), "{patch}");
        }
    }

    #[test]
    fn what_does_not_apply_is_told_in_upstreams_words() {
        let document = json!({"metadata": {"name": "a"}, "list": [1]});
        for (operation, message) in [
            (
                json!({"op": "test", "path": "/metadata/name", "value": "b"}),
                "testing value /metadata/name failed: test failed",
            ),
            (
                json!({"op": "remove", "path": "/metadata/x"}),
                "error in remove for path: '/metadata/x': Unable to remove nonexistent key: x: missing value",
            ),
            (
                json!({"op": "add", "path": "/a/b", "value": 1}),
                "add operation does not apply: doc is missing path: \"/a/b\": missing value",
            ),
            (
                json!({"op": "replace", "path": "/list/3", "value": 1}),
                "replace operation does not apply: doc is missing key: /list/3: missing value",
            ),
            (
                json!({"op": "add", "path": "/list/3", "value": 1}),
                "error in add for path: '/list/3': Unable to access invalid index: 3: invalid index referenced",
            ),
            (
                json!({"op": "bend", "path": "/list"}),
                "Unexpected kind: bend",
            ),
        ] {
            assert_eq!(
                patched(document.clone(), &json!([operation])),
                does_not_apply(message.to_owned()),
                "{operation}"
            );
        }
    }

    #[test]
    fn too_many_operations_and_too_much_copying_are_refused() {
        let many: Vec<Value> = (0..=OPERATIONS_MAX)
            .map(|_| json!({"op": "test", "path": ""}))
            .collect();
        assert!(
            matches!(patched(json!({}), &Value::Array(many)), Err(PatchError::TooLarge(message)) if message.ends_with("got 10001"))
        );
        let doubling: Vec<Value> = (0..30)
            .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"}))
            .collect();
        assert!(matches!(
            patched(json!({"a": ["xxxx"]}), &Value::Array(doubling)),
            Err(PatchError::TooLarge(_))
        ));
    }

    #[test]
    fn moves_cannot_nest_an_object_without_end() {
        // Each pair puts all that was so far to the bottom of a new value of a hundred levels.
        let value: Value = serde_json::from_str(&format!(
            "{}{}{}",
            r#"{"x":"#.repeat(100),
            "{}",
            "}".repeat(100)
        ))
        .unwrap();
        let mut operations = vec![json!({"op": "add", "path": "/0", "value": value})];
        for number in 1..2000 {
            let bottom = format!("/{number}{}/y", "/x".repeat(100));
            operations
                .push(json!({"op": "add", "path": format!("/{number}"), "value": value.clone()}));
            operations
                .push(json!({"op": "move", "from": format!("/{}", number - 1), "path": bottom}));
        }
        assert!(matches!(
            patched(json!({}), &Value::Array(operations)),
            Err(PatchError::TooLarge(_))
        ));
    }

    #[test]
    fn many_moves_of_what_is_shallow_are_fine() {
        let mut operations = Vec::new();
        for _ in 0..2000 {
            operations.push(json!({"op": "move", "from": "/a/b/c/d", "path": "/a/b/c/e"}));
            operations.push(json!({"op": "move", "from": "/a/b/c/e", "path": "/a/b/c/d"}));
        }
        let document = json!({"a": {"b": {"c": {"d": 1}}}});
        assert_eq!(
            patched(document.clone(), &Value::Array(operations)),
            Ok(document)
        );
    }

    proptest::proptest! {
        #[test]
        fn a_patch_never_panics(steps in proptest::collection::vec(("add|remove|replace|move|copy|test", "(/(a|b|0|1|-|-1|~1)){0,3}", "(/(a|b|0)){0,2}"), 0..8)) {
            let operations = steps.iter().map(|(op, path, from)| json!({"op": op, "path": path, "from": from, "value": {"a": [1]}}));
            let _ = patched(json!({"a": [{"b": [1, 2]}], "b": {"a": 1}}), &operations.collect());
        }
    }
}
