//! Operations as each version of OpenAPI writes them: parameters, bodies, answers, and what Kubernetes adds.

use serde_json::{Map, Value, json};

use super::paths::{Action, Operation, PathItem};
use super::schema::Dialect;
use crate::facts::DefinitionId;

const JSON: &str = "application/json";
const PATCH_MEDIA_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// A query parameter: name and type.
type Parameter = (&'static str, &'static str);

const WRITE: &[Parameter] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];
const PATCH: &[Parameter] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
];
const DELETE: &[Parameter] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
    ),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const SELECT: &[Parameter] = &[
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
];
const WATCH: &[Parameter] = &[("allowWatchBookmarks", "boolean"), ("watch", "boolean")];

/// A path's parameters and operations.
pub(super) fn path_item(item: &PathItem, dialect: Dialect) -> Value {
    let mut rendered = Map::new();
    let tag = &item.tag;
    for operation in &item.operations {
        rendered.insert(operation.method.to_owned(), render(operation, tag, dialect));
    }
    let mut parameters: Vec<Value> = ["name", "namespace"]
        .into_iter()
        .filter(|name| item.path.contains(&format!("{{{name}}}")))
        .map(|name| parameter(name, "string", "path", dialect))
        .collect();
    if item
        .operations
        .iter()
        .any(|operation| !matches!(operation.action, Action::Connect | Action::Discovery))
    {
        parameters.push(parameter("pretty", "string", "query", dialect));
    }
    if !parameters.is_empty() {
        rendered.insert("parameters".to_owned(), parameters.into());
    }
    Value::Object(rendered)
}

fn render(operation: &Operation, tag: &str, dialect: Dialect) -> Value {
    let mut parameters = query_parameters(operation.action, dialect);
    let mut rendered = Map::from_iter([("operationId".to_owned(), operation.id.as_str().into())]);
    match (dialect, operation.body) {
        (Dialect::V2, body) => {
            if let Some(body) = body {
                parameters.insert(0, body_parameter(operation.action, body));
            }
            let consumes = if operation.action == Action::Patch {
                json!(PATCH_MEDIA_TYPES)
            } else {
                json!(["*/*"])
            };
            rendered.insert("consumes".to_owned(), consumes);
            let produces = if operation.answer.is_some() {
                JSON
            } else {
                "*/*"
            };
            rendered.insert("produces".to_owned(), json!([produces]));
            rendered.insert("schemes".to_owned(), json!(["https"]));
        }
        (Dialect::V3, Some(body)) => {
            rendered.insert(
                "requestBody".to_owned(),
                request_body(operation.action, body),
            );
        }
        (Dialect::V3, None) => {}
    }
    if !parameters.is_empty() {
        rendered.insert("parameters".to_owned(), parameters.into());
    }
    rendered.insert("responses".to_owned(), responses(operation, dialect));
    rendered.insert("tags".to_owned(), json!([tag]));
    if let Some(action) = action_name(operation.action) {
        rendered.insert("x-kubernetes-action".to_owned(), action.into());
    }
    if let Some(gvk) = operation.gvk {
        let gvk = json!({"group": gvk.group, "kind": gvk.kind, "version": gvk.version});
        rendered.insert("x-kubernetes-group-version-kind".to_owned(), gvk);
    }
    Value::Object(rendered)
}

fn action_name(action: Action) -> Option<&'static str> {
    match action {
        Action::Get => Some("get"),
        Action::List => Some("list"),
        Action::Create => Some("post"),
        Action::Replace => Some("put"),
        Action::Patch => Some("patch"),
        Action::Delete => Some("delete"),
        Action::DeleteCollection => Some("deletecollection"),
        Action::Connect => Some("connect"),
        Action::Discovery => None,
    }
}

fn query_parameters(action: Action, dialect: Dialect) -> Vec<Value> {
    let groups: &[&[Parameter]] = match action {
        Action::List => &[SELECT, WATCH],
        Action::Create | Action::Replace => &[WRITE],
        Action::Patch => &[PATCH],
        Action::Delete => &[DELETE],
        Action::DeleteCollection => &[DELETE, SELECT],
        Action::Get | Action::Connect | Action::Discovery => &[],
    };
    let mut all: Vec<Parameter> = groups.concat();
    all.sort_unstable();
    all.into_iter()
        .map(|(name, kind)| parameter(name, kind, "query", dialect))
        .collect()
}

/// Written out everywhere: kubectl looks for `fieldValidation` and `dryRun` in the operation itself, not behind references.
fn parameter(name: &str, kind: &str, place: &str, dialect: Dialect) -> Value {
    let mut parameter = Map::from_iter([
        ("in".to_owned(), place.into()),
        ("name".to_owned(), name.into()),
    ]);
    if place == "path" {
        parameter.insert("required".to_owned(), true.into());
    }
    match dialect {
        Dialect::V2 => {
            parameter.insert("type".to_owned(), kind.into());
            parameter.insert("uniqueItems".to_owned(), true.into());
        }
        Dialect::V3 => {
            parameter.insert(
                "schema".to_owned(),
                json!({"type": kind, "uniqueItems": true}),
            );
        }
    }
    Value::Object(parameter)
}

/// Only a deletion can do without a body.
fn is_body_required(action: Action) -> bool {
    !matches!(action, Action::Delete | Action::DeleteCollection)
}

fn body_parameter(action: Action, body: DefinitionId) -> Value {
    let mut parameter =
        json!({"in": "body", "name": "body", "schema": {"$ref": Dialect::V2.reference(body)}});
    if is_body_required(action) {
        parameter["required"] = true.into();
    }
    parameter
}

fn request_body(action: Action, body: DefinitionId) -> Value {
    let schema = json!({"schema": {"$ref": Dialect::V3.reference(body)}});
    let media_types: &[&str] = if action == Action::Patch {
        &PATCH_MEDIA_TYPES
    } else {
        &["*/*"]
    };
    let content: Map<String, Value> = media_types
        .iter()
        .map(|media_type| ((*media_type).to_owned(), schema.clone()))
        .collect();
    let mut body = json!({"content": content});
    if is_body_required(action) {
        body["required"] = true.into();
    }
    body
}

fn responses(operation: &Operation, dialect: Dialect) -> Value {
    let codes: &[(&str, &str)] = match operation.action {
        Action::Create => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
        Action::Replace | Action::Patch => &[("200", "OK"), ("201", "Created")],
        Action::Delete => &[("200", "OK"), ("202", "Accepted")],
        _ => &[("200", "OK")],
    };
    let schema = match operation.answer {
        Some(answer) => json!({"$ref": dialect.reference(answer)}),
        None => json!({"type": "string"}),
    };
    let media_type = if operation.answer.is_some() {
        JSON
    } else {
        "*/*"
    };
    let answer = |text: &str| match dialect {
        Dialect::V2 => json!({"description": text, "schema": schema}),
        Dialect::V3 => json!({"description": text, "content": {media_type: {"schema": schema}}}),
    };
    let mut rendered: Map<String, Value> = codes
        .iter()
        .map(|(code, text)| ((*code).to_owned(), answer(text)))
        .collect();
    rendered.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    Value::Object(rendered)
}
