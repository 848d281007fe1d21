//! Why a pod fits nowhere, counted over the nodes, so that a message can be made of it.

use std::collections::BTreeMap;

use crate::kinds::KindId;
use crate::plugins::{ALL_STAGES, Change, FILTERS, NODE_AFFINITY, View};
use crate::requirements::Requirements;
use crate::snapshot::Slot;

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

/// The less important pods of a node.
pub type Victims<'a> = dyn Fn(Slot) -> Vec<(&'a Requirements, KindId)> + 'a;

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
pub fn explain(view: &View<'_>, importance: Importance, victims: &Victims<'_>) -> Failure {
    let (pod, nodes) = (view.pod, view.nodes);
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
        let Some(index) = view.refusal(slot, &ALL_STAGES) else {
            continue;
        };
        let filter = &FILTERS[index];
        refused[index] = true;
        for reason in (filter.reasons)(view, slot) {
            reasons.add(reason, 1);
        }
        if !(filter.resolvable)(view, slot) {
            preemption.add(NOT_HELPFUL, 1);
            continue;
        }
        match lacking_without(view, slot, &victims(slot)) {
            Ok(()) => helped += 1,
            Err(lacking) => {
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
    let mut each = FILTERS.iter().zip(&mut refused);
    if let Some((_, refused)) = each.find(|(filter, _)| filter.name == NODE_AFFINITY) {
        *refused |= left_out > 0;
    }
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

/// What would still be in the way on a node after the victims left.
fn lacking_without(
    view: &View<'_>,
    slot: Slot,
    victims: &[(&Requirements, KindId)],
) -> Result<(), Vec<String>> {
    if victims.is_empty() {
        return Err(vec![NO_VICTIMS.to_owned()]);
    }
    let mut change = Change::default();
    for (pod, kind) in victims {
        change.add(pod, *kind, -1);
    }
    change.shift(view.neighbours);
    let without = View {
        change: Some(&change),
        ..*view
    };
    match without.refusal(slot, &ALL_STAGES) {
        None => Ok(()),
        Some(index) => Err((FILTERS[index].reasons)(&without, slot)),
    }
}
