//! The nodes as columns: one slot a node, one column a resource. Owned by the kernel; plugins read it.
//!
//! Every change to a slot is noted in a log, so that each class of pods can catch up with just the nodes that changed.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use crate::affinity::NodeIdentity;
use crate::class::name_hash;
use crate::kinds::{KindId, Kinds, Namespaces};
use crate::labels::{Labels, sorted};
use crate::ports::HostPort;
use crate::requirements::{Requirements, normalized_image};
use crate::resource::{ResourceId, ResourceNames, parse};
use crate::topology::{Topologies, TopologyKey};
use crate::volumes::Volumes;
use crate::wire::{self, Taint};

/// Fixed keys: the same inputs give the same map, and nothing is ever read in a map's order.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl Slot {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a node says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    pub labels: Box<Labels>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub images: Vec<(Vec<String>, i64)>,
    allocatable: Vec<(ResourceId, i64)>,
}

impl NodeFacts {
    pub fn identity<'a>(&'a self, name: &'a str) -> NodeIdentity<'a> {
        NodeIdentity {
            name,
            labels: &self.labels,
        }
    }

    /// What it has of a resource.
    pub fn amount(&self, id: ResourceId) -> i64 {
        let amounts = self.allocatable.iter().find(|(each, _)| *each == id);
        amounts.map_or(0, |(_, amount)| *amount)
    }

    pub fn of(node: &wire::Node, names: &mut ResourceNames) -> NodeFacts {
        let images = node.status.images.iter().flatten();
        NodeFacts {
            labels: sorted(node.metadata.labels.as_ref()),
            taints: node.spec.taints.clone().unwrap_or_default(),
            unschedulable: node.spec.unschedulable.unwrap_or(false),
            images: images
                .map(|image| {
                    let names = image
                        .names
                        .iter()
                        .flatten()
                        .map(|name| normalized_image(name))
                        .collect();
                    (names, image.size_bytes.unwrap_or(0))
                })
                .collect(),
            allocatable: node
                .status
                .allocatable
                .as_ref()
                .map(|quantities| names.amounts(&parse(quantities)))
                .unwrap_or_default(),
        }
    }
}

#[derive(Debug, Default)]
struct Column {
    allocatable: Vec<i64>,
    requested: Vec<i64>,
}

/// An image that some node holds.
#[derive(Debug)]
pub struct ImageState {
    pub size_bytes: i64,
    pub nodes: u32,
}

#[derive(Debug, Default)]
pub struct Snapshot {
    pub resources: ResourceNames,
    slots: Map<Arc<str>, Slot>,
    free: Vec<Slot>,
    names: Vec<Arc<str>>,
    name_hashes: Vec<u64>,
    present: Vec<bool>,
    present_count: usize,
    facts: Vec<NodeFacts>,
    /// Raised when a slot's facts change: static verdicts about it are stale.
    versions: Vec<u32>,
    columns: Vec<Column>,
    nonzero: [Vec<i64>; 2],
    pods: Vec<i64>,
    /// Pods that the node is kept for.
    promises: Vec<u32>,
    pub topologies: Topologies,
    pub namespaces: Namespaces,
    pub kinds: Kinds,
    pub volumes: Volumes,
    /// Claims used on the node, and by how many of its pods.
    claims_on: Vec<Vec<(Box<str>, u32)>>,
    /// How many pods of each kind are on the node, by kind.
    kinds_on: Vec<Vec<(KindId, u32)>>,
    /// Host ports taken on the node, and by how many pods (more than one only if somebody else put them there).
    ports_on: Vec<Vec<(HostPort, u32)>>,
    /// Pods the kernel has placed on the node so far: turns the tie-break so that equal nodes take turns.
    placements: Vec<u64>,
    pub images: Map<String, ImageState>,
    pub image_generation: u64,
    changes: Vec<Slot>,
    changes_base: u64,
}

impl Snapshot {
    /// Slots in use or reusable; every `Slot` is below it.
    pub fn slot_count(&self) -> usize {
        self.names.len()
    }

    pub fn node_count(&self) -> usize {
        self.present_count
    }

    pub fn is_present(&self, slot: Slot) -> bool {
        self.present[slot.index()]
    }

