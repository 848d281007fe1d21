//! A counter that moves whenever policy may have changed.
//!
//! Verdicts are cached with the epoch that stood before they were computed. The store moves the epoch after the map has
//! changed and before the write returns: whoever reads the new epoch reads the new policy, and nobody can forget to move it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::revision::Revision;

#[derive(Debug, Default)]
pub(crate) struct PolicyEpoch {
    epoch: AtomicU64,
    /// Of the last change of policy, applied but perhaps not durable.
    revision: AtomicU64,
    prefixes: Vec<Box<str>>,
}

impl PolicyEpoch {
    pub fn new(prefixes: &[String]) -> PolicyEpoch {
        PolicyEpoch {
            epoch: AtomicU64::new(1),
            revision: AtomicU64::new(0),
            prefixes: prefixes
                .iter()
                .map(|prefix| prefix.as_str().into())
                .collect(),
        }
    }

    pub fn current(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub fn concerns(&self, key: &str) -> bool {
        self.prefixes
            .iter()
            .any(|prefix| key.starts_with(&**prefix))
    }

    pub fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }

    pub fn bump(&self, revision: Revision) {
        self.revision.store(revision.0, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::Release);
    }
}
