//! Leases: keys that go together unless somebody keeps them alive.
//!
//! A lease is a hidden key with its time to live, and each key that hangs on one has a hidden key that says on which; both are
//! written in the transaction that they belong to, so they are as durable as what they are about. Deadlines are in memory only: after a restart
//! every lease has its whole time again, as with etcd.
//!
//! ```text
//! \0lease/000000000000abcd        time to live, seconds
//! \0key//registry/core/events/..  lease
//! ```

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kubecore_store::{Draft, View};
use tokio::time::Instant;

use crate::Etcd;
use crate::failure::Failure;
use crate::messages::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseId, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, OnlyHeader,
};

const LEASE_PREFIX: &str = "\0lease/";
const KEY_PREFIX: &str = "\0key/";

/// etcd's own bound.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// Leases that go in one transaction, at most; the others go with the next.
const EXPIRED_KEYS_MAX: usize = 1_024;

/// When the store refuses to let leases end.
const RETRY: Duration = Duration::from_secs(1);

struct Lease {
    ttl_seconds: i64,
    deadline: Instant,
    keys: BTreeSet<Arc<str>>,
}

/// All leases. What is written down and what is here agree, because both change under one lock.
#[derive(Default)]
pub struct Leases {
    by_id: HashMap<i64, Lease>,
}

fn lease_key(id: i64) -> String {
    format!("{LEASE_PREFIX}{:016x}", id as u64)
}

fn number(entry_value: &[u8]) -> i64 {
    // Written by this file, always eight bytes.
    <[u8; 8]>::try_from(entry_value).map_or(0, i64::from_le_bytes)
}

