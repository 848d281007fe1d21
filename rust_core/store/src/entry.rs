//! What is stored under a key, and what happened to it.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::revision::{Revision, Timestamp};

/// A place where a layer above keeps what it worked out about a value (parsed labels, an encoded watch frame), so that
/// it is worked out once for all who ask. Dropped with its owner.
#[derive(Default)]
pub struct Attachment(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Attachment {
    /// The attached `T`, made now if nothing is attached. `None` if something of another type is.
    pub fn get_or_init<T: Send + Sync + 'static>(
        &self,
        make: impl FnOnce() -> T,
    ) -> Option<Arc<T>> {
        let attached = self.0.get_or_init(|| Arc::new(make()));
        Arc::downcast(attached.clone()).ok()
    }
}

/// One key at one revision. Never changes; a write makes another.
pub struct Entry {
    pub key: Arc<str>,
    /// Complete JSON, its resourceVersion equal to `modified` if it was put with a splice.
    pub value: Bytes,
    pub created: Revision,
    pub modified: Revision,
    /// 1 at creation, one more with each put.
    pub version: u64,
    /// When the key deletes itself.
    pub expires: Option<Timestamp>,
    /// Where in `value` the digits of `modified` stand.
    pub splice: Option<u32>,
    pub attachment: Attachment,
}

impl Entry {
    /// The value as it would read had it been modified at `revision`: what watchers are shown of a deleted object.
    pub fn value_at(&self, revision: Revision) -> Bytes {
        let Some(offset) = self.splice else {
            return self.value.clone();
        };
        let (start, end) = (offset as usize, offset as usize + self.modified.digits());
        let mut value =
            Vec::with_capacity(self.value.len() - self.modified.digits() + revision.digits());
        value.extend_from_slice(&self.value[..start]);
        value.resize(start + revision.digits(), 0);
        revision.write_digits(&mut value[start..]);
        value.extend_from_slice(&self.value[end..]);
        Bytes::from(value)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Entry")
            .field("key", &self.key)
            .field("created", &self.created.0)
            .field("modified", &self.modified.0)
            .field("version", &self.version)
            .field("value", &String::from_utf8_lossy(&self.value))
            .finish()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.key == other.key
            && self.value == other.value
            && self.created == other.created
            && self.modified == other.modified
            && self.version == other.version
            && self.expires == other.expires
            && self.splice == other.splice
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Put,
    Delete,
}

/// One change of one key. Several may share a revision: they were one transaction.
pub struct Event {
    pub revision: Revision,
    pub change: Change,
    /// The state after a put; the last state (at the deletion's revision) after a delete.
    pub entry: Arc<Entry>,
    /// The state before, if there was one.
    pub previous: Option<Arc<Entry>>,
    pub time: Timestamp,
    pub attachment: Attachment,
}

impl Event {
    pub fn key(&self) -> &Arc<str> {
        &self.entry.key
    }

    /// A put of a key that was absent: ADDED to a watcher without selectors.
    pub fn is_creation(&self) -> bool {
        self.change == Change::Put && self.previous.is_none()
    }

    /// What the history alone keeps alive because of this event, roughly: the superseded value.
    pub(crate) fn weight_bytes(&self) -> usize {
        const STRUCTURES_BYTES: usize = 256;
        let superseded = self
            .previous
            .as_ref()
            .map_or(0, |previous| previous.value.len());
        let last = if self.change == Change::Delete {
            self.entry.value.len()
        } else {
            0
        };
        STRUCTURES_BYTES + superseded + last
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Event")
            .field("revision", &self.revision.0)
            .field("change", &self.change)
            .field("entry", &self.entry)
            .finish()
    }
}
