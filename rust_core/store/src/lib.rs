//! The revisioned store: one ordered, persistent map from key to encoded object, and what happened to it lately.
//!
//! ```text
//! revision  the counters          entry    what is stored, and events        txn      what a writer asks for
//! view      the store at a point  history  the recent past, checkpoints      expiry   keys that delete themselves
//! policy    the policy epoch      store    the two heads, apply, the driver's calls
//! ```
//!
//! It is Sans-IO: it owns no thread, no timer, no socket and no clock. A driver calls `write_pending` and `tick`.
//! The promises are in docs/design/store.md.

mod entry;
mod error;
mod expiry;
mod history;
mod policy;
mod revision;
mod store;
mod txn;
mod view;

pub use entry::{Attachment, Change, Entry, Event};
pub use error::StoreError;
pub use history::HistoryBounds;
pub use revision::{Revision, Timestamp};
pub use store::{Applied, Head, Options, Released, Stats, Store};
pub use txn::{Compare, Expected, Limits, Op, Txn, Value};
pub use view::View;
