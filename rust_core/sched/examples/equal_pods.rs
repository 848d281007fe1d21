//! How fast the kernel places pods: `cargo run --release -p kubecore-sched --example equal_pods [nodes] [pods] [classes]`.
//!
//! Upstream's scheduler_perf shapes: nodes of 4 CPU, 32 GiB, 110 pods; pods that request 100m and 500Mi. Pods of different classes differ in
//! their memory request. Prints events and decisions a second.

use std::time::Instant;

use kubecore_sched::{EventKind, Kernel, Outcome, Settings};

fn main() {
    let given: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    let argument = |index: usize, default: usize| given.get(index).copied().unwrap_or(default);
    let (nodes, pods, classes) = (argument(0, 5_000), argument(1, 10_000), argument(2, 1));
    let mut kernel = Kernel::new(1, &[Settings::default()]);
    for index in 0..nodes {
        let body = format!(
            r#"{{"metadata":{{"name":"node-{index}"}},"status":{{"allocatable":{{"cpu":"4","memory":"32Gi","pods":"110"}}}}}}"#
        );
        kernel
            .node_event(EventKind::Put, body.as_bytes())
            .expect("a node");
    }
    let bodies: Vec<String> = (0..pods)
        .map(|index| {
            format!(
                r#"{{"metadata":{{"name":"pod-{index}","namespace":"default","uid":"{index}"}},"spec":{{"containers":[
                {{"name":"c","image":"pause","resources":{{"requests":{{"cpu":"100m","memory":"{}Ki"}}}}}}]}}}}"#,
                512_000 + index % classes
            )
        })
        .collect();
    let started = Instant::now();
    for body in &bodies {
        kernel
            .pod_event(EventKind::Put, body.as_bytes())
            .expect("a pod");
    }
    let fed = started.elapsed();
    let keys: Vec<String> = (0..pods)
        .map(|index| format!("default/pod-{index}"))
        .collect();
    let started = Instant::now();
    let outcomes = kernel.schedule(keys.iter().map(String::as_str));
    let decided = started.elapsed();
    let placed = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Placed(_)))
        .count();
    println!("{nodes} nodes, {pods} pods of {classes} classes: {placed} placed");
    println!("{:.0} pod events/s", pods as f64 / fed.as_secs_f64());
    println!(
        "{:.0} decisions/s, every node considered",
        pods as f64 / decided.as_secs_f64()
    );
}
