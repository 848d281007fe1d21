//! Who is evicted for whom, who waits for that, and what wakes those that wait.

use kubecore_sched::{EventKind, Failure, Kernel, Outcome, Preemption, Related, Settings};

fn kernel_with(nodes: &[&str]) -> Kernel {
    let mut kernel = Kernel::new(7, &[Settings::default()]);
    for name in nodes {
        put_node(&mut kernel, name, "2", "");
    }
    kernel
}

fn put_node(kernel: &mut Kernel, name: &str, cpu: &str, spec: &str) {
    let body = format!(
        r#"{{"metadata":{{"name":"{name}"}},"spec":{{{spec}}},"status":{{"allocatable":{{"cpu":"{cpu}","memory":"8Gi","pods":"110"}}}}}}"#
    );
    kernel
        .node_event(EventKind::Put, body.as_bytes())
        .expect("a node");
}

/// `spec` and `status` are further fields; the uid is the name, and so is the label `app`.
fn put(kernel: &mut Kernel, name: &str, cpu: &str, spec: &str, status: &str) {
    let body = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"default","uid":"{name}","labels":{{"app":"{name}"}}}},"spec":{{"containers":[
        {{"resources":{{"requests":{{"cpu":"{cpu}"}}}}}}]{spec}}},"status":{{"phase":"Pending"{status}}}}}"#
    );
    kernel
        .pod_event(EventKind::Put, body.as_bytes())
        .expect("a pod");
}

