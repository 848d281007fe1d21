//! OpenAPI documents, made from the fact table: v2 (JSON and protobuf) and v3 (one document per group version).
//!
//! In: nothing but the table. Out: encoded documents, built when first asked for and kept. Only what upstream serves by default is in
//! them, without prose. They are what kubectl needs to validate, explain, apply and patch.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::facts::{DefinitionId, Resource, api_version, facts};

mod operations;
mod paths;
mod protobuf;
mod schema;

use paths::PathItem;
use schema::Dialect;

/// Who may call: a bearer token (a client certificate has no place in OpenAPI).
fn security() -> Value {
    json!({"BearerToken": {"description": "Bearer Token authentication", "in": "header", "name": "authorization", "type": "apiKey"}})
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "unversioned"})
}

/// `/openapi/v2` as JSON.
pub fn v2() -> &'static [u8] {
    static DOCUMENT: OnceLock<Vec<u8>> = OnceLock::new();
    DOCUMENT.get_or_init(|| v2_document().to_string().into_bytes())
}

/// `/openapi/v2` as `application/com.github.proto-openapi.spec.v2.v1.0+protobuf`.
pub fn v2_protobuf() -> &'static [u8] {
    static DOCUMENT: OnceLock<Vec<u8>> = OnceLock::new();
    DOCUMENT.get_or_init(|| protobuf::encode(&v2_document()))
}

/// `/openapi/v3/api/v1` or `/openapi/v3/apis/<group>/<version>` as JSON; `None` if nothing of it is served.
pub fn v3(group: &str, version: &str) -> Option<&'static [u8]> {
    let documents = v3_documents();
    documents
        .get(&path(group, version))
        .map(|document| document.body.as_slice())
}

/// The documents of v3: path (`apis/apps/v1`) and a hash that changes when the document does.
pub fn v3_paths() -> Vec<(String, String)> {
    let documents = v3_documents();
    let ordered = group_versions()
        .into_iter()
        .map(|(group, version)| path(group, version));
    ordered
        .filter_map(|path| {
            documents
                .get(&path)
                .map(|document| (path, document.hash.clone()))
        })
        .collect()
}

struct Document {
    body: Vec<u8>,
    hash: String,
}

fn v3_documents() -> &'static HashMap<String, Document> {
    static DOCUMENTS: OnceLock<HashMap<String, Document>> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        let build = |(group, version): (&str, &str)| {
            let body = v3_document(group, version).to_string().into_bytes();
            let mut hasher = DefaultHasher::new();
            body.hash(&mut hasher);
            (
                path(group, version),
                Document {
                    body,
                    hash: format!("{:016X}", hasher.finish()),
                },
            )
        };
        group_versions().into_iter().map(build).collect()
    })
}

/// What is served, in discovery's order, each once.
fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut seen = BTreeSet::new();
    let all = served().map(|resource| (resource.group, resource.version));
    all.filter(|group_version| seen.insert(*group_version))
        .collect()
}

fn served() -> impl Iterator<Item = &'static Resource> {
    facts().resources.iter().filter(|resource| resource.served)
}

fn path(group: &str, version: &str) -> String {
    let prefix = if group.is_empty() { "api" } else { "apis" };
    format!("{prefix}/{}", api_version(group, version))
}

fn v2_document() -> Value {
    let items: Vec<PathItem> = group_versions()
        .into_iter()
        .flat_map(|(group, version)| paths_of(group, version))
        .collect();
    let rendered: Map<String, Value> = items
        .iter()
        .map(|item| (item.path.clone(), operations::path_item(item, Dialect::V2)))
        .collect();
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": rendered,
        "definitions": schemas(&items, Dialect::V2),
        "securityDefinitions": security(),
        "security": [{"BearerToken": []}],
    })
}

fn v3_document(group: &str, version: &str) -> Value {
    let items = paths_of(group, version);
    let rendered: Map<String, Value> = items
        .iter()
        .map(|item| (item.path.clone(), operations::path_item(item, Dialect::V3)))
        .collect();
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": rendered,
        "components": {"schemas": schemas(&items, Dialect::V3), "securitySchemes": security()},
    })
}

fn paths_of(group: &str, version: &str) -> Vec<PathItem> {
    let resources =
        served().filter(|resource| resource.group == group && resource.version == version);
    let mut items = vec![paths::discovery(group, version)];
    items.extend(resources.flat_map(paths::of_resource));
    items
}

/// The schemas that the operations name, and all that those name.
fn schemas(items: &[PathItem], dialect: Dialect) -> Value {
    let mut wanted: BTreeSet<DefinitionId> = BTreeSet::new();
    let mut pending: Vec<DefinitionId> = items.iter().flat_map(PathItem::definitions).collect();
    // What a watch answers with, which no operation names.
    pending.extend(facts().by_name("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"));
    while let Some(id) = pending.pop() {
        if wanted.insert(id) {
            pending.extend(schema::references(facts().definition(id)));
        }
    }
    let rendered = wanted.into_iter().map(|id| {
        let definition = facts().definition(id);
        (
            definition.name.to_owned(),
            schema::definition(definition, dialect),
        )
    });
    Value::Object(rendered.collect())
}

#[cfg(test)]
mod tests;
