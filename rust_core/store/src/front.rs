//! Everything behind the lock that writers share, and how one transaction changes it.
//!
//! Flows in: transactions that passed `Txn::check`. Flows out: entries, and events for the history and the disk.

use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Attachment, Change, Entry, Event};
use crate::error::StoreError;
use crate::expiry::Expiries;
use crate::history::History;
use crate::revision::{Revision, Timestamp};
use crate::txn::{Compare, Expected, Op, Txn};
use crate::view::View;

pub(crate) struct Front {
    pub head: View,
    pub history: History,
    pub expiries: Expiries,
    pub pending: Vec<Arc<Event>>,
    pub pending_bytes: usize,
    pub closed: bool,
}

impl Front {
    pub fn judge(&self, txn: &Txn) -> Result<(), StoreError> {
        for Compare { key, expected } in &txn.compares {
            self.compare(key, expected)?;
        }
        for op in &txn.ops {
            if let Op::Delete { key, .. } = op
                && self.head.get(key).is_none()
            {
                return Err(StoreError::CompareFailed {
                    key: key.clone(),
                    actual: Revision::ZERO,
                });
            }
        }
        Ok(())
    }

    fn compare(&self, key: &Arc<str>, expected: &Expected) -> Result<(), StoreError> {
        let entry = self.head.get(key);
        let holds = match expected {
            Expected::Any => true,
            Expected::Absent => entry.is_none(),
            Expected::Modified(revision) => entry.is_some_and(|entry| entry.modified == *revision),
            Expected::Created(revision) => entry.is_some_and(|entry| entry.created == *revision),
            Expected::Version(version) => entry.map_or(0, |entry| entry.version) == *version,
            Expected::Value(value) => entry.is_some_and(|entry| entry.value == *value),
        };
        if holds {
            return Ok(());
        }
        let actual = entry.map_or(Revision::ZERO, |entry| entry.modified);
        Err(StoreError::CompareFailed {
            key: key.clone(),
            actual,
        })
    }

    /// Carries out one op that `judge` let pass. Gives the entry its event shows.
    pub fn commit(&mut self, op: Op, revision: Revision, now: Timestamp) -> Arc<Entry> {
        let previous = self.head.get(op.key()).cloned();
        let (change, entry) = match op {
            Op::Put {
                key,
                value,
                ttl_seconds,
            } => {
                let expires = ttl_seconds.map(|seconds| now.plus_seconds(seconds).rounded_up());
                (
                    Change::Put,
                    put_entry(
                        key,
                        value.settle(revision),
                        previous.as_deref(),
                        revision,
                        expires,
                    ),
                )
            }
            Op::Delete { key, last } => {
                // `judge` found the key present.
                let before = previous
                    .as_deref()
                    .expect("a delete was let pass without its key");
                let (value, splice) = match last {
                    Some(last) => last.settle(revision),
                    None => (before.value_at(revision), before.splice),
                };
                (
                    Change::Delete,
                    last_entry(key, value, splice, before, revision),
                )
            }
        };
        self.expiries.replace(
            previous.as_deref(),
            (change == Change::Put).then_some(&entry),
        );
        let entry = Arc::new(entry);
        let event = Arc::new(Event {
            revision,
            change,
            entry: entry.clone(),
            previous,
            time: now,
            attachment: Attachment::default(),
        });
        self.head.advance(&event);
        self.pending_bytes += pending_weight(&entry);
        self.pending.push(event.clone());
        self.history.push(event);
        entry
    }
}

fn put_entry(
    key: Arc<str>,
    (value, splice): (Bytes, Option<u32>),
    previous: Option<&Entry>,
    revision: Revision,
    expires: Option<Timestamp>,
) -> Entry {
    Entry {
        // The same allocation as long as the key lives.
        key: previous.map_or(key, |previous| previous.key.clone()),
        value,
        created: previous.map_or(revision, |previous| previous.created),
        modified: revision,
        version: previous.map_or(1, |previous| previous.version + 1),
        expires,
        splice,
        attachment: Attachment::default(),
    }
}

fn last_entry(
    key: Arc<str>,
    value: Bytes,
    splice: Option<u32>,
    before: &Entry,
    revision: Revision,
) -> Entry {
    Entry {
        key,
        value,
        created: before.created,
        modified: revision,
        version: before.version,
        expires: None,
        splice,
        attachment: Attachment::default(),
    }
}

/// What an entry takes while it waits for the disk, and in the log.
pub(crate) fn pending_weight(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len()
}
