//! The pods the kernel knows: by key, by the node they are on, by the node they are promised.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::failure::Importance;
use crate::kinds::KindId;
use crate::requirements::Requirements;
use crate::snapshot::{Map, Slot};
use crate::together::Owner;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Pending,
    Assumed(Slot),
    Bound(Slot),
}

impl Place {
    pub fn slot(self) -> Option<Slot> {
        match self {
            Place::Pending => None,
            Place::Assumed(slot) | Place::Bound(slot) => Some(slot),
        }
    }
}

#[derive(Debug)]
pub struct PodRecord {
    pub key: Arc<str>,
    pub uid: Box<str>,
    pub requirements: Arc<Requirements>,
    pub kind: KindId,
    pub owner: Option<Owner>,
    pub importance: Importance,
    pub gated: bool,
    pub deleting: bool,
    /// When it started, as its status says.
    pub started: Option<Box<str>>,
    /// Chosen as a victim: it leaves, or is about to.
    pub is_victim: bool,
    pub place: Place,
    /// The node that is kept for it while victims leave.
    pub promised: Option<Slot>,
    /// The node that its status named last.
    pub named: Option<Box<str>>,
}

impl PodRecord {
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(u32);

/// Numbers of pods that left are used again.
#[derive(Debug, Default)]
pub struct Pods {
    records: Vec<Option<PodRecord>>,
    free: Vec<PodId>,
    ids: Map<Arc<str>, PodId>,
    on_node: Vec<Vec<PodId>>,
    promised: BTreeMap<Slot, Vec<PodId>>,
}

impl Pods {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    fn id(&self, key: &str) -> Option<PodId> {
        self.ids.get(key).copied()
    }

    fn get(&self, id: PodId) -> Option<&PodRecord> {
        self.records[id.0 as usize].as_ref()
    }

    pub fn find(&self, key: &str) -> Option<&PodRecord> {
        self.get(self.id(key)?)
    }

    /// For what neither moves it nor promises it a node.
    pub fn find_mut(&mut self, key: &str) -> Option<&mut PodRecord> {
        let id = self.id(key)?;
        self.records[id.0 as usize].as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &PodRecord> {
        self.records.iter().flatten()
    }

    /// The pods on a node, in no order that means anything.
    pub fn on_node(&self, slot: Slot) -> impl Iterator<Item = &PodRecord> {
        let ids = self.on_node.get(slot.index()).into_iter().flatten();
        ids.filter_map(|id| self.get(*id))
    }

    /// The pods that a node is kept for.
    pub fn promised(&self, slot: Slot) -> impl Iterator<Item = &PodRecord> {
        let ids = self.promised.get(&slot).into_iter().flatten();
        ids.filter_map(|id| self.get(*id))
    }

    /// The nodes that are kept for pods, in order.
    pub fn promised_nodes(&self) -> impl Iterator<Item = Slot> + '_ {
        self.promised.keys().copied()
    }

    /// A pod of a key that is not there yet.
    pub fn insert(&mut self, record: PodRecord) {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.records.push(None);
                PodId(self.records.len() as u32 - 1)
            }
        };
        self.ids.insert(record.key.clone(), id);
        if let Some(slot) = record.place.slot() {
            self.enter(id, slot);
        }
        if let Some(slot) = record.promised {
            self.promised.entry(slot).or_default().push(id);
        }
        self.records[id.0 as usize] = Some(record);
    }

    pub fn remove(&mut self, key: &str) -> Option<PodRecord> {
        let id = self.ids.remove(key)?;
        let record = self.records[id.0 as usize].take()?;
        if let Some(slot) = record.place.slot() {
            self.leave(id, slot);
        }
        if let Some(slot) = record.promised {
            self.withdraw(id, slot);
        }
        self.free.push(id);
        Some(record)
    }

    /// Where a pod is now.
    pub fn place(&mut self, key: &str, place: Place) {
        let Some(id) = self.id(key) else { return };
        let Some(record) = self.records[id.0 as usize].as_mut() else {
            return;
        };
        let before = std::mem::replace(&mut record.place, place).slot();
        if before == place.slot() {
            return;
        }
        if let Some(slot) = before {
            self.leave(id, slot);
        }
        if let Some(slot) = place.slot() {
            self.enter(id, slot);
        }
    }

    /// Promises a pod a node, or nothing any more. Gives the node it was promised before.
    pub fn promise(&mut self, key: &str, slot: Option<Slot>) -> Option<Slot> {
        let id = self.id(key)?;
        let record = self.records[id.0 as usize].as_mut()?;
        let before = std::mem::replace(&mut record.promised, slot);
        if let Some(slot) = before {
            self.withdraw(id, slot);
        }
        if let Some(slot) = slot {
            self.promised.entry(slot).or_default().push(id);
        }
        before
    }

    fn enter(&mut self, id: PodId, slot: Slot) {
        if self.on_node.len() <= slot.index() {
            self.on_node.resize(slot.index() + 1, Vec::new());
        }
        self.on_node[slot.index()].push(id);
    }

    fn leave(&mut self, id: PodId, slot: Slot) {
        let ids = &mut self.on_node[slot.index()];
        if let Some(index) = ids.iter().position(|each| *each == id) {
            ids.swap_remove(index);
        }
    }

    fn withdraw(&mut self, id: PodId, slot: Slot) {
        if let Some(ids) = self.promised.get_mut(&slot) {
            ids.retain(|each| *each != id);
            if ids.is_empty() {
                self.promised.remove(&slot);
            }
        }
    }
}
