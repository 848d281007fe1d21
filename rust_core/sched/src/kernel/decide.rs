//! The kernel's decisions: where a pod goes, why it goes nowhere, and taking a decision back.

use std::sync::Arc;

use super::{CELLS_MAX, Kernel, Outcome, Place, SchedError, parse_pod};
use crate::class::ClassState;
use crate::failure::{self, Evictable, Failure, Importance};
use crate::requirements::Requirements;

impl Kernel {
    /// Places the pods in the order given, each seeing those before it. Each that is placed is assumed on its node.
    pub fn schedule<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>) -> Vec<Outcome> {
        let outcomes = keys.into_iter().map(|key| self.schedule_one(key)).collect();
        self.bound_classes();
        outcomes
    }

    fn schedule_one(&mut self, key: &str) -> Outcome {
        let Some(record) = self.pods.get_mut(key) else {
            return Outcome::Skipped;
        };
        if record.place != Place::Pending || record.gated || record.deleting {
            return Outcome::Skipped;
        }
        self.stats.decisions += 1;
        let requirements = record.requirements.clone();
        if !requirements.undecided.is_empty() {
            let undecided = requirements.undecided.clone();
            return Outcome::Failed(Arc::new(Failure {
                undecided,
                nodes: self.nodes.node_count(),
                ..Failure::default()
            }));
        }
        self.stats.nodes_considered += self.nodes.node_count() as u64;
        self.clock += 1;
        let class = self.classes.entry(requirements.clone()).or_default();
        class.last_used = self.clock;
        let state = if std::mem::replace(&mut class.recurs, true) {
            &mut class.state
        } else {
            self.scratch.reset();
            &mut self.scratch
        };
        match state.best(&requirements, &self.nodes, self.seed) {
            Some(slot) => {
                record.place = Place::Assumed(slot);
                self.nodes.place_pod(slot, &requirements);
                Outcome::Placed(self.nodes.name(slot).clone())
            }
            None => {
                let importance = record.importance;
                Outcome::Failed(self.failure(&requirements, importance))
            }
        }
    }

    /// Equal pods that fail between two changes fail for the same reasons.
    fn failure(
        &mut self,
        requirements: &Arc<Requirements>,
        importance: Importance,
    ) -> Arc<Failure> {
        let head = self.nodes.head();
        let class = self.classes.entry(requirements.clone()).or_default();
        if let Some((position, asked_by, failure)) = &class.failure
            && *position == head
            && *asked_by == importance
        {
            return failure.clone();
        }
        let failure = Arc::new(self.explain_requirements(requirements, importance));
        if let Some(class) = self.classes.get_mut(requirements) {
            class.failure = Some((head, importance, failure.clone()));
        }
        failure
    }

    fn explain_requirements(&self, requirements: &Requirements, importance: Importance) -> Failure {
        let mut evictable = Evictable::default();
        for pod in self
            .pods
            .values()
            .filter(|pod| pod.importance.priority < importance.priority)
        {
            if let Some(slot) = pod.place.slot() {
                evictable
                    .entry(slot)
                    .or_default()
                    .push(&pod.requirements.requests);
            }
        }
        failure::explain(requirements, &self.nodes, importance, &evictable)
    }

    /// Where a pod, given encoded and not necessarily known, would go now, and why not elsewhere. Changes nothing.
    pub fn explain(&mut self, body: &[u8]) -> Result<(Option<Arc<str>>, Failure), SchedError> {
        let pod = parse_pod(body)?;
        let requirements = Requirements::of(&pod.spec, &mut self.nodes.resources);
        let importance = Importance {
            priority: pod.spec.priority.unwrap_or(0),
            never_preempts: pod.spec.preemption_policy.as_deref() == Some("Never"),
        };
        let best = ClassState::default().best(&requirements, &self.nodes, self.seed);
        let mut failure = self.explain_requirements(&requirements, importance);
        failure.undecided.clone_from(&requirements.undecided);
        let node = best
            .filter(|_| requirements.undecided.is_empty())
            .map(|slot| self.nodes.name(slot).clone());
        Ok((node, failure))
    }

    /// Takes an assumption back: the pod is pending again. False if there was none.
    pub fn forget(&mut self, key: &str) -> bool {
        let Some(record) = self.pods.get_mut(key) else {
            return false;
        };
        let Place::Assumed(slot) = record.place else {
            return false;
        };
        record.place = Place::Pending;
        let requirements = record.requirements.clone();
        self.nodes.remove_pod(slot, &requirements.requests);
        true
    }

    /// The node a pod is on or assumed on.
    pub fn node_of(&self, key: &str) -> Option<&Arc<str>> {
        Some(self.nodes.name(self.pods.get(key)?.place.slot()?))
    }

    fn bound_classes(&mut self) {
        let mut cells: usize = self.classes.values().map(|class| class.state.size()).sum();
        if cells <= CELLS_MAX {
            return;
        }
        let mut by_age: Vec<(u64, Arc<Requirements>)> = self
            .classes
            .iter()
            .map(|(requirements, class)| (class.last_used, requirements.clone()))
            .collect();
        by_age.sort_unstable_by_key(|(last_used, _)| *last_used);
        by_age.pop();
        for (_, requirements) in by_age {
            if cells <= CELLS_MAX {
                return;
            }
            if let Some(class) = self.classes.get_mut(&requirements) {
                cells -= class.state.size();
                class.state = ClassState::default();
            }
        }
    }
}