fn delete(kernel: &mut Kernel, name: &str) {
    let body =
        format!(r#"{{"metadata":{{"name":"{name}","namespace":"default","uid":"{name}"}}}}"#);
    kernel
        .pod_event(EventKind::Deleted, body.as_bytes())
        .expect("a pod");
}

fn fail(kernel: &mut Kernel, name: &str) -> Failure {
    match kernel
        .schedule([format!("default/{name}").as_str()])
        .remove(0)
    {
        Outcome::Failed(failure) => (*failure).clone(),
        other => panic!("{other:?}"),
    }
}

fn place(kernel: &mut Kernel, name: &str) -> Option<String> {
    match kernel
        .schedule([format!("default/{name}").as_str()])
        .remove(0)
    {
        Outcome::Placed(node) => Some(node.to_string()),
        _ => None,
    }
}

/// The node and the victims' names.
fn nominated(failure: &Failure) -> (String, Vec<String>) {
    match &failure.preemption {
        Preemption::Nominated(nomination) => (
            nomination.node.to_string(),
            nomination
                .victims
                .iter()
                .map(|victim| victim.uid.to_string())
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}

fn woken(kernel: &mut Kernel) -> Vec<String> {
    let woken = kernel.take_woken();
    woken.iter().map(ToString::to_string).collect()
}

#[test]
fn only_less_important_pods_are_victims_and_only_where_that_helps() {
    let preemption = |cpu: &str, spec: &str, of_other: &str| {
        let mut kernel = kernel_with(&["n"]);
        put(
            &mut kernel,
            "low",
            "1500m",
            &format!(r#","nodeName":"n"{of_other}"#),
            "",
        );
        put(&mut kernel, "a", cpu, spec, "");
        fail(&mut kernel, "a").preemption
    };
    let useless = |reason: &str| Preemption::Useless(vec![(reason.to_owned(), 1)]);
    let hopeless = useless("Preemption is not helpful for scheduling");
    let nobody = useless("No preemption victims found for incoming pod");
    assert_eq!(preemption("3", r#","priority":5"#, ""), hopeless);
    assert_eq!(preemption("1", "", ""), nobody);
    assert_eq!(
        preemption("1", r#","priority":5"#, r#","priority":9"#),
        nobody
    );
    let never = r#","priority":5,"preemptionPolicy":"Never""#;
    assert!(matches!(
        preemption("1", never, ""),
        Preemption::NotEligible(_)
    ));
    assert!(matches!(
        preemption("1", r#","priority":5"#, ""),
        Preemption::Nominated(_)
    ));
}

#[test]
fn as_few_and_as_unimportant_pods_as_possible_are_evicted() {
    let mut kernel = kernel_with(&["n", "m"]);
    for (name, cpu, node, priority) in [
        ("small", "500m", "n", 1),
        ("large", "1", "n", 1),
        ("dear", "500m", "n", 3),
        ("other", "2", "m", 4),
    ] {
        let spec = format!(r#","nodeName":"{node}","priority":{priority}"#);
        put(&mut kernel, name, cpu, &spec, "");
    }
    put(&mut kernel, "a", "1", r#","priority":9"#, "");
    assert_eq!(
        nominated(&fail(&mut kernel, "a")),
        ("n".to_owned(), vec!["large".to_owned()])
    );
}

#[test]
fn a_budget_is_broken_only_if_nothing_else_helps() {
    let mut kernel = kernel_with(&["n", "m"]);
    put(
        &mut kernel,
        "kept",
        "2",
        r#","nodeName":"n","priority":1"#,
        "",
    );
    put(
        &mut kernel,
        "free",
        "2",
        r#","nodeName":"m","priority":5"#,
        "",
    );
    let budget = r#"{"metadata":{"name":"b","namespace":"default"},"spec":{"selector":{"matchLabels":{"app":"kept"}}},"status":{"disruptionsAllowed":0}}"#;
    let tell = |kernel: &mut Kernel, kind| {
        kernel
            .related_event(Related::Budgets, kind, budget.as_bytes())
            .expect("a budget");
    };
    tell(&mut kernel, EventKind::Put);
    put(&mut kernel, "a", "2", r#","priority":9"#, "");
    assert_eq!(nominated(&fail(&mut kernel, "a")).1, ["free"]);
    let mut kernel = kernel_with(&["n", "m"]);
    put(
        &mut kernel,
        "kept",
        "2",
        r#","nodeName":"n","priority":1"#,
        "",
    );
    put(
        &mut kernel,
        "free",
        "2",
        r#","nodeName":"m","priority":5"#,
        "",
    );
    tell(&mut kernel, EventKind::Put);
    tell(&mut kernel, EventKind::Deleted);
    put(&mut kernel, "a", "2", r#","priority":9"#, "");
    assert_eq!(nominated(&fail(&mut kernel, "a")).1, ["kept"]);
}

#[test]
fn among_equals_the_node_whose_victims_started_last_is_taken() {
    for (first, second, expected) in [("01", "02", "late"), ("02", "01", "early")] {
        let mut kernel = kernel_with(&["n", "m"]);
        let started = |day: &str| format!(r#","startTime":"2026-01-{day}T00:00:00Z""#);
        put(
            &mut kernel,
            "early",
            "2",
            r#","nodeName":"n""#,
            &started(first),
        );
        put(
            &mut kernel,
            "late",
            "2",
            r#","nodeName":"m""#,
            &started(second),
        );
        put(&mut kernel, "a", "2", r#","priority":9"#, "");
        assert_eq!(nominated(&fail(&mut kernel, "a")).1, [expected]);
    }
}

#[test]
fn promised_room_is_kept_from_pods_that_are_no_more_important() {
    let mut kernel = kernel_with(&["n"]);
    put(&mut kernel, "victim", "2", r#","nodeName":"n""#, "");
    put(&mut kernel, "a", "2", r#","priority":9"#, "");
    assert_eq!(nominated(&fail(&mut kernel, "a")).1, ["victim"]);
    let again = fail(&mut kernel, "a").preemption;
    assert_eq!(
        again,
        Preemption::NotEligible("not eligible due to a terminating pod on the nominated node.")
    );
    delete(&mut kernel, "victim");
    assert_eq!(woken(&mut kernel), ["default/a"]);
    put(&mut kernel, "b", "1", r#","priority":9"#, "");
    put(&mut kernel, "c", "1", r#","priority":10"#, "");
    assert_eq!(
        place(&mut kernel, "b"),
        None,
        "the room is promised to its equal"
    );
    assert_eq!(
        place(&mut kernel, "c").as_deref(),
        Some("n"),
        "it is more important"
    );
    assert_eq!(place(&mut kernel, "a"), None);
    delete(&mut kernel, "c");
    assert_eq!(place(&mut kernel, "a").as_deref(), Some("n"));
    assert_eq!(kernel.promised_to("default/a"), None);
}

#[test]
fn a_pod_that_was_promised_a_node_takes_it_even_if_another_is_better_by_now() {
    let mut kernel = kernel_with(&["n"]);
    put(&mut kernel, "victim", "2", r#","nodeName":"n""#, "");
    put(&mut kernel, "a", "1", r#","priority":9"#, "");
    nominated(&fail(&mut kernel, "a"));
    delete(&mut kernel, "victim");
    put(&mut kernel, "some", "500m", r#","nodeName":"n""#, "");
    put_node(&mut kernel, "empty", "64", "");
    assert_eq!(place(&mut kernel, "a").as_deref(), Some("n"));
}

#[test]
fn a_more_important_pod_takes_the_promise_and_the_outranked_one_is_named() {
    let mut kernel = kernel_with(&["n"]);
    put(&mut kernel, "victim", "2", r#","nodeName":"n""#, "");
    put(&mut kernel, "a", "2", r#","priority":5"#, "");
    nominated(&fail(&mut kernel, "a"));
    put(&mut kernel, "b", "2", r#","priority":9"#, "");
    match fail(&mut kernel, "b").preemption {
        Preemption::Nominated(nomination) => {
            assert_eq!(nomination.outranked.len(), 1);
            assert_eq!(&*nomination.outranked[0], "default/a");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(kernel.promised_to("default/a"), None);
    assert_eq!(
        kernel.promised_to("default/b").map(ToString::to_string),
        Some("n".to_owned())
    );
}

#[test]
fn a_promise_outlives_events_from_before_it_and_a_restart() {
    let mut kernel = kernel_with(&["n"]);
    put(&mut kernel, "victim", "2", r#","nodeName":"n""#, "");
    put(&mut kernel, "a", "2", r#","priority":9"#, "");
    nominated(&fail(&mut kernel, "a"));
    put(&mut kernel, "a", "2", r#","priority":9"#, "");
    assert!(kernel.promised_to("default/a").is_some(), "an older view");
    let named = r#","nominatedNodeName":"n""#;
    put(&mut kernel, "a", "2", r#","priority":9"#, named);
    put(&mut kernel, "a", "2", r#","priority":9"#, "");
    assert!(
        kernel.promised_to("default/a").is_none(),
        "somebody took it back"
    );
    let mut restarted = kernel_with(&[]);
    put(&mut restarted, "a", "2", r#","priority":9"#, named);
    put_node(&mut restarted, "n", "2", "");
    put(&mut restarted, "b", "2", "", "");
    assert_eq!(place(&mut restarted, "b"), None);
    assert_eq!(place(&mut restarted, "a").as_deref(), Some("n"));
}

#[test]
fn affinity_to_a_victim_makes_evicting_it_useless() {
    let near = r#","priority":9,"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
        {"topologyKey":"host","labelSelector":{"matchLabels":{"app":"friend"}}}]}}"#;
    let mut kernel = Kernel::new(7, &[Settings::default()]);
    let body = r#"{"metadata":{"name":"n","labels":{"host":"n"}},"status":{"allocatable":{"cpu":"2","memory":"8Gi","pods":"110"}}}"#;
    kernel
        .node_event(EventKind::Put, body.as_bytes())
        .expect("a node");
    put(&mut kernel, "friend", "2", r#","nodeName":"n""#, "");
    put(&mut kernel, "a", "1", near, "");
    assert_eq!(
        fail(&mut kernel, "a").preemption,
        Preemption::Useless(vec![(
            "node(s) didn't match pod affinity rules".to_owned(),
            1
        )])
    );
}

#[test]
fn only_what_may_help_wakes_a_pod() {
    let mut kernel = kernel_with(&["n"]);
    put(&mut kernel, "big", "8", "", "");
    let tolerant = r#","nodeSelector":{"disk":"ssd"}"#;
    put(&mut kernel, "picky", "1", tolerant, "");
    fail(&mut kernel, "big");
    fail(&mut kernel, "picky");
    put_node(&mut kernel, "small", "4", "");
    assert_eq!(woken(&mut kernel), [""; 0], "too small, and no such label");
    put_node(&mut kernel, "small", "16", r#""unschedulable":true"#);
    assert_eq!(woken(&mut kernel), ["default/big"]);
    assert_eq!(woken(&mut kernel), [""; 0], "told once");
    fail(&mut kernel, "big");
    put_node(&mut kernel, "small", "16", "");
    assert_eq!(woken(&mut kernel), ["default/big"], "no longer cordoned");
    assert_eq!(place(&mut kernel, "big").as_deref(), Some("small"));
    assert!(kernel.forget("default/big"));
    assert_eq!(woken(&mut kernel), [""; 0], "picky has no use for room");
}
