//! What may help a pod that a filter refused: for each plugin, whether one thing that happened can change its verdict somewhere.
//!
//! A hint may say yes too often, never no too often; a pod woken in vain costs a decision. Upstream's queueing hints.

use crate::kinds::PodKind;
use crate::labels::{Labels, lookup};
use crate::ports::HostPort;
use crate::profile::Profile;
use crate::requirements::Requirements;
use crate::resource::ResourceId;
use crate::snapshot::{NodeFacts, Snapshot};
use crate::taint;
use crate::topology::TopologyKey;

/// Something happened to the cluster.
#[derive(Clone, Copy)]
pub enum Happening<'a> {
    Node {
        name: &'a str,
        /// None: it is new.
        before: Option<&'a NodeFacts>,
        /// None: it is gone.
        after: Option<&'a NodeFacts>,
    },
    /// A pod is on a node now.
    PodCame(&'a PodKind),
    /// A pod on a node has other labels.
    PodRelabelled(&'a PodKind, &'a PodKind),
    /// A claim, a volume, a storage class or what a node takes of them.
    Volumes,
    /// A pod left its node, or asks less of it.
    PodLeft(&'a PodKind, &'a [HostPort]),
}

/// A pod that waits.
#[derive(Clone, Copy)]
pub struct Waiter<'a> {
    pub pod: &'a Requirements,
    pub kind: &'a PodKind,
    pub profile: &'a Profile,
    pub nodes: &'a Snapshot,
}

pub type Hint = fn(&Waiter<'_>, &Happening<'_>) -> bool;

/// A node is there that will do, and was not before or would not have done.
fn turned(happening: &Happening<'_>, will_do: impl Fn(&str, &NodeFacts) -> bool) -> bool {
    match happening {
        Happening::Node {
            name,
            before,
            after: Some(after),
        } => will_do(name, after) && before.is_none_or(|before| !will_do(name, before)),
        _ => false,
    }
}

pub fn node_unschedulable(_: &Waiter<'_>, happening: &Happening<'_>) -> bool {
    turned(happening, |_, node| !node.unschedulable)
}

pub fn node_name(waiter: &Waiter<'_>, happening: &Happening<'_>) -> bool {
    turned(happening, |name, _| {
        waiter.pod.node_name.as_deref() == Some(name)
    })
}

pub fn taint_toleration(waiter: &Waiter<'_>, happening: &Happening<'_>) -> bool {
    let tolerations = &waiter.pod.tolerations;
    turned(happening, |_, node| {
        !taint::forbids(&node.taints, tolerations)
    })
}

pub fn node_affinity(waiter: &Waiter<'_>, happening: &Happening<'_>) -> bool {
    turned(happening, |name, node| {
        let node = node.identity(name);
        waiter.profile.added.matches(node) && waiter.pod.required.matches(node)
    })
}

pub fn node_ports(waiter: &Waiter<'_>, happening: &Happening<'_>) -> bool {
    match happening {
        Happening::Node { before, .. } => before.is_none(),
        Happening::PodLeft(_, ports) => {
            let mut wanted = waiter.pod.ports.iter();
            wanted.any(|wanted| ports.iter().any(|port| port.conflicts(wanted)))
        }
        _ => false,
    }
}

pub fn node_resources_fit(waiter: &Waiter<'_>, happening: &Happening<'_>) -> bool {
    match happening {
        Happening::PodLeft(..) => true,
        Happening::Node {
            before,
            after: Some(after),
            ..
        } => {
            let asked = || {
                let amounts = waiter.pod.requests.amounts.iter();
                amounts.filter(|(_, amount)| *amount > 0)
            };
            let would_fit = after.amount(ResourceId::PODS) > 0
                && asked().all(|(id, amount)| *amount <= after.amount(*id));
            let grew = |before: &NodeFacts| {
                let grew = |id| after.amount(id) > before.amount(id);
                grew(ResourceId::PODS) || asked().any(|(id, _)| grew(*id))
            };
            would_fit && before.is_none_or(grew)
        }
        _ => false,
    }
}

/// Claims for one pod, and limits of nodes.
pub fn volume_use(_: &Waiter<'_>, happening: &Happening<'_>) -> bool {
    match happening {
        Happening::Volumes | Happening::PodLeft(..) => true,
        Happening::Node { before, .. } => before.is_none(),
        _ => false,
    }
}

/// Where volumes can be reached from.
pub fn volume_place(_: &Waiter<'_>, happening: &Happening<'_>) -> bool {
    match happening {
        Happening::Volumes => true,
        Happening::Node {
            before,
            after: Some(after),
            ..
        } => before.is_none_or(|before| before.labels != after.labels),
        _ => false,
    }
}

pub fn pod_topology_spread(waiter: &Waiter<'_>, happening: &Happening<'_>) -> bool {
    let constraints = if waiter.pod.spreading.is_default {
        // Whom they count depends on services and controllers: any pod may.
        &waiter.profile.defaults.required
    } else {
        &waiter.pod.spreading.required
    };
    let value = |labels: &Labels, key: TopologyKey| {
        lookup(labels, waiter.nodes.topologies.name(key)).map(str::to_owned)
    };
    let has_all = |node: Option<&NodeFacts>| {
        let mut keys = constraints.iter().map(|constraint| constraint.key);
        node.is_some_and(|node| keys.all(|key| value(&node.labels, key).is_some()))
    };
    let counts = |other: &PodKind| {
        let mut each = constraints.iter();
        other.namespace == waiter.kind.namespace
            && (waiter.pod.spreading.is_default
                || each.any(|constraint| constraint.selector.matches(&other.labels)))
    };
    match *happening {
        Happening::Node { before, after, .. } => match (before, after) {
            (Some(was), Some(is)) => {
                let moved = constraints
                    .iter()
                    .any(|each| value(&was.labels, each.key) != value(&is.labels, each.key));
                has_all(before) != has_all(after)
                    || (has_all(after) && (moved || was.taints != is.taints))
            }
            _ => has_all(before.or(after)),
        },
        Happening::PodCame(other) | Happening::PodLeft(other, _) => counts(other),
        Happening::PodRelabelled(before, after) => {
            before.namespace == waiter.kind.namespace
                && constraints.iter().any(|constraint| {
                    constraint.selector.matches(&before.labels)
                        != constraint.selector.matches(&after.labels)
                })
        }
        Happening::Volumes => false,
    }
}

pub fn inter_pod_affinity(waiter: &Waiter<'_>, happening: &Happening<'_>) -> bool {
    let (kind, namespaces) = (waiter.kind, &waiter.nodes.namespaces);
    let draws = |other: &PodKind| kind.is_drawn_to(other, namespaces);
    let repels = |other: &PodKind| {
        let mut own = kind.terms.anti_affinity.iter();
        let mut theirs = other.terms.anti_affinity.iter();
        own.any(|term| term.matches(other, namespaces))
            || theirs.any(|term| term.matches(kind, namespaces))
    };
    match *happening {
        Happening::PodCame(other) => draws(other),
        Happening::PodLeft(other, _) => repels(other),
        Happening::PodRelabelled(before, after) => {
            (draws(after) && !draws(before)) || (repels(before) && !repels(after))
        }
        Happening::Volumes | Happening::Node { after: None, .. } => false,
        Happening::Node { before: None, .. } => true,
        Happening::Node {
            before: Some(before),
            after: Some(after),
            ..
        } => before.labels != after.labels,
    }
}
