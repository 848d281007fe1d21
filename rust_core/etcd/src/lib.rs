//! etcd's v3 API over the embedded store, so that etcdctl, client libraries and upstream's kube-apiserver can use it as
//! they use etcd.
//!
//! ```text
//! socket ─▶ server ─▶ service     one method: its messages, its handler
//!                        │
//!          kv, lease, watch, maintenance ──▶ store (transact, views)      hub (events, durability)
//! ```
//!
//! Whatever an answer reflects is durable before it leaves, as everywhere. What is different from etcd: keys are UTF-8 text;
//! granting and revoking a lease takes a revision; history ends at the store's bounds without being asked; one member.

mod failure;
mod kv;
mod lease;
mod maintenance;
pub mod messages;
mod server;
mod service;
mod span;
mod watch;

use std::sync::Arc;

use kubecore_store::{Draft, Head, Revision, Store};
use kubecore_watch::Hub;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::failure::Failure;
use crate::lease::Leases;
use crate::messages::ResponseHeader;

pub use server::{Server, ServerError, Tls};

/// The version of etcd whose API this is: clients choose by it what they may ask.
pub const VERSION: &str = "3.5.21";

const CLUSTER_ID: u64 = 0x6b75_6265_636f_7265;
const MEMBER_ID: u64 = 1;
const RAFT_TERM: u64 = 1;

/// Whoever drives the store: it writes what was applied, and knows the time.
pub trait Drive: Send + Sync {
    /// Something will be applied: the store wants to know the time.
    fn before_write(&self);
    /// Something was applied: it wants to be durable.
    fn after_write(&self);
}

/// Everything that the handlers share.
pub struct Etcd {
    store: Arc<Store>,
    hub: Arc<Hub>,
    drive: Box<dyn Drive>,
    leases: Mutex<Leases>,
    /// A lease came, went or lives longer.
    leases_changed: Notify,
}

impl Etcd {
    pub fn new(hub: Arc<Hub>, drive: Box<dyn Drive>) -> Arc<Etcd> {
        let store = hub.store().clone();
        let leases = Leases::found_in(&store.view(Head::Applied));
        Arc::new(Etcd {
            store,
            hub,
            drive,
            leases: Mutex::new(leases),
            leases_changed: Notify::new(),
        })
    }

    fn header(&self, revision: Revision) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: CLUSTER_ID,
            member_id: MEMBER_ID,
            revision: revision.0 as i64,
            raft_term: RAFT_TERM,
        })
    }

    /// Applies what `write` drafts.
    fn transact<T>(
        &self,
        write: impl FnOnce(&mut Draft) -> Result<T, Failure>,
    ) -> Result<(Revision, T), Failure> {
        self.drive.before_write();
        let written = self.store.transact(write);
        self.drive.after_write();
        written
    }

    /// Returns once `revision` is on disk.
    async fn durable(&self, revision: Revision) -> Result<(), Failure> {
        if self.store.durable_revision() >= revision {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        let sender = Mutex::new(Some(sender));
        let wake = move || {
            if let Some(sender) = sender.lock().take() {
                // Who waited may have gone.
                let _ = sender.send(());
            }
        };
        self.hub.when_durable(revision, Arc::new(wake));
        let woken = receiver.await;
        if woken.is_ok() && self.store.durable_revision() >= revision {
            return Ok(());
        }
        let why = self.store.failure().unwrap_or("the store has ended");
        Err(Failure::Store(why.to_owned()))
    }
}
