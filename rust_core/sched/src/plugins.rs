//! The plugin table: filters in the order in which they run, scorers with their weights. Upstream's default profile of 1.35.
//!
//! A constraint that is not in the table (see `requirements`) keeps its pods pending; adding a plugin is adding a row.

use crate::requirements::Requirements;
use crate::resource::ResourceId;
use crate::snapshot::{Slot, Snapshot};
use crate::taint;

/// The best score a plugin gives; the worst is 0.
pub const SCORE_MAX: i64 = 100;

pub struct Filter {
    pub name: &'static str,
    /// Depends on what the node says about itself only; the others are asked again whenever a pod comes or goes.
    pub is_static: bool,
    pub admits: fn(&Requirements, &Snapshot, Slot) -> bool,
    /// Why a node was refused: one line for each reason.
    pub reasons: fn(&Requirements, &Snapshot, Slot) -> Vec<String>,
    /// Whether evicting other pods could change the verdict on this node.
    pub resolvable: fn(&Requirements, &Snapshot, Slot) -> bool,
}

pub const NODE_AFFINITY: &str = "NodeAffinity";

pub const FILTERS: [Filter; 5] = [
    Filter {
        name: "NodeUnschedulable",
        is_static: true,
        admits: |pod, nodes, slot| {
            !nodes.facts(slot).unschedulable || taint::tolerated(&taint::cordon(), &pod.tolerations)
        },
        reasons: |_, _, _| vec!["node(s) were unschedulable".to_owned()],
        resolvable: never,
    },
    Filter {
        name: "NodeName",
        is_static: true,
        admits: |pod, nodes, slot| {
            pod.node_name
                .as_deref()
                .is_none_or(|name| name == &**nodes.name(slot))
        },
        reasons: |_, _, _| vec!["node(s) didn't match the requested node name".to_owned()],
        resolvable: never,
    },
    Filter {
        name: "TaintToleration",
        is_static: true,
        admits: |pod, nodes, slot| !taint::forbids(&nodes.facts(slot).taints, &pod.tolerations),
        reasons: |_, _, _| vec!["node(s) had untolerated taint(s)".to_owned()],
        resolvable: never,
    },
    Filter {
        name: NODE_AFFINITY,
        is_static: true,
        admits: |pod, nodes, slot| pod.required.matches(nodes.identity(slot)),
        reasons: |_, _, _| vec!["node(s) didn't match Pod's node affinity/selector".to_owned()],
        resolvable: never,
    },
    Filter {
        name: "NodeResourcesFit",
        is_static: false,
        admits: fits,
        reasons: insufficient,
        resolvable: could_fit,
    },
];

fn never(_: &Requirements, _: &Snapshot, _: Slot) -> bool {
    false
}

fn fits(pod: &Requirements, nodes: &Snapshot, slot: Slot) -> bool {
    nodes.pods(slot) < nodes.allocatable(slot, ResourceId::PODS)
        && pod
            .requests
            .amounts
            .iter()
            .all(|(id, amount)| has_room(nodes, slot, *id, *amount))
}

fn has_room(nodes: &Snapshot, slot: Slot, id: ResourceId, amount: i64) -> bool {
    amount <= 0
        || amount
            <= nodes
                .allocatable(slot, id)
                .saturating_sub(nodes.requested(slot, id))
}

fn insufficient(pod: &Requirements, nodes: &Snapshot, slot: Slot) -> Vec<String> {
    let mut reasons = Vec::new();
    if nodes.pods(slot) >= nodes.allocatable(slot, ResourceId::PODS) {
        reasons.push("Too many pods".to_owned());
    }
    for (id, amount) in &pod.requests.amounts {
        if !has_room(nodes, slot, *id, *amount) {
            reasons.push(format!("Insufficient {}", nodes.resources.name(*id)));
        }
    }
    reasons
}

/// A request larger than the whole node is hopeless there, whoever leaves.
fn could_fit(pod: &Requirements, nodes: &Snapshot, slot: Slot) -> bool {
    pod.requests
        .amounts
        .iter()
        .all(|(id, amount)| *amount <= 0 || *amount <= nodes.allocatable(slot, *id))
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
    STATIC_SCORERS
        .iter()
        .chain(&DYNAMIC_SCORERS)
        .map(|scorer| (scorer.name, scorer.weight))
        .collect()
}
