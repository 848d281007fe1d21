//! The kernel's decisions: where a pod goes, why it goes nowhere, and taking a decision back.

use std::sync::Arc;

use super::classes::ClassKey;
use super::pods::Place;
use super::{Kernel, Outcome, SchedError, importance_of, owner_of, parse_pod};
use crate::class::{ClassState, Subject};
use crate::failure::{self, Failure, Importance};
use crate::kinds::PodKind;
use crate::labels::LabelSelector;
use crate::plugins::View;
use crate::requirements::Requirements;
use crate::snapshot::Slot;
use crate::together::Owner;

impl Kernel {
    /// Places the pods in the order given, each seeing those before it. Each that is placed is assumed on its node.
    pub fn schedule<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>) -> Vec<Outcome> {
        let outcomes = keys.into_iter().map(|key| self.schedule_one(key)).collect();
        self.classes.bound();
        outcomes
    }

    fn schedule_one(&mut self, key: &str) -> Outcome {
        let Some(record) = self.pods.find(key) else {
            return Outcome::Skipped;
        };
        if record.place != Place::Pending || record.gated || record.deleting {
            return Outcome::Skipped;
        }
        self.stats.decisions += 1;
        let (requirements, importance) = (record.requirements.clone(), record.importance);
        let (kind_id, kind) = (record.kind, self.nodes.kinds.kind(record.kind).clone());
        if !requirements.undecided.is_empty() {
            return Outcome::Failed(Arc::new(Failure {
                undecided: requirements.undecided.clone(),
                nodes: self.nodes.node_count(),
                ..Failure::default()
            }));
        }
        self.stats.nodes_considered += self.nodes.node_count() as u64;
        let defaults = self.defaults(&requirements, &kind, record.owner.as_ref());
        let involved = self.is_involved(&requirements, &kind, defaults.as_ref());
        let class = self.classes.take_turn(ClassKey {
            requirements: requirements.clone(),
            kind: involved.then(|| kind.clone()),
            defaults: defaults.clone(),
        });
        let state = if std::mem::replace(&mut class.recurs, true) {
            &mut class.state
        } else {
            self.scratch.reset();
            &mut self.scratch
        };
        let subject = Subject {
            pod: &requirements,
            kind: &kind,
            involved,
            defaults: defaults.as_ref(),
            promised: &[],
        };
        if let Some(slot) = state.best(&subject, &self.nodes, self.seed) {
            self.pods.place(key, Place::Assumed(slot));
            self.nodes.place_pod(slot, &requirements, kind_id);
            return Outcome::Placed(self.nodes.name(slot).clone());
        }
        // Equal pods that fail between two changes fail for the same reasons.
        let head = self.nodes.head();
        if let Some((position, asked_by, failure)) = &class.failure
            && *position == head
            && *asked_by == importance
        {
            return Outcome::Failed(failure.clone());
        }
        let view = View {
            pod: &requirements,
            nodes: &self.nodes,
            neighbours: state.neighbours(),
            change: None,
        };
        let victims = |slot: Slot| {
            let pods = self.pods.on_node(slot);
            let less = pods.filter(|pod| pod.importance.priority < importance.priority);
            less.map(|pod| (&*pod.requirements, pod.kind)).collect()
        };
        let failure = Arc::new(failure::explain(&view, importance, &victims));
        class.failure = Some((head, importance, failure.clone()));
        Outcome::Failed(failure)
    }

    /// Whom the default spread constraints count, if they apply to the pod.
    fn defaults(
        &self,
        requirements: &Requirements,
        kind: &PodKind,
        owner: Option<&Owner>,
    ) -> Option<LabelSelector> {
        if !requirements.spreading.is_default {
            return None;
        }
        self.together.selector(kind, owner)
    }

    /// Whether other pods mean anything to the pod, or it to them.
    fn is_involved(
        &self,
        requirements: &Requirements,
        kind: &PodKind,
        defaults: Option<&LabelSelector>,
    ) -> bool {
        let spreading = &requirements.spreading;
        defaults.is_some()
            || !spreading.required.is_empty()
            || !spreading.preferred.is_empty()
            || !kind.terms.is_empty()
            || self.nodes.kinds.concern(kind, &self.nodes.namespaces)
    }

    /// Where a pod, given encoded and not necessarily known, would go now, and why not elsewhere. Changes nothing.
    pub fn explain(&mut self, body: &[u8]) -> Result<(Option<Arc<str>>, Failure), SchedError> {
        let pod = parse_pod(body)?;
        let (requirements, kind) = self.read(&pod);
        let kind = Arc::new(kind);
        let importance: Importance = importance_of(&pod);
        let defaults = self.defaults(&requirements, &kind, owner_of(&pod).as_ref());
        let subject = Subject {
            pod: &requirements,
            kind: &kind,
            involved: self.is_involved(&requirements, &kind, defaults.as_ref()),
            defaults: defaults.as_ref(),
            promised: &[],
        };
        let mut state = ClassState::default();
        let best = state.best(&subject, &self.nodes, self.seed);
        let view = View {
            pod: &requirements,
            nodes: &self.nodes,
            neighbours: state.neighbours(),
            change: None,
        };
        let victims = |slot: Slot| {
            let pods = self.pods.on_node(slot);
            let less = pods.filter(|pod| pod.importance.priority < importance.priority);
            less.map(|pod| (&*pod.requirements, pod.kind)).collect()
        };
        let mut failure = failure::explain(&view, importance, &victims);
        failure.undecided.clone_from(&requirements.undecided);
        let node = best
            .filter(|_| requirements.undecided.is_empty())
            .map(|slot| self.nodes.name(slot).clone());
        Ok((node, failure))
    }

    /// Takes an assumption back: the pod is pending again. False if there was none.
    pub fn forget(&mut self, key: &str) -> bool {
        let Some(record) = self.pods.find(key) else {
            return false;
        };
        let Place::Assumed(slot) = record.place else {
            return false;
        };
        let (requirements, kind) = (record.requirements.clone(), record.kind);
        self.pods.place(key, Place::Pending);
        self.nodes.remove_pod(slot, &requirements, kind);
        true
    }

    /// The node a pod is on or assumed on.
    pub fn node_of(&self, key: &str) -> Option<&Arc<str>> {
        Some(self.nodes.name(self.pods.find(key)?.place.slot()?))
    }
}
