//! What claims and volumes ask of nodes.

use kubecore_sched::{EventKind, Failure, Kernel, Outcome, Preemption, Related, Settings};

fn kernel() -> Kernel {
    let mut kernel = Kernel::new(7, &[Settings::default()]);
    for (name, zone) in [("n", "a"), ("m", "b")] {
        let body = format!(
            r#"{{"metadata":{{"name":"{name}","labels":{{"kubernetes.io/hostname":"{name}","topology.kubernetes.io/zone":"{zone}"}}}},
            "status":{{"allocatable":{{"cpu":"4","memory":"8Gi","pods":"110"}}}}}}"#
        );
        kernel
            .node_event(EventKind::Put, body.as_bytes())
            .expect("a node");
    }
    kernel
}

fn tell(kernel: &mut Kernel, related: Related, body: &str) {
    kernel
        .related_event(related, EventKind::Put, body.as_bytes())
        .expect("an object");
}

/// `spec` and `status` in JSON.
fn claim(kernel: &mut Kernel, name: &str, spec: &str, phase: &str) {
    let body = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"default"}},"spec":{spec},"status":{{"phase":"{phase}"}}}}"#
    );
    tell(kernel, Related::Claims, &body);
}

fn volume(kernel: &mut Kernel, name: &str, labels: &str, spec: &str) {
    let body = format!(r#"{{"metadata":{{"name":"{name}","labels":{labels}}},"spec":{spec}}}"#);
    tell(kernel, Related::PersistentVolumes, &body);
}

fn only_on(host: &str) -> String {
    format!(
        r#"{{"nodeAffinity":{{"required":{{"nodeSelectorTerms":[{{"matchExpressions":[
        {{"key":"kubernetes.io/hostname","operator":"In","values":["{host}"]}}]}}]}}}}}}"#
    )
}

fn put(kernel: &mut Kernel, name: &str, claim: &str, spec: &str) {
    let body = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"default","uid":"{name}"}},"spec":{{"containers":[{{}}],
        "volumes":[{{"name":"data","persistentVolumeClaim":{{"claimName":"{claim}"}}}}]{spec}}}}}"#
    );
    kernel
        .pod_event(EventKind::Put, body.as_bytes())
        .expect("a pod");
}

fn decide(kernel: &mut Kernel, name: &str) -> Result<String, Box<Failure>> {
    match kernel
        .schedule([format!("default/{name}").as_str()])
        .remove(0)
    {
        Outcome::Placed(node) => Ok(node.to_string()),
        Outcome::Failed(failure) => Err(Box::new((*failure).clone())),
        Outcome::Skipped => panic!("{name} was pending"),
    }
}

/// The reason of both nodes.
fn both(failure: &Failure, reason: &str) -> Preemption {
    assert_eq!(failure.reasons, [(reason.to_owned(), 2)]);
    failure.preemption.clone()
}

