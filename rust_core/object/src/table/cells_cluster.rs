//! What kubectl shows of nodes, events, quotas, roles, requests and policies.

use std::collections::BTreeSet;

use serde_json::Value;

use super::age;
use super::cells::{
    Argument, Functions, at, condition, items, length, number_at, or_none, text, text_at,
};

pub const FUNCTIONS: Functions = &[
    ("node_status", |node, _| {
        let ready = condition(node, "Ready")
            .map_or("Unknown", |ready| if ready { "Ready" } else { "NotReady" });
        let closed = if at(node, "spec.unschedulable") == true {
            ",SchedulingDisabled"
        } else {
            ""
        };
        format!("{ready}{closed}").into()
    }),
    ("node_roles", node_roles),
    ("node_address", |node, argument| {
        let address =
            items(node, "status.addresses").find(|address| address["type"] == argument.of);
        address
            .map_or("<none>", |address| text_at(address, "address"))
            .into()
    }),
    ("event_last_seen", |event, argument| {
        event_last_seen(event, argument.now_seconds).into()
    }),
    ("event_first_seen", |event, argument| {
        event_first_seen(event, argument.now_seconds).into()
    }),
    ("event_object", |event, _| {
        let kind = text_at(event, "involvedObject.kind").to_lowercase();
        match text_at(event, "involvedObject.name") {
            "" => kind.into(),
            name => format!("{kind}/{name}").into(),
        }
    }),
    ("event_source", event_source),
    ("event_message", |event, _| {
        text_at(event, "message").trim().into()
    }),
    ("event_count", |event, _| match &event["series"] {
        Value::Null => number_at(event, "count").max(1).into(),
        series => number_at(series, "count").into(),
    }),
    ("configmap_entries", |map, _| {
        (length(&map["data"]) + length(&map["binaryData"])).into()
    }),
    ("component_status", |component, _| {
        healthy(component)
            .map_or("Unknown", |health| {
                if health["status"] == "True" {
                    "Healthy"
                } else {
                    "Unhealthy"
                }
            })
            .into()
    }),
    ("component_condition", |component, argument| {
        healthy(component)
            .map_or("", |health| text_at(health, argument.of))
            .into()
    }),
    ("role_reference", |binding, _| {
        format!(
            "{}/{}",
            text_at(binding, "roleRef.kind"),
            text_at(binding, "roleRef.name")
        )
        .into()
    }),
    ("subjects", subjects),
    ("quota", quota),
    ("signing_request_condition", signing_request_condition),
    ("certificate_request_state", |request, _| {
        let decided = |condition: &&Value| {
            matches!(text_at(condition, "type"), "Issued" | "Denied" | "Failed")
        };
        items(request, "status.conditions")
            .rfind(decided)
            .map_or("Pending", |found| text_at(found, "type"))
            .into()
    }),
    ("parameter_kind", |policy, _| {
        match at(policy, "spec.paramKind") {
            Value::Null => "<unset>".into(),
            kind => format!("{}/{}", text_at(kind, "apiVersion"), text_at(kind, "kind")).into(),
        }
    }),
    ("parameter_reference", parameter_reference),
    ("dangling", |schema, _| {
        items(schema, "status.conditions")
            .find(|found| found["type"] == "Dangling")
            .map_or("?", |found| text_at(found, "status"))
            .into()
    }),
    ("claim_state", claim_state),
    ("api_service", |service, _| {
        match at(service, "spec.service") {
            Value::Null => "Local".into(),
            target => format!(
                "{}/{}",
                text_at(target, "namespace"),
                text_at(target, "name")
            )
            .into(),
        }
    }),
    ("api_service_available", |service, _| {
        match items(service, "status.conditions").find(|found| found["type"] == "Available") {
            None => "Unknown".into(),
            Some(found) if found["status"] == "True" => "True".into(),
            Some(found) => format!(
                "{} ({})",
                text_at(found, "status"),
                text_at(found, "reason")
            )
            .into(),
        }
    }),
];

fn node_roles(node: &Value, _: &Argument<'_>) -> Value {
    let labels = at(node, "metadata.labels")
        .as_object()
        .into_iter()
        .flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role),
                None if key == "kubernetes.io/role" => value.as_str(),
                None => None,
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    or_none(roles.into_iter().collect::<Vec<_>>().join(",")).into()
}

