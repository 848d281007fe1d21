//! HorizontalPodAutoscalers between autoscaling/v1 and v2.
//!
//! v1 knows a target for CPU only; what else v2 knows travels in the annotations that upstream uses, in upstream's shapes.

use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const TRAVELLING: [&str; 6] = [
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];
const DEFAULT_CPU_UTILIZATION_PERCENT: i64 = 80;

type Object = Map<String, Value>;

/// v2 → v1.
pub(crate) fn to_v1(object: &mut Object) {
    drop_annotations(object);
    if let Some(Value::Object(spec)) = object.get_mut("spec") {
        let metrics = take_array(spec, "metrics");
        let behavior = spec.remove("behavior");
        if let Some(target) = metrics.iter().find_map(cpu_utilization) {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), target.clone());
        }
        let others: Vec<Value> = metrics
            .iter()
            .filter(|metric| cpu_utilization(metric).is_none())
            .map(spec_to_v1)
            .collect();
        annotate_array(object, METRICS, others);
        if let Some(behavior) = behavior.filter(|behavior| !behavior.is_null()) {
            annotate(object, BEHAVIOR, &capitalize(&behavior));
        }
    }
    if let Some(Value::Object(status)) = object.get_mut("status") {
        let metrics = take_array(status, "currentMetrics");
        let conditions = take_array(status, "conditions");
        let is_cpu =
            |metric: &&Value| metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
        let percent = |metric: &Value| metric["resource"]["current"]["averageUtilization"].as_i64();
        if let Some(percent) = metrics
            .iter()
            .filter(is_cpu)
            .filter_map(percent)
            .next_back()
        {
            status.insert("currentCPUUtilizationPercentage".to_owned(), percent.into());
        }
        annotate_array(
            object,
            CURRENT_METRICS,
            metrics.iter().map(status_to_v1).collect(),
        );
        annotate_array(object, CONDITIONS, conditions);
    }
}

/// v1 → v2.
pub(crate) fn to_v2(object: &mut Object) {
    let annotation = |key: &str| -> Option<Value> {
        let text = object
            .get("metadata")?
            .get("annotations")?
            .get(key)?
            .as_str()?;
        serde_json::from_str(text).ok()
    };
    let array = |key: &str| match annotation(key) {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    };
    let others = array(METRICS).unwrap_or_default();
    let (current, conditions, behavior) = (
        array(CURRENT_METRICS),
        array(CONDITIONS),
        annotation(BEHAVIOR),
    );
    let spec = object.entry("spec").or_insert_with(|| json!({}));
    if let Value::Object(spec) = spec {
        let mut metrics: Vec<Value> = others.iter().map(spec_to_v2).collect();
        if let Some(percent) = spec
            .remove("targetCPUUtilizationPercentage")
            .filter(|percent| !percent.is_null())
        {
            metrics.push(cpu_metric(percent));
        }
        if metrics.is_empty() {
            metrics.push(cpu_metric(DEFAULT_CPU_UTILIZATION_PERCENT.into()));
        }
        spec.insert("metrics".to_owned(), metrics.into());
        if let Some(behavior @ Value::Object(_)) = behavior {
            spec.insert("behavior".to_owned(), uncapitalize(&behavior));
        }
    }
    if let Some(Value::Object(status)) = object.get_mut("status") {
        let percent = status
            .remove("currentCPUUtilizationPercentage")
            .filter(|percent| !percent.is_null());
        let from_percent = percent.map(|percent| {
            vec![json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}})]
        });
        let from_annotation = current.map(|metrics| metrics.iter().map(status_to_v2).collect());
        if let Some(metrics) = from_annotation.or(from_percent) {
            status.insert("currentMetrics".to_owned(), metrics.into());
        }
        if let Some(conditions) = conditions {
            status.insert("conditions".to_owned(), conditions.into());
        }
    }
    drop_annotations(object);
}

fn cpu_metric(percent: Value) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

/// The utilization that a CPU metric targets: what v1 can say itself.
fn cpu_utilization(metric: &Value) -> Option<&Value> {
    let cpu = metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
    Some(&metric["resource"]["target"]["averageUtilization"])
        .filter(|value| cpu && !value.is_null())
}

