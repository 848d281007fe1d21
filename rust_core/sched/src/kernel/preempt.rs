//! Whom to evict so that a more important pod gets room: fewest broken budgets, then the least important victims.
//!
//! On each node that evicting might help, all less important pods are imagined away; if the pod then fits, as many as possible are taken
//! back, the most important first. Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/

use std::cmp::Reverse;

use super::pods::{PodRecord, Pods};
use crate::budgets::Budgets;
use crate::class::tie_break;
use crate::failure::{NO_VICTIMS, Nomination, Preemption, Tally, Victim, useless};
use crate::plugins::{Change, FILTERS, OF_NEIGHBOURS, OF_PODS, Reason, View};
use crate::snapshot::Slot;

/// What the search looks at, besides the nodes.
pub struct Search<'a> {
    pub view: View<'a>,
    pub pods: &'a Pods,
    pub budgets: &'a Budgets,
    pub priority: i32,
    pub promised: &'a [(Slot, Change)],
    pub seed: u64,
}

/// Broken budgets, highest priority, sum of priorities, victims, earliest start, lot.
type Cost<'a> = (usize, i32, i64, usize, Reverse<&'a str>, Reverse<u64>);

struct Candidate<'a> {
    slot: Slot,
    victims: Vec<&'a PodRecord>,
    violations: usize,
}

/// A pod without a start time has not started: it counts as the last to have.
fn started(pod: &PodRecord) -> &str {
    pod.started.as_deref().unwrap_or("~")
}

fn least_important_last(pod: &PodRecord) -> (Reverse<i32>, &str, &str) {
    (Reverse(pod.importance.priority), started(pod), &pod.key)
}

impl<'a> Search<'a> {
    /// Every potential node is tried, and the best taken.
    pub fn run(&self, potential: &[Slot], hopeless: usize) -> Preemption {
        let mut why = Tally::default();
        let mut best: Option<(Cost<'a>, Candidate<'a>)> = None;
        for slot in potential {
            match self.candidate(*slot) {
                Ok(candidate) => {
                    let cost = self.cost(&candidate);
                    if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                        best = Some((cost, candidate));
                    }
                }
                Err(reasons) => {
                    for reason in reasons {
                        why.add(reason, 1);
                    }
                }
            }
        }
        match best {
            Some((_, best)) => Preemption::Nominated(self.nomination(&best)),
            None => useless(why, hopeless, self.view.nodes),
        }
    }

    /// What sets candidates apart, in this order; the smallest is chosen. The earliest start of the most important victims: the later, the
    /// less is lost. At last the same lots as between nodes of equal score.
    fn cost(&self, candidate: &Candidate<'a>) -> Cost<'a> {
        let victims = &candidate.victims;
        let priorities = || victims.iter().map(|pod| pod.importance.priority);
        let highest = priorities().max().unwrap_or(i32::MIN);
        let sum = priorities().map(|each| i64::from(each) + (1 << 31)).sum();
        let important = victims
            .iter()
            .filter(|pod| pod.importance.priority == highest);
        let earliest = important.map(|pod| started(pod)).min().unwrap_or("~");
        let nodes = self.view.nodes;
        let tie = tie_break(
            self.seed,
            nodes.name(candidate.slot),
            nodes.placements(candidate.slot),
        );
        (
            candidate.violations,
            highest,
            sum,
            victims.len(),
            Reverse(earliest),
            Reverse(tie),
        )
    }

    /// Whom to evict on this node, or why evicting does not help.
    fn candidate(&self, slot: Slot) -> Result<Candidate<'a>, Vec<Reason>> {
        let on_node = self.pods.on_node(slot);
        let mut less: Vec<&PodRecord> = on_node
            .filter(|pod| pod.importance.priority < self.priority)
            .collect();
        if less.is_empty() {
            return Err(vec![NO_VICTIMS]);
        }
        less.sort_unstable_by(|left, right| {
            least_important_last(left).cmp(&least_important_last(right))
        });
        let mut gone = Change::default();
        for pod in &less {
            gone.add(&pod.requirements, pod.kind, -1);
        }
        self.fits(slot, &gone)?;
        let kinds = &self.view.nodes.kinds;
        let violates = self
            .budgets
            .violations(less.iter().map(|pod| (pod.name(), &**kinds.kind(pod.kind))));
        let mut victims = Vec::new();
        let mut violations = 0;
        // Those whose eviction would break a budget are taken back first.
        for breaks in [true, false] {
            for (pod, _) in less
                .iter()
                .zip(&violates)
                .filter(|(_, each)| **each == breaks)
            {
                gone.add(&pod.requirements, pod.kind, 1);
                if self.fits(slot, &gone).is_err() {
                    gone.add(&pod.requirements, pod.kind, -1);
                    violations += usize::from(breaks);
                    victims.push(*pod);
                }
            }
        }
        victims.sort_unstable_by(|left, right| {
            least_important_last(left).cmp(&least_important_last(right))
        });
        Ok(Candidate {
            slot,
            victims,
            violations,
        })
    }

    /// Whether the pod fits on the node so changed, with and without the pods that are promised room there.
    fn fits(&self, slot: Slot, gone: &Change) -> Result<(), Vec<Reason>> {
        if let Ok(index) = self.promised.binary_search_by_key(&slot, |(slot, _)| *slot) {
            self.fits_with(slot, gone.plus(&self.promised[index].1))?;
        }
        if self.view.neighbours.is_none() {
            return self.refused(slot, gone);
        }
        self.fits_with(slot, gone.clone())
    }

    fn fits_with(&self, slot: Slot, mut change: Change) -> Result<(), Vec<Reason>> {
        change.shift(self.view.neighbours);
        self.refused(slot, &change)
    }

    fn refused(&self, slot: Slot, change: &Change) -> Result<(), Vec<Reason>> {
        let view = View {
            change: Some(change),
            ..self.view
        };
        let refusal = view.refusal(slot, &OF_PODS);
        match refusal.or_else(|| view.refusal(slot, &OF_NEIGHBOURS)) {
            None => Ok(()),
            Some(index) => Err((FILTERS[index].reasons)(&view, slot)),
        }
    }

    fn nomination(&self, candidate: &Candidate<'a>) -> Nomination {
        let victims = candidate.victims.iter().map(|pod| Victim {
            key: pod.key.clone(),
            uid: pod.uid.clone(),
            leaves: pod.deleting,
        });
        let promised = self.pods.promised(candidate.slot);
        let outranked = promised.filter(|pod| pod.importance.priority < self.priority);
        Nomination {
            node: self.view.nodes.name(candidate.slot).clone(),
            victims: victims.collect(),
            outranked: outranked.map(|pod| pod.key.clone()).collect(),
        }
    }
}
