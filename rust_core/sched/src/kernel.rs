//! The kernel: what it knows of nodes and pods, and the decisions it makes from that.
//!
//! In: watch events as encoded bytes; keys of pods to place, in order. Out: a node or a reason for each. A decision is *assumed* at once, so the
//! next one sees it; the pod's own event confirms it, `forget` takes it back. No thread, no timer, no socket: the caller drives it.

mod decide;

use std::sync::Arc;

use crate::class::ClassState;
use crate::failure::{Failure, Importance};
use crate::requirements::Requirements;
use crate::snapshot::{Map, NodeChange, Slot, Snapshot};
use crate::wire;

#[derive(Debug, thiserror::Error)]
pub enum SchedError {
    #[error("not an encoded {kind}: {source}")]
    Decode {
        kind: &'static str,
        source: serde_json::Error,
    },
    #[error("an encoded {kind} without a name")]
    Nameless { kind: &'static str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Deleted,
}

/// Where a pod stands for the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    /// Wants a node from us.
    Pending,
    /// Wants one once its scheduling gates are gone.
    Gated,
    /// Sits on a node, or is assumed to.
    Assigned,
    /// Deleted, being deleted before it got a node, finished, or another scheduler's.
    Gone,
}

/// What an event meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodChange {
    /// `namespace/name`.
    pub key: String,
    pub state: PodState,
    pub priority: i32,
    /// New, or asks for something else than before: worth another try.
    pub changed: bool,
    /// A node may have more room than before.
    pub frees: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Placed(Arc<str>),
    Failed(Arc<Failure>),
    /// No longer pending: nothing to decide.
    Skipped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Pending,
    Assumed(Slot),
    Bound(Slot),
}

impl Place {
    fn slot(self) -> Option<Slot> {
        match self {
            Place::Pending => None,
            Place::Assumed(slot) | Place::Bound(slot) => Some(slot),
        }
    }
}

#[derive(Debug)]
struct PodRecord {
    uid: String,
    requirements: Arc<Requirements>,
    importance: Importance,
    gated: bool,
    deleting: bool,
    place: Place,
}

#[derive(Debug, Default)]
struct Class {
    state: ClassState,
    last_used: u64,
    /// Chosen for before: worth a state of its own.
    recurs: bool,
    /// The last failure, and the position of the change log and the importance for which it holds.
    failure: Option<(u64, Importance, Arc<Failure>)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub nodes: usize,
    pub pods: usize,
    pub assumed: usize,
    pub classes: usize,
    /// Decisions made since the start, and the sum over them of the nodes each considered.
    pub decisions: u64,
    pub nodes_considered: u64,
}

/// Nodes × classes kept up at once, about 100 MB: past it the class used longest ago starts over when its next pod comes.
const CELLS_MAX: usize = 1_000_000;
/// Classes without pods are looked for when the table has grown to this, then to twice what was left.
const SWEEP_MIN: usize = 64;

#[derive(Debug)]
pub struct Kernel {
    seed: u64,
    scheduler_name: String,
    nodes: Snapshot,
    pods: Map<String, PodRecord>,
    classes: Map<Arc<Requirements>, Class>,
    sweep_at: usize,
    /// Where a class is decided for the first time: most classes have one pod, and need not keep what they cost.
    scratch: ClassState,
    clock: u64,
    stats: Stats,
}

impl Kernel {
    /// `scheduler_name`: whose pods are ours. `seed`: decides between equally good nodes.
    pub fn new(seed: u64, scheduler_name: &str) -> Kernel {
        Kernel {
            seed,
            scheduler_name: scheduler_name.to_owned(),
            nodes: Snapshot::default(),
            pods: Map::default(),
            classes: Map::default(),
            sweep_at: SWEEP_MIN,
            scratch: ClassState::default(),
            clock: 0,
            stats: Stats::default(),
        }
    }

    pub fn stats(&self) -> Stats {
        let assumed = self
            .pods
            .values()
            .filter(|pod| matches!(pod.place, Place::Assumed(_)))
            .count();
        Stats {
            nodes: self.nodes.node_count(),
            pods: self.pods.len(),
            assumed,
            classes: self.classes.len(),
            ..self.stats
        }
    }

    // ───────── events ─────────

    pub fn node_event(&mut self, kind: EventKind, body: &[u8]) -> Result<NodeChange, SchedError> {
        let node: wire::Node =
            serde_json::from_slice(body).map_err(|source| SchedError::Decode {
                kind: "Node",
                source,
            })?;
        if node.metadata.name.is_empty() {
            return Err(SchedError::Nameless { kind: "Node" });
        }
        Ok(match kind {
            EventKind::Put => self.nodes.put_node(&node),
            EventKind::Deleted => self.nodes.remove_node(&node.metadata.name),
        })
    }