fn event_first_seen(event: &Value, now_seconds: f64) -> String {
    let time = event["firstTimestamp"]
        .as_str()
        .or_else(|| event["eventTime"].as_str());
    age::since(time, now_seconds)
}

fn event_last_seen(event: &Value, now_seconds: f64) -> String {
    match (&event["series"], event["lastTimestamp"].as_str()) {
        (Value::Null, None) => event_first_seen(event, now_seconds),
        (Value::Null, time) => age::since(time, now_seconds),
        (series, _) => age::since(series["lastObservedTime"].as_str(), now_seconds),
    }
}

fn event_source(event: &Value, _: &Argument<'_>) -> Value {
    let first = |paths: [&str; 2]| {
        paths
            .into_iter()
            .map(|path| text_at(event, path))
            .find(|text| !text.is_empty())
            .unwrap_or("")
    };
    let component = first(["source.component", "reportingComponent"]);
    match first(["source.host", "reportingInstance"]) {
        "" => component.into(),
        instance => format!("{component}, {instance}").into(),
    }
}

fn healthy(component: &Value) -> Option<&Value> {
    items(component, "conditions").find(|condition| condition["type"] == "Healthy")
}

fn subjects(binding: &Value, argument: &Argument<'_>) -> Value {
    let of_kind = items(binding, "subjects").filter(|subject| subject["kind"] == argument.of);
    let name = |subject: &Value| match argument.of {
        "ServiceAccount" => format!(
            "{}/{}",
            text_at(subject, "namespace"),
            text_at(subject, "name")
        ),
        _ => text_at(subject, "name").to_owned(),
    };
    of_kind.map(name).collect::<Vec<_>>().join(", ").into()
}

fn quota(quota: &Value, argument: &Argument<'_>) -> Value {
    let hard = at(quota, "status.hard").as_object();
    let mut resources: Vec<(&String, &Value)> = hard.into_iter().flatten().collect();
    resources.sort_by_key(|(name, _)| *name);
    let is_limit = |name: &str| name.starts_with("limits.");
    let used = |name: &str| match &at(quota, "status.used")[name] {
        Value::Null => "0".to_owned(),
        used => text(used),
    };
    let mine = resources
        .into_iter()
        .filter(|(name, _)| is_limit(name) == (argument.of == "limits"));
    mine.map(|(name, hard)| format!("{name}: {}/{}", used(name), text(hard)))
        .collect::<Vec<_>>()
        .join(", ")
        .into()
}

fn signing_request_condition(request: &Value, _: &Argument<'_>) -> Value {
    let has =
        |kind: &str| items(request, "status.conditions").any(|condition| condition["type"] == kind);
    let decision = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    };
    let failed = if has("Failed") { ",Failed" } else { "" };
    let issued = if text_at(request, "status.certificate").is_empty() {
        ""
    } else {
        ",Issued"
    };
    format!("{decision}{failed}{issued}").into()
}

fn parameter_reference(binding: &Value, _: &Argument<'_>) -> Value {
    let reference = at(binding, "spec.paramRef");
    match (
        text_at(reference, "name"),
        text_at(reference, "namespace"),
        &reference["selector"],
    ) {
        ("", _, Value::Null) => "<unset>".into(),
        ("", _, selector) => selector.to_string().into(),
        (name, "", _) => format!("*/{name}").into(),
        (name, namespace, _) => format!("{namespace}/{name}").into(),
    }
}

fn claim_state(claim: &Value, _: &Argument<'_>) -> Value {
    let deleted = !at(claim, "metadata.deletionTimestamp").is_null();
    let allocated = !at(claim, "status.allocation").is_null();
    let reserved = allocated && items(claim, "status.reservedFor").len() > 0;
    let states = [
        ("deleted", deleted),
        ("pending", !deleted && !allocated),
        ("allocated", allocated),
        ("reserved", reserved),
    ];
    states
        .into_iter()
        .filter(|(_, holds)| *holds)
        .map(|(state, _)| state)
        .collect::<Vec<_>>()
        .join(",")
        .into()
}
