//! What the pods already there mean to one class of pods: PodTopologySpread and InterPodAffinity.
//!
//! Each constraint is a sum over topology domains (`domains`). A kind of pod adds a fixed weight to some sums; that is worked out once a
//! kind. When a node's pods change, its shares are added up again and the sums move by the difference: nothing is counted twice.
//!
//! ```text
//! kind of pod ──weights──▶ share of a node ──set──▶ sum of its domain ──▶ refused? score?
//! ```

use std::sync::Arc;

use crate::domains::Domains;
use crate::kinds::{AffinityTerm, KindId, Namespaces, PodKind};
use crate::labels::LabelSelector;
use crate::profile::Profile;
use crate::requirements::Requirements;
use crate::snapshot::{Slot, Snapshot};
use crate::spread::SpreadConstraint;
use crate::taint;
use crate::topology::TopologyKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Pods that match a required constraint, by its index.
    Required(usize),
    /// Pods that match a preferred constraint.
    Preferred(usize),
    /// Pods that match all required affinity terms.
    Affinity,
    /// Pods that match a required anti-affinity term.
    AntiAffinity,
    /// Required anti-affinity terms of pods there that match this one.
    ExistingAntiAffinity,
    /// Weights of preferred terms, this pod's and theirs.
    Preference,
}

impl Role {
    /// A verdict depends on more than the node's own domains.
    fn has_horizon(self) -> bool {
        matches!(self, Role::Required(_) | Role::Affinity)
    }
}

/// Whose verdicts a change at one node may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    Here,
    Everywhere,
}

#[derive(Debug)]
struct Sum {
    key: TopologyKey,
    role: Role,
    domains: Domains,
}

/// Why a node was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    SpreadLabelMissing,
    Skew,
    Affinity,
    AntiAffinity,
    ExistingAntiAffinity,
}

/// Sums that a kind adds to, and how much for each pod.
type Weights = Vec<(usize, i64)>;

#[derive(Debug)]
pub struct Neighbours {
    pod: Arc<PodKind>,
    required: Vec<SpreadConstraint>,
    preferred: Vec<SpreadConstraint>,
    /// Whether the pod matches its own constraint: it counts itself.
    matches_itself: Vec<bool>,
    is_drawn_to_itself: bool,
    /// A node without one of the preferred constraints' keys is left out of their scores.
    needs_all_keys: bool,
    /// What a pod that must be near others adds to the score of being near it, for each of its terms.
    hard_affinity_weight: i64,
    /// What others would rather have is not asked.
    ignores_others: bool,
    sums: Vec<Sum>,
    /// By kind, with the stamp of the kind's number they were made for.
    weights: Vec<Option<(u32, Weights)>>,
    shares: Vec<i64>,
}

impl Neighbours {
    /// `defaults`: whom the profile's default constraints count, if they apply to the pod.
    pub fn new(
        pod: &Arc<PodKind>,
        requirements: &Requirements,
        defaults: Option<&LabelSelector>,
        profile: &Profile,
        nodes: &Snapshot,
    ) -> Neighbours {
        let spreading = match defaults {
            Some(selector) => profile.default_spreading(selector),
            None => requirements.spreading.clone(),
        };
        let mut neighbours = Neighbours {
            pod: pod.clone(),
            required: spreading.required,
            preferred: spreading.preferred,
            matches_itself: Vec::new(),
            is_drawn_to_itself: pod.is_drawn_to(pod, &nodes.namespaces),
            needs_all_keys: defaults.is_none() || !profile.defaults_are_upstreams,
            hard_affinity_weight: profile.hard_affinity_weight,
            ignores_others: profile.ignores_preferences_of_others && pod.terms.preferred.is_empty(),
            sums: Vec::new(),
            weights: Vec::new(),
            shares: Vec::new(),
        };
        let own = |constraint: &SpreadConstraint| constraint.selector.matches(&pod.labels);
        neighbours.matches_itself = neighbours.required.iter().map(own).collect();
        let keys = |list: &[SpreadConstraint]| list.iter().map(|each| each.key).collect::<Vec<_>>();
        for (index, key) in keys(&neighbours.required).into_iter().enumerate() {
            neighbours.sum(key, Role::Required(index), nodes);
        }
        for (index, key) in keys(&neighbours.preferred).into_iter().enumerate() {
            neighbours.sum(key, Role::Preferred(index), nodes);
        }
        for term in &pod.terms.affinity {
            neighbours.sum(term.key, Role::Affinity, nodes);
        }
        neighbours
    }

