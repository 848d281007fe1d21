//! The score table: how much each plugin likes a node. Upstream's default profile of 1.35, its arithmetic and its rounding.

use crate::plugins::{INTER_POD_AFFINITY, NODE_AFFINITY, POD_TOPOLOGY_SPREAD, View};
use crate::profile::StrategyType;
use crate::resource::ResourceId;
use crate::snapshot::Slot;
use crate::taint;

/// The best score a plugin gives; the worst is 0.
pub const SCORE_MAX: i64 = 100;

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
    /// In the default profile.
    pub weight: i64,
    pub normalize: Normalize,
    pub raw: fn(&View<'_>, Slot) -> i64,
}

/// Depend on what the node says about itself only.
pub const STATIC_SCORERS: [Scorer; 2] = [
    Scorer {
        name: "TaintToleration",
        weight: 3,
        normalize: Normalize::LargestIsWorst,
        raw: |view, slot| {
            taint::discouraging(&view.nodes.facts(slot).taints, &view.pod.tolerations)
        },
    },
    Scorer {
        name: NODE_AFFINITY,
        weight: 2,
        normalize: Normalize::LargestIsBest,
        raw: |view, slot| {
            let node = view.nodes.identity(slot);
            view.pod.preferred.weight(node) + view.profile.added_preferred.weight(node)
        },
    },
];

/// Change as pods and images come and go; none of them is normalised over the nodes.
pub const DYNAMIC_SCORERS: [Scorer; 3] = [
    Scorer {
        name: "NodeResourcesFit",
        weight: 1,
        normalize: Normalize::None,
        raw: allocation,
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

/// Scored over all admitted nodes at once (see `class`), each normalised in its own way.
pub const NEIGHBOUR_SCORERS: [(&str, i64); 2] = [(POD_TOPOLOGY_SPREAD, 2), (INTER_POD_AFFINITY, 2)];

/// What the pod asks of a resource when nodes are compared: silent containers count for CPU and memory.
fn scored_request(view: &View<'_>, id: ResourceId) -> i64 {
    match id {
        ResourceId::CPU => view.pod.requests.scored[0],
        ResourceId::MEMORY => view.pod.requests.scored[1],
        other => view.pod.requests.amount(other),
    }
}

fn scored_in_use(view: &View<'_>, slot: Slot, id: ResourceId) -> i64 {
    match id {
        ResourceId::CPU => view.nodes.nonzero(slot, 0),
        ResourceId::MEMORY => view.nodes.nonzero(slot, 1),
        other => view.nodes.requested(slot, other),
    }
}

/// What a node has of a resource; 0 if it does not count for this pod, which asks none of it.
fn weighed(view: &View<'_>, slot: Slot, id: ResourceId, request: i64) -> i64 {
    if request == 0 && id > ResourceId::PODS {
        return 0;
    }
    view.nodes.allocatable(slot, id)
}

/// NodeResourcesFit: how full the node would be, by the profile's strategy.
fn allocation(view: &View<'_>, slot: Slot) -> i64 {
    let (mut sum, mut weights) = (0, 0);
    for (id, weight) in &view.profile.scored {
        let request = scored_request(view, *id);
        let allocatable = weighed(view, slot, *id, request);
        if allocatable == 0 {
            continue;
        }
        let requested = scored_in_use(view, slot, *id) + request;
        let score = match view.profile.strategy {
            StrategyType::LeastAllocated if requested > allocatable => 0,
            StrategyType::LeastAllocated => share(allocatable - requested, allocatable),
            StrategyType::MostAllocated => share(requested.min(allocatable), allocatable),
            StrategyType::RequestedToCapacityRatio => {
                let score = shaped(view, requested, allocatable);
                // A resource without a score does not weigh in at all.
                if score <= 0 {
                    continue;
                }
                score
            }
        };
        sum += score * weight;
        weights += weight;
    }
    match (weights, view.profile.strategy) {
        (0, _) => 0,
        (_, StrategyType::RequestedToCapacityRatio) => (sum as f64 / weights as f64).round() as i64,
        _ => sum / weights,
    }
}

/// What part of the whole, 0 to 100. Amounts past 2^63 / 100 take the wide road.
fn share(part: i64, whole: i64) -> i64 {
    match part.checked_mul(SCORE_MAX) {
        Some(scaled) => scaled / whole,
        None => (i128::from(part) * i128::from(SCORE_MAX) / i128::from(whole)) as i64,
    }
}

/// The profile's broken line from utilization to score, the latter ten times what the profile writes.
fn shaped(view: &View<'_>, requested: i64, allocatable: i64) -> i64 {
    let utilization = if requested > allocatable {
        100
    } else {
        share(requested, allocatable)
    };
    let shape = &view.profile.shape;
    let scale = |score: i64| score * SCORE_MAX / 10;
    let Some(index) = shape
        .iter()
        .position(|point| utilization <= point.utilization)
    else {
        return shape.last().map_or(0, |point| scale(point.score));
    };
    let here = &shape[index];
    let Some(before) = index.checked_sub(1).map(|before| &shape[before]) else {
        return scale(here.score);
    };
    scale(before.score)
        + (scale(here.score) - scale(before.score)) * (utilization - before.utilization)
            / (here.utilization - before.utilization)
}

/// 100 less how far apart the fractions in use are. A pod that requests none of the resources is not weighed.
fn balanced(view: &View<'_>, slot: Slot) -> i64 {
    let request = |id: ResourceId| view.pod.requests.amount(id);
    let resources = &view.profile.balanced;
    if resources.iter().all(|id| request(*id) == 0) {
        return 0;
    }
    let fractions = resources.iter().filter_map(|id| {
        let allocatable = weighed(view, slot, *id, request(*id));
        let requested = view.nodes.requested(slot, *id) + request(*id);
        (allocatable != 0).then(|| (requested as f64 / allocatable as f64).min(1.0))
    });
    ((1.0 - deviation(fractions)) * SCORE_MAX as f64) as i64
}

/// The standard deviation; of two numbers, half their distance.
fn deviation(fractions: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = fractions.clone().count();
    let mut pair = fractions.clone();
    match (count, pair.next(), pair.next()) {
        (2, Some(one), Some(other)) => ((one - other) / 2.0).abs(),
        (3.., _, _) => {
            let mean = fractions.clone().sum::<f64>() / count as f64;
            let squares = fractions.map(|each| (each - mean) * (each - mean));
            (squares.sum::<f64>() / count as f64).sqrt()
        }
        _ => 0.0,
    }
}

const MEBIBYTE: i64 = 1024 * 1024;
const IMAGES_MIN: i64 = 23 * MEBIBYTE;
const IMAGES_MAX_PER_CONTAINER: i64 = 1000 * MEBIBYTE;

/// How much of the pod's images the node holds, each image discounted by how few nodes hold it.
fn image_locality(view: &View<'_>, slot: Slot) -> i64 {
    let (pod, nodes) = (view.pod, view.nodes);
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

/// The scorers' names and weights, as upstream's default profile writes them.
pub fn default_weights() -> Vec<(&'static str, i64)> {
    STATIC_SCORERS
        .iter()
        .chain(&DYNAMIC_SCORERS)
        .map(|scorer| (scorer.name, scorer.weight))
        .chain(NEIGHBOUR_SCORERS)
        .collect()
}
