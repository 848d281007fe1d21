//! The kernel's decisions: where a pod goes, why it goes nowhere, and taking a decision back.

use std::sync::Arc;

use super::classes::ClassKey;
use super::pods::{Place, PodRecord, Pods};
use super::preempt::Search;
use super::{Kernel, Outcome};
use crate::class::Subject;
use crate::failure::{Failure, Importance, NEVER, Preemption, VICTIMS_ARE_LEAVING, diagnose};
use crate::kinds::PodKind;
use crate::labels::LabelSelector;
use crate::neighbours::Neighbours;
use crate::plugins::{Change, View};
use crate::profile::Profile;
use crate::requirements::Requirements;
use crate::snapshot::{Slot, Snapshot};
use crate::together::Owner;
use crate::volumes::{self, Needs};

/// Who wants to know why a pod fits nowhere.
pub struct Loser<'a> {
    pub needs: Option<&'a Needs>,
    pub profile: &'a Profile,
    pub pod: &'a Requirements,
    pub importance: Importance,
    /// The node that is kept for it.
    pub promised: Option<Slot>,
}

impl Kernel {
    /// Places the pods in the order given, each seeing those before it. Each that is placed is assumed on its node.
    pub fn schedule<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>) -> Vec<Outcome> {
        let outcomes = keys.into_iter().map(|key| self.schedule_one(key)).collect();
        self.classes.bound();
        outcomes
    }

    fn schedule_one(&mut self, key: &str) -> Outcome {
        self.waiting.remove(key);
        let Some(record) = self.pods.find(key) else {
            return Outcome::Skipped;
        };
        if record.place != Place::Pending || record.gated || record.deleting {
            return Outcome::Skipped;
        }
        self.stats.decisions += 1;
        let requirements = record.requirements.clone();
        let undecided = self.undecided(&requirements);
        if !undecided.is_empty() {
            let kind = self.nodes.kinds.kind(record.kind);
            self.waiting
                .add(&record.key, &requirements, kind, &[volumes::BINDING]);
            return Outcome::Failed(Arc::new(Failure {
                undecided,
                nodes: self.nodes.node_count(),
                ..Failure::default()
            }));
        }
        self.stats.nodes_considered += self.nodes.node_count() as u64;
        match self.decide(key) {
            Ok(slot) => {
                self.promise(key, None);
                self.pods.place(key, Place::Assumed(slot));
                if let Some(record) = self.pods.find(key) {
                    self.nodes.place_pod(slot, &requirements, record.kind);
                }
                Outcome::Placed(self.nodes.name(slot).clone())
            }
            Err(failure) => {
                self.lose(key, &failure);
                Outcome::Failed(failure)
            }
        }
    }

    fn decide(&mut self, key: &str) -> Result<Slot, Arc<Failure>> {
        let record = self.pods.find(key).expect("the caller has found it");
        let (requirements, importance) = (record.requirements.clone(), record.importance);
        let own_node = record.promised;
        let kind = self.nodes.kinds.kind(record.kind).clone();
        let defaults = self.defaults(&requirements, &kind, record.owner.as_ref());
        let needs = self.needs(&requirements);
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
        let mut promised = promised_room(&self.pods, key, importance.priority);
        let subject = Subject {
            profile: &self.profiles[requirements.profile],
            pod: &requirements,
            kind: &kind,
            needs: needs.as_ref(),
            involved,
            defaults: defaults.as_ref(),
            promised: &promised,
        };
        let best = state.best(&subject, &self.nodes, self.seed);
        if let Some(best) = best {
            // The node that was kept for it is taken if it will do, whatever the others are worth.
            return Ok(own_node.filter(|slot| state.admits(*slot)).unwrap_or(best));
        }
        // Equal pods that fail between two changes fail for the same reasons.
        let head = self.nodes.head();
        if let Some((position, asked_by, failure)) = &class.failure
            && (*position, *asked_by) == (head, importance)
            && own_node.is_none()
        {
            return Err(failure.clone());
        }
        let loser = Loser {
            needs: needs.as_ref(),
            profile: &self.profiles[requirements.profile],
            pod: &requirements,
            importance,
            promised: own_node,
        };
        let neighbours = state.neighbours();
        let failure = loser.why(
            self.seed,
            &self.nodes,
            &self.pods,
            &self.budgets,
            neighbours,
            &mut promised,
        );
        let failure = Arc::new(failure);
        if own_node.is_none() && !matches!(failure.preemption, Preemption::Nominated(_)) {
            class.failure = Some((head, importance, failure.clone()));
        }
        Err(failure)
    }

    /// What a failure leads to: the pod waits, and is promised a node if others make room.
    fn lose(&mut self, key: &str, failure: &Failure) {
        let Some(record) = self.pods.find(key) else {
            return;
        };
        let kind = self.nodes.kinds.kind(record.kind);
        self.waiting
            .add(&record.key, &record.requirements, kind, &failure.plugins);
        match &failure.preemption {
            Preemption::Nominated(nomination) => {
                let slot = self.nodes.find(&nomination.node);
                for outranked in &nomination.outranked {
                    self.promise(outranked, None);
                }
                for victim in &nomination.victims {
                    if let Some(victim) = self.pods.find_mut(&victim.key) {
                        victim.is_victim = true;
                    }
                }
                self.promise(key, slot);
            }
            Preemption::Useless(_) => self.promise(key, None),
            Preemption::NotEligible(_) | Preemption::NotConsidered => {}
        }
    }

    /// Whom the default spread constraints count, if they apply to the pod.
    pub fn defaults(
        &self,
        requirements: &Requirements,
        kind: &PodKind,
        owner: Option<&Owner>,
    ) -> Option<LabelSelector> {
        let defaults = &self.profiles[requirements.profile].defaults;
        let has_defaults = !(defaults.required.is_empty() && defaults.preferred.is_empty());
        if !requirements.spreading.is_default || !has_defaults {
            return None;
        }
        self.together.selector(kind, owner)
    }

    /// What the pod's claims ask; None without claims.
    pub fn needs(&self, requirements: &Requirements) -> Option<Needs> {
        let claims = &requirements.claims;
        (!claims.is_empty()).then(|| self.nodes.volumes.needs(claims))
    }

    /// Fields of constraints that no plugin decides.
    pub fn undecided(&self, requirements: &Requirements) -> Vec<String> {
        let mut fields = requirements.undecided.clone();
        if let Some(needs) = self.needs(requirements) {
            fields.extend(needs.undecided);
        }
        fields
    }

    /// Whether other pods mean anything to the pod, or it to them.
    pub fn is_involved(
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
        self.left(&requirements, kind);
        true
    }

    /// A victim is not evicted after all.
    pub fn spare(&mut self, key: &str) {
        if let Some(record) = self.pods.find_mut(key) {
            record.is_victim = false;
        }
    }

    /// The node a pod is on or assumed on.
    pub fn node_of(&self, key: &str) -> Option<&Arc<str>> {
        Some(self.nodes.name(self.pods.find(key)?.place.slot()?))
    }

    /// The node that is kept for a pending pod.
    pub fn promised_to(&self, key: &str) -> Option<&Arc<str>> {
        Some(self.nodes.name(self.pods.find(key)?.promised?))
    }
}

