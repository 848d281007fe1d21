//! The columns of each resource: the overlay `columns.json`, read once.
//!
//! A key is `<plural>` for the core group or `<plural>.<group>`; the empty key stands for all other resources. A column takes its cell
//! from `path` (with `absent` for a missing or empty value), or from the function that `compute` names, which gets `of` and `absent`.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::cells::{self, Cell};

/// One column: what clients are told of it, and how its cell is made.
pub struct Column {
    /// name, type, format, description, priority: as the table's JSON has them.
    pub definition: Value,
    source: Source,
}

enum Source {
    Path {
        path: String,
        absent: Value,
    },
    Compute {
        function: Cell,
        of: String,
        absent: Value,
    },
}

impl Column {
    pub fn cell(&self, object: &Value, now_seconds: f64) -> Value {
        match &self.source {
            Source::Path { path, absent } => match cells::at(object, path) {
                Value::Null => absent.clone(),
                Value::String(text) if text.is_empty() => absent.clone(),
                value => value.clone(),
            },
            Source::Compute {
                function,
                of,
                absent,
            } => function(
                object,
                &cells::Argument {
                    of,
                    absent,
                    now_seconds,
                },
            ),
        }
    }
}

/// The columns of a resource.
pub fn columns(group: &str, resource: &str) -> &'static [Column] {
    static COLUMNS: OnceLock<HashMap<String, Vec<Column>>> = OnceLock::new();
    let all = COLUMNS.get_or_init(load);
    let key = if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    };
    all.get(&key)
        .or_else(|| all.get(""))
        .map_or(&[], Vec::as_slice)
}

fn load() -> HashMap<String, Vec<Column>> {
    let overlay: Map<String, Value> = serde_json::from_str(include_str!("columns.json"))
        .expect("columns.json is compiled in; a test loads all of it");
    let rows = |columns: &Value| {
        columns
            .as_array()
            .into_iter()
            .flatten()
            .map(column)
            .collect()
    };
    overlay
        .iter()
        .map(|(resource, columns)| (resource.clone(), rows(columns)))
        .collect()
}

fn column(row: &Value) -> Column {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let mut definition = Map::new();
    for key in ["name", "type", "format", "description"] {
        definition.insert(key.to_owned(), text(key).into());
    }
    definition.insert(
        "priority".to_owned(),
        row["priority"].as_i64().unwrap_or(0).into(),
    );
    let absent = row.get("absent").cloned().unwrap_or_else(|| "".into());
    let source = match row.get("compute") {
        Some(name) => {
            let function = cells::function(name.as_str().unwrap_or_default());
            let function = function.expect("columns.json is compiled in; a test loads all of it");
            Source::Compute {
                function,
                of: text("of").to_owned(),
                absent,
            }
        }
        None => Source::Path {
            path: text("path").to_owned(),
            absent,
        },
    };
    Column {
        definition: Value::Object(definition),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_the_overlay_has_a_source_and_every_function_is_used() {
        let overlay: Map<String, Value> =
            serde_json::from_str(include_str!("columns.json")).unwrap();
        let rows: Vec<&Value> = overlay
            .values()
            .flat_map(|columns| columns.as_array().unwrap())
            .collect();
        for row in &rows {
            assert!(
                row["path"].is_string() != row["compute"].is_string(),
                "{row}"
            );
        }
        assert_eq!(load().len(), overlay.len());
        for (name, _) in cells::FUNCTIONS
            .iter()
            .flat_map(|functions| functions.iter())
        {
            assert!(
                rows.iter().any(|row| row["compute"] == *name),
                "{name} is not used"
            );
        }
    }

    #[test]
    fn a_resource_without_columns_shows_its_name_and_when_it_was_created() {
        let names: Vec<_> = columns("example.com", "things")
            .iter()
            .map(|column| column.definition["name"].clone())
            .collect();
        assert_eq!(names, ["Name", "Created At"]);
    }
}