#[test]
fn a_bound_claim_ties_its_pod_to_where_the_volume_is() {
    for host in ["n", "m"] {
        let mut kernel = kernel();
        volume(&mut kernel, "pv", "{}", &only_on(host));
        claim(&mut kernel, "data", r#"{"volumeName":"pv"}"#, "Bound");
        put(&mut kernel, "web", "data", "");
        assert_eq!(decide(&mut kernel, "web").as_deref(), Ok(host));
    }
    let mut kernel = kernel();
    volume(&mut kernel, "pv", "{}", &only_on("elsewhere"));
    claim(&mut kernel, "data", r#"{"volumeName":"pv"}"#, "Bound");
    put(&mut kernel, "web", "data", "");
    let failure = decide(&mut kernel, "web").expect_err("no node reaches it");
    assert_eq!(failure.plugins, ["VolumeBinding"]);
    both(
        &failure,
        "node(s) didn't match PersistentVolume's node affinity",
    );
}

#[test]
fn a_volume_of_a_zone_wants_a_node_of_that_zone() {
    for (zones, expected) in [("a", Some("n")), ("b__c", Some("m")), ("c", None)] {
        let mut kernel = kernel();
        let labels = format!(r#"{{"topology.kubernetes.io/zone":"{zones}"}}"#);
        volume(&mut kernel, "pv", &labels, "{}");
        claim(&mut kernel, "data", r#"{"volumeName":"pv"}"#, "Bound");
        put(&mut kernel, "web", "data", "");
        match (decide(&mut kernel, "web"), expected) {
            (Ok(node), Some(expected)) => assert_eq!(node, expected),
            (Err(failure), None) => {
                both(&failure, "node(s) had no available volume zone");
            }
            (other, _) => panic!("{zones}: {other:?}"),
        }
    }
}

#[test]
fn a_claim_that_cannot_be_used_is_told_before_any_node_is_looked_at() {
    let mut kernel = kernel();
    claim(&mut kernel, "unbound", "{}", "Pending");
    claim(&mut kernel, "lost", r#"{"volumeName":"gone"}"#, "Lost");
    for (name, why) in [
        ("absent", r#"persistentvolumeclaim "absent" not found"#),
        (
            "unbound",
            "pod has unbound immediate PersistentVolumeClaims",
        ),
        (
            "lost",
            r#"persistentvolumeclaim "lost" bound to non-existent persistentvolume "gone""#,
        ),
    ] {
        put(&mut kernel, "web", name, "");
        let failure = decide(&mut kernel, "web").expect_err("it cannot be used");
        assert_eq!(failure.before_nodes.as_deref(), Some(why));
    }
    claim(&mut kernel, "bound", r#"{"volumeName":"gone"}"#, "Bound");
    put(&mut kernel, "web", "bound", "");
    let failure = decide(&mut kernel, "web").expect_err("the volume is not there");
    both(
        &failure,
        "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
    );
}

#[test]
fn a_claim_that_is_bound_by_and_by_wakes_its_pod() {
    let mut kernel = kernel();
    claim(&mut kernel, "data", "{}", "Pending");
    put(&mut kernel, "web", "data", "");
    assert!(decide(&mut kernel, "web").is_err());
    volume(&mut kernel, "pv", "{}", &only_on("m"));
    claim(&mut kernel, "data", r#"{"volumeName":"pv"}"#, "Bound");
    assert_eq!(kernel.take_woken().len(), 1);
    assert_eq!(decide(&mut kernel, "web").as_deref(), Ok("m"));
}

#[test]
fn a_claim_that_waits_for_its_consumer_is_named_as_undecided() {
    let mut kernel = kernel();
    let class = r#"{"metadata":{"name":"local"},"volumeBindingMode":"WaitForFirstConsumer"}"#;
    tell(&mut kernel, Related::StorageClasses, class);
    claim(
        &mut kernel,
        "data",
        r#"{"storageClassName":"local"}"#,
        "Pending",
    );
    put(&mut kernel, "web", "data", "");
    let failure = decide(&mut kernel, "web").expect_err("nobody binds it");
    assert_eq!(failure.undecided, ["spec.volumes[0].persistentVolumeClaim"]);
    claim(
        &mut kernel,
        "data",
        r#"{"storageClassName":"local","volumeName":"pv"}"#,
        "Bound",
    );
    volume(&mut kernel, "pv", "{}", "{}");
    assert_eq!(kernel.take_woken().len(), 1);
    assert!(decide(&mut kernel, "web").is_ok());
}

#[test]
fn a_claim_for_one_pod_is_used_by_one_and_a_more_important_one_may_take_it() {
    let mut kernel = kernel();
    volume(&mut kernel, "pv", "{}", "{}");
    let spec = r#"{"volumeName":"pv","accessModes":["ReadWriteOncePod"]}"#;
    claim(&mut kernel, "data", spec, "Bound");
    put(&mut kernel, "first", "data", r#","nodeName":"n""#);
    put(&mut kernel, "second", "data", "");
    let failure = decide(&mut kernel, "second").expect_err("it is taken");
    let reason = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";
    assert!(matches!(both(&failure, reason), Preemption::Useless(_)));
    put(&mut kernel, "third", "data", r#","priority":9"#);
    match decide(&mut kernel, "third")
        .expect_err("it is taken")
        .preemption
    {
        Preemption::Nominated(nomination) => assert_eq!(&*nomination.victims[0].uid, "first"),
        other => panic!("{other:?}"),
    }
    let gone = r#"{"metadata":{"name":"first","namespace":"default","uid":"first"}}"#;
    kernel
        .pod_event(EventKind::Deleted, gone.as_bytes())
        .expect("a pod");
    assert!(decide(&mut kernel, "third").is_ok());
}

#[test]
fn a_node_takes_as_many_volumes_of_a_driver_as_it_says() {
    let mut kernel = kernel();
    for node in ["n", "m"] {
        let body = format!(
            r#"{{"metadata":{{"name":"{node}"}},"spec":{{"drivers":[{{"name":"disk","allocatable":{{"count":1}}}}]}}}}"#
        );
        tell(&mut kernel, Related::CsiNodes, &body);
    }
    for index in 0..4 {
        let csi = format!(
            r#"{{"csi":{{"driver":"disk","volumeHandle":"h{}"}}}}"#,
            index / 2
        );
        volume(&mut kernel, &format!("pv{index}"), "{}", &csi);
        let spec = format!(r#"{{"volumeName":"pv{index}"}}"#);
        claim(&mut kernel, &format!("data{index}"), &spec, "Bound");
        put(
            &mut kernel,
            &format!("web{index}"),
            &format!("data{index}"),
            "",
        );
    }
    let first = decide(&mut kernel, "web0").expect("there is room");
    let other = decide(&mut kernel, "web2").expect("there is room");
    assert_ne!(first, other);
    assert_eq!(
        decide(&mut kernel, "web1"),
        Ok(first),
        "the same volume is attached once"
    );
    let extra = r#"{"csi":{"driver":"disk","volumeHandle":"h9"}}"#;
    volume(&mut kernel, "pv9", "{}", extra);
    claim(&mut kernel, "data9", r#"{"volumeName":"pv9"}"#, "Bound");
    put(&mut kernel, "web9", "data9", "");
    let failure = decide(&mut kernel, "web9").expect_err("both are full");
    both(&failure, "node(s) exceed max volume count");
}