    /// The sum for a key and a role, made if new.
    fn sum(&mut self, key: TopologyKey, role: Role, nodes: &Snapshot) -> usize {
        if let Some(index) = self.find(key, role) {
            return index;
        }
        let mut domains = Domains::new(nodes.slot_count(), matches!(role, Role::Required(_)));
        // A sum that is found to be needed late starts with the nodes that were looked at already. Spreading, which leaves nodes out, is
        // known from the start.
        if !matches!(role, Role::Required(_) | Role::Preferred(_)) {
            for slot in nodes.present() {
                domains.set(slot, nodes.topologies.domain(key, slot), 0);
            }
        }
        self.sums.push(Sum { key, role, domains });
        self.shares.push(0);
        self.sums.len() - 1
    }

    fn find(&self, key: TopologyKey, role: Role) -> Option<usize> {
        let mut sums = self.sums.iter();
        sums.position(|sum| sum.key == key && sum.role == role)
    }

    // ───────── what a kind of pod adds ─────────

    /// Works out what pods of a kind add, unless that is known.
    pub fn learn(&mut self, id: KindId, nodes: &Snapshot) {
        let stamp = nodes.kinds.stamp(id);
        if self.weights.len() <= id.index() {
            self.weights.resize(id.index() + 1, None);
        }
        if matches!(&self.weights[id.index()], Some((known, _)) if *known == stamp) {
            return;
        }
        let weights = self.weights_of(&nodes.kinds.kind(id).clone(), nodes);
        self.weights[id.index()] = Some((stamp, weights));
    }

    fn known_weights(&self, id: KindId) -> &[(usize, i64)] {
        match self.weights.get(id.index()) {
            Some(Some((_, weights))) => weights,
            _ => &[],
        }
    }

    fn weights_of(&mut self, other: &PodKind, nodes: &Snapshot) -> Weights {
        let mut adds: Vec<(TopologyKey, Role, i64)> = Vec::new();
        self.spread_weights(other, &mut adds);
        let pod = self.pod.clone();
        affinity_weights(&pod, other, &nodes.namespaces, &mut adds);
        if !self.ignores_others {
            self.preference_weights(other, &nodes.namespaces, &mut adds);
        }
        let mut weights = Weights::new();
        for (key, role, weight) in adds {
            let index = self.sum(key, role, nodes);
            match weights.iter_mut().find(|(each, _)| *each == index) {
                Some((_, sum)) => *sum += weight,
                None => weights.push((index, weight)),
            }
        }
        weights
    }

    fn spread_weights(&self, other: &PodKind, adds: &mut Vec<(TopologyKey, Role, i64)>) {
        if other.namespace != self.pod.namespace || other.terminating {
            return;
        }
        let counts = |constraint: &SpreadConstraint| {
            !constraint.selector.is_empty() && constraint.selector.matches(&other.labels)
        };
        for (index, constraint) in self.required.iter().enumerate() {
            if counts(constraint) {
                adds.push((constraint.key, Role::Required(index), 1));
            }
        }
        for (index, constraint) in self.preferred.iter().enumerate() {
            if counts(constraint) {
                adds.push((constraint.key, Role::Preferred(index), 1));
            }
        }
    }

    fn preference_weights(
        &self,
        other: &PodKind,
        namespaces: &Namespaces,
        adds: &mut Vec<(TopologyKey, Role, i64)>,
    ) {
        let mut add = |terms: &[(i64, AffinityTerm)], pod: &PodKind| {
            for (weight, term) in terms {
                if term.matches(pod, namespaces) {
                    adds.push((term.key, Role::Preference, *weight));
                }
            }
        };
        add(&self.pod.terms.preferred, other);
        add(&other.terms.preferred, &self.pod);
        for term in &other.terms.affinity {
            if self.hard_affinity_weight > 0 && term.matches(&self.pod, namespaces) {
                adds.push((term.key, Role::Preference, self.hard_affinity_weight));
            }
        }
    }

    // ───────── nodes ─────────

