//! The driver's side of the store: group commit, time, and what keeps the data directory in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::Disk;
use crate::entry::Event;
use crate::error::StoreError;
use crate::front::{Front, pending_weight};
use crate::history::Trimmed;
use crate::housekeeping::drop_unneeded_files;
use crate::log::AppendError;
use crate::revision::{Revision, Timestamp};
use crate::snapshot::write_snapshot;
use crate::store::{Head, Store};
use crate::txn::{Expected, Txn};

/// How many keys one `tick` lets expire in one transaction. What is left is due at once, in the next.
const EXPIRIES_PER_TRANSACTION_MAX: usize = 1024;

/// What became durable with one call of `write_pending`, in revision order.
#[derive(Debug)]
pub struct Released {
    /// The durable head now.
    pub revision: Revision,
    pub events: Vec<Arc<Event>>,
}

impl Store {
    /// Something waits for `write_pending`.
    pub fn has_pending(&self) -> bool {
        self.revision() > self.durable_revision()
    }

    /// One group commit: everything pending goes to the disk in one write and one sync, then the durable head moves and
    /// the events are released. An empty release means that nothing waited.
    ///
    /// Callers who hand the release on must do so in the order of these calls. `NoSpace`: nothing was written, try again
    /// when there is room. Any other failure is final.
    pub fn write_pending(&self) -> Result<Released, StoreError> {
        let mut log = self.log.lock();
        self.not_failed()?;
        let (events, view, trimmed) = {
            let mut front = self.applied.lock();
            let trimmed = self.trim(&mut front);
            front.pending_bytes = 0;
            (
                std::mem::take(&mut front.pending),
                front.head.clone(),
                trimmed,
            )
        };
        drop(trimmed);
        if events.is_empty() {
            return Ok(Released {
                revision: self.durable_revision(),
                events,
            });
        }
        if let Some(log) = &mut *log {
            match log.append(&events, &self.prepared) {
                Ok(written) => drop(self.log_bytes.fetch_add(written, Ordering::Relaxed)),
                Err(AppendError::NoSpace) => return Err(self.put_back(events)),
                Err(AppendError::Fatal(error)) => {
                    let why = self.failure.get_or_init(|| error.to_string()).clone();
                    return Err(StoreError::Failed { why });
                }
            }
            self.is_full.store(false, Ordering::Release);
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        let revision = view.revision;
        let superseded = std::mem::replace(&mut *self.durable.write(), view);
        self.durable_revision.store(revision.0, Ordering::Release);
        drop(superseded);
        Ok(Released { revision, events })
    }

    /// A commit that found no room waits in front of what was applied since, and no more is accepted.
    fn put_back(&self, mut events: Vec<Arc<Event>>) -> StoreError {
        self.is_full.store(true, Ordering::Release);
        let mut front = self.applied.lock();
        front.pending_bytes += events
            .iter()
            .map(|event| pending_weight(&event.entry))
            .sum::<usize>();
        events.append(&mut front.pending);
        front.pending = events;
        StoreError::NoSpace
    }

    /// `housekeep` has something to do. Cheap: to be asked after each commit.
    pub fn housekeeping_due(&self) -> bool {
        self.disk.is_some()
            && (self.snapshot_due() || self.prepared.is_missing())
            && !self.housekeeping.is_locked()
    }

    fn snapshot_due(&self) -> bool {
        self.log_bytes.load(Ordering::Relaxed) >= self.options.log.snapshot_after_bytes
    }

    /// What is slow and need not be done by the driver: makes the next log segment ahead of need, writes a snapshot when
    /// one is due, deletes the log before it. Stops nobody; meant for a thread of its own.
    pub fn housekeep(&self) -> Result<(), StoreError> {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        let _alone = self.housekeeping.lock();
        self.not_failed()?;
        if self.snapshot_due() {
            self.snapshot_to(&**disk)?;
        }
        self.prepared.prepare(&**disk, &self.options.log)
    }

    /// Writes a snapshot now. Writers go on meanwhile. Nothing to do for a store in memory.
    pub fn snapshot(&self) -> Result<(), StoreError> {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        let _alone = self.housekeeping.lock();
        self.not_failed()?;
        self.snapshot_to(&**disk)
    }

    fn snapshot_to(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        let before = self.log_bytes.load(Ordering::Relaxed);
        write_snapshot(disk, &self.view(Head::Durable))?;
        self.log_bytes.fetch_sub(before, Ordering::Relaxed);
        drop_unneeded_files(disk)
    }

    /// Tells the wall clock without acting on it, so that what is written next is stamped right. A clock that
    /// was set back is believed: bounds by age are then late, those in bytes hold.
    pub fn observe(&self, now: Timestamp) {
        self.now_milliseconds.store(now.0, Ordering::Release);
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.now_milliseconds.load(Ordering::Acquire))
    }

    /// Time has passed: keys expire (as ordinary deletes, so a `write_pending` must follow), old history goes.
    /// Gives the time of the next call that could matter.
    pub fn tick(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.observe(now);
        let now = self.now();
        loop {
            let (due, trimmed) = {
                let mut front = self.applied.lock();
                (
                    front.expiries.due(now, EXPIRIES_PER_TRANSACTION_MAX),
                    self.trim(&mut front),
                )
            };
            drop(trimmed);
            if due.is_empty() {
                break;
            }
            match self.expire(&due, now) {
                Ok(()) => (),
                // What is due stays due. The driver must go on to its turn: only that makes room.
                Err(StoreError::NoSpace | StoreError::Overloaded { .. }) => break,
                // A closed store lets nothing expire, but what was applied before is still to be written.
                Err(StoreError::Closed) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let front = self.applied.lock();
        let history = front.history.next_deadline(&self.options.history);
        Ok([front.expiries.next_deadline(), history]
            .into_iter()
            .flatten()
            .min())
    }

    fn expire(&self, due: &[Arc<str>], now: Timestamp) -> Result<(), StoreError> {
        let mut txn = Txn::new();
        for key in due {
            // A key that was written since it was found due is left alone.
            if let Some(entry) = self
                .get(key)
                .filter(|entry| entry.expires.is_some_and(|expires| expires <= now))
            {
                txn = txn
                    .expect(key.clone(), Expected::Modified(entry.modified))
                    .delete(key.clone());
            }
        }
        match self.apply(txn) {
            // Somebody wrote in between: the caller looks again.
            Ok(_) | Err(StoreError::CompareFailed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn trim(&self, front: &mut Front) -> Trimmed {
        let trimmed =
            front
                .history
                .trim(self.now(), &self.options.history, self.durable_revision());
        self.compacted_revision
            .store(front.history.floor().0, Ordering::Release);
        trimmed
    }
}
