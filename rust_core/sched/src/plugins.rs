//! The plugin table: filters in the order in which they run, scorers with their weights. Upstream's default profile of 1.35.
//!
//! A constraint that is not in the table (see `requirements`) keeps its pods pending; adding a plugin is adding a row.

use crate::hints::{self, Hint};
use crate::kinds::KindId;
use crate::neighbours::{Neighbours, Refusal};
use crate::ports::HostPort;
use crate::requirements::Requirements;
use crate::resource::ResourceId;
use crate::snapshot::{Slot, Snapshot};
use crate::taint;

/// The best score a plugin gives; the worst is 0.
pub const SCORE_MAX: i64 = 100;

/// Pods that a node is imagined to have more or less of.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pods: i64,
    amounts: Vec<(ResourceId, i64)>,
    ports: Vec<(HostPort, i64)>,
    kinds: Vec<(KindId, i64)>,
    /// What that does to the sums of `Neighbours`.
    shift: Vec<i64>,
}

fn add<T: PartialEq + Clone>(counts: &mut Vec<(T, i64)>, what: &T, change: i64) {
    match counts.iter_mut().find(|(each, _)| each == what) {
        Some((_, count)) => *count += change,
        None => counts.push((what.clone(), change)),
    }
}

impl Change {
    /// One more such pod; with `sign` -1, one less.
    pub fn add(&mut self, pod: &Requirements, kind: KindId, sign: i64) {
        self.pods += sign;
        for (id, amount) in &pod.requests.amounts {
            add(&mut self.amounts, id, sign * amount);
        }
        for port in &pod.ports {
            add(&mut self.ports, port, sign);
        }
        add(&mut self.kinds, &kind, sign);
    }

    /// Both at once.
    pub fn plus(&self, other: &Change) -> Change {
        let mut sum = self.clone();
        sum.pods += other.pods;
        for (id, amount) in &other.amounts {
            add(&mut sum.amounts, id, *amount);
        }
        for (port, count) in &other.ports {
            add(&mut sum.ports, port, *count);
        }
        for (kind, count) in &other.kinds {
            add(&mut sum.kinds, kind, *count);
        }
        sum
    }

    pub fn kinds(&self) -> &[(KindId, i64)] {
        &self.kinds
    }

    /// To be asked for once all pods are in it.
    pub fn shift(&mut self, neighbours: Option<&Neighbours>) {
        self.shift = neighbours.map_or_else(Vec::new, |neighbours| neighbours.shift(&self.kinds));
    }

    fn amount(&self, id: ResourceId) -> i64 {
        let amounts = self.amounts.iter().find(|(each, _)| *each == id);
        amounts.map_or(0, |(_, amount)| *amount)
    }
}

/// What filters look at: one pod, all nodes, and what pods on them mean to it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub pod: &'a Requirements,
    pub nodes: &'a Snapshot,
    /// None: no pod anywhere means anything to it, nor it to them.
    pub neighbours: Option<&'a Neighbours>,
    pub change: Option<&'a Change>,
}

impl View<'_> {
    fn requested(&self, slot: Slot, id: ResourceId) -> i64 {
        self.nodes.requested(slot, id) + self.change.map_or(0, |change| change.amount(id))
    }

    fn pods(&self, slot: Slot) -> i64 {
        self.nodes.pods(slot) + self.change.map_or(0, |change| change.pods)
    }

    fn shift(&self) -> &[i64] {
        self.change.map_or(&[], |change| &change.shift)
    }

    /// The first filter of those stages that refuses the node, as its place in the table.
    pub fn refusal(&self, slot: Slot, stages: &[Stage]) -> Option<usize> {
        FILTERS
            .iter()
            .position(|filter| stages.contains(&filter.stage) && !(filter.admits)(self, slot))
    }
}

/// What a filter's verdict depends on, so when it must be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// What the node says about itself.
    Node,
    /// The pods on the node, too.
    Pods,
    /// The pods on all nodes.
    Neighbours,
}

pub const ALL_STAGES: [Stage; 3] = [Stage::Node, Stage::Pods, Stage::Neighbours];

/// Why a node was refused, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Text(&'static str),
    Insufficient(ResourceId),
}

impl Reason {
    pub fn text(self, nodes: &Snapshot) -> String {
        match self {
            Reason::Text(text) => text.to_owned(),
            Reason::Insufficient(id) => format!("Insufficient {}", nodes.resources.name(id)),
        }
    }
}