    /// Brings a node's shares up to date. Gives whose verdicts that may change.
    pub fn update(&mut self, requirements: &Requirements, nodes: &Snapshot, slot: Slot) -> Reach {
        for (kind, _) in nodes.kinds_on(slot) {
            self.learn(*kind, nodes);
        }
        self.shares.fill(0);
        for (kind, count) in nodes.kinds_on(slot) {
            if let Some(Some((_, weights))) = self.weights.get(kind.index()) {
                for (index, weight) in weights {
                    self.shares[*index] += weight * i64::from(*count);
                }
            }
        }
        let has_required = has_keys(&self.required, nodes, slot);
        let has_preferred = !self.needs_all_keys || has_keys(&self.preferred, nodes, slot);
        let mut reach = Reach::Here;
        for (index, sum) in self.sums.iter_mut().enumerate() {
            let counts = nodes.is_present(slot)
                && match sum.role {
                    Role::Required(index) => {
                        has_required && includes(&self.required[index], requirements, nodes, slot)
                    }
                    Role::Preferred(index) => {
                        has_preferred && includes(&self.preferred[index], requirements, nodes, slot)
                    }
                    _ => true,
                };
            let domain = nodes.topologies.domain(sum.key, slot);
            sum.domains.grow(nodes.slot_count());
            let horizon = sum.domains.horizon();
            let domain = domain.filter(|_| counts);
            let has_others = sum.domains.set(slot, domain, self.shares[index]);
            if has_others || (sum.role.has_horizon() && horizon != sum.domains.horizon()) {
                reach = Reach::Everywhere;
            }
        }
        reach
    }

    /// How the sums at a node would differ if pods of these kinds came (or left, below 0).
    pub fn shift(&self, kinds: &[(KindId, i64)]) -> Vec<i64> {
        let mut shift = vec![0; self.sums.len()];
        for (kind, count) in kinds {
            for (index, weight) in self.known_weights(*kind) {
                shift[*index] += weight * count;
            }
        }
        shift
    }

    // ───────── filters ─────────

    /// `shift`: what would be added to the node's own domains; empty for nothing.
    pub fn spread_refusal(&self, nodes: &Snapshot, slot: Slot, shift: &[i64]) -> Option<Refusal> {
        for (index, constraint) in self.required.iter().enumerate() {
            let Some(domain) = nodes.topologies.domain(constraint.key, slot) else {
                return Some(Refusal::SpreadLabelMissing);
            };
            // The first sums are the required constraints', in their order.
            let domains = &self.sums[index].domains;
            let change = match shift.get(index) {
                Some(change) if domains.is_counted(slot) => *change,
                _ => 0,
            };
            let smallest = if (domains.existing() as i64) < constraint.min_domains {
                0
            } else {
                domains.smallest_if(domain, change)
            };
            let own = i64::from(self.matches_itself[index]);
            if domains.sum(domain) + change + own - smallest > constraint.max_skew {
                return Some(Refusal::Skew);
            }
        }
        None
    }

    pub fn affinity_refusal(&self, nodes: &Snapshot, slot: Slot, shift: &[i64]) -> Option<Refusal> {
        if !self.is_near_enough(nodes, slot, shift) {
            return Some(Refusal::Affinity);
        }
        let near = |role: Role| {
            self.sums.iter().enumerate().any(|(index, sum)| {
                sum.role == role
                    && nodes
                        .topologies
                        .domain(sum.key, slot)
                        .is_some_and(|domain| sum.domains.sum(domain) + at(shift, index) > 0)
            })
        };
        if near(Role::AntiAffinity) {
            return Some(Refusal::AntiAffinity);
        }
        near(Role::ExistingAntiAffinity).then_some(Refusal::ExistingAntiAffinity)
    }

    /// Required affinity. The first of pods that want to be together may go anywhere that has the keys.
    fn is_near_enough(&self, nodes: &Snapshot, slot: Slot, shift: &[i64]) -> bool {
        let mut all_near = true;
        let mut nobody_anywhere = true;
        for (index, sum) in self.sums.iter().enumerate() {
            if sum.role != Role::Affinity {
                continue;
            }
            let Some(domain) = nodes.topologies.domain(sum.key, slot) else {
                return false;
            };
            let change = at(shift, index);
            all_near &= sum.domains.sum(domain) + change > 0;
            nobody_anywhere &= sum.domains.total() + change == 0;
        }
        all_near || (nobody_anywhere && self.is_drawn_to_itself)
    }

    // ───────── scores ─────────

