//! Defaults as a client sees them.

use crate::decode::decode;
use crate::facts::{Gvk, facts};
use crate::write::write_json;

fn defaulted(kind: Gvk<'_>, body: &str) -> String {
    let mut decoded = decode(kind, body.as_bytes()).expect("a good body");
    super::apply(&mut decoded.object);
    let mut out = Vec::new();
    write_json(&decoded.object, &mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[test]
fn a_pod_gets_what_upstream_gives_it() {
    let body = r#"{"metadata":{"name":"x"},"spec":{"containers":[
        {"name":"c","image":"nginx:1.27","ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"0.0001"}},
         "livenessProbe":{"httpGet":{"port":80}}}],"volumes":[{"name":"v"}]}}"#;
    assert_eq!(
        defaulted(Gvk::new("", "v1", "Pod"), body),
        concat!(
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"},"spec":{"volumes":[{"name":"v","emptyDir":{}}],"#,
            r#""containers":[{"name":"c","image":"nginx:1.27","ports":[{"containerPort":80,"protocol":"TCP"}],"#,
            r#""resources":{"limits":{"cpu":"1m"},"requests":{"cpu":"1m"}},"#,
            r#""livenessProbe":{"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"#,
            r#""successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","#,
            r#""terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","#,
            r#""terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"#,
            r#""schedulerName":"default-scheduler","enableServiceLinks":true},"status":{}}"#
        )
    );
}

#[test]
fn a_template_is_defaulted_but_not_as_a_pod() {
    let body = r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"x","resources":{"limits":{"cpu":"1"}}}]}}}}"#;
    let object = defaulted(Gvk::new("apps", "v1", "Deployment"), body);
    assert!(
        object.contains(r#""imagePullPolicy":"Always""#) && object.contains(r#""dnsPolicy""#),
        "{object}"
    );
    assert!(
        !object.contains("requests") && !object.contains("enableServiceLinks"),
        "{object}"
    );
    let strategy = r#""strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":"25%"}}"#;
    assert!(object.contains(strategy), "{object}");
}

#[test]
fn zero_is_not_absence_where_go_has_a_pointer() {
    let object = defaulted(
        Gvk::new("apps", "v1", "Deployment"),
        r#"{"spec":{"replicas":0,"strategy":{"type":"Recreate"}}}"#,
    );
    assert!(
        object.contains(r#""replicas":0"#) && object.contains(r#""strategy":{"type":"Recreate"}"#),
        "{object}"
    );
}

#[test]
fn a_service_gets_ports_policies_and_affinity() {
    let service = Gvk::new("", "v1", "Service");
    let object = defaulted(service, r#"{"spec":{"ports":[{"port":80}]}}"#);
    assert!(
        object.contains(concat!(
            r#""spec":{"ports":[{"protocol":"TCP","port":80,"targetPort":80}],"type":"ClusterIP","#,
            r#""sessionAffinity":"None","internalTrafficPolicy":"Cluster"}"#
        )),
        "{object}"
    );
    let object = defaulted(
        service,
        r#"{"spec":{"type":"LoadBalancer","sessionAffinity":"ClientIP"}}"#,
    );
    assert!(
        object.contains(r#""externalTrafficPolicy":"Cluster""#),
        "{object}"
    );
    assert!(
        object.contains(r#""allocateLoadBalancerNodePorts":true"#),
        "{object}"
    );
    assert!(
        object.contains(r#""sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}}"#),
        "{object}"
    );
}

#[test]
fn the_pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:2", "IfNotPresent"),
        (
            "nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "IfNotPresent",
        ),
        ("", "IfNotPresent"),
    ] {
        let body = format!(r#"{{"spec":{{"containers":[{{"name":"c","image":"{image}"}}]}}}}"#);
        let object = defaulted(Gvk::new("", "v1", "Pod"), &body);
        assert!(
            object.contains(&format!(r#""imagePullPolicy":"{policy}""#)),
            "{image}: {object}"
        );
    }
}

#[test]
fn a_namespace_is_labelled_with_its_name() {
    let object = defaulted(
        Gvk::new("", "v1", "Namespace"),
        r#"{"metadata":{"name":"x","labels":{"z":"1"}}}"#,
    );
    assert!(
        object.contains(r#""labels":{"kubernetes.io/metadata.name":"x","z":"1"}"#),
        "{object}"
    );
    assert!(
        object.contains(r#""status":{"phase":"Active"}"#),
        "{object}"
    );
}

#[test]
fn one_address_is_also_a_list_of_addresses() {
    let object = defaulted(
        Gvk::new("", "v1", "Pod"),
        r#"{"status":{"podIP":"10.0.0.1"}}"#,
    );
    assert!(
        object.contains(r#""podIPs":[{"ip":"10.0.0.1"}]"#),
        "{object}"
    );
    let object = defaulted(
        Gvk::new("", "v1", "Node"),
        r#"{"spec":{"podCIDR":"10.0.0.0/24"}}"#,
    );
    assert!(object.contains(r#""podCIDRs":["10.0.0.0/24"]"#), "{object}");
}

#[test]
fn labels_and_selectors_come_from_the_template() {
    let body = r#"{"spec":{"template":{"metadata":{"labels":{"app":"x"}}}}}"#;
    let object = defaulted(Gvk::new("", "v1", "ReplicationController"), body);
    assert!(
        object.contains(r#""selector":{"app":"x"}"#) && object.contains(r#""replicas":1"#),
        "{object}"
    );
    assert!(
        object.contains(r#""metadata":{"labels":{"app":"x"}}"#),
        "{object}"
    );
}

#[test]
fn defaults_change_nothing_the_second_time() {
    for definition in &facts().definitions {
        for &kind in &definition.kinds {
            let once = defaulted(kind, r#"{"spec":{},"metadata":{"name":"x"}}"#);
            assert_eq!(defaulted(kind, &once), once, "{kind}");
        }
    }
}
