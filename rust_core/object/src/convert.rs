//! An object in another version of its kind.
//!
//! Most versions of a kind differ in their apiVersion only. Two do not: events (core/v1 and events.k8s.io/v1) and autoscalers
//! (autoscaling/v1 and v2), and both are stored in one form: core/v1 and autoscaling/v2.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::convert_autoscaler;
use crate::decode;
use crate::facts::Gvk;
use crate::scan;
use crate::write;

/// An encoded object in the given group and version; the same bytes if it is in that version already.
pub fn convert<'a>(
    object: &'a [u8],
    group: &str,
    version: &str,
) -> Result<Cow<'a, [u8]>, serde_json::Error> {
    let wanted = api_version(group, version);
    if scan::find_text(object, &["apiVersion"]).as_deref() == Some(wanted.as_str()) {
        return Ok(Cow::Borrowed(object));
    }
    let kind = scan::find_text(object, &["kind"])
        .unwrap_or_default()
        .into_owned();
    let converted = convert_value(serde_json::from_slice(object)?, group, version);
    let bytes = converted.to_string().into_bytes();
    Ok(Cow::Owned(if RESHAPED.contains(&kind.as_str()) {
        canonical(group, version, &kind, bytes)
    } else {
        bytes
    }))
}

/// Kinds whose versions differ in more than their name: what one version always writes, another leaves out.
const RESHAPED: [&str; 2] = ["Event", "HorizontalPodAutoscaler"];

/// The object as its own version writes it. One that does not decode stays as it is.
fn canonical(group: &str, version: &str, kind: &str, bytes: Vec<u8>) -> Vec<u8> {
    let Ok(decoded) = decode::decode(Gvk::new(group, version, kind), &bytes) else {
        return bytes;
    };
    let mut out = Vec::with_capacity(bytes.len());
    write::write_json(&decoded.object, &mut out);
    out
}

/// A decoded object in the given group and version.
pub fn convert_value(object: Value, group: &str, version: &str) -> Value {
    let wanted = api_version(group, version);
    if object["apiVersion"] == wanted.as_str() {
        return object;
    }
    let Value::Object(mut object) = object else {
        return object;
    };
    match object.get("kind").and_then(Value::as_str) {
        Some("Event") => object = rename(object, EVENT_FIELDS, group.is_empty()),
        Some("HorizontalPodAutoscaler") if version == "v1" => {
            convert_autoscaler::to_v1(&mut object)
        }
        Some("HorizontalPodAutoscaler") => convert_autoscaler::to_v2(&mut object),
        _ => {}
    }
    object.insert("apiVersion".to_owned(), wanted.into());
    Value::Object(object)
}

/// The form in which the kind is stored.
pub fn to_stored_version(object: Value) -> Value {
    match (object["kind"].as_str(), object["apiVersion"].as_str()) {
        (Some("Event"), Some("events.k8s.io/v1")) => convert_value(object, "", "v1"),
        (Some("HorizontalPodAutoscaler"), Some("autoscaling/v1")) => {
            convert_value(object, "autoscaling", "v2")
        }
        _ => object,
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// What a field of an event is called in core/v1 and in events.k8s.io/v1.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: Map<String, Value>, names: &[(&str, &str)], to_left: bool) -> Map<String, Value> {
    let new_name = |key: String| {
        let pair = names
            .iter()
            .find(|(left, right)| key == *(if to_left { right } else { left }));
        pair.map_or(key, |(left, right)| {
            (*(if to_left { left } else { right })).to_owned()
        })
    };
    object
        .into_iter()
        .map(|(key, value)| (new_name(key), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_has_other_names_in_the_other_group_and_comes_back_the_same() {
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"resourceVersion": "3", "name": "e"},
            "involvedObject": {"kind": "Pod"}, "reason": "Scheduled", "message": "text", "source": {"component": "scheduler"},
            "firstTimestamp": null, "lastTimestamp": "2026-01-01T00:00:00Z", "count": 2, "eventTime": null,
            "reportingComponent": "scheduler", "reportingInstance": "", "type": "Normal"
        });
        let other = convert_value(event.clone(), "events.k8s.io", "v1");
        assert_eq!(
            other,
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"resourceVersion": "3", "name": "e"},
                "regarding": {"kind": "Pod"}, "reason": "Scheduled", "note": "text", "deprecatedSource": {"component": "scheduler"},
                "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": "2026-01-01T00:00:00Z", "deprecatedCount": 2,
                "eventTime": null, "reportingController": "scheduler", "reportingInstance": "", "type": "Normal"
            })
        );
        assert_eq!(to_stored_version(other), event);
    }

    #[test]
    fn an_object_in_the_wanted_version_is_not_copied() {
        let bytes = br#"{"apiVersion":"apps/v1","kind":"Deployment"}"#;
        assert!(matches!(
            convert(bytes, "apps", "v1").unwrap(),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn what_the_other_version_always_writes_is_there() {
        let event = br#"{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"e"},"eventTime":null,"note":"n","regarding":{}}"#;
        let converted: Value = serde_json::from_slice(&convert(event, "", "v1").unwrap()).unwrap();
        for field in [
            "source",
            "firstTimestamp",
            "lastTimestamp",
            "eventTime",
            "reportingComponent",
            "reportingInstance",
        ] {
            assert!(converted.get(field).is_some(), "{field}");
        }
        let new = br#"{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"a"},"spec":{"maxReplicas":1},"status":{"desiredReplicas":0,"currentMetrics":null}}"#;
        let old: Value =
            serde_json::from_slice(&convert(new, "autoscaling", "v1").unwrap()).unwrap();
        assert_eq!(
            old["status"],
            json!({"currentReplicas": 0, "desiredReplicas": 0})
        );
    }

    #[test]
    fn versions_of_one_shape_differ_in_their_api_version_only() {
        let bytes =
            br#"{"apiVersion":"resource.k8s.io/v1","kind":"DeviceClass","metadata":{"name":"a"}}"#;
        let converted = convert(bytes, "resource.k8s.io", "v1beta2").unwrap();
        assert_eq!(&*converted, br#"{"apiVersion":"resource.k8s.io/v1beta2","kind":"DeviceClass","metadata":{"name":"a"}}"#);
    }
}
