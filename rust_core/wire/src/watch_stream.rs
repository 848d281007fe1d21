//! WATCH: from the hub's events to what one watcher may see. No thread, no timer, no socket: whoever holds a stream drives it.
//!
//! Flows in: durable events of one prefix. Flows out: items (ADDED, MODIFIED, DELETED, BOOKMARK, ERROR) after selectors, in the
//! client's form. Before anything is shown the policy epoch is compared, and read *after* the events were taken: if it has not moved,
//! every one of them is older than any revocation. If it has, the events are held until Python has said yes again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use kubecore_store::{Change, Entry, Event, Head, Revision, Store, View};
use kubecore_watch::{Hub, Subscription, Wake, WatchError, indexed_field};
use parking_lot::Mutex;

use crate::encoder::Encoder;
use crate::options::Options;
use crate::request::Request;
use crate::selection::Selection;
use crate::stall::Snapshot;
use crate::status::Status;
use crate::verdict::VerdictCache;
use crate::watchers::Watching;

/// How many events are taken from the hub at a time.
const BATCH_MAX: usize = 500;

#[derive(Clone, Debug)]
pub struct Item {
    pub kind: &'static str,
    pub key: Arc<str>,
    pub object: Bytes,
}

pub enum Step {
    Items(Vec<Item>),
    /// Nothing now: the wake tells when to look again.
    Idle,
    /// Policy has moved: ask, then call `allowed` or `refused`.
    Ask,
    Ended,
}

pub struct WatchStream {
    pub request: Arc<Request>,
    pub options: Options,
    store: Arc<Store>,
    encoder: Encoder,
    selection: Selection,
    subscription: Option<Subscription>,
    initial: Option<Initial>,
    held: Vec<Arc<Event>>,
    epoch: u64,
    error: Option<Status>,
    ended: bool,
    /// Counts it among the running ones for as long as it lives.
    _watching: Watching,
}

/// The state at the start, told as ADDED events.
struct Initial {
    start: Arc<Start>,
    revision: Revision,
    prefix: String,
    after: String,
    bookmark: bool,
}

/// The snapshot at the start, which a client that does not take it loses.
struct Start {
    view: Mutex<Option<View>>,
    batches: AtomicU64,
}

impl Snapshot for Start {
    fn taken(&self) -> Option<u64> {
        let is_held = self.view.lock().is_some();
        is_held.then(|| self.batches.load(Ordering::Relaxed))
    }

    fn cut(&self) {
        *self.view.lock() = None;
    }
}

pub struct Scope {
    pub request: Arc<Request>,
    pub options: Options,
    pub encoder: Encoder,
    pub selection: Selection,
    pub prefix: String,
    pub epoch: u64,
}

impl WatchStream {
    pub fn new(
        store: &Arc<Store>,
        hub: &Arc<Hub>,
        scope: Scope,
        watching: Watching,
        wake: Arc<dyn Wake>,
    ) -> Self {
        let Scope {
            request,
            options,
            encoder,
            selection,
            prefix,
            epoch,
        } = scope;
        let sends_initial = options
            .send_initial_events
            .unwrap_or(matches!(options.resource_version, None | Some(0)));
        let view = store.view(Head::Durable);
        let mut stream = WatchStream {
            store: store.clone(),
            encoder,
            selection,
            subscription: None,
            initial: None,
            held: Vec::new(),
            epoch,
            error: None,
            ended: false,
            _watching: watching,
            request,
            options,
        };
        let asked = Revision(stream.options.resource_version.unwrap_or(0));
        if asked > view.revision {
            stream.error = Some(Status::too_large_resource_version(asked.0, view.revision.0));
            return stream;
        }
        let from = if sends_initial || asked.0 == 0 {
            view.revision
        } else {
            asked
        };
        let of_value = indexed_field(&prefix)
            .and_then(|field| Some((field, stream.selection.exact(field.field)?)));
        let subscribed = match of_value {
            Some((field, value)) => hub.subscribe_to_value(field, value, from, wake),
            None => hub.subscribe(&prefix, from, wake),
        };
        match subscribed {
            Ok(subscription) => stream.subscription = Some(subscription),
            Err(error) => stream.error = Some(lost(error, asked)),
        }
        if sends_initial {
            let bookmark =
                stream.options.bookmarks && stream.options.send_initial_events == Some(true);
            stream.initial = Some(Initial {
                revision: view.revision,
                start: Arc::new(Start {
                    view: Mutex::new(Some(view)),
                    batches: AtomicU64::new(0),
                }),
                prefix,
                after: String::new(),
                bookmark,
            });
        }
        stream
    }