/// Where each source of a metric keeps its fields: (v2 path, v1 name), for a spec's target and a status' current values.
struct Source {
    kind: &'static str,
    name: &'static str,
    target: &'static [(&'static str, &'static str)],
    current: &'static [(&'static str, &'static str)],
}

const SOURCES: [Source; 5] = [
    Source {
        kind: "Object",
        name: "object",
        target: &[
            ("/describedObject", "target"),
            ("/metric/name", "metricName"),
            ("/target/value", "targetValue"),
            ("/metric/selector", "selector"),
            ("/target/averageValue", "averageValue"),
        ],
        current: &[
            ("/describedObject", "target"),
            ("/metric/name", "metricName"),
            ("/current/value", "currentValue"),
            ("/metric/selector", "selector"),
            ("/current/averageValue", "averageValue"),
        ],
    },
    Source {
        kind: "Pods",
        name: "pods",
        target: &[
            ("/metric/name", "metricName"),
            ("/target/averageValue", "targetAverageValue"),
            ("/metric/selector", "selector"),
        ],
        current: &[
            ("/metric/name", "metricName"),
            ("/current/averageValue", "currentAverageValue"),
            ("/metric/selector", "selector"),
        ],
    },
    Source {
        kind: "Resource",
        name: "resource",
        target: &[
            ("/name", "name"),
            ("/target/averageUtilization", "targetAverageUtilization"),
            ("/target/averageValue", "targetAverageValue"),
        ],
        current: &[
            ("/name", "name"),
            ("/current/averageUtilization", "currentAverageUtilization"),
            ("/current/averageValue", "currentAverageValue"),
        ],
    },
    Source {
        kind: "ContainerResource",
        name: "containerResource",
        target: &[
            ("/name", "name"),
            ("/target/averageUtilization", "targetAverageUtilization"),
            ("/target/averageValue", "targetAverageValue"),
            ("/container", "container"),
        ],
        current: &[
            ("/name", "name"),
            ("/current/averageUtilization", "currentAverageUtilization"),
            ("/current/averageValue", "currentAverageValue"),
            ("/container", "container"),
        ],
    },
    Source {
        kind: "External",
        name: "external",
        target: &[
            ("/metric/name", "metricName"),
            ("/metric/selector", "metricSelector"),
            ("/target/value", "targetValue"),
            ("/target/averageValue", "targetAverageValue"),
        ],
        current: &[
            ("/metric/name", "metricName"),
            ("/metric/selector", "metricSelector"),
            ("/current/value", "currentValue"),
            ("/current/averageValue", "currentAverageValue"),
        ],
    },
];

fn source(metric: &Value) -> Option<&'static Source> {
    SOURCES.iter().find(|source| metric["type"] == source.kind)
}

/// Quantities that v1 always writes, as zero if there is nothing.
const ALWAYS_WRITTEN: [(&str, &str); 7] = [
    ("Object", "targetValue"),
    ("Object", "currentValue"),
    ("Pods", "targetAverageValue"),
    ("Pods", "currentAverageValue"),
    ("Resource", "currentAverageValue"),
    ("ContainerResource", "currentAverageValue"),
    ("External", "currentValue"),
];

fn to_v1_fields(metric: &Value, source: &Source, fields: &[(&str, &str)]) -> Value {
    let value = |path: &str, name: &str| {
        let zero = ALWAYS_WRITTEN
            .contains(&(source.kind, name))
            .then(|| Value::from("0"));
        metric[source.name].pointer(path).cloned().or(zero)
    };
    let values = fields
        .iter()
        .filter_map(|(path, name)| Some(((*name).to_owned(), value(path, name)?)));
    json!({"type": source.kind, source.name: Value::Object(values.collect())})
}

fn to_v2_fields(metric: &Value, source: &Source, fields: &[(&str, &str)]) -> Value {
    let mut inner = json!({});
    for (path, name) in fields {
        let Some(value) = metric[source.name].get(name) else {
            continue;
        };
        // A path has one or two steps.
        match path[1..].split_once('/') {
            Some((outer, last)) => inner[outer][last] = value.clone(),
            None => inner[&path[1..]] = value.clone(),
        }
    }
    json!({"type": source.kind, source.name: inner})
}