    pub fn present(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..self.names.len() as u32)
            .map(Slot)
            .filter(|slot| self.is_present(*slot))
    }

    pub fn name(&self, slot: Slot) -> &Arc<str> {
        &self.names[slot.index()]
    }

    pub fn name_hash(&self, slot: Slot) -> u64 {
        self.name_hashes[slot.index()]
    }

    pub fn facts(&self, slot: Slot) -> &NodeFacts {
        &self.facts[slot.index()]
    }

    pub fn identity(&self, slot: Slot) -> NodeIdentity<'_> {
        self.facts[slot.index()].identity(&self.names[slot.index()])
    }

    pub fn version(&self, slot: Slot) -> u32 {
        self.versions[slot.index()]
    }

    pub fn placements(&self, slot: Slot) -> u64 {
        self.placements[slot.index()]
    }

    pub fn pods(&self, slot: Slot) -> i64 {
        self.pods[slot.index()]
    }

    pub fn allocatable(&self, slot: Slot, id: ResourceId) -> i64 {
        self.columns
            .get(usize::from(id.0))
            .map_or(0, |column| column.allocatable[slot.index()])
    }

    pub fn requested(&self, slot: Slot, id: ResourceId) -> i64 {
        self.columns
            .get(usize::from(id.0))
            .map_or(0, |column| column.requested[slot.index()])
    }

    pub fn kinds_on(&self, slot: Slot) -> &[(KindId, u32)] {
        &self.kinds_on[slot.index()]
    }

    pub fn ports_on(&self, slot: Slot) -> &[(HostPort, u32)] {
        &self.ports_on[slot.index()]
    }

    pub fn claims_on(&self, slot: Slot) -> impl Iterator<Item = &str> {
        let claims = self.claims_on[slot.index()].iter();
        claims.map(|(claim, _)| &**claim)
    }

    /// The number of a topology key, given out if new.
    pub fn topology_key(&mut self, key: &str) -> TopologyKey {
        if let Some(known) = self.topologies.known(key) {
            return known;
        }
        let labels = self.facts.iter().map(|facts| &*facts.labels);
        self.topologies.learn(key, (0..).map(Slot).zip(labels))
    }

    /// CPU and memory, silent containers counted with their defaults.
    pub fn nonzero(&self, slot: Slot, index: usize) -> i64 {
        self.nonzero[index][slot.index()]
    }

    // ───────── changes ─────────

    /// The position after the newest change.
    pub fn head(&self) -> u64 {
        self.changes_base + self.changes.len() as u64
    }

    /// The slots changed since a position; `None` if the log no longer reaches back so far.
    pub fn changed_since(&self, position: u64) -> Option<&[Slot]> {
        let skip = position.checked_sub(self.changes_base)?;
        self.changes.get(usize::try_from(skip).ok()?..)
    }

    /// Bound of the log: four changes a slot. Past it, catching up would cost more than starting over.
    fn note(&mut self, slot: Slot) {
        if self.changes.len() >= 4 * self.names.len().max(1024) {
            self.changes_base = self.head();
            self.changes.clear();
        }
        self.changes.push(slot);
    }

    // ───────── nodes ─────────

    /// The slot of a node that is there.
    pub fn find(&self, name: &str) -> Option<Slot> {
        let known = self.slots.get(name).copied();
        known.filter(|slot| self.is_present(*slot))
    }

    /// The node's slot, made (not present) if new: pods may be heard of before their node.
    pub fn slot(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        let shared: Arc<str> = name.into();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.names[slot.index()] = shared.clone();
                self.name_hashes[slot.index()] = name_hash(name);
                slot
            }
            None => self.grow(shared.clone()),
        };
        self.slots.insert(shared, slot);
        slot
    }

    fn grow(&mut self, name: Arc<str>) -> Slot {
        let slot =
            Slot(u32::try_from(self.names.len()).expect("fewer than 2^32 nodes fit in memory"));
        self.name_hashes.push(name_hash(&name));
        self.names.push(name);
        self.present.push(false);
        self.facts.push(NodeFacts::default());
        self.versions.push(0);
        self.pods.push(0);
        self.placements.push(0);
        self.promises.push(0);
        self.kinds_on.push(Vec::new());
        self.ports_on.push(Vec::new());
        self.claims_on.push(Vec::new());
        self.topologies.grow();
        for column in &mut self.columns {
            column.allocatable.push(0);
            column.requested.push(0);
        }
        for column in &mut self.nonzero {
            column.push(0);
        }
        slot
    }

    fn column(&mut self, id: ResourceId) -> &mut Column {
        let slots = self.names.len();
        while self.columns.len() < self.resources.len().max(usize::from(id.0) + 1) {
            self.columns.push(Column {
                allocatable: vec![0; slots],
                requested: vec![0; slots],
            });
        }
        &mut self.columns[usize::from(id.0)]
    }

    /// Gives what the node said before (None: it is new); None if it says the same.
    pub fn put_node(&mut self, node: &wire::Node) -> Option<Option<NodeFacts>> {
        let facts = NodeFacts::of(node, &mut self.resources);
        let slot = self.slot(&node.metadata.name);
        let index = slot.index();
        let before = &self.facts[index];
        let added = !self.present[index];
        if !added && *before == facts {
            return None;
        }
        let same_labels = before.labels == facts.labels;
        let same_images = before.images == facts.images;
        if added {
            self.present[index] = true;
            self.present_count += 1;
            self.image_generation += u64::from(!self.images.is_empty());
        }
        if !same_images {
            self.hold_images(&facts.images, 1);
        }
        if !same_labels {
            self.topologies.relabel(slot, &facts.labels);
        }
        let before = std::mem::replace(&mut self.facts[index], facts);
        if !same_images {
            self.hold_images(&before.images, -1);
        }
        self.set_allocatable(slot, &before.allocatable);
        self.versions[index] = self.versions[index].wrapping_add(1);
        self.note(slot);
        if self.topologies.is_stale() {
            let labels = self.facts.iter().map(|facts| &*facts.labels);
            self.topologies.renumber((0..).map(Slot).zip(labels));
        }
        Some((!added).then_some(before))
    }

    fn set_allocatable(&mut self, slot: Slot, before: &[(ResourceId, i64)]) {
        for (id, _) in before {
            self.column(*id).allocatable[slot.index()] = 0;
        }
        let now = self.facts[slot.index()].allocatable.clone();
        for (id, amount) in now {
            self.column(id).allocatable[slot.index()] = amount;
        }
    }

    /// Pods that are still on the node stay accounted, for when it comes back. Gives what the node said; None if there was none.
    pub fn remove_node(&mut self, name: &str) -> Option<NodeFacts> {
        let slot = self.find(name)?;
        let before = std::mem::take(&mut self.facts[slot.index()]);
        self.hold_images(&before.images, -1);
        self.topologies.relabel(slot, &[]);
        self.set_allocatable(slot, &before.allocatable);
        self.present[slot.index()] = false;
        self.present_count -= 1;
        self.image_generation += u64::from(!self.images.is_empty());
        self.versions[slot.index()] = self.versions[slot.index()].wrapping_add(1);
        self.note(slot);
        self.release_if_empty(slot);
        Some(before)
    }

    fn release_if_empty(&mut self, slot: Slot) {
        let is_used = self.pods[slot.index()] > 0 || self.promises[slot.index()] > 0;
        if !self.is_present(slot) && !is_used {
            let name = self.names[slot.index()].clone();
            if self.slots.remove(&name).is_some() {
                self.placements[slot.index()] = 0;
                self.free.push(slot);
            }
        }
    }

    fn hold_images(&mut self, images: &[(Vec<String>, i64)], step: i32) {
        for (names, size_bytes) in images {
            for name in names {
                let state = self.images.entry(name.clone()).or_insert(ImageState {
                    size_bytes: *size_bytes,
                    nodes: 0,
                });
                state.nodes = state.nodes.saturating_add_signed(step);
                if state.nodes == 0 {
                    self.images.remove(name);
                }
            }
        }
        self.image_generation += u64::from(!images.is_empty());
    }

    // ───────── pods on nodes ─────────

    pub fn add_pod(&mut self, slot: Slot, requirements: &Requirements, kind: KindId) {
        self.account(slot, requirements, kind, 1);
    }

    pub fn remove_pod(&mut self, slot: Slot, requirements: &Requirements, kind: KindId) {
        self.account(slot, requirements, kind, -1);
        self.release_if_empty(slot);
    }

    /// The node is kept for one pod more, or less.
    pub fn promise(&mut self, slot: Slot, change: i32) {
        let promises = &mut self.promises[slot.index()];
        *promises = promises.saturating_add_signed(change);
        self.note(slot);
        self.release_if_empty(slot);
    }

    /// The kernel chose this node: the tie-break turns.
    pub fn place_pod(&mut self, slot: Slot, requirements: &Requirements, kind: KindId) {
        self.placements[slot.index()] += 1;
        self.account(slot, requirements, kind, 1);
    }

    fn account(&mut self, slot: Slot, requirements: &Requirements, kind: KindId, sign: i32) {
        let index = slot.index();
        let requests = &requirements.requests;
        self.pods[index] += i64::from(sign);
        for (id, amount) in &requests.amounts {
            self.column(*id).requested[index] += i64::from(sign) * amount;
        }
        for (column, amount) in self.nonzero.iter_mut().zip(requests.nonzero) {
            column[index] += i64::from(sign) * amount;
        }
        count(&mut self.kinds_on[index], &kind, sign);
        for port in &requirements.ports {
            count(&mut self.ports_on[index], port, sign);
        }
        for claim in &requirements.claims {
            count(&mut self.claims_on[index], &claim.key, sign);
            self.volumes.count_use(claim, i64::from(sign));
        }
        self.note(slot);
    }
}

/// Adds to what is counted of one thing; nothing is left where the count is 0.
fn count<T: PartialEq + Clone>(counts: &mut Vec<(T, u32)>, what: &T, change: i32) {
    match counts.iter().position(|(each, _)| each == what) {
        Some(index) => {
            counts[index].1 = counts[index].1.saturating_add_signed(change);
            if counts[index].1 == 0 {
                counts.swap_remove(index);
            }
        }
        None if change > 0 => counts.push((what.clone(), change.unsigned_abs())),
        None => {}
    }
}
