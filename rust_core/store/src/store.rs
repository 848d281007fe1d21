//! The store itself: one persistent map, two heads.
//!
//! Owns the map, its history, what waits for the disk, and the log. Flows in: transactions, and the driver's two calls,
//! `write_pending` (put what waits on disk) and `tick` (time has passed). Flows out: entries, views, released events.
//! It owns no thread, no timer and no clock.
//!
//! ```text
//! apply ──▶ applied head ──▶ pending ──write_pending──▶ disk, sync ──▶ durable head, released events
//!           (compares)                                                 (reads, watches, answers)
//! ```
//!
//! Lock order: `housekeeping`, `log`, `prepared`, `applied`, `durable`. Nothing that takes long happens under `applied`:
//! values are copied before it, superseded state is dropped after it, and records are encoded by the driver. `log` and
//! `housekeeping` are held while the disk works, so nothing that readers or writers call takes them.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::commit::Released;
use crate::disk::Disk;
use crate::draft::Draft;
use crate::entry::Entry;
use crate::error::StoreError;
use crate::expiry::Expiries;
use crate::front::Front;
use crate::history::{History, HistoryBounds};
use crate::log::{Log, LogOptions, Prepared};
use crate::policy::PolicyEpoch;
use crate::recover::{Recovered, recover};
use crate::revision::{Revision, Timestamp};
use crate::txn::{Limits, Txn};
use crate::view::View;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A change under one of these moves the policy epoch.
    pub policy_prefixes: Vec<String>,
    pub limits: Limits,
    pub history: HistoryBounds,
    pub log: LogOptions,
}

/// Which of the two heads: writers compare at the applied one, everything that leaves the server reads the durable one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    Applied,
    Durable,
}

/// What a transaction did: one entry per op, in order; a delete gives the last state.
#[derive(Debug)]
pub struct Applied {
    pub revision: Revision,
    pub entries: Vec<Arc<Entry>>,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    pub revision: Revision,
    pub durable_revision: Revision,
    pub compacted_revision: Revision,
    pub policy_epoch: u64,
    pub entries: usize,
    pub history_events: usize,
    pub history_bytes: usize,
    pub pending_events: usize,
    pub pending_bytes: usize,
    /// Group commits so far.
    pub commits: u64,
    /// Log since the last snapshot.
    pub log_bytes: u64,
}

pub struct Store {
    /// `None`: a store in memory.
    pub(crate) log: Mutex<Option<Log>>,
    pub(crate) applied: Mutex<Front>,
    pub(crate) durable: RwLock<View>,
    pub(crate) applied_revision: AtomicU64,
    pub(crate) durable_revision: AtomicU64,
    pub(crate) compacted_revision: AtomicU64,
    /// The wall clock as it was told last.
    pub(crate) now_milliseconds: AtomicU64,
    pub(crate) policy: PolicyEpoch,
    pub(crate) options: Options,
    pub(crate) failure: OnceLock<String>,
    /// The last commit found no room and waits.
    pub(crate) is_full: AtomicBool,
    /// Of a store on disk.
    pub(crate) disk: Option<Arc<dyn Disk>>,
    pub(crate) prepared: Prepared,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) housekeeping: Mutex<()>,
}

impl Store {
    /// A store without a disk: `write_pending` only moves the durable head.
    pub fn memory(options: Options) -> Store {
        let head = View::empty();
        let recovered = Recovered {
            history: History::starting_at(head.clone()),
            head,
            time: Timestamp::default(),
            log_bytes: 0,
        };
        Store::new(recovered, None, options)
    }

    /// Recovers what the disk holds. Raises `Corrupt` with file and offset if that is damaged.
    pub fn open(disk: Box<dyn Disk>, options: Options) -> Result<Store, StoreError> {
        let disk: Arc<dyn Disk> = Arc::from(disk);
        let recovered = recover(&*disk)?;
        let log = Log::start(
            disk.clone(),
            options.log.clone(),
            recovered.head.revision.next(),
        )?;
        Ok(Store::new(recovered, Some((disk, log)), options))
    }

