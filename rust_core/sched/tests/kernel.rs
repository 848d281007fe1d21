//! What the kernel makes of events, assumptions and failures.

use kubecore_sched::{EventKind, Kernel, Outcome, PodChange, PodState, Settings};

fn kernel_with(nodes: &[(&str, &str)]) -> Kernel {
    let mut kernel = Kernel::new(7, &[Settings::default()]);
    for (name, cpu) in nodes {
        let body = format!(
            r#"{{"metadata":{{"name":"{name}"}},"status":{{"allocatable":{{"cpu":"{cpu}","memory":"8Gi","pods":"110"}}}}}}"#
        );
        kernel
            .node_event(EventKind::Put, body.as_bytes())
            .expect("a node");
    }
    kernel
}

fn pod(name: &str, uid: &str, cpu: &str, extra: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"default","uid":"{uid}"}},"spec":{{"containers":[
        {{"resources":{{"requests":{{"cpu":"{cpu}"}}}}}}]{extra}}},"status":{{"phase":"Pending"}}}}"#
    )
}

fn put(kernel: &mut Kernel, body: &str) -> PodChange {
    kernel
        .pod_event(EventKind::Put, body.as_bytes())
        .expect("a pod")
}

fn place(kernel: &mut Kernel, key: &str) -> Option<String> {
    match kernel.schedule([key]).remove(0) {
        Outcome::Placed(node) => Some(node.to_string()),
        _ => None,
    }
}

#[test]
fn an_assumed_pod_takes_its_room_until_it_is_forgotten() {
    let mut kernel = kernel_with(&[("n", "1")]);
    put(&mut kernel, &pod("a", "1", "1", ""));
    put(&mut kernel, &pod("b", "2", "1", ""));
    assert_eq!(place(&mut kernel, "default/a").as_deref(), Some("n"));
    assert_eq!(place(&mut kernel, "default/b"), None);
    assert!(kernel.forget("default/a"));
    assert!(!kernel.forget("default/a"));
    assert_eq!(place(&mut kernel, "default/b").as_deref(), Some("n"));
}