    pub fn step(&mut self, verdicts: &VerdictCache) -> Step {
        loop {
            if self.ended {
                return Step::Ended;
            }
            if let Some(error) = self.error.take() {
                self.end();
                return Step::Items(vec![Item {
                    kind: "ERROR",
                    key: Arc::from(""),
                    object: error.to_json(),
                }]);
            }
            if self.initial.is_some() {
                // The snapshot was taken before this look at the epoch, so it is older than any revocation.
                if !self.may_show(verdicts) {
                    return Step::Ask;
                }
                match self.initial_items() {
                    Some(items) => return Step::Items(items),
                    None => continue,
                }
            }
            if self.held.is_empty() && !self.take_events() {
                return Step::Idle;
            }
            if self.error.is_some() {
                continue;
            }
            if !self.may_show(verdicts) {
                return Step::Ask;
            }
            let held = std::mem::take(&mut self.held);
            let mut items = Vec::with_capacity(held.len());
            for event in &held {
                if let Some(item) = self.item(event) {
                    self.encoder.columns_are_told();
                    items.push(item);
                }
            }
            if !items.is_empty() {
                return Step::Items(items);
            }
        }
    }

    /// How far the watch has come, as an item; None if it may not say so now.
    pub fn bookmark(&mut self, verdicts: &VerdictCache) -> Option<Item> {
        let subscription = self
            .subscription
            .as_ref()
            .filter(|_| self.initial.is_none() && self.held.is_empty())?;
        let revision = subscription.progress();
        self.may_show(verdicts)
            .then(|| self.bookmark_item(revision, false))
    }

    /// Policy has moved since it was last known to be allowed.
    pub fn is_stale(&mut self, verdicts: &VerdictCache) -> bool {
        !self.ended && !self.may_show(verdicts)
    }

    /// Python said yes under `epoch`.
    pub fn allowed(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Python said no, or nobody can ask: what is held is never shown.
    pub fn end(&mut self) {
        self.ended = true;
        self.held.clear();
        self.initial = None;
        self.subscription = None;
    }

    /// True if there is something to look at.
    fn take_events(&mut self) -> bool {
        let Some(subscription) = &mut self.subscription else {
            self.end();
            return true;
        };
        match subscription.poll(BATCH_MAX) {
            Ok(events) => self.held = events,
            Err(error) => {
                let seen = subscription.progress();
                self.error = Some(lost(error, seen));
            }
        }
        self.error.is_some() || !self.held.is_empty()
    }

    fn may_show(&mut self, verdicts: &VerdictCache) -> bool {
        let current = self.store.policy_epoch();
        if current != self.epoch && verdicts.allows(&self.request, current) {
            self.epoch = current;
        }
        current == self.epoch
    }

    /// The next of what was there at the start; None if it has been taken away, which is an error then.
    fn initial_items(&mut self) -> Option<Vec<Item>> {
        let initial = self.initial.as_mut()?;
        initial.start.batches.fetch_add(1, Ordering::Relaxed);
        let Some(view) = initial.start.view.lock().clone() else {
            self.error = Some(Status::expired(
                "the objects at the start of the watch were not taken in time",
            ));
            self.initial = None;
            return None;
        };
        let selection = &self.selection;
        let matching = view
            .range(&initial.prefix, &initial.after)
            .filter(|entry| selection.matches(&entry.value));
        let batch: Vec<Arc<Entry>> = matching.take(BATCH_MAX).cloned().collect();
        let mut items = Vec::with_capacity(batch.len());
        for entry in &batch {
            items.push(Item {
                kind: "ADDED",
                key: entry.key.clone(),
                object: self.encoder.object(&entry.value),
            });
            self.encoder.columns_are_told();
        }
        match batch.last() {
            Some(last) if batch.len() == BATCH_MAX => initial.after = last.key.to_string(),
            _ => {
                let (bookmark, revision) = (initial.bookmark, initial.revision);
                self.initial = None;
                if bookmark {
                    items.push(self.bookmark_item(revision, true));
                }
            }
        }
        Some(items)
    }

    /// What is held of the start while it is being told: for `stall`.
    pub(crate) fn start_snapshot(&self) -> Option<Weak<dyn Snapshot>> {
        let start: Arc<dyn Snapshot> = self.initial.as_ref()?.start.clone();
        Some(Arc::downgrade(&start))
    }

    fn bookmark_item(&self, revision: Revision, ends_initial_events: bool) -> Item {
        Item {
            kind: "BOOKMARK",
            key: Arc::from(""),
            object: self.encoder.bookmark(revision.0, ends_initial_events),
        }
    }

    /// What this watcher sees of an event: an object that begins to match is added, one that stops is deleted.
    fn item(&self, event: &Event) -> Option<Item> {
        let matched = event
            .previous
            .as_ref()
            .is_some_and(|previous| self.selection.matches(&previous.value));
        let matches = event.change == Change::Put && self.selection.matches(&event.entry.value);
        let kind = match (matched, matches) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        let leaves = kind == "DELETED" && event.change == Change::Put;
        let object = match event.previous.as_ref().filter(|_| leaves) {
            // As it last matched, at the revision at which it no longer did.
            Some(previous) => self.encoder.object(&previous.value_at(event.revision)),
            None => self.encoder.shared_object(event),
        };
        Some(Item {
            kind,
            key: event.entry.key.clone(),
            object,
        })
    }
}

fn lost(error: WatchError, asked: Revision) -> Status {
    match error {
        WatchError::Compacted { oldest, .. } | WatchError::Expired { oldest } => {
            Status::expired(format!("too old resource version: {asked} ({oldest})"))
        }
        WatchError::Future { newest, .. } => Status::too_large_resource_version(asked.0, newest.0),
    }
}
