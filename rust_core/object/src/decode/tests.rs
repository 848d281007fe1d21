//! What bodies become, and what is said about bad ones.

use super::*;
use crate::write::write_json;

const POD: Gvk<'static> = Gvk {
    group: "",
    version: "v1",
    kind: "Pod",
};
const DEPLOYMENT: Gvk<'static> = Gvk {
    group: "apps",
    version: "v1",
    kind: "Deployment",
};

fn json(expected: Gvk<'_>, body: &str) -> String {
    let decoded = decode(expected, body.as_bytes()).expect("a good body");
    let mut out = Vec::new();
    write_json(&decoded.object, &mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn error(expected: Gvk<'_>, body: &str) -> String {
    decode(expected, body.as_bytes())
        .expect_err("a bad body")
        .to_string()
}

fn strict(expected: Gvk<'_>, body: &str) -> Vec<String> {
    decode(expected, body.as_bytes())
        .expect("a good body")
        .strict_errors
}

#[test]
fn an_object_is_what_gos_encoder_would_write() {
    let config_map = Gvk::new("", "v1", "ConfigMap");
    assert_eq!(
        json(
            config_map,
            r#"{"data":{"b":"2","a":"1"},"metadata":{"labels":{},"name":"x","creationTimestamp":null}}"#
        ),
        r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{"a":"1","b":"2"}}"#
    );
}

#[test]
fn structs_that_go_always_writes_are_there() {
    assert_eq!(
        json(
            DEPLOYMENT,
            r#"{"metadata":{"name":"x"},"spec":{"replicas":0,"template":{"spec":{"containers":[{"name":"c"}]}}}}"#
        ),
        concat!(
            r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"x"},"spec":{"replicas":0,"selector":null,"#,
            r#""template":{"metadata":{},"spec":{"containers":[{"name":"c","resources":{}}]}},"strategy":{}},"status":{}}"#
        )
    );
}

#[test]
fn quantities_times_and_numbers_have_one_spelling() {
    let object = json(
        POD,
        r#"{"metadata":{"creationTimestamp":"2026-01-01T02:00:00+02:00"},
            "spec":{"containers":[{"name":"c","resources":{"limits":{"memory":"1024Mi","cpu":2}}}]}}"#,
    );
    assert!(
        object.contains(r#""creationTimestamp":"2026-01-01T00:00:00Z""#),
        "{object}"
    );
    assert!(
        object.contains(r#""limits":{"cpu":"2","memory":"1Gi"}"#),
        "{object}"
    );
}

#[test]
fn unknown_and_duplicate_fields_are_named_with_their_paths_and_left_out() {
    let body = r#"{"spec":{"foo":1,"replicas":1,"replicas":2,
        "template":{"metadata":{"labels":{"a":"1","a":"2"}},"spec":{"containers":[{"name":"a"},{"Name":"b"}]}}}}"#;
    assert_eq!(
        strict(DEPLOYMENT, body),
        [
            r#"unknown field "spec.foo""#,
            r#"duplicate field "spec.replicas""#,
            r#"duplicate field "spec.template.metadata.labels.a""#,
            r#"unknown field "spec.template.spec.containers[1].Name""#,
        ]
    );
    let object = json(DEPLOYMENT, body);
    assert!(
        object.contains(r#""replicas":2"#) && !object.contains("foo"),
        "{object}"
    );
}

#[test]
fn strict_errors_have_a_bound() {
    let fields: Vec<String> = (0..1000).map(|place| format!("\"f{place}\":1")).collect();
    assert_eq!(
        strict(POD, &format!("{{{}}}", fields.join(","))).len(),
        STRICT_ERRORS_MAX
    );
}

#[test]
fn a_value_of_a_wrong_type_is_described_as_go_describes_it() {
    for (body, reason) in [
        (
            r#"{"spec":{"replicas":"three"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"imagePullPolicy":5}]}}}}"#,
            "json: cannot unmarshal number into Go struct field \
             Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy",
        ),
        (
            r#"{"metadata":{"labels":{"a":1}}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            r#"{"spec":{"template":{"spec":{"volumes":[{"hostPath":"x"}]}}}}"#,
            "json: cannot unmarshal string into Go struct field \
             Volume.spec.template.spec.volumes.VolumeSource.hostPath of type v1.HostPathVolumeSource",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"abc"}}}]}}}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":true}}}}"#,
            "json: cannot unmarshal bool into Go struct field \
             RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32",
        ),
    ] {
        let message =
            format!(r#"Deployment in version "v1" cannot be handled as a Deployment: {reason}"#);
        assert_eq!(error(DEPLOYMENT, body), message);
    }
}

#[test]
fn bad_json_is_told_from_a_bad_object() {
    assert_eq!(
        error(
            POD,
            r#"{"kind":"Pod","apiVersion":"v1","spec":{"nodeName":3},"#
        ),
        concat!(
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: ",
            r#"unexpected end of JSON input ({"kind":"Pod","apiVersion":"v1 ...)"#
        )
    );
    assert_eq!(
        error(POD, ""),
        "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: \
         unexpected end of JSON input (<empty>)"
    );
}

#[test]
fn a_body_of_another_kind_is_refused() {
    assert_eq!(
        error(POD, r#"{"apiVersion":"v1","kind":"Pot"}"#),
        r#"Pot in version "v1" cannot be handled as a Pod: no kind "Pot" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30""#
    );
    assert_eq!(
        error(POD, r#"{"apiVersion":"apps/v1","kind":"Deployment"}"#),
        r#"Deployment in version "v1" cannot be handled as a Pod: converting (v1.Deployment) to (core.Pod): unknown conversion"#
    );
    let scaler = Gvk::new("autoscaling", "v2", "HorizontalPodAutoscaler");
    assert_eq!(
        error(
            scaler,
            r#"{"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler"}"#
        ),
        "the API version in the data (autoscaling/v1) does not match the expected API version (autoscaling/v2)"
    );
}

#[test]
fn the_body_may_name_its_kind_alone() {
    let decoded = decode(
        Gvk::new("", "", ""),
        br#"{"apiVersion":"apps/v1","kind":"Deployment"}"#,
    )
    .expect("a good body");
    assert_eq!(decoded.kind, DEPLOYMENT);
    assert!(error(Gvk::new("", "", ""), "{}").contains("Object 'Kind' is missing in '{}'"));
}

#[test]
fn options_may_say_any_group() {
    let options = Gvk::new("", "v1", "DeleteOptions");
    let object = json(
        options,
        r#"{"apiVersion":"apps/v1","kind":"DeleteOptions","gracePeriodSeconds":0}"#,
    );
    assert!(object.contains(r#""gracePeriodSeconds":0"#), "{object}");
}

#[test]
fn every_kind_decodes_from_nothing_and_again_from_what_that_gave() {
    for definition in &facts().definitions {
        for &kind in &definition.kinds {
            let once = json(kind, "{}");
            assert_eq!(json(kind, &once), once, "{kind}");
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let body = format!("{}1{}", r#"{"spec":"#.repeat(10_000), "}".repeat(10_000));
    assert!(error(POD, &body).contains("exceeded max depth"));
}

#[test]
fn embedded_objects_are_kept_as_they_are() {
    let revision = Gvk::new("apps", "v1", "ControllerRevision");
    let object = json(
        revision,
        r#"{"data":{"z":{},"a":[null,1.5,""]},"revision":1}"#,
    );
    assert!(
        object.contains(r#""data":{"z":{},"a":[null,1.5,""]}"#),
        "{object}"
    );
}
