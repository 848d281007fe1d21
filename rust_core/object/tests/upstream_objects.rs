//! Random objects, patches and selectors, and what upstream's own code makes of them (tools/objects): cells of tables, other versions,
//! patched objects, matches. Ours must say the same.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::GzDecoder;
use kubecore_object::convert::convert;
use kubecore_object::decode::decode;
use kubecore_object::default;
use kubecore_object::facts::{Gvk, facts};
use kubecore_object::patch::{self, PatchType};
use kubecore_object::selector::Selector;
use kubecore_object::table::{IncludeObject, ListMetadata, TableRequest, table};
use kubecore_object::write::write_json;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Case {
    mode: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    patch: Value,
    #[serde(default)]
    selector: String,
    #[serde(default)]
    labels: HashMap<String, String>,
    now_seconds: f64,
    answer: Answer,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    cells: Value,
    object: Value,
    patch: Value,
    #[serde(rename = "match")]
    matches: bool,
    error: String,
}

fn cases(mode: &str) -> Vec<Case> {
    let mut text = String::new();
    let packed: &[u8] = include_bytes!("data/upstream_objects.jsonl.gz");
    GzDecoder::new(packed)
        .read_to_string(&mut text)
        .expect("the cases are whole");
    let all = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("the cases are JSON"));
    let chosen: Vec<Case> = all.filter(|case: &Case| case.mode == mode).collect();
    assert!(chosen.len() > 100, "{mode}");
    chosen
}

/// The object as its version writes it, with defaults.
fn canonical(object: &Value) -> Result<Vec<u8>, String> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion")
        .split_once('/')
        .unwrap_or(("", text("apiVersion")));
    let body = object.to_string();
    let mut decoded = decode(Gvk::new(group, version, text("kind")), body.as_bytes())
        .map_err(|error| error.to_string())?;
    default::apply(&mut decoded.object);
    let mut out = Vec::new();
    write_json(&decoded.object, &mut out);
    Ok(out)
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("what we write is JSON")
}

fn expect_none(wrong: &[String], of: usize) {
    let shown = wrong
        .iter()
        .take(10)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(wrong.is_empty(), "{} of {of}:\n{shown}", wrong.len());
}

#[test]
fn tables_have_the_cells_that_upstreams_printers_give() {
    let cases = cases("table");
    let wrong = cases.iter().filter_map(|case| {
        let request = TableRequest {
            group: &case.group,
            version: "v1",
            resource: &case.resource,
            table_version: "v1",
            include_object: IncludeObject::None,
            now_seconds: case.now_seconds,
            column_definitions: true,
            metadata: ListMetadata::default(),
        };
        let stored = canonical(&case.object).expect("the cases are objects of their kind");
        let ours = parsed(&table(&request, [stored.as_slice()]).expect("the object is JSON"));
        let cells = &ours["rows"][0]["cells"];
        (*cells != case.answer.cells).then(|| {
            format!(
                "{}\n  ours     {cells}\n  upstream {}",
                case.object, case.answer.cells
            )
        })
    });
    expect_none(&wrong.collect::<Vec<_>>(), cases.len());
}

/// Annotations that hold JSON, parsed, because the order of members means nothing; nothing that is null or empty.
fn comparable(value: Value) -> Value {
    match value {
        Value::String(text) if text.starts_with(['{', '[']) => {
            serde_json::from_str(&text).map_or(Value::String(text), comparable)
        }
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|(key, value)| (key, comparable(value)));
            let empty =
                |value: &Value| value.is_null() || *value == json!({}) || *value == json!([]);
            Value::Object(
                members
                    .filter(|(_, value)| !empty(value))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => items.into_iter().map(comparable).collect(),
        other => other,
    }
}

#[test]
fn objects_convert_to_the_other_version_and_back_as_upstreams_do() {
    let cases = cases("convert");
    let wrong = cases.iter().filter_map(|case| {
        let (group, version) = case.version.split_once('/').expect("a group and a version");
        let stored = canonical(&case.object).expect("the cases are objects of their kind");
        let ours = convert(&stored, group, version)
            .expect("the object is JSON")
            .into_owned();
        let ours = comparable(parsed(&ours));
        let theirs = comparable(parsed(
            &canonical(&case.answer.object).expect("upstream's answer decodes"),
        ));
        (ours != theirs).then(|| format!("ours     {ours}\nupstream {theirs}"))
    });
    expect_none(&wrong.collect::<Vec<_>>(), cases.len());
}

fn patched(case: &Case, patch_type: PatchType, body: &Value) -> Result<Value, String> {
    let kind = case.object["kind"].as_str().unwrap_or_default();
    let group = if kind == "Deployment" { "apps" } else { "" };
    let definition = facts().by_kind(group, "v1", kind);
    let patched = patch::apply(
        patch_type,
        definition,
        case.object.to_string().as_bytes(),
        body.to_string().as_bytes(),
    );
    patched
        .map(|patched| parsed(&patched.object))
        .map_err(|error| error.to_string())
}

#[test]
fn kubectls_own_patches_give_the_object_that_upstream_gives() {
    let cases = cases("strategic");
    let wrong = cases.iter().filter_map(|case| {
        let ours = patched(case, PatchType::Strategic, &case.answer.patch)
            .and_then(|object| canonical(&object));
        let theirs = canonical(&case.answer.object);
        (ours != theirs).then(|| {
            let text = |result: Result<Vec<u8>, String>| {
                result.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            };
            format!(
                "{} on {}\n  ours     {:?}\n  upstream {:?}",
                case.answer.patch,
                case.object,
                text(ours),
                text(theirs)
            )
        })
    });
    expect_none(&wrong.collect::<Vec<_>>(), cases.len());
}

#[test]
fn merge_and_json_patches_give_the_same_object_or_the_same_error() {
    for (mode, patch_type) in [("merge", PatchType::Merge), ("json", PatchType::Json)] {
        let cases = cases(mode);
        let wrong = cases.iter().filter_map(|case| {
            let ours = patched(case, patch_type, &case.patch);
            let theirs = match case.answer.error.as_str() {
                "" => Ok(case.answer.object.clone()),
                error => Err(error.to_owned()),
            };
            (ours != theirs).then(|| {
                format!(
                    "{} on {}\n  ours     {ours:?}\n  upstream {theirs:?}",
                    case.patch, case.object
                )
            })
        });
        expect_none(&wrong.collect::<Vec<_>>(), cases.len());
    }
}

#[test]
fn label_selectors_match_or_are_refused_as_upstreams_are() {
    let cases = cases("label");
    let wrong = cases.iter().filter_map(|case| {
        let selector = Selector::parse(&case.selector).map_err(|error| error.to_string());
        let ours = selector.map(|selector| {
            selector.matches_labels(|key| case.labels.get(key).map(String::as_str))
        });
        let theirs = match case.answer.error.as_str() {
            "" => Ok(case.answer.matches),
            error => Err(error.to_owned()),
        };
        (ours != theirs).then(|| format!("{:?}: ours {ours:?}, upstream {theirs:?}", case.selector))
    });
    expect_none(&wrong.collect::<Vec<_>>(), cases.len());
}
