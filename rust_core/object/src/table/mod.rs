//! Tables: what a client shows that asks for `as=Table`, as upstream's printers would fill it.
//!
//! In: encoded objects as they are stored, and what the client asked for. Out: one encoded Table of meta.k8s.io. What the columns of a
//! resource are is data (`columns.json`); what needs more than a path is a named function (`cells*.rs`). All columns are always sent;
//! those that only `-o wide` shows have priority 1.

pub mod age;
mod cells;
mod cells_cluster;
mod cells_network;
mod cells_pod;
mod cells_storage;
mod cells_workload;
mod columns;

use serde_json::{Map, Value, json};

use crate::convert;
use crate::partial;
use crate::scan;

/// How much of each object a row carries (`?includeObject=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// The metadata of the list that the table stands for.
#[derive(Clone, Debug, Default)]
pub struct ListMetadata {
    /// Empty: that of the object, if there is exactly one.
    pub resource_version: String,
    /// The continue token; empty if the list ends here.
    pub continue_token: String,
    pub remaining: Option<u64>,
}

impl ListMetadata {
    /// As a list's `metadata`: only what is set.
    pub fn to_json(&self) -> Value {
        let mut metadata = Map::new();
        if !self.resource_version.is_empty() {
            metadata.insert(
                "resourceVersion".to_owned(),
                self.resource_version.as_str().into(),
            );
        }
        if !self.continue_token.is_empty() {
            metadata.insert("continue".to_owned(), self.continue_token.as_str().into());
        }
        if let Some(remaining) = self.remaining {
            metadata.insert("remainingItemCount".to_owned(), remaining.into());
        }
        Value::Object(metadata)
    }
}

/// What is asked of a table.
#[derive(Clone, Debug)]
pub struct TableRequest<'a> {
    pub group: &'a str,
    /// The version of the objects that rows carry.
    pub version: &'a str,
    pub resource: &'a str,
    /// `v1` or `v1beta1`: of meta.k8s.io.
    pub table_version: &'a str,
    pub include_object: IncludeObject,
    /// Ages count from here; seconds since 1970.
    pub now_seconds: f64,
    /// A watch sends the column definitions with its first event only.
    pub column_definitions: bool,
    pub metadata: ListMetadata,
}

/// An object in a table is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("a stored object is not JSON: {0}")]
pub struct TableError(#[from] serde_json::Error);

/// Encodes a table of these objects. For a watch event, call it with the event's one object.
pub fn table<'a>(
    request: &TableRequest<'_>,
    objects: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, TableError> {
    let columns = columns::columns(request.group, request.resource);
    let mut rows = Vec::new();
    let (mut count, mut only_version) = (0usize, String::new());
    for bytes in objects {
        if count > 0 {
            rows.push(b',');
        } else if let Some(version) = scan::find_text(bytes, &["metadata", "resourceVersion"]) {
            only_version = version.into_owned();
        }
        count += 1;
        row(request, columns, bytes, &mut rows)?;
    }
    let mut metadata = request.metadata.clone();
    if metadata.resource_version.is_empty() && count == 1 {
        metadata.resource_version = only_version;
    }
    let definitions = match request.column_definitions {
        true => Value::Array(
            columns
                .iter()
                .map(|column| column.definition.clone())
                .collect(),
        ),
        false => Value::Null,
    };
    let api_version = format!("meta.k8s.io/{}", request.table_version);
    let head = json!({"kind": "Table", "apiVersion": api_version, "metadata": metadata.to_json(), "columnDefinitions": definitions});
    let mut encoded = head.to_string().into_bytes();
    encoded.pop();
    encoded.extend_from_slice(b",\"rows\":[");
    encoded.append(&mut rows);
    encoded.extend_from_slice(b"]}");
    Ok(encoded)
}

fn row(
    request: &TableRequest<'_>,
    columns: &[columns::Column],
    bytes: &[u8],
    rows: &mut Vec<u8>,
) -> Result<(), TableError> {
    let object: Value = convert::to_stored_version(serde_json::from_slice(bytes)?);
    let cells: Vec<Value> = columns
        .iter()
        .map(|column| column.cell(&object, request.now_seconds))
        .collect();
    rows.extend_from_slice(b"{\"cells\":");
    rows.extend_from_slice(Value::Array(cells).to_string().as_bytes());
    if let Some(conditions) = row_conditions(request, &object) {
        rows.extend_from_slice(b",\"conditions\":");
        rows.extend_from_slice(conditions.to_string().as_bytes());
    }
    rows.extend_from_slice(b",\"object\":");
    match request.include_object {
        IncludeObject::None => rows.extend_from_slice(b"null"),
        IncludeObject::Metadata => {
            partial::write_partial_metadata(bytes, request.table_version, rows)
        }
        IncludeObject::Object => {
            rows.extend_from_slice(&convert::convert(bytes, request.group, request.version)?)
        }
    }
    rows.push(b'}');
    Ok(())
}

/// A pod that is over marks its row as completed.
fn row_conditions(request: &TableRequest<'_>, object: &Value) -> Option<Value> {
    if !request.group.is_empty() || request.resource != "pods" {
        return None;
    }
    let (reason, message) = match object["status"]["phase"].as_str()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

#[cfg(test)]
mod tests;
