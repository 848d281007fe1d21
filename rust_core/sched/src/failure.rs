//! Why a pod fits nowhere, counted over the nodes, so that a message can be made of it.

use std::sync::Arc;

use crate::plugins::{ALL_FILTERS, Change, FILTERS, NODE_AFFINITY, Reason, View};
use crate::snapshot::{Slot, Snapshot};

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

/// What came of trying to evict less important pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Preemption {
    /// No node to evict from, or nothing asked.
    #[default]
    NotConsidered,
    /// It may not, and why.
    NotEligible(&'static str),
    /// It would not help: reasons counted over the nodes.
    Useless(Counts),
    Nominated(Nomination),
}

/// A node where there will be room once the victims are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nomination {
    pub node: Arc<str>,
    /// The most important first.
    pub victims: Vec<Victim>,
    /// Less important pods that were promised the node: they are promised nothing any more.
    pub outranked: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    pub key: Arc<str>,
    pub uid: Box<str>,
    /// Being deleted already.
    pub leaves: bool,
}

/// The pod's standing towards others on the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Importance {
    pub priority: i32,
    pub never_preempts: bool,
}

pub const NEVER: &str = "not eligible due to preemptionPolicy=Never.";
pub const VICTIMS_ARE_LEAVING: &str =
    "not eligible due to a terminating pod on the nominated node.";
pub const NO_VICTIMS: Reason = Reason::Text("No preemption victims found for incoming pod");
const NOT_HELPFUL: Reason = Reason::Text("Preemption is not helpful for scheduling");
const NAMED_NODES_CONFLICT: &str = "pod affinity terms conflict";

/// Reasons, counted.
#[derive(Default)]
pub struct Tally(Vec<(Reason, usize)>);

impl Tally {
    pub fn add(&mut self, reason: Reason, count: usize) {
        match self.0.iter_mut().find(|(each, _)| *each == reason) {
            Some((_, sum)) => *sum += count,
            None if count > 0 => self.0.push((reason, count)),
            None => {}
        }
    }

    pub fn counts(self, nodes: &Snapshot) -> Counts {
        let each = self.0.into_iter();
        let mut counts: Counts = each
            .map(|(reason, count)| (reason.text(nodes), count))
            .collect();
        counts.sort();
        counts
    }
}

/// What was found by looking at every node again, this time for reasons.
pub struct Diagnosis {
    pub failure: Failure,
    /// Nodes where evicting might help.
    pub potential: Vec<Slot>,
    /// Nodes where it cannot.
    pub hopeless: usize,
}

/// Why each node refuses the pod. `promised`: room on nodes, by slot, that is kept for others.
pub fn diagnose(view: &View<'_>, promised: &[(Slot, Change)]) -> Diagnosis {
    let (pod, nodes) = (view.pod, view.nodes);
    let mut failure = Failure {
        nodes: nodes.node_count(),
        ..Failure::default()
    };
    let mut diagnosis = Diagnosis {
        failure: Failure::default(),
        potential: Vec::new(),
        hopeless: 0,
    };
    if failure.nodes > 0
        && let Some((plugin, why)) = refused_everywhere(view)
    {
        failure.before_nodes = Some(why);
        failure.plugins = vec![plugin];
        diagnosis.hopeless = failure.nodes;
        diagnosis.failure = failure;
        return diagnosis;
    }
    let mut reasons = Tally::default();
    let mut refused = [false; FILTERS.len()];
    let mut left_out = 0;
    for slot in nodes.present() {
        if !pod.required.names_node(nodes.name(slot)) {
            left_out += 1;
            continue;
        }
        let Some((index, view)) = refusal(view, promised, slot) else {
            continue;
        };
        let filter = &FILTERS[index];
        refused[index] = true;
        for reason in (filter.reasons)(&view, slot) {
            reasons.add(reason, 1);
        }
        if (filter.resolvable)(&view, slot) {
            diagnosis.potential.push(slot);
        } else {
            diagnosis.hopeless += 1;
        }
    }
    reasons.add(
        Reason::Text("node(s) didn't satisfy plugin(s) [NodeAffinity]"),
        left_out,
    );
    diagnosis.hopeless += left_out;
    let plugins = FILTERS.iter().zip(refused);
    failure.plugins = plugins
        .filter(|(filter, refused)| *refused || (left_out > 0 && filter.name == NODE_AFFINITY))
        .map(|(filter, _)| filter.name)
        .collect();
    failure.reasons = reasons.counts(nodes);
    diagnosis.failure = failure;
    diagnosis
}

/// Refused whatever the node: the plugin, and why.
fn refused_everywhere(view: &View<'_>) -> Option<(&'static str, String)> {
    if view.pod.required.conflicts() {
        return Some((NODE_AFFINITY, NAMED_NODES_CONFLICT.to_owned()));
    }
    let (plugin, why) = view.needs?.refusal.as_ref()?;
    let runs = FILTERS.iter().zip(view.profile.runs_filter);
    let mut runs = runs.filter(|(_, runs)| *runs);
    runs.any(|(filter, _)| filter.name == *plugin)
        .then(|| (*plugin, why.clone()))
}

/// The filter that refuses a node, and what it looked at: the node with the promised pods on it, then the node as it is.
pub fn refusal<'a>(
    view: &View<'a>,
    promised: &'a [(Slot, Change)],
    slot: Slot,
) -> Option<(usize, View<'a>)> {
    let found = promised.binary_search_by_key(&slot, |(slot, _)| *slot).ok();
    let with_promised = found.and_then(|index| {
        let view = View {
            change: Some(&promised[index].1),
            ..*view
        };
        Some((view.refusal(slot, &ALL_FILTERS)?, view))
    });
    with_promised.or_else(|| Some((view.refusal(slot, &ALL_FILTERS)?, *view)))
}

/// Nobody can be evicted so that it would help: `why` of the nodes where that was tried, and the others.
pub fn useless(mut why: Tally, hopeless: usize, nodes: &Snapshot) -> Preemption {
    why.add(NOT_HELPFUL, hopeless);
    Preemption::Useless(why.counts(nodes))
}
