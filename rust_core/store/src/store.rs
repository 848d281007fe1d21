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
//! Lock order: `log`, then `prepared`, then `applied`, then `durable`; `housekeeping` before all of them. Nothing that takes long happens under `applied`: values are copied
//! before it, superseded state is dropped after it, and records are encoded by the driver.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::disk::Disk;
use crate::entry::{Attachment, Change, Entry, Event};
use crate::error::StoreError;
use crate::expiry::Expiries;
use crate::history::{History, HistoryBounds, Trimmed};
use crate::housekeeping::drop_unneeded_files;
use crate::log::{AppendError, Log, LogOptions, Prepared};
use crate::policy::PolicyEpoch;
use crate::recover::{Recovered, recover};
use crate::revision::{Revision, Timestamp};
use crate::snapshot::write_snapshot;
use crate::txn::{Compare, Expected, Limits, Op, Txn};
use crate::view::View;

/// How many keys one `tick` lets expire in one transaction. What is left is due at once, in the next.
const EXPIRIES_PER_TRANSACTION_MAX: usize = 1024;

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

/// What became durable with one call of `write_pending`, in revision order.
#[derive(Debug)]
pub struct Released {
    /// The durable head now.
    pub revision: Revision,
    pub events: Vec<Arc<Event>>,
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
    log: Mutex<LogTurn>,
    applied: Mutex<Front>,
    durable: RwLock<View>,
    applied_revision: AtomicU64,
    durable_revision: AtomicU64,
    compacted_revision: AtomicU64,
    /// The latest wall clock that anybody told.
    now_milliseconds: AtomicU64,
    policy: PolicyEpoch,
    options: Options,
    failure: OnceLock<String>,
    /// The last commit found no room and waits.
    is_full: AtomicBool,
    /// Of a store on disk.
    disk: Option<Arc<dyn Disk>>,
    prepared: Prepared,
    log_bytes: AtomicU64,
    housekeeping: Mutex<()>,
}

/// What only the driver touches.
#[derive(Default)]
struct LogTurn {
    /// `None`: a store in memory.
    log: Option<Log>,
    commits: u64,
}

/// Everything behind the lock that writers share.
struct Front {
    head: View,
    history: History,
    expiries: Expiries,
    pending: Vec<Arc<Event>>,
    pending_bytes: usize,
    closed: bool,
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
            log: Mutex::new(LogTurn { log, commits: 0 }),
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
        let commits = self.log.lock().commits;
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
            commits,
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
        if txn.ops.is_empty() {
            return Ok(Applied {
                revision: front.head.revision,
                entries: Vec::new(),
            });
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
            self.policy.bump();
        }
        Ok(Applied { revision, entries })
    }

    fn not_failed(&self) -> Result<(), StoreError> {
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

    /// Lets go of the data directory: for after `close` and a last `write_pending`. What is not durable by now never is.
    pub fn release(&self) {
        let _alone = self.housekeeping.lock();
        let _turn = self.log.lock();
        self.close();
        let _ = self.failure.set("it was closed".to_owned());
        if let Some(disk) = &self.disk {
            disk.release();
        }
    }

    /// Why the log failed, if it did. From then on nothing becomes durable.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    // ── the driver's calls ───────────────────────────────────────────────────────────────────────────────────────

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
        let mut turn = self.log.lock();
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
        if let Some(log) = &mut turn.log {
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
        turn.commits += 1;
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

    /// Tells the wall clock without acting on it, so that what is written next is stamped right. Time never goes back.
    pub fn observe(&self, now: Timestamp) {
        self.now_milliseconds.fetch_max(now.0, Ordering::AcqRel);
    }

    fn now(&self) -> Timestamp {
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
            self.expire(&due, now)?;
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

impl Front {
    fn judge(&self, txn: &Txn) -> Result<(), StoreError> {
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
    fn commit(&mut self, op: Op, revision: Revision, now: Timestamp) -> Arc<Entry> {
        let previous = self.head.get(op.key()).cloned();
        let (change, entry) = match op {
            Op::Put {
                key,
                value,
                ttl_seconds,
            } => {
                let expires = ttl_seconds.map(|seconds| now.plus_seconds(seconds));
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
    (value, splice): (bytes::Bytes, Option<u32>),
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
    value: bytes::Bytes,
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
fn pending_weight(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len()
}
