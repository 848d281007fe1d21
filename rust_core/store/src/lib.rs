//! The revisioned store: one ordered, persistent map from key to encoded object, and what happened to it lately.
//!
//! ```text
//! revision  the counters          entry    what is stored, and events        txn      what a writer asks for
//! view      the store at a point  history  the recent past, checkpoints      expiry   keys that delete themselves
//! policy    the policy epoch      store    the two heads, apply              front    what writers share
//! commit    the driver's calls
//!
//! record    bytes on disk         log      segments, group commit            snapshot  all of it in one file
//! recover   disk → store          disk     what is asked of a disk           crashable a disk that can crash
//! ```
//!
//! It is Sans-IO: it owns no thread, no timer, no socket and no clock. A driver calls `write_pending` and `tick`.
//! The promises are in docs/design/store.md.

mod commit;
mod crashable;
mod disk;
mod draft;
mod entry;
mod error;
mod expiry;
mod front;
mod history;
mod housekeeping;
mod log;
mod maintenance;
mod policy;
mod record;
mod recover;
mod revision;
mod snapshot;
mod store;
mod txn;
mod view;

pub use commit::Released;
pub use crashable::{CrashableDisk, SECTOR_BYTES};
pub use disk::{Disk, DiskFile, RealDisk};
pub use draft::Draft;
pub use entry::{Attachment, Change, Entry, Event};
pub use error::StoreError;
pub use history::HistoryBounds;
pub use log::LogOptions;
pub use maintenance::{Repaired, defragment, look, repair, restore, save, verify};
pub use recover::Verified;
pub use revision::{Revision, Timestamp};
pub use snapshot::write_frames;
pub use store::{Applied, Head, Options, Stats, Store};
pub use txn::{Compare, Expected, Limits, Op, Txn, Value};
pub use view::View;