fn bytes(number: i64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

fn deadline(ttl_seconds: i64) -> Instant {
    Instant::now() + Duration::from_secs(ttl_seconds.unsigned_abs())
}

/// The lease on which a key hangs in a view, 0 for none.
pub(crate) fn of_key(view: &View, key: &str) -> i64 {
    let hung = view.get(&format!("{KEY_PREFIX}{key}"));
    hung.map_or(0, |entry| number(&entry.value))
}

/// Whether any key of a view hangs on a lease.
pub(crate) fn any(view: &View) -> bool {
    view.range(KEY_PREFIX, "").next().is_some()
}

impl Leases {
    pub(crate) fn found_in(view: &View) -> Leases {
        let mut leases = Leases::default();
        for entry in view.range(LEASE_PREFIX, "") {
            let id = u64::from_str_radix(&entry.key[LEASE_PREFIX.len()..], 16);
            // Written by this file, always sixteen digits.
            leases.insert(id.unwrap_or_default() as i64, number(&entry.value));
        }
        for entry in view.range(KEY_PREFIX, "") {
            if let Some(lease) = leases.by_id.get_mut(&number(&entry.value)) {
                lease.keys.insert(Arc::from(&entry.key[KEY_PREFIX.len()..]));
            }
        }
        leases
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn insert(&mut self, id: i64, ttl_seconds: i64) {
        let lease = Lease {
            ttl_seconds,
            deadline: deadline(ttl_seconds),
            keys: BTreeSet::new(),
        };
        self.by_id.insert(id, lease);
    }

    pub(crate) fn attach(&mut self, changes: Vec<Attached>) {
        for Attached { key, from, to } in changes {
            if let Some(lease) = self.by_id.get_mut(&from) {
                lease.keys.remove(&key);
            }
            if let Some(lease) = self.by_id.get_mut(&to) {
                lease.keys.insert(key);
            }
        }
    }

    /// The first deadline.
    fn next(&self) -> Option<Instant> {
        self.by_id.values().map(|lease| lease.deadline).min()
    }

    /// Some leases that are over, with not too many keys in all.
    fn expired(&self, now: Instant) -> Vec<i64> {
        let mut over: Vec<(Instant, i64)> = self
            .by_id
            .iter()
            .filter(|(_, lease)| lease.deadline <= now)
            .map(|(id, lease)| (lease.deadline, *id))
            .collect();
        over.sort_unstable();
        let mut keys = 0;
        let few = over.into_iter().map(|(_, id)| id).take_while(|id| {
            let before = keys;
            keys += self.by_id[id].keys.len();
            before < EXPIRED_KEYS_MAX
        });
        few.collect()
    }
}

/// A key that moves from one lease to another; 0 is no lease.
pub(crate) struct Attached {
    key: Arc<str>,
    from: i64,
    to: i64,
}

/// What a draft changes about who hangs where. Counts once the draft is applied.
pub(crate) struct Attachments<'leases> {
    leases: &'leases Leases,
    changes: Vec<Attached>,
}

impl<'leases> Attachments<'leases> {
    pub fn new(leases: &'leases Leases) -> Self {
        Attachments {
            leases,
            changes: Vec::new(),
        }
    }

    /// Hangs a key on a lease (0: takes it off).
    pub fn set(&mut self, draft: &mut Draft, key: &str, lease: i64) -> Result<(), Failure> {
        if lease != 0 && !self.leases.by_id.contains_key(&lease) {
            return Err(Failure::LeaseNotFound);
        }
        if self.leases.is_empty() {
            return Ok(());
        }
        let before = of_key(draft.view(), key);
        if before == lease {
            return Ok(());
        }
        let hidden = format!("{KEY_PREFIX}{key}");
        if lease == 0 {
            draft.delete(&hidden)?;
        } else {
            draft.put(&hidden, bytes(lease))?;
        }
        self.changes.push(Attached {
            key: Arc::from(key),
            from: before,
            to: lease,
        });
        Ok(())
    }

    pub fn into_changes(self) -> Vec<Attached> {
        self.changes
    }
}

impl Etcd {
    pub async fn grant(&self, request: LeaseGrantRequest) -> Result<LeaseGrantResponse, Failure> {
        if request.ttl > TTL_SECONDS_MAX {
            return Err(Failure::LeaseTtlTooLarge);
        }
        let ttl = request.ttl.max(1);
        let (revision, id) = {
            let mut leases = self.leases.lock();
            let id = match request.id {
                0 => unused(&leases),
                id => id,
            };
            if leases.by_id.contains_key(&id) {
                return Err(Failure::LeaseExists);
            }
            let (revision, ()) = self
                .transact(|draft| draft.put(&lease_key(id), bytes(ttl)).map_err(Failure::from))?;
            leases.insert(id, ttl);
            (revision, id)
        };
        self.leases_changed.notify_one();
        self.durable(revision).await?;
        Ok(LeaseGrantResponse {
            header: self.header(revision),
            id,
            ttl,
            error: String::new(),
        })
    }

    pub async fn revoke(&self, request: LeaseId) -> Result<OnlyHeader, Failure> {
        if !self.leases.lock().by_id.contains_key(&request.id) {
            return Err(Failure::LeaseNotFound);
        }
        let revision = self.end(&[request.id])?;
        self.durable(revision).await?;
        Ok(OnlyHeader {
            header: self.header(revision),
        })
    }

    /// Leases go, with their keys, in one transaction. Those that are gone already are passed over.
    fn end(&self, ids: &[i64]) -> Result<kubecore_store::Revision, Failure> {
        let mut leases = self.leases.lock();
        let (revision, ()) = self.transact(|draft| -> Result<(), Failure> {
            for id in ids {
                let keys = leases
                    .by_id
                    .get(id)
                    .into_iter()
                    .flat_map(|lease| &lease.keys);
                for key in keys {
                    draft.delete(key)?;
                    draft.delete(&format!("{KEY_PREFIX}{key}"))?;
                }
                draft.delete(&lease_key(*id))?;
            }
            Ok(())
        })?;
        for id in ids {
            leases.by_id.remove(id);
        }
        Ok(revision)
    }

    pub fn keep_alive(&self, request: LeaseId) -> LeaseKeepAliveResponse {
        let ttl = {
            let mut leases = self.leases.lock();
            let lease = leases.by_id.get_mut(&request.id);
            lease.map_or(0, |lease| {
                lease.deadline = deadline(lease.ttl_seconds);
                lease.ttl_seconds
            })
        };
        self.leases_changed.notify_one();
        LeaseKeepAliveResponse {
            header: self.header(self.store.durable_revision()),
            id: request.id,
            ttl,
        }
    }

    pub fn time_to_live(&self, request: LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse {
        let header = self.header(self.store.durable_revision());
        let leases = self.leases.lock();
        let Some(lease) = leases.by_id.get(&request.id) else {
            return LeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: -1,
                ..LeaseTimeToLiveResponse::default()
            };
        };
        let keys = lease.keys.iter().filter(|_| request.keys);
        LeaseTimeToLiveResponse {
            header,
            id: request.id,
            ttl: (lease.deadline - Instant::now()).as_secs() as i64,
            granted_ttl: lease.ttl_seconds,
            keys: keys
                .map(|key| Bytes::copy_from_slice(key.as_bytes()))
                .collect(),
        }
    }

    pub fn lease_ids(&self) -> LeaseLeasesResponse {
        let mut ids: Vec<i64> = self.leases.lock().by_id.keys().copied().collect();
        ids.sort_unstable();
        LeaseLeasesResponse {
            header: self.header(self.store.durable_revision()),
            leases: ids.into_iter().map(|id| LeaseId { id }).collect(),
        }
    }

    /// Ends leases when they are over. Runs for as long as it is polled.
    pub async fn expire_leases(&self) {
        loop {
            let next = self.leases.lock().next();
            let changed = self.leases_changed.notified();
            match next {
                None => changed.await,
                Some(next) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(next) => self.expire(),
                },
            }
        }
    }

    fn expire(&self) {
        let over = self.leases.lock().expired(Instant::now());
        if let Err(failure) = self.end(&over) {
            // A full or failed store deletes nothing: they are tried again a little later.
            eprintln!("kubecore: leases that are over stay for now: {failure}");
            let later = Instant::now() + RETRY;
            let mut leases = self.leases.lock();
            for id in over {
                if let Some(lease) = leases.by_id.get_mut(&id) {
                    lease.deadline = later;
                }
            }
        }
    }
}

/// A random positive id that nobody has.
fn unused(leases: &Leases) -> i64 {
    loop {
        let id = (RandomState::new().hash_one(leases.by_id.len()) >> 1) as i64;
        if id != 0 && !leases.by_id.contains_key(&id) {
            return id;
        }
    }
}
