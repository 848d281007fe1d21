//! What kubectl shows of workloads: templates, replicas, jobs, autoscalers.

use serde_json::Value;

use super::age;
use super::cells::{Argument, Functions, at, condition, items, number_at, or_none, text, text_at};

pub const FUNCTIONS: Functions = &[
    ("containers", |object, argument| {
        template_column(object, argument.of, "name")
    }),
    ("images", |object, argument| {
        template_column(object, argument.of, "image")
    }),
    ("ready_replicas", |object, _| {
        format!(
            "{}/{}",
            number_at(object, "status.readyReplicas"),
            number_at(object, "spec.replicas")
        )
        .into()
    }),
    ("controller", controller),
    ("job_status", job_status),
    ("job_completions", job_completions),
    ("job_duration", job_duration),
    ("scale_target", |object, _| {
        format!(
            "{}/{}",
            text_at(object, "spec.scaleTargetRef.kind"),
            text_at(object, "spec.scaleTargetRef.name")
        )
        .into()
    }),
    ("metrics", metrics),
];

fn template_column(object: &Value, pod_spec: &str, field: &str) -> Value {
    let containers = items(at(object, pod_spec), "containers");
    containers
        .map(|container| text_at(container, field))
        .collect::<Vec<_>>()
        .join(",")
        .into()
}

fn controller(object: &Value, _: &Argument<'_>) -> Value {
    let owner = items(object, "metadata.ownerReferences").find(|owner| owner["controller"] == true);
    let Some(owner) = owner else {
        return "<none>".into();
    };
    let kind = text_at(owner, "kind").to_lowercase();
    match text_at(owner, "apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text_at(owner, "name")).into(),
        None => format!("{kind}/{}", text_at(owner, "name")).into(),
    }
}

fn job_status(job: &Value, _: &Argument<'_>) -> Value {
    let holds = |kind| condition(job, kind) == Some(true);
    let status = if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if !at(job, "metadata.deletionTimestamp").is_null() {
        "Terminating"
    } else {
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
            .into_iter()
            .find(|kind| holds(kind))
            .unwrap_or("Running")
    };
    status.into()
}

fn job_completions(job: &Value, _: &Argument<'_>) -> Value {
    let succeeded = number_at(job, "status.succeeded");
    let parallelism = number_at(job, "spec.parallelism");
    match at(job, "spec.completions").as_i64() {
        Some(completions) => format!("{succeeded}/{completions}").into(),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}").into(),
        None => format!("{succeeded}/1").into(),
    }
}

fn job_duration(job: &Value, argument: &Argument<'_>) -> Value {
    let time = |path| at(job, path).as_str().and_then(age::parse_time);
    let Some(start) = time("status.startTime") else {
        return "".into();
    };
    age::human_duration(time("status.completionTime").unwrap_or(argument.now_seconds) - start)
        .into()
}

const METRICS_SHOWN_MAX: usize = 2;

fn metrics(autoscaler: &Value, _: &Argument<'_>) -> Value {
    let statuses = at(autoscaler, "status.currentMetrics");
    let specs = items(autoscaler, "spec.metrics");
    let mut shown: Vec<String> = specs
        .enumerate()
        .map(|(index, spec)| metric(spec, &statuses[index]))
        .collect();
    let count = shown.len();
    shown.truncate(METRICS_SHOWN_MAX);
    let joined = or_none(shown.join(", "));
    if count > METRICS_SHOWN_MAX {
        format!("{joined} + {} more...", count - METRICS_SHOWN_MAX).into()
    } else {
        joined.into()
    }
}

/// One metric: current and target, in the unit in which the target is given.
fn metric(spec: &Value, status: &Value) -> String {
    let source = match text_at(spec, "type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let (target, current) = (&spec[source]["target"], &status[source]["current"]);
    let known = |value: &Value, unknown: &str| {
        if value.is_null() {
            unknown.to_owned()
        } else {
            text(value)
        }
    };
    let average = known(&current["averageValue"], "<unknown>");
    match source {
        "resource" | "containerResource" => {
            let name = text_at(&spec[source], "name");
            if !target["averageValue"].is_null() {
                return format!("{name}: {average}/{}", text(&target["averageValue"]));
            }
            let percent = |value: &Value, unknown: &str| {
                value
                    .as_i64()
                    .map_or(unknown.to_owned(), |value| format!("{value}%"))
            };
            let utilization = percent(&current["averageUtilization"], "<unknown>");
            format!(
                "{name}: {utilization}/{}",
                percent(&target["averageUtilization"], "<auto>")
            )
        }
        "pods" => format!("{average}/{}", known(&target["averageValue"], "0")),
        _ if !target["averageValue"].is_null() => {
            format!("{average}/{} (avg)", text(&target["averageValue"]))
        }
        _ => {
            let unknown = if current.is_null() { "<unknown>" } else { "0" };
            format!(
                "{}/{}",
                known(&current["value"], unknown),
                known(&target["value"], "0")
            )
        }
    }
}
