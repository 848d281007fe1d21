//! The kernel: what it knows of nodes and pods, and the decisions it makes from that.
//!
//! In: watch events as encoded bytes; keys of pods to place, in order. Out: a node or a reason for each. A decision is *assumed* at once, so the
//! next one sees it; the pod's own event confirms it, `forget` takes it back. No thread, no timer, no socket: the caller drives it.

mod classes;
mod decide;
mod explain;
mod pods;
mod preempt;
mod related;
mod waiting;

use std::sync::Arc;

use classes::Classes;
pub use explain::{Explanation, NodeVerdict, Scores, Verdict};
use pods::{Place, PodRecord, Pods};
pub use related::{RELATED, Related};
use waiting::Waiting;

use crate::budgets::Budgets;
use crate::class::ClassState;
use crate::failure::{Failure, Importance};
use crate::hints::Happening;
use crate::kinds::{KindId, PodKind};
use crate::profile::{Profile, Settings};
use crate::requirements::Requirements;
use crate::snapshot::{Slot, Snapshot};
use crate::together::{Owner, Together};
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
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Placed(Arc<str>),
    Failed(Arc<Failure>),
    /// No longer pending: nothing to decide.
    Skipped,
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

#[derive(Debug)]
pub struct Kernel {
    seed: u64,
    profiles: Vec<Profile>,
    nodes: Snapshot,
    pods: Pods,
    classes: Classes,
    together: Together,
    budgets: Budgets,
    waiting: Waiting,
    /// Where a class is decided for the first time: most classes have one pod, and need not keep what they cost.
    scratch: ClassState,
    stats: Stats,
}

impl Kernel {
    /// `profiles`: whose pods are ours, and how they are decided; at least one. `seed`: decides between equally good nodes.
    pub fn new(seed: u64, profiles: &[Settings]) -> Kernel {
        let mut nodes = Snapshot::default();
        let each = profiles.iter();
        Kernel {
            seed,
            profiles: each.map(|each| Profile::of(each, &mut nodes)).collect(),
            nodes,
            pods: Pods::default(),
            classes: Classes::default(),
            together: Together::default(),
            budgets: Budgets::default(),
            waiting: Waiting::default(),
            scratch: ClassState::default(),
            stats: Stats::default(),
        }
    }

