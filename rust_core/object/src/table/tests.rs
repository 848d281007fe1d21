//! Cells as kubectl prints them against upstream.

use serde_json::{Value, json};

use super::*;

/// 2026-01-01T01:00:00Z.
const NOW_SECONDS: f64 = 1_767_229_200.0;

fn request<'a>(group: &'a str, version: &'a str, resource: &'a str) -> TableRequest<'a> {
    TableRequest {
        group,
        version,
        resource,
        table_version: "v1",
        include_object: IncludeObject::None,
        now_seconds: NOW_SECONDS,
        column_definitions: true,
        metadata: ListMetadata::default(),
    }
}

fn rendered(request: &TableRequest<'_>, object: &Value) -> Value {
    let bytes = object.to_string().into_bytes();
    serde_json::from_slice(&table(request, [bytes.as_slice()]).unwrap()).unwrap()
}

fn cells(group: &str, resource: &str, object: &Value) -> Value {
    rendered(&request(group, "v1", resource), object)["rows"][0]["cells"].clone()
}

fn pod(spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:55:00Z", "resourceVersion": "12"},
        "spec": spec, "status": status
    })
}

#[test]
fn a_pods_status_is_computed_as_kubectl_shows_it() {
    let one = json!({"containers": [{"name": "c"}]});
    let two_inits =
        json!({"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
    let sidecar = json!({"containers": [{"name": "c"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
    let table = [
        (
            one.clone(),
            json!({"phase": "Pending"}),
            ["0/1", "Pending", "0"],
        ),
        (
            one.clone(),
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            ["0/1", "SchedulingGated", "0"],
        ),
        (
            one.clone(),
            json!({"phase": "Pending", "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}]}),
            ["0/1", "ContainerCreating", "0"],
        ),
        (
            one.clone(),
            json!({"phase": "Running", "containerStatuses": [{"name": "c", "ready": true, "restartCount": 3, "state": {"running": {}},
                "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}}]}),
            ["1/1", "Running", "3 (5m ago)"],
        ),
        (
            one.clone(),
            json!({"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 5, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            ["0/1", "CrashLoopBackOff", "5"],
        ),
        (
            one.clone(),
            json!({"phase": "Succeeded", "containerStatuses": [{"name": "c", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}]}),
            ["0/1", "Completed", "0"],
        ),
        (
            one.clone(),
            json!({"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3}}}]}),
            ["0/1", "ExitCode:3", "0"],
        ),
        (
            one.clone(),
            json!({"phase": "Failed", "reason": "Evicted"}),
            ["0/1", "Evicted", "0"],
        ),
        (
            two_inits.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
            ["0/1", "Init:1/2", "0"],
        ),
        (
            two_inits,
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 2, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
            ["0/1", "Init:Error", "2"],
        ),
        (
            sidecar,
            json!({"phase": "Running", "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "state": {"running": {}}}],
                "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]}),
            ["2/2", "Running", "0"],
        ),
    ];
    for (spec, status, [ready, state, restarts]) in table {
        let row = cells("", "pods", &pod(spec, status.clone()));
        assert_eq!(
            row,
            json!([
                "web", ready, state, restarts, "5m", "<none>", "<none>", "<none>", "<none>"
            ]),
            "{status}"
        );
    }
}

#[test]
fn a_pod_being_deleted_is_terminating_unless_its_node_is_lost() {
    let mut object = pod(json!({"containers": [{}]}), json!({"phase": "Running"}));
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:59:00Z".into();
    assert_eq!(cells("", "pods", &object)[2], "Terminating");
    object["status"]["reason"] = "NodeLost".into();
    assert_eq!(cells("", "pods", &object)[2], "Unknown");
    object["status"] = json!({"phase": "Succeeded"});
    assert_eq!(cells("", "pods", &object)[2], "Succeeded");
}

#[test]
fn a_wide_pod_shows_where_it_runs() {
    let spec = json!({"containers": [{}], "nodeName": "n1", "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]});
    let status = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.9"}], "conditions": [{"type": "a", "status": "True"}]});
    let row = cells("", "pods", &pod(spec, status));
    assert_eq!(
        row.as_array().unwrap()[5..],
        [
            json!("10.0.0.9"),
            json!("n1"),
            json!("<none>"),
            json!("1/2")
        ]
    );
}

#[test]
fn the_common_kinds_show_what_kubectl_shows() {
    let metadata = json!({"name": "x", "creationTimestamp": "2025-12-30T01:00:00Z"});
    let template = json!({"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:2"}]}});
    let selector = json!({"matchLabels": {"app": "x"}});
    let cases = [
        (
            "apps",
            "deployments",
            json!({"spec": {"replicas": 3, "template": template, "selector": selector},
                "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}}),
            json!(["x", "2/3", 3, 2, "2d", "a,b", "i:1,j:2", "app=x"]),
        ),
        (
            "apps",
            "replicasets",
            json!({"spec": {"replicas": 3, "template": template, "selector": selector}, "status": {"replicas": 3}}),
            json!(["x", 3, 3, 0, "2d", "a,b", "i:1,j:2", "app=x"]),
        ),
        (
            "",
            "replicationcontrollers",
            json!({"spec": {"replicas": 1, "template": template, "selector": {"app": "x"}}, "status": {"replicas": 1, "readyReplicas": 1}}),
            json!(["x", 1, 1, 1, "2d", "a,b", "i:1,j:2", "app=x"]),
        ),
        (
            "",
            "services",
            json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "selector": {"b": "2", "a": "1"},
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
            json!([
                "x",
                "NodePort",
                "10.96.0.1",
                "<none>",
                "80:30080/TCP,53/UDP",
                "2d",
                "a=1,b=2"
            ]),
        ),
        (
            "",
            "services",
            json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["None"]}, "status": {"loadBalancer": {}}}),
            json!([
                "x",
                "LoadBalancer",
                "None",
                "<pending>",
                "<none>",
                "2d",
                "<none>"
            ]),
        ),
        (
            "",
            "nodes",
            json!({"metadata": {"name": "x", "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
                "spec": {"unschedulable": true},
                "status": {"conditions": [{"type": "Ready", "status": "Unknown"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                    "nodeInfo": {"kubeletVersion": "v1.35.0", "osImage": "Debian"}}}),
            json!([
                "x",
                "NotReady,SchedulingDisabled",
                "control-plane,worker",
                "<unknown>",
                "v1.35.0",
                "10.0.0.1",
                "<none>",
                "Debian",
                "<unknown>",
                "<unknown>"
            ]),
        ),
        (
            "",
            "endpoints",
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}, {"port": 443}]}]}),
            json!([
                "x",
                "10.0.0.1:80,10.0.0.2:80,10.0.0.1:443 + 1 more...",
                "2d"
            ]),
        ),
        ("", "endpoints", json!({}), json!(["x", "<none>", "2d"])),
        (
            "discovery.k8s.io",
            "endpointslices",
            json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}]}),
            json!(["x", "IPv4", "80", "10.0.0.1", "2d"]),
        ),
        (
            "",
            "configmaps",
            json!({"data": {"a": "1"}, "binaryData": {"b": "2"}}),
            json!(["x", 2, "2d"]),
        ),
        (
            "",
            "secrets",
            json!({"type": "Opaque", "data": {"a": "MQ=="}}),
            json!(["x", "Opaque", 1, "2d"]),
        ),
        (
            "",
            "resourcequotas",
            json!({"status": {"hard": {"pods": "10", "limits.cpu": "4", "requests.cpu": "2"}, "used": {"pods": "1", "limits.cpu": "0"}}}),
            json!([
                "x",
                "pods: 1/10, requests.cpu: 0/2",
                "limits.cpu: 0/4",
                "2d"
            ]),
        ),
        (
            "batch",
            "jobs",
            json!({"spec": {"completions": 2, "template": template, "selector": selector},
                "status": {"succeeded": 2, "startTime": "2025-12-31T00:00:00Z", "completionTime": "2025-12-31T00:01:05Z",
                    "conditions": [{"type": "Complete", "status": "True"}]}}),
            json!([
                "x", "Complete", "2/2", "65s", "2d", "a,b", "i:1,j:2", "app=x"
            ]),
        ),
        (
            "policy",
            "poddisruptionbudgets",
            json!({"spec": {"minAvailable": 2}, "status": {"disruptionsAllowed": 1}}),
            json!(["x", "2", "N/A", 1, "2d"]),
        ),
        (
            "rbac.authorization.k8s.io",
            "rolebindings",
            json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
                {"kind": "User", "name": "u"}, {"kind": "User", "name": "v"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}]}),
            json!(["x", "Role/r", "2d", "u, v", "", "n/s"]),
        ),
        (
            "rbac.authorization.k8s.io",
            "roles",
            json!({}),
            json!(["x", "2025-12-30T01:00:00Z"]),
        ),
        (
            "networking.k8s.io",
            "ingresses",
            json!({"spec": {"rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}], "tls": [{}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
            json!([
                "x",
                "<none>",
                "a,b,c + 1 more...",
                "1.2.3.4",
                "80, 443",
                "2d"
            ]),
        ),
    ];
    for (group, resource, body, expected) in cases {
        let mut object = json!({"metadata": metadata});
        object
            .as_object_mut()
            .unwrap()
            .extend(body.as_object().unwrap().clone());
        assert_eq!(cells(group, resource, &object), expected, "{resource}");
    }
}

#[test]
fn an_autoscaler_shows_the_same_in_both_versions() {
    let new = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]},
        "status": {"currentReplicas": 2}
    });
    let expected = json!([
        "web",
        "Deployment/web",
        "cpu: <unknown>/70%",
        "1",
        5,
        2,
        "<unknown>"
    ]);
    assert_eq!(
        cells("autoscaling", "horizontalpodautoscalers", &new),
        expected
    );
    let old = crate::convert::convert_value(new, "autoscaling", "v1");
    assert_eq!(
        cells("autoscaling", "horizontalpodautoscalers", &old),
        expected
    );
}

#[test]
fn an_event_shows_when_it_was_last_seen_in_either_group() {
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "f"},
        "type": "Normal", "reason": "Pulled", "message": " done \n", "source": {"component": "kubelet", "host": "n1"},
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:59:30Z", "count": 4
    });
    let expected = json!([
        "30s",
        "Normal",
        "Pulled",
        "pod/web",
        "f",
        "kubelet, n1",
        "done",
        "60m",
        4,
        "e"
    ]);
    assert_eq!(cells("", "events", &event), expected);
    let other = crate::convert::convert_value(event, "events.k8s.io", "v1");
    assert_eq!(cells("events.k8s.io", "events", &other), expected);
}

#[test]
fn a_row_carries_as_much_of_the_object_as_asked_for() {
    let object = pod(json!({"containers": []}), json!({"phase": "Failed"}));
    let mut asked = request("", "v1", "pods");
    let answer = rendered(&asked, &object);
    assert_eq!(answer["rows"][0]["object"], Value::Null);
    assert_eq!(answer["rows"][0]["conditions"][0]["reason"], "Failed");
    assert_eq!(answer["metadata"], json!({"resourceVersion": "12"}));
    asked.include_object = IncludeObject::Metadata;
    let partial = &rendered(&asked, &object)["rows"][0]["object"];
    assert_eq!(
        (&partial["kind"], &partial["metadata"]),
        (&json!("PartialObjectMetadata"), &object["metadata"])
    );
    asked.include_object = IncludeObject::Object;
    assert_eq!(rendered(&asked, &object)["rows"][0]["object"], object);
}

#[test]
fn only_the_first_event_of_a_watch_defines_columns() {
    let object = pod(json!({"containers": []}), json!({}));
    let mut asked = request("", "v1", "pods");
    let first = &rendered(&asked, &object)["columnDefinitions"][0];
    assert_eq!(
        (&first["name"], &first["format"], &first["priority"]),
        (&json!("Name"), &json!("name"), &json!(0))
    );
    asked.column_definitions = false;
    assert_eq!(rendered(&asked, &object)["columnDefinitions"], Value::Null);
}

#[test]
fn a_list_says_where_it_continues_and_an_empty_one_has_no_rows() {
    let mut asked = request("", "v1", "pods");
    asked.metadata = ListMetadata {
        resource_version: "9".into(),
        continue_token: "t".into(),
        remaining: Some(2),
    };
    let answer: Value = serde_json::from_slice(&table(&asked, []).unwrap()).unwrap();
    assert_eq!(
        answer["metadata"],
        json!({"resourceVersion": "9", "continue": "t", "remainingItemCount": 2})
    );
    assert_eq!(answer["rows"], json!([]));
    assert_eq!(answer["apiVersion"], "meta.k8s.io/v1");
}
