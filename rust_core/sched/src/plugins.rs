//! The filter table: the plugins that refuse nodes, in the order in which they run. Upstream's, of 1.35; `scores` has the others.
//!
//! A constraint that is not in the table (see `requirements`) keeps its pods pending; adding a plugin is adding a row.

use crate::hints::{self, Hint};
use crate::kinds::KindId;
use crate::neighbours::{Neighbours, Refusal};
use crate::ports::HostPort;
use crate::profile::Profile;
use crate::requirements::Requirements;
use crate::resource::ResourceId;
use crate::snapshot::{Slot, Snapshot};
use crate::taint;
use crate::volumes::{self, Needs, Volumes};

/// Pods that a node is imagined to have more or less of.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pods: i64,
    amounts: Vec<(ResourceId, i64)>,
    ports: Vec<(HostPort, i64)>,
    kinds: Vec<(KindId, i64)>,
    claims: Vec<(Box<str>, i64)>,
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
        for claim in &pod.claims {
            add(&mut self.claims, &claim.key, sign);
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
        for (claim, count) in &other.claims {
            add(&mut sum.claims, claim, *count);
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

    fn claim(&self, key: &str) -> i64 {
        let claims = self.claims.iter().find(|(each, _)| **each == *key);
        claims.map_or(0, |(_, count)| *count)
    }

    fn amount(&self, id: ResourceId) -> i64 {
        let amounts = self.amounts.iter().find(|(each, _)| *each == id);
        amounts.map_or(0, |(_, amount)| *amount)
    }
}

/// What filters look at: one pod, all nodes, and what pods on them mean to it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub profile: &'a Profile,
    pub pod: &'a Requirements,
    pub nodes: &'a Snapshot,
    /// None: it has no claims.
    pub needs: Option<&'a Needs>,
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

    /// The first of some filters that refuses the node; both as places in the table.
    pub fn refusal(&self, slot: Slot, filters: &[usize]) -> Option<usize> {
        let mut places = filters.iter().copied();
        places
            .find(|place| self.profile.runs_filter[*place] && !(FILTERS[*place].admits)(self, slot))
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

/// The filters of one stage, as places in the table.
const fn of_stage<const COUNT: usize>(stage: Stage) -> [usize; COUNT] {
    let mut places = [0; COUNT];
    let (mut place, mut found) = (0, 0);
    while place < FILTERS.len() {
        if FILTERS[place].stage as u8 == stage as u8 {
            places[found] = place;
            found += 1;
        }
        place += 1;
    }
    assert!(found == COUNT, "as many as there are");
    places
}

pub const OF_NODE: [usize; 6] = of_stage(Stage::Node);
pub const OF_PODS: [usize; 4] = of_stage(Stage::Pods);
pub const OF_NEIGHBOURS: [usize; 2] = of_stage(Stage::Neighbours);
pub const ALL_FILTERS: [usize; FILTERS.len()] = {
    let mut places = [0; FILTERS.len()];
    let mut place = 0;
    while place < FILTERS.len() {
        places[place] = place;
        place += 1;
    }
    places
};

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

pub const FILTERS: [Filter; 12] = [
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
        admits: |view, slot| {
            let node = view.nodes.identity(slot);
            view.profile.added.matches(node) && view.pod.required.matches(node)
        },
        reasons: |view, slot| {
            let enforced = view.profile.added.matches(view.nodes.identity(slot));
            vec![Reason::Text(if enforced {
                "node(s) didn't match Pod's node affinity/selector"
            } else {
                "node(s) didn't match scheduler-enforced node affinity"
            })]
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
        name: volumes::RESTRICTIONS,
        stage: Stage::Pods,
        admits: |view, _| {
            let change = |claim: &str| view.change.map_or(0, |change| change.claim(claim));
            volumes_allow(view, |volumes, needs| !volumes.is_taken(needs, change))
        },
        reasons: |_, _| {
            vec![Reason::Text(
                "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
            )]
        },
        resolvable: always,
        helped_by: hints::volume_use,
    },
    Filter {
        name: "NodeVolumeLimits",
        stage: Stage::Pods,
        admits: |view, slot| {
            volumes_allow(view, |volumes, needs| {
                let there = view.nodes.claims_on(slot);
                volumes.are_within_limits(needs, view.nodes.name(slot), there)
            })
        },
        reasons: |_, _| vec![Reason::Text("node(s) exceed max volume count")],
        resolvable: always,
        helped_by: hints::volume_use,
    },
    Filter {
        name: volumes::BINDING,
        stage: Stage::Node,
        admits: |view, slot| {
            volumes_allow(view, |volumes, needs| {
                let node = view.nodes.identity(slot);
                needs.refusal.is_none()
                    && !volumes.lacks_volume(needs)
                    && volumes.reach(needs, node)
            })
        },
        reasons: |view, _| {
            let exist = volumes_allow(view, |volumes, needs| !volumes.lacks_volume(needs));
            vec![Reason::Text(if exist {
                "node(s) didn't match PersistentVolume's node affinity"
            } else {
                "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
            })]
        },
        resolvable: never,
        helped_by: hints::volume_place,
    },
    Filter {
        name: "VolumeZone",
        stage: Stage::Node,
        admits: |view, slot| {
            volumes_allow(view, |volumes, needs| {
                volumes.are_in_zone(needs, &view.nodes.facts(slot).labels)
            })
        },
        reasons: |_, _| vec![Reason::Text("node(s) had no available volume zone")],
        resolvable: never,
        helped_by: hints::volume_place,
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

/// A pod without claims is not asked.
fn volumes_allow(view: &View<'_>, allow: impl FnOnce(&Volumes, &Needs) -> bool) -> bool {
    view.needs
        .is_none_or(|needs| allow(&view.nodes.volumes, needs))
}

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
    amount <= 0
        || amount <= allocatable.saturating_sub(view.requested(slot, id))
        || view.profile.ignores(id, &view.nodes.resources)
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
    amounts.all(|(id, amount)| {
        *amount <= 0
            || *amount <= view.nodes.allocatable(slot, *id)
            || view.profile.ignores(*id, &view.nodes.resources)
    })
}