    fn new(recovered: Recovered, on_disk: Option<(Arc<dyn Disk>, Log)>, options: Options) -> Store {
        let Recovered {
            head,
            history,
            time,
            log_bytes,
        } = recovered;
        let (disk, log) = on_disk.unzip();
        let mut expiries = Expiries::default();
        for entry in head.range("", "") {
            expiries.replace(None, Some(entry));
        }
        Store {
            log: Mutex::new(log),
            commits: AtomicU64::new(0),
            durable: RwLock::new(head.clone()),
            applied_revision: AtomicU64::new(head.revision.0),
            durable_revision: AtomicU64::new(head.revision.0),
            compacted_revision: AtomicU64::new(history.floor().0),
            now_milliseconds: AtomicU64::new(time.0),
            policy: PolicyEpoch::new(&options.policy_prefixes),
            applied: Mutex::new(Front {
                head,
                history,
                expiries,
                pending: Vec::new(),
                pending_bytes: 0,
                closed: false,
            }),
            options,
            failure: OnceLock::new(),
            is_full: AtomicBool::new(false),
            disk,
            prepared: Prepared::default(),
            log_bytes: AtomicU64::new(log_bytes),
            housekeeping: Mutex::new(()),
        }
    }

    // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// The applied head's revision.
    pub fn revision(&self) -> Revision {
        Revision(self.applied_revision.load(Ordering::Acquire))
    }

    pub fn durable_revision(&self) -> Revision {
        Revision(self.durable_revision.load(Ordering::Acquire))
    }

    /// The oldest revision that can be read or watched from.
    pub fn compacted_revision(&self) -> Revision {
        Revision(self.compacted_revision.load(Ordering::Acquire))
    }

    /// Moves with every change under a policy prefix, after the map has changed.
    pub fn policy_epoch(&self) -> u64 {
        self.policy.current()
    }

    /// Of the last change under a policy prefix, 0 if there was none since the start. What was decided by policy reflects it.
    pub fn policy_revision(&self) -> Revision {
        self.policy.revision()
    }

