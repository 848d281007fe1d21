//! What happened lately, and the store as it was then.
//!
//! Owns the events since the floor (a watch may resume from the floor or later) and checkpoints of the map's root.
//! Flows in: every event, in order. Flows out: events for replay, views of the past, and the events that fell off.
//!
//! # Why checkpoints, and not a root per revision
//!
//! The map is persistent, so keeping its root at every revision would make any past view a lookup. But a kept root also
//! keeps every node that was copied to make the next one: a write copies its leaf and the branches above, a few KB. At
//! 8,000 writes/s five minutes of roots would hold gigabytes of index to save a rare reader a millisecond. So a root is
//! kept every `CHECKPOINT_REVISIONS`, where successive copies of one leaf have melted into one, and a reader of the past
//! replays at most that many events onto the nearest root before. The events are there anyway, for watches.
//!
//! ```text
//! floor                                    head
//!   │  e e e e │ e e e e │ e e e e │ e e     │      e: event
//!   ▼          C         C         C         ▼      C: checkpoint (root after the event left of it)
//! ──┴──────────┴─────────┴─────────┴─────────┘
//!                           ▲ view_at(here) = the C before, and a few e replayed
//! ```
//!
//! The floor moves event by event, but events are dropped a checkpoint at a time: what lies between the last checkpoint
//! at or below the floor and the floor is still needed for replay.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::entry::Event;
use crate::error::StoreError;
use crate::revision::{Revision, Timestamp};
use crate::view::View;

/// A view of the past costs at most this many replayed events, a few milliseconds.
const CHECKPOINT_REVISIONS: u64 = 4096;
/// Pages of one list ask for the same past revision again and again.
const REMEMBERED_VIEWS_MAX: usize = 4;

/// How much older than it may be an event gets if nothing else happens.
const TRIM_SLACK_SECONDS: u64 = 5;

/// How much of the past is kept.
#[derive(Clone, Debug)]
pub struct HistoryBounds {
    pub age_seconds: u64,
    pub bytes_max: usize,
}

impl Default for HistoryBounds {
    fn default() -> HistoryBounds {
        HistoryBounds {
            age_seconds: 300,
            bytes_max: 96 << 20,
        }
    }
}

pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    /// How many events at the front are at or below the floor, kept for replay only.
    below_floor: usize,
    /// Weight of the events above the floor.
    bytes: usize,
    floor: Revision,
    /// Ascending; the first is at or below the floor.
    checkpoints: VecDeque<View>,
    remembered: VecDeque<View>,
}

/// What a view of the past is made of; put together without the lock.
pub(crate) struct Replay {
    base: View,
    events: Vec<Arc<Event>>,
    at: Revision,
}

impl Replay {
    /// Nothing has to be replayed.
    pub fn is_ready(&self) -> bool {
        self.events.is_empty()
    }

    pub fn into_view(self) -> View {
        let mut view = self.base;
        for event in &self.events {
            view.advance(event);
        }
        view.revision = self.at;
        view
    }
}

impl History {
    pub fn starting_at(view: View) -> History {
        History {
            events: VecDeque::new(),
            below_floor: 0,
            bytes: 0,
            floor: view.revision,
            checkpoints: VecDeque::from([view]),
            remembered: VecDeque::new(),
        }
    }

    /// The oldest revision that can still be read, and watched from.
    pub fn floor(&self) -> Revision {
        self.floor
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.events.len() - self.below_floor
    }