pub struct Filter {
    pub name: &'static str,
    pub stage: Stage,
    pub admits: fn(&View<'_>, Slot) -> bool,
    /// Why a node was refused; a node may be refused for several reasons at once.
    pub reasons: fn(&View<'_>, Slot) -> Vec<Reason>,
    /// Whether evicting other pods could change the verdict on this node.
    pub resolvable: fn(&View<'_>, Slot) -> bool,
    /// Whether something that happened may change a verdict.
    pub helped_by: Hint,
}

pub const NODE_AFFINITY: &str = "NodeAffinity";
pub const POD_TOPOLOGY_SPREAD: &str = "PodTopologySpread";
pub const INTER_POD_AFFINITY: &str = "InterPodAffinity";

pub const FILTERS: [Filter; 8] = [
    Filter {
        name: "NodeUnschedulable",
        stage: Stage::Node,
        admits: |view, slot| {
            !view.nodes.facts(slot).unschedulable
                || taint::tolerated(&taint::cordon(), &view.pod.tolerations)
        },
        reasons: |_, _| vec![Reason::Text("node(s) were unschedulable")],
        resolvable: never,
        helped_by: hints::node_unschedulable,
    },
    Filter {
        name: "NodeName",
        stage: Stage::Node,
        admits: |view, slot| {
            let name = view.pod.node_name.as_deref();
            name.is_none_or(|name| name == &**view.nodes.name(slot))
        },
        reasons: |_, _| vec![Reason::Text("node(s) didn't match the requested node name")],
        resolvable: never,
        helped_by: hints::node_name,
    },
    Filter {
        name: "TaintToleration",
        stage: Stage::Node,
        admits: |view, slot| !taint::forbids(&view.nodes.facts(slot).taints, &view.pod.tolerations),
        reasons: |_, _| vec![Reason::Text("node(s) had untolerated taint(s)")],
        resolvable: never,
        helped_by: hints::taint_toleration,
    },
    Filter {
        name: NODE_AFFINITY,
        stage: Stage::Node,
        admits: |view, slot| view.pod.required.matches(view.nodes.identity(slot)),
        reasons: |_, _| {
            vec![Reason::Text(
                "node(s) didn't match Pod's node affinity/selector",
            )]
        },
        resolvable: never,
        helped_by: hints::node_affinity,
    },
    Filter {
        name: "NodePorts",
        stage: Stage::Pods,
        admits: has_free_ports,
        reasons: |_, _| {
            vec![Reason::Text(
                "node(s) didn't have free ports for the requested pod ports",
            )]
        },
        resolvable: always,
        helped_by: hints::node_ports,
    },
    Filter {
        name: "NodeResourcesFit",
        stage: Stage::Pods,
        admits: fits,
        reasons: insufficient,
        resolvable: could_fit,
        helped_by: hints::node_resources_fit,
    },
    Filter {
        name: POD_TOPOLOGY_SPREAD,
        stage: Stage::Neighbours,
        admits: |view, slot| spread_refusal(view, slot).is_none(),
        reasons: |view, slot| refusal_text(spread_refusal(view, slot)),
        resolvable: |view, slot| spread_refusal(view, slot) != Some(Refusal::SpreadLabelMissing),
        helped_by: hints::pod_topology_spread,
    },
    Filter {
        name: INTER_POD_AFFINITY,
        stage: Stage::Neighbours,
        admits: |view, slot| affinity_refusal(view, slot).is_none(),
        reasons: |view, slot| refusal_text(affinity_refusal(view, slot)),
        resolvable: |view, slot| affinity_refusal(view, slot) != Some(Refusal::Affinity),
        helped_by: hints::inter_pod_affinity,
    },
];

fn always(_: &View<'_>, _: Slot) -> bool {
    true
}

fn spread_refusal(view: &View<'_>, slot: Slot) -> Option<Refusal> {
    view.neighbours?
        .spread_refusal(view.nodes, slot, view.shift())
}

fn affinity_refusal(view: &View<'_>, slot: Slot) -> Option<Refusal> {
    view.neighbours?
        .affinity_refusal(view.nodes, slot, view.shift())
}

fn refusal_text(refusal: Option<Refusal>) -> Vec<Reason> {
    let text = match refusal {
        None => return Vec::new(),
        Some(Refusal::SpreadLabelMissing) => {
            "node(s) didn't match pod topology spread constraints (missing required label)"
        }
        Some(Refusal::Skew) => "node(s) didn't match pod topology spread constraints",
        Some(Refusal::Affinity) => "node(s) didn't match pod affinity rules",
        Some(Refusal::AntiAffinity) => "node(s) didn't match pod anti-affinity rules",
        Some(Refusal::ExistingAntiAffinity) => {
            "node(s) didn't satisfy existing pods anti-affinity rules"
        }
    };
    vec![Reason::Text(text)]
}

fn has_free_ports(view: &View<'_>, slot: Slot) -> bool {
    if view.pod.ports.is_empty() {
        return true;
    }
    let come = view.change.map_or(&[][..], |change| &change.ports);
    let gone = |port: &HostPort| {
        let change = come.iter().find(|(each, _)| each == port);
        change.map_or(0, |(_, count)| *count)
    };
    let taken = view.nodes.ports_on(slot).iter();
    let mut taken = taken
        .filter(|(port, count)| i64::from(*count) + gone(port) > 0)
        .map(|(port, _)| port)
        .chain(
            come.iter()
                .filter(|(_, count)| *count > 0)
                .map(|(port, _)| port),
        );
    !taken.any(|port| view.pod.ports.iter().any(|wanted| wanted.conflicts(port)))
}

fn never(_: &View<'_>, _: Slot) -> bool {
    false
}

fn fits(view: &View<'_>, slot: Slot) -> bool {
    view.pods(slot) < view.nodes.allocatable(slot, ResourceId::PODS)
        && view
            .pod
            .requests
            .amounts
            .iter()
            .all(|(id, amount)| has_room(view, slot, *id, *amount))
}

fn has_room(view: &View<'_>, slot: Slot, id: ResourceId, amount: i64) -> bool {
    let allocatable = view.nodes.allocatable(slot, id);
    amount <= 0 || amount <= allocatable.saturating_sub(view.requested(slot, id))
}

fn insufficient(view: &View<'_>, slot: Slot) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if view.pods(slot) >= view.nodes.allocatable(slot, ResourceId::PODS) {
        reasons.push(Reason::Text("Too many pods"));
    }
    for (id, amount) in &view.pod.requests.amounts {
        if !has_room(view, slot, *id, *amount) {
            reasons.push(Reason::Insufficient(*id));
        }
    }
    reasons
}

/// A request larger than the whole node is hopeless there, whoever leaves.
fn could_fit(view: &View<'_>, slot: Slot) -> bool {
    let mut amounts = view.pod.requests.amounts.iter();
    amounts.all(|(id, amount)| *amount <= 0 || *amount <= view.nodes.allocatable(slot, *id))
}

// ───────── scores ─────────

/// How a plugin's raw numbers become 0 to 100 over the nodes that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalize {
    /// Already 0 to 100.
    None,
    /// The largest raw number becomes 100.
    LargestIsBest,
    /// The largest raw number becomes 0, none at all 100.
    LargestIsWorst,
}

impl Normalize {
    pub fn apply(self, raw: i64, largest: i64) -> i64 {
        match self {
            Normalize::None => raw,
            Normalize::LargestIsBest if largest == 0 => raw,
            Normalize::LargestIsBest => SCORE_MAX * raw / largest,
            Normalize::LargestIsWorst if largest == 0 => SCORE_MAX,
            Normalize::LargestIsWorst => SCORE_MAX - SCORE_MAX * raw / largest,
        }
    }
}

pub struct Scorer {
    pub name: &'static str,
    pub weight: i64,
    pub normalize: Normalize,
    pub raw: fn(&Requirements, &Snapshot, Slot) -> i64,
}

/// Depend on what the node says about itself only.
pub const STATIC_SCORERS: [Scorer; 2] = [
    Scorer {
        name: "TaintToleration",
        weight: 3,
        normalize: Normalize::LargestIsWorst,
        raw: |pod, nodes, slot| taint::discouraging(&nodes.facts(slot).taints, &pod.tolerations),
    },
    Scorer {
        name: NODE_AFFINITY,
        weight: 2,
        normalize: Normalize::LargestIsBest,
        raw: |pod, nodes, slot| pod.preferred.weight(nodes.identity(slot)),
    },
];

/// Change as pods and images come and go; none of them is normalised over the nodes.
pub const DYNAMIC_SCORERS: [Scorer; 3] = [
    Scorer {
        name: "NodeResourcesFit",
        weight: 1,
        normalize: Normalize::None,
        raw: least_allocated,
    },
    Scorer {
        name: "NodeResourcesBalancedAllocation",
        weight: 1,
        normalize: Normalize::None,
        raw: balanced,
    },
    Scorer {
        name: "ImageLocality",
        weight: 1,
        normalize: Normalize::None,
        raw: image_locality,
    },
];

/// Scored over all admitted nodes at once (see `class`): spreading, then affinity, each normalised in its own way.
pub const SPREAD_WEIGHT: i64 = 2;
pub const AFFINITY_WEIGHT: i64 = 2;

/// CPU and memory, equally weighted.
const SCORED: [ResourceId; 2] = [ResourceId::CPU, ResourceId::MEMORY];

fn least_allocated(pod: &Requirements, nodes: &Snapshot, slot: Slot) -> i64 {
    let mut sum = 0;
    let mut weights = 0;
    for (index, id) in SCORED.into_iter().enumerate() {
        let allocatable = nodes.allocatable(slot, id);
        if allocatable == 0 {
            continue;
        }
        let requested = nodes.nonzero(slot, index) + pod.requests.scored[index];
        if requested <= allocatable {
            sum += free_share(allocatable - requested, allocatable);
        }
        weights += 1;
    }
    if weights == 0 { 0 } else { sum / weights }
}

/// What part of the whole is free, 0 to 100. Amounts past 2^63 / 100 take the wide road.
fn free_share(free: i64, allocatable: i64) -> i64 {
    match free.checked_mul(SCORE_MAX) {
        Some(scaled) => scaled / allocatable,
        None => (i128::from(free) * i128::from(SCORE_MAX) / i128::from(allocatable)) as i64,
    }
}

/// 100 less half the distance between the fractions of CPU and memory in use. A pod that requests neither is not weighed.
fn balanced(pod: &Requirements, nodes: &Snapshot, slot: Slot) -> i64 {
    let requests = SCORED.map(|id| pod.requests.amount(id));
    if requests == [0, 0] {
        return 0;
    }
    let mut fractions = [0.0; 2];
    let mut count = 0;
    for (id, request) in SCORED.into_iter().zip(requests) {
        let allocatable = nodes.allocatable(slot, id);
        if allocatable != 0 {
            fractions[count] =
                ((nodes.requested(slot, id) + request) as f64 / allocatable as f64).min(1.0);
            count += 1;
        }
    }
    let deviation = if count == 2 {
        ((fractions[0] - fractions[1]) / 2.0_f64).abs()
    } else {
        0.0
    };
    ((1.0 - deviation) * SCORE_MAX as f64) as i64
}

const MEBIBYTE: i64 = 1024 * 1024;
const IMAGES_MIN: i64 = 23 * MEBIBYTE;
const IMAGES_MAX_PER_CONTAINER: i64 = 1000 * MEBIBYTE;

/// How much of the pod's images the node holds, each image discounted by how few nodes hold it.
fn image_locality(pod: &Requirements, nodes: &Snapshot, slot: Slot) -> i64 {
    let held = &nodes.facts(slot).images;
    if held.is_empty() {
        return 0;
    }
    let node_count = nodes.node_count() as f64;
    let is_held = |image: &String| held.iter().any(|(names, _)| names.contains(image));
    let sum: i64 = pod
        .images
        .iter()
        .filter(|image| is_held(image))
        .filter_map(|image| nodes.images.get(image.as_str()))
        .map(|state| (state.size_bytes as f64 * (f64::from(state.nodes) / node_count)) as i64)
        .sum();
    let most = IMAGES_MAX_PER_CONTAINER * pod.images.len() as i64;
    if most <= IMAGES_MIN {
        return 0;
    }
    SCORE_MAX * (sum.clamp(IMAGES_MIN, most) - IMAGES_MIN) / (most - IMAGES_MIN)
}

/// The scorers' names and weights, as upstream's profile writes them.
pub fn weights() -> Vec<(&'static str, i64)> {
    let neighbours = [
        (POD_TOPOLOGY_SPREAD, SPREAD_WEIGHT),
        (INTER_POD_AFFINITY, AFFINITY_WEIGHT),
    ];
    STATIC_SCORERS
        .iter()
        .chain(&DYNAMIC_SCORERS)
        .map(|scorer| (scorer.name, scorer.weight))
        .chain(neighbours)
        .collect()
}
