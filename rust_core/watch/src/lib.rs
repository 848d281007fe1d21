//! The hub between the store and everybody who watches.
//!
//! ```text
//! driver  one turn: write_pending, then publish        hub      subscriptions, waiters for durability
//! topic   the ring of one prefix                       wake     how a sleeper is told
//! index   fields by which events are filed
//! ```
//!
//! Only durable events pass. It owns no thread and no timer.

mod driver;
mod hub;
mod index;
mod topic;
mod wake;

pub use driver::Driver;
pub use hub::{Hub, HubStats, Subscription};
pub use index::{IndexedField, indexed_field};
pub use kubecore_store::{Change, Entry, Event, Revision};
pub use topic::WatchError;
pub use wake::Wake;
