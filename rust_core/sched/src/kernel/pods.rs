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
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(u32);

/// Numbers of pods that left are used again.
#[derive(Debug, Default)]
pub struct Pods {
    records: Vec<Option<PodRecord>>,
    free: Vec<PodId>,
    ids: Map<Arc<str>, PodId>,
    on_node: BTreeMap<Slot, Vec<PodId>>,
}

impl Pods {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn id(&self, key: &str) -> Option<PodId> {
        self.ids.get(key).copied()
    }

    pub fn find(&self, key: &str) -> Option<&PodRecord> {
        self.get(self.id(key)?)
    }

    pub fn get(&self, id: PodId) -> Option<&PodRecord> {
        self.records[id.0 as usize].as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = &PodRecord> {
        self.records.iter().flatten()
    }

    /// The pods on a node, in no order that means anything.
    pub fn on_node(&self, slot: Slot) -> impl Iterator<Item = &PodRecord> {
        let ids = self.on_node.get(&slot).into_iter().flatten();
        ids.filter_map(|id| self.get(*id))
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
            self.on_node.entry(slot).or_default().push(id);
        }
        self.records[id.0 as usize] = Some(record);
    }

    pub fn remove(&mut self, key: &str) -> Option<PodRecord> {
        let id = self.ids.remove(key)?;
        let record = self.records[id.0 as usize].take()?;
        if let Some(slot) = record.place.slot() {
            self.leave(id, slot);
        }
        self.free.push(id);
        Some(record)
    }

    /// Where a pod is now. Gives the node it left, if any.
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
            self.on_node.entry(slot).or_default().push(id);
        }
    }

    fn leave(&mut self, id: PodId, slot: Slot) {
        if let Some(ids) = self.on_node.get_mut(&slot) {
            ids.retain(|each| *each != id);
            if ids.is_empty() {
                self.on_node.remove(&slot);
            }
        }
    }
}
