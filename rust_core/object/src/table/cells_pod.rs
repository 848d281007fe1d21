//! What kubectl shows of a pod: how ready it is, its status in one word, its restarts.

use serde_json::Value;

use super::age;
use super::cells::{Argument, Functions, at, condition, items, number_at, text_at};

pub const FUNCTIONS: Functions = &[
    ("pod_ready", |pod, _| {
        let summary = summarize(pod);
        format!("{}/{}", summary.ready, summary.total).into()
    }),
    ("pod_status", |pod, _| summarize(pod).status.into()),
    ("pod_restarts", pod_restarts),
    ("pod_ip", |pod, _| {
        match items(pod, "status.podIPs")
            .next()
            .map_or("", |address| text_at(address, "ip"))
        {
            "" => "<none>".into(),
            address => address.into(),
        }
    }),
    ("pod_readiness_gates", |pod, _| {
        let gates = items(pod, "spec.readinessGates");
        let total = gates.len();
        let open = gates
            .filter(|gate| condition(pod, text_at(gate, "conditionType")) == Some(true))
            .count();
        if total == 0 {
            "<none>".into()
        } else {
            format!("{open}/{total}").into()
        }
    }),
];

struct Summary<'a> {
    ready: usize,
    total: usize,
    status: String,
    restarts: Restarts<'a>,
}

/// How often containers were restarted, and the last time at which one had finished.
#[derive(Clone, Copy, Default)]
struct Restarts<'a> {
    count: i64,
    last: Option<&'a str>,
}

impl<'a> Restarts<'a> {
    fn add(&mut self, container: &'a Value) {
        self.count += number_at(container, "restartCount");
        let finished = at(container, "lastState.terminated.finishedAt").as_str();
        let seconds = |time: Option<&str>| time.and_then(age::parse_time);
        if seconds(finished) > seconds(self.last) {
            self.last = finished;
        }
    }
}

fn pod_restarts(pod: &Value, argument: &Argument<'_>) -> Value {
    let restarts = summarize(pod).restarts;
    match restarts.last {
        Some(last) if restarts.count != 0 => format!(
            "{} ({} ago)",
            restarts.count,
            age::since(Some(last), argument.now_seconds)
        )
        .into(),
        _ => restarts.count.to_string().into(),
    }
}

/// A sidecar: an init container that keeps running.
fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn summarize(pod: &Value) -> Summary<'_> {
    let phase = text_at(pod, "status.phase");
    let reason = text_at(pod, "status.reason");
    let mut status = if reason.is_empty() { phase } else { reason }.to_owned();
    let gated = |condition: &Value| {
        condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated"
    };
    if items(pod, "status.conditions").any(gated) {
        status = "SchedulingGated".to_owned();
    }
    let sidecars = items(pod, "spec.initContainers")
        .filter(|container| is_sidecar(container))
        .count();
    let total = items(pod, "spec.containers").len() + sidecars;

    let initial = initializing(pod);
    let (mut ready, mut restarts) = (initial.ready, initial.restarts);
    if let Some(waiting_for) = &initial.status {
        status.clone_from(waiting_for);
    }
    if initial.status.is_none() || condition(pod, "Initialized") == Some(true) {
        restarts = initial.sidecar_restarts;
        ready += running(pod, &mut status, &mut restarts);
    }
    if !at(pod, "metadata.deletionTimestamp").is_null() {
        if reason == "NodeLost" {
            status = "Unknown".to_owned();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            status = "Terminating".to_owned();
        }
    }
    Summary {
        ready,
        total,
        status,
        restarts,
    }
}

struct Initializing<'a> {
    /// What initialization waits for; `None` when it is over.
    status: Option<String>,
    ready: usize,
    restarts: Restarts<'a>,
    sidecar_restarts: Restarts<'a>,
}

/// Walks the init containers up to the first that is not done.
fn initializing(pod: &Value) -> Initializing<'_> {
    let mut found = Initializing {
        status: None,
        ready: 0,
        restarts: Restarts::default(),
        sidecar_restarts: Restarts::default(),
    };
    let declared = items(pod, "spec.initContainers");
    for (index, container) in items(pod, "status.initContainerStatuses").enumerate() {
        found.restarts.add(container);
        let sidecar = declared
            .clone()
            .any(|init| init["name"] == container["name"] && is_sidecar(init));
        if sidecar {
            found.sidecar_restarts.add(container);
        }
        let (terminated, waiting) = (
            at(container, "state.terminated"),
            text_at(container, "state.waiting.reason"),
        );
        if !terminated.is_null() && number_at(terminated, "exitCode") == 0 {
            continue;
        }
        if sidecar && container["started"] == true {
            found.ready += usize::from(container["ready"] == true);
            continue;
        }
        found.status = Some(if !terminated.is_null() {
            format!("Init:{}", termination(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", declared.len())
        });
        break;
    }
    found
}

/// Walks the containers from the last, so that the first one's state wins. Gives how many are ready.
fn running<'a>(pod: &'a Value, status: &mut String, restarts: &mut Restarts<'a>) -> usize {
    let mut ready = 0;
    let mut error = None;
    for container in items(pod, "status.containerStatuses").rev() {
        restarts.add(container);
        let (terminated, waiting) = (
            at(container, "state.terminated"),
            text_at(container, "state.waiting.reason"),
        );
        if !waiting.is_empty() {
            waiting.clone_into(status);
        } else if !terminated.is_null() {
            *status = termination(terminated);
            if number_at(terminated, "exitCode") != 0 {
                error = Some(status.clone());
            }
        } else if container["ready"] == true && !at(container, "state.running").is_null() {
            ready += 1;
        }
    }
    if status == "Completed" {
        if ready > 0 && condition(pod, "Ready") == Some(true) {
            "Running".clone_into(status);
        } else if let Some(error) = error {
            *status = error;
        } else if ready > 0 {
            "NotReady".clone_into(status);
        }
    }
    ready
}

/// Why a container ended, in one word.
fn termination(terminated: &Value) -> String {
    match (
        text_at(terminated, "reason"),
        number_at(terminated, "signal"),
    ) {
        ("", 0) => format!("ExitCode:{}", number_at(terminated, "exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
