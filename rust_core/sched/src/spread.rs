//! `spec.topologySpreadConstraints`: how evenly pods that match lie over the domains of a topology key.

use crate::labels::{LabelSelector, Labels, Requirement, lookup};
use crate::topology::TopologyKey;
use crate::wire;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpreadConstraint {
    pub key: TopologyKey,
    pub max_skew: i64,
    pub min_domains: i64,
    pub selector: LabelSelector,
    /// Only nodes that the pod's node affinity matches count.
    pub honors_affinity: bool,
    /// Only nodes whose taints the pod tolerates count.
    pub honors_taints: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Spreading {
    /// DoNotSchedule.
    pub required: Vec<SpreadConstraint>,
    /// ScheduleAnyway.
    pub preferred: Vec<SpreadConstraint>,
    /// The pod says nothing of spreading: the profile's default constraints hold.
    pub is_default: bool,
}

impl Spreading {
    pub fn of(
        spec: &wire::PodSpec,
        labels: &Labels,
        mut key: impl FnMut(&str) -> TopologyKey,
    ) -> Spreading {
        let mut spreading = Spreading::default();
        let constraints = spec.topology_spread_constraints.as_deref();
        let constraints = constraints.unwrap_or_default();
        spreading.is_default = constraints.is_empty();
        for constraint in constraints {
            let list = match constraint.when_unsatisfiable.as_deref() {
                Some("DoNotSchedule") => &mut spreading.required,
                Some("ScheduleAnyway") => &mut spreading.preferred,
                _ => continue,
            };
            let own = constraint.match_label_keys.iter().flatten();
            let own = own.filter_map(|key| Some(Requirement::equals(key, lookup(labels, key)?)));
            list.push(SpreadConstraint {
                key: key(&constraint.topology_key),
                max_skew: constraint.max_skew,
                min_domains: constraint.min_domains.unwrap_or(1),
                selector: LabelSelector::of(constraint.label_selector.as_ref()).and(own),
                honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
                honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
            });
        }
        spreading
    }

    /// What upstream spreads by when neither the pod nor the profile says anything: over hosts, over zones.
    pub fn upstreams() -> Spreading {
        let constraints = [(TopologyKey::HOSTNAME, 3), (TopologyKey::ZONE, 5)];
        let preferred = constraints.map(|(key, max_skew)| SpreadConstraint {
            key,
            max_skew,
            min_domains: 1,
            selector: LabelSelector::Nothing,
            honors_affinity: true,
            honors_taints: false,
        });
        Spreading {
            required: Vec::new(),
            preferred: preferred.into(),
            is_default: true,
        }
    }
}