    /// One key at the applied head.
    pub fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.applied.lock().head.get(key).cloned()
    }

    /// One key at the durable head, without taking the writers' lock.
    pub fn get_durable(&self, key: &str) -> Option<Arc<Entry>> {
        self.durable.read().get(key).cloned()
    }

    pub fn view(&self, head: Head) -> View {
        match head {
            Head::Applied => self.applied.lock().head.clone(),
            Head::Durable => self.durable.read().clone(),
        }
    }

    /// The store as it was at `revision`. Raises `Compacted` or `FutureRevision` (compared with the applied head).
    pub fn view_at(&self, revision: Revision) -> Result<View, StoreError> {
        let replay = {
            let front = self.applied.lock();
            if revision > front.head.revision {
                return Err(StoreError::FutureRevision {
                    asked: revision,
                    newest: front.head.revision,
                });
            }
            if revision == front.head.revision {
                return Ok(front.head.clone());
            }
            front.history.replay(revision)?
        };
        let was_remembered = replay.is_ready();
        let view = replay.into_view();
        if !was_remembered {
            let forgotten = self.applied.lock().history.remember(view.clone());
            drop(forgotten);
        }
        Ok(view)
    }

    /// Durable events above `after`, for a hub that starts late. Raises `Compacted`.
    pub fn durable_events_since(&self, after: Revision) -> Result<Released, StoreError> {
        let front = self.applied.lock();
        if after < front.history.floor() {
            return Err(StoreError::Compacted {
                asked: after,
                oldest: front.history.floor(),
            });
        }
        let durable = self.durable_revision();
        let mut events = front.history.since(after);
        events.retain(|event| event.revision <= durable);
        Ok(Released {
            revision: durable,
            events,
        })
    }

    pub fn stats(&self) -> Stats {
        let front = self.applied.lock();
        Stats {
            revision: front.head.revision,
            durable_revision: self.durable_revision(),
            compacted_revision: front.history.floor(),
            policy_epoch: self.policy_epoch(),
            entries: front.head.len(),
            history_events: front.history.len(),
            history_bytes: front.history.bytes(),
            pending_events: front.pending.len(),
            pending_bytes: front.pending_bytes,
            commits: self.commits.load(Ordering::Relaxed),
            log_bytes: self.log_bytes.load(Ordering::Relaxed),
        }
    }

    // ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Applies all of `txn` or nothing. It is visible at the applied head at once, and durable after a `write_pending`.
    /// A transaction without ops judges its compares and takes no revision.
    pub fn apply(&self, txn: Txn) -> Result<Applied, StoreError> {
        txn.check(&self.options.limits)?;
        let mut front = self.applied.lock();
        self.writable(&front)?;
        front.judge(&txn)?;
        Ok(self.commit(&mut front, txn))
    }

    /// Applies what `write` drafts, and gives what it gives; nothing is applied if it fails. It runs under the writers'
    /// lock: it must be quick, and must not call the store.
    pub fn transact<T, E: From<StoreError>>(
        &self,
        write: impl FnOnce(&mut Draft) -> Result<T, E>,
    ) -> Result<(Revision, T), E> {
        let mut front = self.applied.lock();
        let mut draft = Draft::new(front.head.clone());
        let given = write(&mut draft)?;
        let txn = draft.into_txn();
        if !txn.ops.is_empty() {
            self.writable(&front)?;
            txn.check(&self.options.limits)?;
        }
        Ok((self.commit(&mut front, txn).revision, given))
    }

    /// Carries out what was judged.
    fn commit(&self, front: &mut Front, txn: Txn) -> Applied {
        if txn.ops.is_empty() {
            return Applied {
                revision: front.head.revision,
                entries: Vec::new(),
            };
        }
        let revision = front.head.revision.next();
        let concerns_policy = txn.ops.iter().any(|op| self.policy.concerns(op.key()));
        let now = self.now();
        let entries = txn
            .ops
            .into_iter()
            .map(|op| front.commit(op, revision, now))
            .collect();
        front.head.revision = revision;
        let Front { history, head, .. } = &mut *front;
        history.checkpoint_if_due(head);
        self.applied_revision.store(revision.0, Ordering::Release);
        if concerns_policy {
            self.policy.bump(revision);
        }
        Applied { revision, entries }
    }

    pub(crate) fn not_failed(&self) -> Result<(), StoreError> {
        match self.failure.get() {
            Some(why) => Err(StoreError::Failed { why: why.clone() }),
            None => Ok(()),
        }
    }

    fn writable(&self, front: &Front) -> Result<(), StoreError> {
        self.not_failed()?;
        if front.closed {
            return Err(StoreError::Closed);
        }
        if self.is_full.load(Ordering::Acquire) {
            return Err(StoreError::NoSpace);
        }
        if front.pending_bytes > self.options.limits.pending_bytes_max {
            return Err(StoreError::Overloaded {
                pending_bytes: front.pending_bytes,
            });
        }
        Ok(())
    }

    /// Forgets what happened up to and including `revision`, which must be durable.
    pub fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let trimmed = {
            let mut front = self.applied.lock();
            let newest = self.durable_revision();
            if revision > newest {
                return Err(StoreError::FutureRevision {
                    asked: revision,
                    newest,
                });
            }
            if revision <= front.history.floor() {
                return Err(StoreError::Compacted {
                    asked: revision,
                    oldest: front.history.floor(),
                });
            }
            let trimmed = front.history.raise_floor(revision);
            self.compacted_revision.store(revision.0, Ordering::Release);
            trimmed
        };
        drop(trimmed);
        Ok(())
    }

    /// No more writes. What is pending still goes to disk with the next `write_pending`.
    pub fn close(&self) {
        self.applied.lock().closed = true;
    }

    /// Nothing becomes durable from here on, for a reason that the driver has. The first reason stays.
    pub fn fail(&self, why: &str) {
        let _ = self.failure.set(why.to_owned());
    }

    /// Lets go of the data directory: for after `close` and a last `write_pending`. What is not durable by now never is.
    pub fn release(&self) {
        let _alone = self.housekeeping.lock();
        let _turn = self.log.lock();
        self.close();
        self.fail("it was closed");
        if let Some(disk) = &self.disk {
            disk.release();
        }
    }

    /// The disk is full: writes are refused, and what was applied waits for room.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Why the log failed, if it did. From then on nothing becomes durable.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }
}
