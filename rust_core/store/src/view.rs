//! The whole store at one revision, for as long as somebody holds it.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::entry::{Change, Entry, Event};
use crate::revision::Revision;

pub(crate) type Map = OrdMap<Arc<str>, Arc<Entry>>;

/// An immutable snapshot. Cloning one copies a pointer; holding one keeps superseded entries alive, so don't keep it
/// longer than a request.
#[derive(Clone, Default)]
pub struct View {
    pub revision: Revision,
    pub(crate) map: Map,
}

impl View {
    pub(crate) fn empty() -> View {
        View {
            revision: Revision::FIRST,
            map: Map::new(),
        }
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.map.get(key)
    }

    /// Entries whose key starts with `prefix`, in key order, those after `start_after` only ("" for all).
    pub fn range<'view>(
        &'view self,
        prefix: &'view str,
        start_after: &str,
    ) -> impl Iterator<Item = &'view Arc<Entry>> + 'view {
        let start: Bound<&str> = if start_after >= prefix {
            Bound::Excluded(start_after)
        } else {
            Bound::Included(prefix)
        };
        self.map
            .range::<_, str>((start, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(move |entry| entry.key.starts_with(prefix))
    }

    /// Entries from `start` on, in key order, before `end` (in bytes, which need be no text; None: to the last).
    pub fn between<'view>(
        &'view self,
        start: &'view str,
        end: Option<&'view [u8]>,
    ) -> impl Iterator<Item = &'view Arc<Entry>> + 'view {
        self.map
            .range::<_, str>((Bound::Included(start), Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(move |entry| end.is_none_or(|end| entry.key.as_bytes() < end))
    }

    pub fn count(&self, prefix: &str) -> usize {
        self.range(prefix, "").count()
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Replays one event onto this view.
    pub(crate) fn advance(&mut self, event: &Event) {
        match event.change {
            Change::Put => {
                self.map
                    .insert(event.entry.key.clone(), event.entry.clone());
            }
            Change::Delete => {
                self.map.remove::<str>(&event.entry.key);
            }
        }
        self.revision = event.revision;
    }
}
