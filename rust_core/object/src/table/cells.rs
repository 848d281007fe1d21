//! The functions that compute cells, by the names that `columns.json` uses; and what they share.

use serde_json::Value;

use super::{age, cells_cluster, cells_network, cells_pod, cells_storage, cells_workload};
use crate::selector::Selector;

/// What a column hands to its function, beside the object.
pub struct Argument<'a> {
    pub of: &'a str,
    /// What to show when there is nothing.
    pub absent: &'a Value,
    pub now_seconds: f64,
}

pub type Cell = fn(&Value, &Argument<'_>) -> Value;
pub type Functions = &'static [(&'static str, Cell)];

/// All functions, one table a file.
pub const FUNCTIONS: &[Functions] = &[
    SHARED,
    cells_pod::FUNCTIONS,
    cells_workload::FUNCTIONS,
    cells_network::FUNCTIONS,
    cells_storage::FUNCTIONS,
    cells_cluster::FUNCTIONS,
];

const SHARED: Functions = &[
    ("age", |object, argument| {
        age::since(at(object, argument.of).as_str(), argument.now_seconds).into()
    }),
    ("age_if_any", |object, argument| {
        match at(object, argument.of).as_str() {
            None => argument.absent.clone(),
            time => age::since(time, argument.now_seconds).into(),
        }
    }),
    ("seconds", |object, argument| {
        match at(object, argument.of).as_f64() {
            None => argument.absent.clone(),
            Some(seconds) => age::human_duration(seconds).into(),
        }
    }),
    ("text", |object, argument| match at(object, argument.of) {
        Value::Null => argument.absent.clone(),
        value => text(value).into(),
    }),
    ("boolean", |object, argument| {
        match at(object, argument.of).as_bool() {
            None => argument.absent.clone(),
            Some(true) => "True".into(),
            Some(false) => "False".into(),
        }
    }),
    ("length", |object, argument| {
        length(at(object, argument.of)).into()
    }),
    ("joined", |object, argument| {
        let joined = strings(at(object, argument.of))
            .collect::<Vec<_>>()
            .join(",");
        if joined.is_empty() {
            argument.absent.clone()
        } else {
            joined.into()
        }
    }),
    ("labels", |object, argument| {
        or_none(labels(at(object, argument.of))).into()
    }),
    ("selector", |object, argument| {
        Selector::from_object(at(object, argument.of))
            .map_or("<error>".to_owned(), |selector| {
                or_none(selector.to_string())
            })
            .into()
    }),
    ("plain_selector", |object, argument| {
        Selector::from_object(at(object, argument.of))
            .map_or("<invalid>".to_owned(), |selector| selector.to_string())
            .into()
    }),
];

/// The function of this name.
pub fn function(name: &str) -> Option<Cell> {
    FUNCTIONS
        .iter()
        .flat_map(|functions| functions.iter())
        .find(|(known, _)| *known == name)
        .map(|(_, function)| *function)
}

/// The value at a dotted path; null if there is none.
pub fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, name| &value[name])
}

/// The string at a dotted path; empty if there is none.
pub fn text_at<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
}

/// The number at a dotted path; 0 if there is none.
pub fn number_at(object: &Value, path: &str) -> i64 {
    at(object, path).as_i64().unwrap_or(0)
}

/// The elements of the array at a dotted path.
pub fn items<'a>(object: &'a Value, path: &str) -> std::slice::Iter<'a, Value> {
    at(object, path)
        .as_array()
        .map_or([].iter(), |items| items.iter())
}

/// A scalar as text.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

pub fn strings(array: &Value) -> impl Iterator<Item = &str> {
    array
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

pub fn length(value: &Value) -> usize {
    value.as_array().map_or_else(
        || value.as_object().map_or(0, serde_json::Map::len),
        Vec::len,
    )
}

pub fn or_none(text: String) -> String {
    if text.is_empty() {
        "<none>".to_owned()
    } else {
        text
    }
}

/// `a=b,c=d`, sorted.
pub fn labels(map: &Value) -> String {
    let mut pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    pairs.join(",")
}

/// Whether the object's condition of this type is `True`; `None` if it has no such condition.
pub fn condition(object: &Value, kind: &str) -> Option<bool> {
    items(object, "status.conditions")
        .find(|condition| condition["type"] == kind)
        .map(|condition| condition["status"] == "True")
}

/// The first few of a list, and how many more there are.
pub fn first_few(list: impl Iterator<Item = String>, shown_max: usize, empty: &str) -> String {
    let all: Vec<String> = list.collect();
    if all.len() > shown_max {
        return format!(
            "{} + {} more...",
            all[..shown_max].join(","),
            all.len() - shown_max
        );
    }
    let joined = all.join(",");
    if joined.is_empty() {
        empty.to_owned()
    } else {
        joined
    }
}
