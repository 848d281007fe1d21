//! What other pods can tell about a pod: its namespace, its labels and its affinity to others. Equal ones are one kind.
//!
//! A node's pods are counted by kind, so whoever asks "how many pods there match?" looks at each kind once, not at each pod.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::labels::{LabelSelector, Labels, sorted};
use crate::snapshot::Map;
use crate::topology::TopologyKey;
use crate::wire;

/// Near which pods, and in which kind of domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AffinityTerm {
    pub key: TopologyKey,
    pub namespaces: Vec<String>,
    pub namespace_selector: LabelSelector,
    pub selector: LabelSelector,
}

impl AffinityTerm {
    /// Without namespaces and without a selector of namespaces, the pod's own is meant.
    fn of(
        term: &wire::PodAffinityTerm,
        own: &str,
        key: &mut impl FnMut(&str) -> TopologyKey,
    ) -> AffinityTerm {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(own.to_owned());
        }
        AffinityTerm {
            key: key(&term.topology_key),
            namespaces,
            namespace_selector: LabelSelector::of(term.namespace_selector.as_ref()),
            selector: LabelSelector::of(term.label_selector.as_ref()),
        }
    }

    pub fn matches(&self, pod: &PodKind, namespaces: &Namespaces) -> bool {
        let in_namespace = self.namespaces.iter().any(|name| **name == *pod.namespace)
            || self
                .namespace_selector
                .matches(namespaces.labels(&pod.namespace));
        in_namespace && self.selector.matches(&pod.labels)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    pub affinity: Vec<AffinityTerm>,
    pub anti_affinity: Vec<AffinityTerm>,
    /// With their weights; below 0 to keep away.
    pub preferred: Vec<(i64, AffinityTerm)>,
}

impl Terms {
    fn of(spec: &wire::PodSpec, own: &str, mut key: impl FnMut(&str) -> TopologyKey) -> Terms {
        let mut terms = Terms::default();
        let Some(affinity) = &spec.affinity else {
            return terms;
        };
        let (near, apart) = (&affinity.pod_affinity, &affinity.pod_anti_affinity);
        for (given, required, sign) in [
            (near, &mut terms.affinity, 1),
            (apart, &mut terms.anti_affinity, -1),
        ] {
            let Some(given) = given else { continue };
            let each = given.required.iter().flatten();
            required.extend(each.map(|term| AffinityTerm::of(term, own, &mut key)));
            for weighted in given.preferred.iter().flatten() {
                let term = AffinityTerm::of(&weighted.pod_affinity_term, own, &mut key);
                terms.preferred.push((sign * weighted.weight, term));
            }
        }
        terms
    }

    pub fn is_empty(&self) -> bool {
        self.affinity.is_empty() && self.anti_affinity.is_empty() && self.preferred.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &AffinityTerm> {
        let preferred = self.preferred.iter().map(|(_, term)| term);
        self.affinity
            .iter()
            .chain(&self.anti_affinity)
            .chain(preferred)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodKind {
    pub namespace: Box<str>,
    pub labels: Box<Labels>,
    pub terms: Terms,
    /// Being deleted: spreading no longer counts it.
    pub terminating: bool,
}

impl PodKind {
    pub fn of(pod: &wire::Pod, key: impl FnMut(&str) -> TopologyKey) -> PodKind {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        PodKind {
            namespace: namespace.into(),
            labels: sorted(pod.metadata.labels.as_ref()),
            terms: Terms::of(&pod.spec, namespace, key),
            terminating: pod.metadata.deletion_timestamp.is_some(),
        }
    }

    /// All of its required affinity terms match the other pod; false if it has none.
    pub fn is_drawn_to(&self, other: &PodKind, namespaces: &Namespaces) -> bool {
        let terms = &self.terms.affinity;
        !terms.is_empty() && terms.iter().all(|term| term.matches(other, namespaces))
    }
}

/// The labels of namespaces.
#[derive(Debug, Default)]
pub struct Namespaces {
    labels: Map<Box<str>, Box<Labels>>,
    pub generation: u64,
}

impl Namespaces {
    pub fn labels(&self, name: &str) -> &Labels {
        self.labels.get(name).map_or(&[], |labels| labels)
    }

    /// True if it says something new.
    pub fn put(&mut self, name: &str, labels: Box<Labels>) -> bool {
        if self.labels.get(name) == Some(&labels) {
            return false;
        }
        self.labels.insert(name.into(), labels);
        self.generation += 1;
        true
    }

    pub fn remove(&mut self, name: &str) {
        if self.labels.remove(name).is_some() {
            self.generation += 1;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(u32);

impl KindId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
struct Entry {
    kind: Arc<PodKind>,
    uses: usize,
    /// Raised when the number is given to another kind: what was remembered of the one before is stale.
    stamp: u32,
}

/// Kinds ↔ numbers. A number is free again when no pod is of its kind.
#[derive(Debug, Default)]
pub struct Kinds {
    ids: Map<Arc<PodKind>, KindId>,
    entries: Vec<Entry>,
    free: Vec<KindId>,
    carriers: BTreeSet<KindId>,
    /// Moves when kinds with affinity terms come or go.
    pub carriers_generation: u64,
}

impl Kinds {
    /// One more pod of this kind.
    pub fn acquire(&mut self, kind: PodKind) -> KindId {
        if let Some(id) = self.ids.get(&kind) {
            self.entries[id.index()].uses += 1;
            return *id;
        }
        let carries = !kind.terms.is_empty();
        let kind = Arc::new(kind);
        let id = match self.free.pop() {
            Some(id) => {
                let entry = &mut self.entries[id.index()];
                entry.kind = kind.clone();
                entry.uses = 1;
                entry.stamp = entry.stamp.wrapping_add(1);
                id
            }
            None => {
                self.entries.push(Entry {
                    kind: kind.clone(),
                    uses: 1,
                    stamp: 1,
                });
                KindId(self.entries.len() as u32 - 1)
            }
        };
        self.ids.insert(kind, id);
        if carries {
            self.carriers.insert(id);
            self.carriers_generation += 1;
        }
        id
    }

    /// One pod of this kind less.
    pub fn release(&mut self, id: KindId) {
        let entry = &mut self.entries[id.index()];
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        self.ids.remove(&entry.kind);
        self.free.push(id);
        if self.carriers.remove(&id) {
            self.carriers_generation += 1;
        }
    }

    pub fn is_used(&self, kind: &PodKind) -> bool {
        self.ids.contains_key(kind)
    }

    pub fn kind(&self, id: KindId) -> &Arc<PodKind> {
        &self.entries[id.index()].kind
    }

    pub fn stamp(&self, id: KindId) -> u32 {
        self.entries[id.index()].stamp
    }

    /// Some pod's affinity term may be about pods of this kind.
    pub fn concern(&self, pod: &PodKind, namespaces: &Namespaces) -> bool {
        self.carriers.iter().any(|id| {
            let mut terms = self.kind(*id).terms.all();
            terms.any(|term| term.matches(pod, namespaces))
        })
    }
}
