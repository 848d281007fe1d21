//! Which keys delete themselves, and when.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::entry::Entry;
use crate::revision::Timestamp;

/// Ordered by time. Exactly the keys whose current entry has `expires`.
#[derive(Default)]
pub(crate) struct Expiries {
    by_time: BTreeSet<(Timestamp, Arc<str>)>,
}

impl Expiries {
    /// The entry of a key changed.
    pub fn replace(&mut self, before: Option<&Entry>, after: Option<&Entry>) {
        if let Some((expires, entry)) = before.and_then(|entry| Some((entry.expires?, entry))) {
            self.by_time.remove(&(expires, entry.key.clone()));
        }
        if let Some((expires, entry)) = after.and_then(|entry| Some((entry.expires?, entry))) {
            self.by_time.insert((expires, entry.key.clone()));
        }
    }

    /// At most `limit` keys whose time has come, the most overdue first.
    pub fn due(&self, now: Timestamp, limit: usize) -> Vec<Arc<str>> {
        self.by_time
            .iter()
            .take_while(|(expires, _)| *expires <= now)
            .take(limit)
            .map(|(_, key)| key.clone())
            .collect()
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(expires, _)| *expires)
    }
}
