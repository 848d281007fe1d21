//! The recent events of one prefix, and who follows them.
//!
//! Every follower reads the same ring at its own cursor, so a slow one costs no memory of its own and a fast one no copy:
//!
//! ```text
//!   first                                   end
//!     │ e e e e e e e e e e e e e e e e e e e │
//!     ▲            ▲                          ▲
//!   about to    lagging: reads             active: waits for the next push
//!   expire      what it missed
//! ```
//!
//! A cursor below `first` has lost events: that follower is told `Expired`, and must list again. Events leave the ring
//! only when the store's floor passes them, so a follower that holds its cursor above the floor never expires.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use kubecore_store::{Event, Revision};

use crate::wake::Wake;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The events after `asked` are no longer all there: list, and watch from the list's revision.
    #[error("revision {asked} has been compacted, the oldest is {oldest}")]
    Compacted { asked: Revision, oldest: Revision },
    /// Nobody can have seen that revision yet.
    #[error("revision {asked} is in the future, the newest is {newest}")]
    Future { asked: Revision, newest: Revision },
    /// The follower fell behind the history.
    #[error("the watch fell behind the history, which now starts at revision {oldest}")]
    Expired { oldest: Revision },
}

/// One follower as the topic sees it.
pub(crate) struct Follower {
    wake: Arc<dyn Wake>,
    /// Told already, and not looked since: telling again would be waste.
    told: AtomicBool,
}

impl Follower {
    pub fn new(wake: Arc<dyn Wake>) -> Follower {
        Follower {
            wake,
            told: AtomicBool::new(false),
        }
    }

    pub fn tell(&self) {
        if !self.told.swap(true, Ordering::AcqRel) {
            self.wake.wake();
        }
    }

    /// To be called before looking: what arrives from here on is told again.
    pub fn looks(&self) {
        self.told.store(false, Ordering::Release);
    }
}

#[derive(Default)]
pub(crate) struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The sequence number of the front event.
    first: u64,
    followers: Vec<Weak<Follower>>,
    /// Events were pushed since the followers were last asked for.
    touched: bool,
    /// The ring holds every event of its topic above this revision that the store's floor has not passed.
    pub since: Revision,
    /// Some key's events live here and, for broader and narrower prefixes, are copied from here: never removed.
    pub is_home: bool,
}

impl Ring {
    pub fn with_events(since: Revision, events: impl IntoIterator<Item = Arc<Event>>) -> Ring {
        Ring {
            events: events.into_iter().collect(),
            since,
            ..Ring::default()
        }
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn events(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.events.iter()
    }

    pub fn events_after(&self, revision: Revision) -> impl Iterator<Item = &Arc<Event>> {
        let start = self.position_after(revision) - self.first;
        // A ring's length fits: it is in memory.
        self.events.iter().skip(start as usize)
    }

    /// True if it is the first push since `touched_followers`.
    pub fn push(&mut self, event: Arc<Event>) -> bool {
        self.events.push_back(event);
        !std::mem::replace(&mut self.touched, true)
    }

    /// The followers to tell of what was pushed, after the ring's lock is gone.
    pub fn touched_followers(&mut self) -> Vec<Arc<Follower>> {
        self.touched = false;
        self.followers.iter().filter_map(Weak::upgrade).collect()
    }

    pub fn followers_count(&self) -> usize {
        self.followers
            .iter()
            .filter(|follower| follower.strong_count() > 0)
            .count()
    }

    pub fn follow(&mut self, follower: &Arc<Follower>) {
        self.followers.retain(|other| other.strong_count() > 0);
        self.followers.push(Arc::downgrade(follower));
    }

    pub fn unfollow(&mut self, follower: &Arc<Follower>) {
        self.followers
            .retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(follower)));
    }

    /// Nobody follows it, and it can be made again from other topics.
    pub fn is_idle(&self) -> bool {
        !self.is_home && self.followers_count() == 0
    }

    /// The sequence number of the first event above `revision`.
    pub fn position_after(&self, revision: Revision) -> u64 {
        self.first
            + self
                .events
                .partition_point(|event| event.revision <= revision) as u64
    }

    /// At most `limit` events from `cursor` on, none above `head`. `None`: the cursor lost events.
    pub fn read(&self, cursor: u64, limit: usize, head: Revision) -> Option<Vec<Arc<Event>>> {
        // A cursor is never beyond the end: both only grow, and the cursor only by reading.
        let start = usize::try_from(cursor.checked_sub(self.first)?).ok()?;
        let mut end = start.saturating_add(limit).min(self.events.len());
        while end > start && self.events[end - 1].revision > head {
            end -= 1;
        }
        Some(self.events.range(start..end).cloned().collect())
    }

    /// Up to which revision a follower at `cursor` has seen everything, if the ring holds everything up to `head`.
    /// `None`: the cursor lost events.
    pub fn seen_until(&self, cursor: u64, head: Revision) -> Option<Revision> {
        let index = usize::try_from(cursor.checked_sub(self.first)?).ok()?;
        Some(match self.events.get(index) {
            // Not even the next event's revision less one is behind it for sure unless it is below the head.
            Some(next) => Revision(next.revision.0 - 1).min(head),
            None => head,
        })
    }

    /// Takes out events at or below `floor`; the caller drops them without the lock.
    pub fn trim(&mut self, floor: Revision) -> Vec<Arc<Event>> {
        let count = self.events.partition_point(|event| event.revision <= floor);
        self.first += count as u64;
        self.events.drain(..count).collect()
    }
}