    pub fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.weight_bytes();
        self.events.push_back(event);
    }

    /// To be called with the head after each transaction.
    pub fn checkpoint_if_due(&mut self, head: &View) {
        let last = self
            .checkpoints
            .back()
            .map_or(0, |checkpoint| checkpoint.revision.0);
        if head.revision.0 >= last + CHECKPOINT_REVISIONS {
            self.checkpoints.push_back(head.clone());
        }
    }

    /// Events above `after`, up to and including `until`.
    fn between(&self, after: Revision, until: Revision) -> Vec<Arc<Event>> {
        let start = self.events.partition_point(|event| event.revision <= after);
        let end = self.events.partition_point(|event| event.revision <= until);
        self.events.range(start..end).cloned().collect()
    }

    /// All events above `after`. `after` must not be below the floor.
    pub fn since(&self, after: Revision) -> Vec<Arc<Event>> {
        debug_assert!(after >= self.floor);
        self.between(after, Revision(u64::MAX))
    }

    /// The parts of the view at `at`, which the caller has found to be at or below the head.
    pub fn replay(&self, at: Revision) -> Result<Replay, StoreError> {
        if at < self.floor {
            return Err(StoreError::Compacted {
                asked: at,
                oldest: self.floor,
            });
        }
        if let Some(view) = self.remembered.iter().find(|view| view.revision == at) {
            return Ok(Replay {
                base: view.clone(),
                events: Vec::new(),
                at,
            });
        }
        // The first checkpoint is at or below the floor, so one at or below `at` exists.
        let next = self
            .checkpoints
            .partition_point(|checkpoint| checkpoint.revision <= at);
        let base = self.checkpoints[next - 1].clone();
        let events = self.between(base.revision, at);
        Ok(Replay { base, events, at })
    }

    /// Keeps a view that cost a replay. Gives back the one that fell off, to be dropped without the lock.
    pub fn remember(&mut self, view: View) -> Option<View> {
        self.remembered.push_back(view);
        if self.remembered.len() > REMEMBERED_VIEWS_MAX {
            self.remembered.pop_front()
        } else {
            None
        }
    }

    /// Moves the floor over what is too old or too much, never past `limit`.
    pub fn trim(&mut self, now: Timestamp, bounds: &HistoryBounds, limit: Revision) -> Trimmed {
        let oldest = now.minus_seconds(bounds.age_seconds);
        let mut floor = self.floor;
        let mut bytes = self.bytes;
        for event in self.events.range(self.below_floor..) {
            if event.revision > limit || (event.time >= oldest && bytes <= bounds.bytes_max) {
                break;
            }
            bytes -= event.weight_bytes();
            floor = event.revision;
        }
        self.raise_floor(floor)
    }

    /// Moves the floor to `floor` if it lies below. Gives back what is no longer needed, to be dropped without the lock.
    pub fn raise_floor(&mut self, floor: Revision) -> Trimmed {
        self.floor = self.floor.max(floor);
        while let Some(event) = self.events.get(self.below_floor)
            && event.revision <= self.floor
        {
            self.bytes -= event.weight_bytes();
            self.below_floor += 1;
        }
        let floor = self.floor;
        // A view below the floor is nobody's to ask for any more, and would hold on to everything of its time.
        let (forgotten, kept) = (self.remembered.drain(..)).partition(|view| view.revision < floor);
        self.remembered = kept;
        let unneeded = self
            .checkpoints
            .partition_point(|checkpoint| checkpoint.revision <= self.floor)
            - 1;
        if unneeded == 0 {
            return Trimmed {
                _remembered: forgotten,
                ..Trimmed::default()
            };
        }
        let checkpoints: Vec<View> = self.checkpoints.drain(..unneeded).collect();
        let base = self.checkpoints[0].revision;
        let dropped = self.events.partition_point(|event| event.revision <= base);
        self.below_floor -= dropped;
        Trimmed {
            _events: self.events.drain(..dropped).collect(),
            _checkpoints: checkpoints,
            _remembered: forgotten,
        }
    }

    /// When to look again: once the oldest event above the floor has been too old for a while, so that a steady trickle
    /// of writes makes few wake-ups.
    pub fn next_deadline(&self, bounds: &HistoryBounds) -> Option<Timestamp> {
        let oldest = self.events.get(self.below_floor)?;
        Some(
            oldest
                .time
                .plus_seconds(bounds.age_seconds + TRIM_SLACK_SECONDS),
        )
    }
}

/// What fell off the history. Dropping it frees thousands of objects, so the lock must be gone by then.
#[derive(Default)]
pub(crate) struct Trimmed {
    _events: Vec<Arc<Event>>,
    _checkpoints: Vec<View>,
    _remembered: VecDeque<View>,
}
