//! Every built-in kind as Go writes it (tools/facts/fixtures), filled and empty: our decoders must give what Go's give.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use kubecore_object::decode::decode;
use kubecore_object::facts::{Gvk, facts};
use kubecore_object::protobuf;
use kubecore_object::tree::Node;
use kubecore_object::write::write_json;
use serde_json::Value;

struct GoObject {
    kind: [String; 3],
    protobuf: Vec<u8>,
    json: String,
}

impl GoObject {
    fn gvk(&self) -> Gvk<'_> {
        let [group, version, kind] = &self.kind;
        Gvk::new(group, version, kind)
    }
}

fn go_objects() -> Vec<GoObject> {
    let mut text = String::new();
    let packed: &[u8] = include_bytes!("data/built_in_kinds.jsonl.gz");
    GzDecoder::new(packed)
        .read_to_string(&mut text)
        .expect("the fixtures are whole");
    let rows = text.lines().map(|line| {
        let (group, version, kind, protobuf, json): (String, String, String, String, Value) =
            serde_json::from_str(line).expect("the fixtures are JSON");
        GoObject {
            kind: [group, version, kind],
            protobuf: STANDARD.decode(protobuf).expect("the fixtures are base64"),
            json: json.to_string(),
        }
    });
    rows.collect()
}

fn written(node: &Node<'_>) -> Value {
    let mut out = Vec::new();
    write_json(node, &mut out);
    serde_json::from_slice(&out).expect("what we write is JSON")
}

/// JSON whose numbers are compared by value: Go writes 75 for a float of 75.0.
fn expected(json: &str) -> Value {
    serde_json::from_str(json).expect("the fixtures are JSON")
}

/// The first place where two values differ.
fn difference(ours: &Value, theirs: &Value, path: String) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(left), Value::Object(right)) => {
            let names = left
                .keys()
                .chain(right.keys().filter(|name| !left.contains_key(*name)));
            names.into_iter().find_map(|name| {
                let (left, right) = (left.get(name), right.get(name));
                match (left, right) {
                    (Some(left), Some(right)) => difference(left, right, format!("{path}.{name}")),
                    _ => Some(format!("{path}.{name}: ours {left:?}, Go's {right:?}")),
                }
            })
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs.into_iter().find_map(|(place, (left, right))| {
                difference(left, right, format!("{path}[{place}]"))
            })
        }
        _ if ours == theirs => None,
        _ => Some(format!("{path}: ours {ours}, Go's {theirs}")),
    }
}

#[test]
fn protobuf_and_json_of_every_kind_are_read_as_go_reads_them() {
    let objects = go_objects();
    let mut wrong = Vec::new();
    for object in &objects {
        let theirs = expected(&object.json);
        for (name, decoded) in [
            ("json", decode(object.gvk(), object.json.as_bytes())),
            ("protobuf", protobuf::decode(object.gvk(), &object.protobuf)),
        ] {
            match decoded {
                Ok(decoded) => {
                    assert!(
                        decoded.strict_errors.is_empty(),
                        "{}: {:?}",
                        object.gvk(),
                        decoded.strict_errors
                    );
                    if let Some(difference) =
                        difference(&written(&decoded.object), &theirs, String::new())
                    {
                        wrong.push(format!("{} {name}: {difference}", object.gvk()));
                    }
                }
                Err(error) => wrong.push(format!("{} {name}: {error}", object.gvk())),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        objects.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_resource_is_among_them() {
    let objects = go_objects();
    for resource in &facts().resources {
        assert!(
            objects.iter().any(|object| object.gvk() == resource.gvk()),
            "{}",
            resource.gvk()
        );
    }
}

#[test]
fn fields_are_written_in_gos_order() {
    for object in go_objects() {
        let decoded = decode(object.gvk(), object.json.as_bytes()).expect("Go's objects are good");
        let mut out = Vec::new();
        write_json(&decoded.object, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            object.json,
            "{}",
            object.gvk()
        );
    }
}

#[test]
fn no_cut_or_changed_message_does_more_than_fail() {
    for object in go_objects()
        .iter()
        .filter(|object| ["Service", "Lease"].contains(&&*object.kind[2]))
    {
        for cut in 0..object.protobuf.len() {
            let _ = protobuf::decode(object.gvk(), &object.protobuf[..cut]);
        }
        for place in 4..object.protobuf.len() {
            let mut changed = object.protobuf.clone();
            changed[place] ^= 0xff;
            let _ = protobuf::decode(object.gvk(), &changed);
        }
    }
}