    /// Nodes are compared with each other: any change at one may move the scores of all.
    pub fn compares_nodes(&self) -> bool {
        let mut sums = self.sums.iter();
        self.scores_spread() || sums.any(|sum| sum.role == Role::Preference)
    }

    pub fn scores_spread(&self) -> bool {
        !self.preferred.is_empty()
    }

    /// Pods it would rather be near, or pods that would rather be near it: the sums that make the score.
    pub fn preference(&self, nodes: &Snapshot, slot: Slot) -> i64 {
        let sums = self.sums.iter().filter(|sum| sum.role == Role::Preference);
        sums.filter_map(|sum| {
            let domain = nodes.topologies.domain(sum.key, slot)?;
            Some(sum.domains.sum(domain))
        })
        .sum()
    }

    /// What one more matching pod in a domain costs, for each preferred constraint: the logarithm of how many domains the admitted
    /// nodes are in.
    pub fn spread_weights_over(
        &self,
        nodes: &Snapshot,
        admitted: impl Iterator<Item = Slot>,
    ) -> Vec<f64> {
        let mut seen: Vec<Vec<bool>> = vec![Vec::new(); self.preferred.len()];
        let mut sizes = vec![0_usize; self.preferred.len()];
        for slot in admitted.filter(|slot| !self.is_ignored(nodes, *slot)) {
            for (index, constraint) in self.preferred.iter().enumerate() {
                // Without the key, a node is in the domain of all such nodes.
                let domain = nodes.topologies.domain(constraint.key, slot);
                let place = domain.map_or(0, |domain| domain as usize + 1);
                let is_host = constraint.key == TopologyKey::HOSTNAME;
                if seen[index].len() <= place {
                    seen[index].resize(place + 1, false);
                }
                let is_new = !std::mem::replace(&mut seen[index][place], true);
                sizes[index] += usize::from(is_host || is_new);
            }
        }
        sizes.iter().map(|size| ((size + 2) as f64).ln()).collect()
    }

    /// A node that lacks a key counts for nothing in spreading, and gets the lowest score.
    pub fn is_ignored(&self, nodes: &Snapshot, slot: Slot) -> bool {
        self.needs_all_keys && !has_keys(&self.preferred, nodes, slot)
    }

    /// Lower is better.
    pub fn spread_cost(&self, nodes: &Snapshot, slot: Slot, weights: &[f64]) -> i64 {
        let first = self.required.len();
        let mut cost = 0.0;
        for (index, constraint) in self.preferred.iter().enumerate() {
            let Some(domain) = nodes.topologies.domain(constraint.key, slot) else {
                continue;
            };
            let domains = &self.sums[first + index].domains;
            let count = if constraint.key == TopologyKey::HOSTNAME {
                domains.share(slot)
            } else {
                domains.sum(domain)
            };
            cost += count as f64 * weights[index] + (constraint.max_skew - 1) as f64;
        }
        cost.round() as i64
    }
}

fn at(shift: &[i64], index: usize) -> i64 {
    shift.get(index).copied().unwrap_or(0)
}

fn has_keys(constraints: &[SpreadConstraint], nodes: &Snapshot, slot: Slot) -> bool {
    let mut each = constraints.iter();
    each.all(|constraint| nodes.topologies.domain(constraint.key, slot).is_some())
}

fn includes(
    constraint: &SpreadConstraint,
    pod: &Requirements,
    nodes: &Snapshot,
    slot: Slot,
) -> bool {
    (!constraint.honors_affinity || pod.required.matches(nodes.identity(slot)))
        && (!constraint.honors_taints
            || !taint::forbids(&nodes.facts(slot).taints, &pod.tolerations))
}

/// What a pod of the other kind adds to each of the affinity sums.
fn affinity_weights(
    pod: &PodKind,
    other: &PodKind,
    namespaces: &Namespaces,
    adds: &mut Vec<(TopologyKey, Role, i64)>,
) {
    if pod.is_drawn_to(other, namespaces) {
        for term in &pod.terms.affinity {
            adds.push((term.key, Role::Affinity, 1));
        }
    }
    for term in &pod.terms.anti_affinity {
        if term.matches(other, namespaces) {
            adds.push((term.key, Role::AntiAffinity, 1));
        }
    }
    for term in &other.terms.anti_affinity {
        if term.matches(pod, namespaces) {
            adds.push((term.key, Role::ExistingAntiAffinity, 1));
        }
    }
}
