//! A counter that moves whenever policy may have changed.
//!
//! Verdicts are cached with the epoch that stood before they were computed. The store moves the epoch after the map has
//! changed and before the write returns: whoever reads the new epoch reads the new policy, and nobody can forget to move it.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct PolicyEpoch {
    epoch: AtomicU64,
    prefixes: Vec<Box<str>>,
}

impl PolicyEpoch {
    pub fn new(prefixes: &[String]) -> PolicyEpoch {
        PolicyEpoch {
            epoch: AtomicU64::new(1),
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

    pub fn bump(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }
}