#[test]
fn an_older_view_of_a_pod_leaves_its_assumption_standing() {
    let mut kernel = kernel_with(&[("n", "1")]);
    put(&mut kernel, &pod("a", "1", "1", ""));
    place(&mut kernel, "default/a");
    let change = put(&mut kernel, &pod("a", "1", "1", ""));
    assert_eq!((change.state, change.changed), (PodState::Assigned, false));
    assert_eq!(kernel.schedule(["default/a"]), [Outcome::Skipped]);
    let bound = put(&mut kernel, &pod("a", "1", "1", r#","nodeName":"n""#));
    assert_eq!(bound.state, PodState::Assigned);
    assert!(
        !kernel.forget("default/a"),
        "what the API says is no assumption"
    );
}

#[test]
fn a_pod_that_finishes_or_leaves_gives_its_room_back() {
    for last in [r#"{"phase":"Succeeded"}"#, r#"{"phase":"Failed"}"#] {
        let mut kernel = kernel_with(&[("n", "1")]);
        let bound = pod("a", "1", "1", r#","nodeName":"n""#);
        put(&mut kernel, &bound);
        let finished = bound.replace(r#"{"phase":"Pending"}"#, last);
        put(&mut kernel, &finished);
        put(&mut kernel, &pod("b", "2", "1", ""));
        assert!(place(&mut kernel, "default/b").is_some());
    }
}

#[test]
fn another_pod_of_the_same_name_is_another_pod() {
    let mut kernel = kernel_with(&[("n", "1")]);
    put(&mut kernel, &pod("a", "1", "1", ""));
    place(&mut kernel, "default/a");
    let change = put(&mut kernel, &pod("a", "2", "1", ""));
    assert_eq!((change.state, change.changed), (PodState::Pending, true));
    let late = kernel
        .pod_event(EventKind::Deleted, pod("a", "1", "1", "").as_bytes())
        .expect("a pod");
    assert_eq!(
        late.state,
        PodState::Pending,
        "the first one's end does not concern the second"
    );
    assert!(place(&mut kernel, "default/a").is_some());
}

#[test]
fn pods_heard_of_before_their_node_are_accounted_when_it_comes() {
    let mut kernel = kernel_with(&[]);
    put(&mut kernel, &pod("a", "1", "1", r#","nodeName":"n""#));
    put(&mut kernel, &pod("b", "2", "1", ""));
    assert_eq!(place(&mut kernel, "default/b"), None);
    let body = r#"{"metadata":{"name":"n"},"status":{"allocatable":{"cpu":"1","memory":"1Gi","pods":"9"}}}"#;
    assert!(
        kernel
            .node_event(EventKind::Put, body.as_bytes())
            .expect("a node")
    );
    assert_eq!(place(&mut kernel, "default/b"), None);
    assert_eq!(
        kernel
            .node_of("default/a")
            .map(|node| node.to_string())
            .as_deref(),
        Some("n")
    );
}

#[test]
fn a_heartbeat_changes_nothing() {
    let mut kernel = kernel_with(&[("n", "1")]);
    let body = r#"{"metadata":{"name":"n","resourceVersion":"9"},"status":{"allocatable":{"cpu":"1000m","memory":"8Gi","pods":"110"},
        "conditions":[{"type":"Ready","lastHeartbeatTime":"2026-01-01T00:00:00Z"}]}}"#;
    assert!(
        !kernel
            .node_event(EventKind::Put, body.as_bytes())
            .expect("a node")
    );
}

#[test]
fn gated_deleting_and_foreign_pods_get_no_node() {
    let mut kernel = kernel_with(&[("n", "9")]);
    let gated = put(
        &mut kernel,
        &pod("a", "1", "1", r#","schedulingGates":[{"name":"g"}]"#),
    );
    let foreign = put(
        &mut kernel,
        &pod("b", "2", "1", r#","schedulerName":"other""#),
    );
    let deleting = pod("c", "3", "1", "").replace(
        r#""uid":"3""#,
        r#""uid":"3","deletionTimestamp":"2026-01-01T00:00:00Z""#,
    );
    let deleting = put(&mut kernel, &deleting);
    assert_eq!(
        [gated.state, foreign.state, deleting.state],
        [PodState::Gated, PodState::Gone, PodState::Gone]
    );
    assert_eq!(
        kernel.schedule(["default/a", "default/b", "default/c"]),
        vec![Outcome::Skipped; 3]
    );
}

#[test]
fn a_pod_that_names_its_nodes_leaves_the_others_out_before_they_are_looked_at() {
    let mut kernel = kernel_with(&[("n", "1"), ("m", "9"), ("o", "9")]);
    let names = |terms: &str| {
        format!(
            r#","affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{{"matchFields":[{terms}]}}]}}}}}}"#
        )
    };
    let on =
        |name: &str| format!(r#"{{"key":"metadata.name","operator":"In","values":["{name}"]}}"#);
    put(&mut kernel, &pod("a", "1", "5", &names(&on("n"))));
    put(
        &mut kernel,
        &pod("b", "2", "5", &names(&format!("{},{}", on("n"), on("m")))),
    );
    let outcomes = kernel.schedule(["default/a", "default/b"]);
    let Outcome::Failed(named) = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        named.reasons,
        [
            ("Insufficient cpu".to_owned(), 1),
            (
                "node(s) didn't satisfy plugin(s) [NodeAffinity]".to_owned(),
                2
            )
        ]
    );
    let Outcome::Failed(conflict) = &outcomes[1] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        conflict.before_nodes.as_deref(),
        Some("pod affinity terms conflict")
    );
}

#[test]
fn events_that_are_no_objects_are_errors() {
    let mut kernel = kernel_with(&[]);
    assert_eq!(
        kernel
            .node_event(EventKind::Put, b"{}")
            .unwrap_err()
            .to_string(),
        "an encoded Node without a name"
    );
    assert!(
        kernel
            .pod_event(EventKind::Put, b"[")
            .unwrap_err()
            .to_string()
            .starts_with("not an encoded Pod: ")
    );
}