    pub fn pod_event(&mut self, kind: EventKind, body: &[u8]) -> Result<PodChange, SchedError> {
        let pod = parse_pod(body)?;
        let key = key_of(&pod.metadata);
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let finished = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let importance = Importance {
            priority: pod.spec.priority.unwrap_or(0),
            never_preempts: pod.spec.preemption_policy.as_deref() == Some("Never"),
        };
        let mut change = PodChange {
            key,
            state: PodState::Gone,
            priority: importance.priority,
            changed: false,
            frees: false,
        };
        // The same name with another uid is another pod: the first one is gone.
        if self
            .pods
            .get(&change.key)
            .is_some_and(|record| record.uid != uid)
        {
            if kind == EventKind::Deleted {
                return Ok(self.state_of(change));
            }
            change.frees = self.drop_pod(&change.key);
        }
        let node_name = pod
            .spec
            .node_name
            .as_deref()
            .filter(|name| !name.is_empty());
        let scheduler_name = pod
            .spec
            .scheduler_name
            .as_deref()
            .filter(|name| !name.is_empty());
        let ours = scheduler_name.unwrap_or("default-scheduler") == self.scheduler_name;
        if kind == EventKind::Deleted || finished || (node_name.is_none() && !ours) {
            change.frees |= self.drop_pod(&change.key);
            return Ok(change);
        }
        let requirements = self.intern(&pod.spec);
        let known = self.pods.remove(&change.key);
        let mut record = PodRecord {
            uid,
            requirements,
            importance,
            gated: pod
                .spec
                .scheduling_gates
                .as_ref()
                .is_some_and(|gates| !gates.is_empty()),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            place: Place::Pending,
        };
        self.settle(&mut record, known, node_name, &mut change);
        self.pods.insert(change.key.clone(), record);
        Ok(self.state_of(change))
    }

    /// Moves the accounting from what was known of a pod to what is known now.
    fn settle(
        &mut self,
        now: &mut PodRecord,
        known: Option<PodRecord>,
        node_name: Option<&str>,
        change: &mut PodChange,
    ) {
        let same_asks = known.as_ref().is_some_and(|known| {
            known.requirements == now.requirements
                && known.importance == now.importance
                && known.gated == now.gated
        });
        change.changed = !same_asks;
        let before = known.as_ref().map_or(Place::Pending, |known| known.place);
        now.place = match (node_name, before) {
            (Some(name), _) => Place::Bound(self.nodes.slot(name)),
            // An older view than our own decision, which stands until it is confirmed or forgotten.
            (None, Place::Assumed(slot)) => Place::Assumed(slot),
            (None, _) => Place::Pending,
        };
        let same_requests = known
            .as_ref()
            .is_some_and(|known| known.requirements.requests == now.requirements.requests);
        if same_requests && before.slot() == now.place.slot() {
            return;
        }
        // Added before it is removed: a slot without a node lives only while it has pods.
        if let Some(slot) = now.place.slot() {
            self.nodes.add_pod(slot, &now.requirements.requests);
        }
        if let (Some(slot), Some(known)) = (before.slot(), known) {
            self.nodes.remove_pod(slot, &known.requirements.requests);
            change.frees = true;
        }
    }

    fn state_of(&self, mut change: PodChange) -> PodChange {
        change.state = match self.pods.get(&change.key) {
            None => PodState::Gone,
            Some(record) if record.place != Place::Pending => PodState::Assigned,
            Some(record) if record.deleting => PodState::Gone,
            Some(record) if record.gated => PodState::Gated,
            Some(_) => PodState::Pending,
        };
        change
    }

    /// True if a node got room by it.
    fn drop_pod(&mut self, key: &str) -> bool {
        let Some(record) = self.pods.remove(key) else {
            return false;
        };
        let Some(slot) = record.place.slot() else {
            return false;
        };
        self.nodes.remove_pod(slot, &record.requirements.requests);
        true
    }

    fn intern(&mut self, spec: &wire::PodSpec) -> Arc<Requirements> {
        let mut requirements = Requirements::of(spec, &mut self.nodes.resources);
        // A pod on a node is only accounted there: all of a class share one set of requirements wherever they run.
        requirements.node_name = None;
        if let Some((shared, _)) = self.classes.get_key_value(&requirements) {
            return shared.clone();
        }
        if self.classes.len() >= self.sweep_at {
            self.classes
                .retain(|requirements, _| Arc::strong_count(requirements) > 1);
            self.sweep_at = SWEEP_MIN.max(2 * self.classes.len());
        }
        let shared = Arc::new(requirements);
        self.classes.insert(shared.clone(), Class::default());
        shared
    }
}

fn parse_pod(body: &[u8]) -> Result<wire::Pod, SchedError> {
    let pod: wire::Pod = serde_json::from_slice(body).map_err(|source| SchedError::Decode {
        kind: "Pod",
        source,
    })?;
    if pod.metadata.name.is_empty() {
        return Err(SchedError::Nameless { kind: "Pod" });
    }
    Ok(pod)
}

fn key_of(metadata: &wire::Metadata) -> String {
    match metadata.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{}", metadata.name),
        _ => metadata.name.clone(),
    }
}