fn spec_to_v1(metric: &Value) -> Value {
    source(metric).map_or_else(
        || metric.clone(),
        |source| to_v1_fields(metric, source, source.target),
    )
}

fn status_to_v1(metric: &Value) -> Value {
    source(metric).map_or_else(
        || metric.clone(),
        |source| to_v1_fields(metric, source, source.current),
    )
}

fn status_to_v2(metric: &Value) -> Value {
    source(metric).map_or_else(
        || metric.clone(),
        |source| to_v2_fields(metric, source, source.current),
    )
}

fn spec_to_v2(metric: &Value) -> Value {
    let Some(source) = source(metric) else {
        return metric.clone();
    };
    let mut converted = to_v2_fields(metric, source, source.target);
    let target = &mut converted[source.name]["target"];
    // The type of a target follows from which value is given.
    let kind = match source.kind {
        "Pods" => "AverageValue",
        "Resource" | "ContainerResource" if target.get("averageUtilization").is_some() => {
            "Utilization"
        }
        "Object" if target.get("averageValue").is_none() => "Value",
        "External" if target.get("value").is_some() => "Value",
        _ => "AverageValue",
    };
    target["type"] = kind.into();
    converted
}

fn take_array(object: &mut Object, key: &str) -> Vec<Value> {
    match object.remove(key) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn annotate_array(object: &mut Object, key: &str, items: Vec<Value>) {
    if !items.is_empty() {
        annotate(object, key, &Value::Array(items));
    }
}

fn annotate(object: &mut Object, key: &str, value: &Value) {
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    metadata["annotations"][key] = value.to_string().into();
}

fn drop_annotations(object: &mut Object) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return;
    };
    let Some(Value::Object(annotations)) = metadata.get_mut("annotations") else {
        return;
    };
    annotations.retain(|key, _| !TRAVELLING.contains(&key.as_str()));
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}

/// Upstream writes the behavior with the field names of its inner type, which start with a capital letter.
fn capitalize(value: &Value) -> Value {
    with_keys(value, |first| first.to_ascii_uppercase())
}

fn uncapitalize(value: &Value) -> Value {
    with_keys(value, |first| first.to_ascii_lowercase())
}

fn with_keys(value: &Value, change: fn(&char) -> char) -> Value {
    let rename = |key: &String| {
        let mut characters = key.chars();
        characters
            .next()
            .map(|first| change(&first))
            .into_iter()
            .chain(characters)
            .collect::<String>()
    };
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (rename(key), with_keys(value, change)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| with_keys(item, change)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::convert_value;

    fn autoscaler() -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "annotations": {"mine": "stays"}},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 5,
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"averageValue": "10", "type": "AverageValue"}}},
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
                ],
                "behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]}}
            },
            "status": {
                "currentReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 33, "averageValue": "1"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True"}]
            }
        })
    }

    #[test]
    fn what_v1_cannot_say_travels_in_annotations() {
        let old = convert_value(autoscaler(), "autoscaling", "v1");
        assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 70);
        assert_eq!(old["status"]["currentCPUUtilizationPercentage"], 33);
        assert!(old["spec"].get("metrics").is_none() && old["status"].get("conditions").is_none());
        let annotations = &old["metadata"]["annotations"];
        assert_eq!(
            annotations[METRICS],
            r#"[{"type":"Pods","pods":{"metricName":"rps","targetAverageValue":"10"}}]"#
        );
        assert_eq!(
            annotations[BEHAVIOR],
            r#"{"ScaleDown":{"Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":60}]}}"#
        );
        assert_eq!(annotations["mine"], "stays");
    }

    #[test]
    fn there_and_back_is_the_same() {
        let old = convert_value(autoscaler(), "autoscaling", "v1");
        assert_eq!(convert_value(old, "autoscaling", "v2"), autoscaler());
    }

    #[test]
    fn a_v1_autoscaler_without_target_gets_the_default_one() {
        let old = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {}, "spec": {"maxReplicas": 3}});
        let new = convert_value(old, "autoscaling", "v2");
        assert_eq!(
            new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
            80
        );
    }
}