/// The room that is kept for pods at least as important, by node. A pod's own promise does not stand in its way.
pub fn promised_room(pods: &Pods, key: &str, priority: i32) -> Vec<(Slot, Change)> {
    let counts = |pod: &&PodRecord| pod.importance.priority >= priority && *pod.key != *key;
    pods.promised_nodes()
        .filter_map(|slot| {
            let mut change = Change::default();
            for pod in pods.promised(slot).filter(counts) {
                change.add(&pod.requirements, pod.kind, 1);
            }
            (!change.kinds().is_empty()).then_some((slot, change))
        })
        .collect()
}

impl Loser<'_> {
    pub fn why(
        &self,
        seed: u64,
        nodes: &Snapshot,
        pods: &Pods,
        budgets: &crate::budgets::Budgets,
        neighbours: Option<&Neighbours>,
        promised: &mut [(Slot, Change)],
    ) -> Failure {
        for (_, change) in &mut *promised {
            change.shift(neighbours);
        }
        let view = View {
            profile: self.profile,
            pod: self.pod,
            nodes,
            needs: self.needs,
            neighbours,
            change: None,
        };
        let diagnosis = diagnose(&view, promised);
        let mut failure = diagnosis.failure;
        if failure.nodes == 0 {
            return failure;
        }
        failure.preemption = if !self.profile.preempts {
            Preemption::NotConsidered
        } else if self.importance.never_preempts {
            Preemption::NotEligible(NEVER)
        } else if self.waits_for_victims(pods, &diagnosis.potential) {
            Preemption::NotEligible(VICTIMS_ARE_LEAVING)
        } else {
            let search = Search {
                view,
                pods,
                budgets,
                priority: self.importance.priority,
                promised,
                seed,
            };
            search.run(&diagnosis.potential, diagnosis.hopeless)
        };
        failure
    }

    /// The node that is kept for it will have room: its victims are leaving.
    fn waits_for_victims(&self, pods: &Pods, potential: &[Slot]) -> bool {
        self.promised.is_some_and(|slot| {
            potential.contains(&slot)
                && pods
                    .on_node(slot)
                    .any(|pod| pod.is_victim && pod.importance.priority < self.importance.priority)
        })
    }
}
