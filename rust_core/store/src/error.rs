//! Everything that can go wrong in the store, in one enum.

use std::sync::Arc;

use crate::revision::Revision;

#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A compare did not hold. `actual`: the key's modification revision now, 0 if it is absent.
    #[error("{key}: a compare did not hold, the key is at revision {actual}")]
    CompareFailed { key: Arc<str>, actual: Revision },
    #[error("{key}: written twice in one transaction")]
    DuplicateKey { key: Arc<str> },
    #[error("revision {asked} has been compacted, the oldest is {oldest}")]
    Compacted { asked: Revision, oldest: Revision },
    #[error("revision {asked} is in the future, the newest is {newest}")]
    FutureRevision { asked: Revision, newest: Revision },
    #[error("{what} of {size_bytes} bytes is over the limit of {limit_bytes}")]
    TooLarge {
        what: &'static str,
        size_bytes: usize,
        limit_bytes: usize,
    },
    #[error("a splice at byte {offset} lies outside a value of {size_bytes} bytes")]
    BadSplice { offset: usize, size_bytes: usize },
    /// The disk is full. Nothing acknowledged is lost; writes are accepted again once there is room.
    #[error("no space left in the data directory")]
    NoSpace,
    /// More is waiting for the disk than may wait.
    #[error("{pending_bytes} bytes already wait for the disk")]
    Overloaded { pending_bytes: usize },
    #[error("{file} is damaged at byte {offset}: {why}")]
    Corrupt {
        file: String,
        offset: u64,
        why: &'static str,
    },
    /// `holder`: its process id, if it could be read.
    #[error("the data directory {directory} is in use by another process ({holder})")]
    InUse { directory: String, holder: String },
    #[error("{what}: {source}")]
    Io {
        what: String,
        source: Arc<std::io::Error>,
    },
    /// A write or sync of the log failed: what the disk holds is unknown, so nothing more is accepted.
    #[error("the store takes no more writes: {why}")]
    Failed { why: String },
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> StoreError {
        StoreError::Io {
            what: what.into(),
            source: Arc::new(source),
        }
    }
}
