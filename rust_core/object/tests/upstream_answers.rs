//! Many bodies, and what kube-apiserver's own decoder makes of them (tools/facts/upstream): the object with its defaults, what
//! strict decoding objects to, or the error. Ours must say the same.

use std::io::Read;

use flate2::read::GzDecoder;
use kubecore_object::decode::decode;
use kubecore_object::default;
use kubecore_object::facts::Gvk;
use kubecore_object::write::write_json;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Answer {
    kind: [String; 3],
    body: String,
    object: Option<Value>,
    #[serde(default)]
    strict: Vec<String>,
    #[serde(default)]
    error: String,
}

/// What upstream adds while it converts between versions; `convert` and the registry's strategies know these.
const CONVERSIONS: [(&str, &str); 2] = [
    ("DaemonSet", "/metadata/annotations"),
    (
        "HorizontalPodAutoscaler",
        "/spec/targetCPUUtilizationPercentage",
    ),
];

fn answers() -> Vec<Answer> {
    let mut text = String::new();
    let packed: &[u8] = include_bytes!("data/upstream_answers.jsonl.gz");
    GzDecoder::new(packed)
        .read_to_string(&mut text)
        .expect("the answers are whole");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("the answers are JSON"))
        .collect()
}

fn without_conversions(kind: &str, mut object: Value) -> Value {
    for (_, pointer) in CONVERSIONS.iter().filter(|(of, _)| *of == kind) {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
        if let Some(Value::Object(entries)) = object.pointer_mut(parent) {
            entries.shift_remove(name);
        }
    }
    object
}

/// None if ours is upstream's.
fn difference(answer: &Answer) -> Option<String> {
    let [group, version, kind] = &answer.kind;
    let decoded = decode(Gvk::new(group, version, kind), answer.body.as_bytes());
    let mut decoded = match decoded {
        Err(error) if !answer.error.is_empty() => {
            // Upstream wraps the decoder's error as ours is; the kind, if it was read, stands before it.
            let message = error.to_string();
            return (!message.contains(&answer.error)).then_some(message);
        }
        Err(error) => return Some(error.to_string()),
        Ok(_) if !answer.error.is_empty() => return Some("no error".to_owned()),
        Ok(decoded) => decoded,
    };
    if decoded.strict_errors != answer.strict {
        return Some(format!("{:?}", decoded.strict_errors));
    }
    default::apply(&mut decoded.object);
    let mut out = Vec::new();
    write_json(&decoded.object, &mut out);
    let ours: Value = serde_json::from_slice(&out).expect("what we write is JSON");
    let ours = without_conversions(kind, ours);
    let theirs = without_conversions(kind, answer.object.clone().unwrap_or_default());
    (ours != theirs).then(|| format!("{ours}"))
}

#[test]
fn every_body_is_read_and_defaulted_as_kube_apiserver_does_it() {
    let answers = answers();
    assert!(answers.len() > 200);
    let wrong: Vec<String> = answers
        .iter()
        .filter_map(|answer| {
            let ours = difference(answer)?;
            let theirs = answer
                .object
                .as_ref()
                .map_or(answer.error.clone(), Value::to_string);
            Some(format!(
                "{:?} {}\n  ours     {ours}\n  upstream {theirs} {:?}",
                answer.kind, answer.body, answer.strict
            ))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        answers.len(),
        wrong.join("\n")
    );
}
