//! Why a pod fits nowhere, counted over the nodes, so that a message can be made of it.

use std::collections::BTreeMap;

use crate::plugins::{FILTERS, NODE_AFFINITY};
use crate::requirements::Requirements;
use crate::resource::{PodRequests, ResourceId};
use crate::snapshot::{Map, Slot, Snapshot};

pub type Counts = Vec<(String, usize)>;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// Nodes in the cluster.
    pub nodes: usize,
    /// Refused before any node was looked at, and why.
    pub before_nodes: Option<String>,
    /// Reason and how many nodes gave it, by reason. A node may give several.
    pub reasons: Counts,
    /// The plugins that refused a node, in the table's order.
    pub plugins: Vec<&'static str>,
    pub preemption: Preemption,
    /// Field paths of constraints that no plugin decides; nothing else is filled in then.
    pub undecided: Vec<String>,
}

/// Whether evicting less important pods would have helped. Nothing is evicted here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Preemption {
    /// No node to evict from, or nothing asked.
    #[default]
    NotConsidered,
    /// `preemptionPolicy: Never`.
    Never,
    /// It would not: reasons counted over the nodes.
    Useless(Counts),
    /// It would, on this many nodes.
    WouldHelp(usize),
}

/// The pod's standing towards others on the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Importance {
    pub priority: i32,
    pub never_preempts: bool,
}

/// What would be freed on each node if all less important pods left.
pub type Evictable<'a> = Map<Slot, Vec<&'a PodRequests>>;

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";
const NAMED_NODES_CONFLICT: &str = "pod affinity terms conflict";

#[derive(Default)]
struct Tally(BTreeMap<String, usize>);

impl Tally {
    fn add(&mut self, reason: impl Into<String>, count: usize) {
        if count > 0 {
            *self.0.entry(reason.into()).or_insert(0) += count;
        }
    }

    fn into_counts(self) -> Counts {
        self.0.into_iter().collect()
    }
}

/// Looks at every node again, this time for reasons.
pub fn explain(
    pod: &Requirements,
    nodes: &Snapshot,
    importance: Importance,
    evictable: &Evictable<'_>,
) -> Failure {
    let mut failure = Failure {
        nodes: nodes.node_count(),
        ..Failure::default()
    };
    if failure.nodes == 0 {
        return failure;
    }
    if pod.required.conflicts() {
        failure.before_nodes = Some(NAMED_NODES_CONFLICT.to_owned());
        failure.plugins = vec![NODE_AFFINITY];
        failure.preemption = useless(importance, vec![(NOT_HELPFUL.to_owned(), failure.nodes)]);
        return failure;
    }
    let mut reasons = Tally::default();
    let mut preemption = Tally::default();
    let mut refused = [false; FILTERS.len()];
    let (mut left_out, mut helped) = (0, 0);
    for slot in nodes.present() {
        if !pod.required.names_node(nodes.name(slot)) {
            left_out += 1;
            continue;
        }
        let Some(index) = FILTERS
            .iter()
            .position(|filter| !(filter.admits)(pod, nodes, slot))
        else {
            continue;
        };
        let filter = &FILTERS[index];
        refused[index] = true;
        for reason in (filter.reasons)(pod, nodes, slot) {
            reasons.add(reason, 1);
        }
        if !(filter.resolvable)(pod, nodes, slot) {
            preemption.add(NOT_HELPFUL, 1);
            continue;
        }
        match evictable.get(&slot) {
            None => preemption.add(NO_VICTIMS, 1),
            Some(victims) => {
                let lacking = lacking_without(pod, nodes, slot, victims);
                helped += usize::from(lacking.is_empty());
                for reason in lacking {
                    preemption.add(reason, 1);
                }
            }
        }
    }
    reasons.add(
        format!("node(s) didn't satisfy plugin(s) [{NODE_AFFINITY}]"),
        left_out,
    );
    preemption.add(NOT_HELPFUL, left_out);
    refused[FILTERS
        .iter()
        .position(|filter| filter.name == NODE_AFFINITY)
        .expect("NodeAffinity is in the table")] |= left_out > 0;
    failure.reasons = reasons.into_counts();
    failure.plugins = FILTERS
        .iter()
        .zip(refused)
        .filter(|(_, refused)| *refused)
        .map(|(filter, _)| filter.name)
        .collect();
    failure.preemption = match helped {
        0 => useless(importance, preemption.into_counts()),
        _ if importance.never_preempts => Preemption::Never,
        count => Preemption::WouldHelp(count),
    };
    failure
}

fn useless(importance: Importance, counts: Counts) -> Preemption {
    if importance.never_preempts {
        Preemption::Never
    } else {
        Preemption::Useless(counts)
    }
}

/// What would still be short on a node after the victims left.
fn lacking_without(
    pod: &Requirements,
    nodes: &Snapshot,
    slot: Slot,
    victims: &[&PodRequests],
) -> Vec<String> {
    let mut lacking = Vec::new();
    if nodes.pods(slot) - victims.len() as i64 >= nodes.allocatable(slot, ResourceId::PODS) {
        lacking.push("Too many pods".to_owned());
    }
    for (id, amount) in &pod.requests.amounts {
        let freed: i64 = victims.iter().map(|victim| victim.amount(*id)).sum();
        if *amount > 0
            && *amount > nodes.allocatable(slot, *id) - (nodes.requested(slot, *id) - freed)
        {
            lacking.push(format!("Insufficient {}", nodes.resources.name(*id)));
        }
    }
    lacking
}