    pub fn stats(&self) -> Stats {
        let assumed = self
            .pods
            .iter()
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

    /// True if it says something new.
    pub fn node_event(&mut self, kind: EventKind, body: &[u8]) -> Result<bool, SchedError> {
        let node: wire::Node =
            serde_json::from_slice(body).map_err(|source| SchedError::Decode {
                kind: "Node",
                source,
            })?;
        let name = node.metadata.name.as_str();
        if name.is_empty() {
            return Err(SchedError::Nameless { kind: "Node" });
        }
        let before = match kind {
            EventKind::Put => match self.nodes.put_node(&node) {
                Some(before) => before,
                None => return Ok(false),
            },
            EventKind::Deleted => match self.nodes.remove_node(name) {
                Some(before) => Some(before),
                None => return Ok(false),
            },
        };
        let slot = self.nodes.find(name);
        let happening = Happening::Node {
            name,
            before: before.as_ref(),
            after: slot.map(|slot| self.nodes.facts(slot)),
        };
        self.waiting
            .happened(&happening, &self.nodes, &self.profiles);
        Ok(true)
    }

    /// The pods that fitted nowhere and that something has happened for since the last call: they are worth another try.
    pub fn take_woken(&mut self) -> Vec<Arc<str>> {
        self.waiting.take_woken()
    }

    pub fn pod_event(&mut self, kind: EventKind, body: &[u8]) -> Result<PodChange, SchedError> {
        let pod = parse_pod(body)?;
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let finished = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let mut change = PodChange {
            key: key_of(&pod.metadata),
            state: PodState::Gone,
            priority: pod.spec.priority.unwrap_or(0),
            changed: false,
        };
        // The same name with another uid is another pod: the first one is gone.
        let known = self.pods.find(&change.key);
        if known.is_some_and(|known| *known.uid != *uid) {
            if kind == EventKind::Deleted {
                return Ok(self.state_of(change));
            }
            self.drop_pod(&change.key);
        }
        let ours = self.profile_of(&pod).is_some();
        let assigned = given(&pod.spec.node_name).is_some();
        if kind == EventKind::Deleted || finished || (!assigned && !ours) {
            self.drop_pod(&change.key);
            return Ok(change);
        }
        self.settle(&pod, &mut change);
        Ok(self.state_of(change))
    }

    /// Moves the accounting from what was known of a pod to what is known now.
    fn settle(&mut self, pod: &wire::Pod, change: &mut PodChange) {
        let (requirements, kind) = self.read(pod);
        let requirements = self.classes.intern(requirements, &self.pods, &self.nodes);
        let known = self.pods.remove(&change.key);
        let before = known.as_ref().map_or(Place::Pending, |known| known.place);
        let place = match (given(&pod.spec.node_name), before) {
            (Some(name), _) => Place::Bound(self.nodes.slot(name)),
            // An older view than our own decision, which stands until it is confirmed or forgotten.
            (None, Place::Assumed(slot)) => Place::Assumed(slot),
            (None, _) => Place::Pending,
        };
        let now = PodRecord {
            key: change.key.as_str().into(),
            uid: pod.metadata.uid.as_deref().unwrap_or_default().into(),
            requirements,
            kind: self.nodes.kinds.acquire(kind),
            owner: owner_of(pod),
            importance: importance_of(pod),
            gated: is_gated(pod),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            started: pod.status.start_time.as_deref().map(Into::into),
            is_victim: is_preempted(pod) || known.as_ref().is_some_and(|known| known.is_victim),
            place,
            promised: self.promised_now(pod, place, known.as_ref()),
            named: given(&pod.status.nominated_node_name).map(Into::into),
        };
        let same_asks = known.as_ref().is_some_and(|known| {
            known.requirements == now.requirements
                && known.importance == now.importance
                && known.gated == now.gated
        });
        change.changed = !same_asks;
        // Added before it is removed: a slot without a node lives only while something is there or is to come.
        if let Some(slot) = now.promised {
            self.nodes.promise(slot, 1);
        }
        if let Some(slot) = known.as_ref().and_then(|known| known.promised) {
            self.nodes.promise(slot, -1);
        }
        self.account(&now, known.as_ref());
        if let Some(known) = known {
            self.nodes.kinds.release(known.kind);
        }
        self.pods.insert(now);
    }

    /// Moves a pod between nodes, and wakes those whom that helps.
    fn account(&mut self, now: &PodRecord, known: Option<&PodRecord>) {
        let before = known.and_then(|known| known.place.slot());
        let same_asks = known.is_some_and(|known| known.requirements == now.requirements);
        let same_kind = known.is_some_and(|known| known.kind == now.kind);
        let same_slot = before == now.place.slot();
        if !(same_asks && same_kind && same_slot) {
            if let Some(slot) = now.place.slot() {
                self.nodes.add_pod(slot, &now.requirements, now.kind);
            }
            if let (Some(slot), Some(known)) = (before, known) {
                self.nodes.remove_pod(slot, &known.requirements, known.kind);
                if !(same_slot && same_asks) {
                    self.left(&known.requirements, known.kind);
                }
            }
        }
        let was_bound = known.is_some_and(|known| matches!(known.place, Place::Bound(_)));
        if let Place::Bound(_) = now.place {
            let kind = self.nodes.kinds.kind(now.kind);
            if let Some(known) = known.filter(|_| was_bound && same_slot) {
                if !same_kind {
                    let before = self.nodes.kinds.kind(known.kind);
                    let happening = Happening::PodRelabelled(before, kind);
                    self.waiting
                        .happened(&happening, &self.nodes, &self.profiles);
                }
            } else {
                let happening = Happening::PodCame(kind);
                self.waiting
                    .happened(&happening, &self.nodes, &self.profiles);
            }
        }
    }

    /// A pod of this kind left a node.
    fn left(&mut self, requirements: &Requirements, kind: KindId) {
        let kind = self.nodes.kinds.kind(kind);
        let happening = Happening::PodLeft(kind, &requirements.ports);
        self.waiting
            .happened(&happening, &self.nodes, &self.profiles);
    }

    /// The node that is kept for a pod: what its status says, unless our own promise is newer.
    fn promised_now(
        &mut self,
        pod: &wire::Pod,
        place: Place,
        known: Option<&PodRecord>,
    ) -> Option<Slot> {
        if place != Place::Pending || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        match given(&pod.status.nominated_node_name) {
            Some(name) => Some(self.nodes.slot(name)),
            None if known.is_some_and(|known| known.named.is_none()) => known?.promised,
            None => None,
        }
    }

    /// Keeps a node for a pending pod, or none any more.
    fn promise(&mut self, key: &str, slot: Option<Slot>) {
        if let Some(slot) = slot {
            self.nodes.promise(slot, 1);
        }
        if let Some(before) = self.pods.promise(key, slot) {
            self.nodes.promise(before, -1);
        }
    }

    /// What a pod asks, and what others can tell about it.
    fn read(&mut self, pod: &wire::Pod) -> (Requirements, PodKind) {
        let kind = PodKind::of(pod, |key| self.nodes.topology_key(key));
        let mut requirements = Requirements::of(pod, &mut self.nodes);
        requirements.profile = self.profile_of(pod).unwrap_or(0);
        (requirements, kind)
    }

    /// Which profile decides for a pod; None: another scheduler does.
    fn profile_of(&self, pod: &wire::Pod) -> Option<usize> {
        let name = given(&pod.spec.scheduler_name).unwrap_or("default-scheduler");
        let mut profiles = self.profiles.iter();
        profiles.position(|profile| profile.scheduler_name == name)
    }

    fn state_of(&self, mut change: PodChange) -> PodChange {
        change.state = match self.pods.find(&change.key) {
            None => PodState::Gone,
            Some(record) if record.place != Place::Pending => PodState::Assigned,
            Some(record) if record.deleting => PodState::Gone,
            Some(record) if record.gated => PodState::Gated,
            Some(_) => PodState::Pending,
        };
        change
    }

    fn drop_pod(&mut self, key: &str) {
        self.waiting.remove(key);
        let Some(record) = self.pods.remove(key) else {
            return;
        };
        let was_promised = record.promised.is_some();
        if let Some(slot) = record.promised {
            self.nodes.promise(slot, -1);
        }
        if let Some(slot) = record.place.slot() {
            self.nodes
                .remove_pod(slot, &record.requirements, record.kind);
        }
        if was_promised || record.place.slot().is_some() {
            self.left(&record.requirements, record.kind);
        }
        self.nodes.kinds.release(record.kind);
    }
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn importance_of(pod: &wire::Pod) -> Importance {
    Importance {
        priority: pod.spec.priority.unwrap_or(0),
        never_preempts: pod.spec.preemption_policy.as_deref() == Some("Never"),
    }
}

fn owner_of(pod: &wire::Pod) -> Option<Owner> {
    let mut references = pod.metadata.owner_references.iter().flatten();
    let controller = references.find(|each| each.controller == Some(true))?;
    Owner::of(&controller.api_version, &controller.kind, &controller.name)
}

/// Being evicted for a more important pod.
fn is_preempted(pod: &wire::Pod) -> bool {
    let mut conditions = pod.status.conditions.iter().flatten();
    pod.metadata.deletion_timestamp.is_some()
        && conditions.any(|condition| {
            condition.r#type == "DisruptionTarget"
                && condition.status == "True"
                && condition.reason.as_deref() == Some("PreemptionByScheduler")
        })
}

fn is_gated(pod: &wire::Pod) -> bool {
    let gates = pod.spec.scheduling_gates.as_ref();
    gates.is_some_and(|gates| !gates.is_empty())
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
