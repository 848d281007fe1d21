//! One turn of whoever drives a store: what waits goes to disk, and what that released goes to the hub.
//!
//! Owns the order: turns are taken one at a time, so the hub gets releases in the order in which they became durable.

use std::sync::Arc;

use kubecore_store::{Revision, Store, StoreError, Timestamp};
use parking_lot::Mutex;

use crate::hub::Hub;

pub struct Driver {
    store: Arc<Store>,
    hub: Arc<Hub>,
    turn: Mutex<()>,
    trimmed: Mutex<Trimmed>,
}

/// When the hub was trimmed last, and to which floor.
#[derive(Default)]
struct Trimmed {
    at: Timestamp,
    floor: Revision,
}

const TRIM_EVERY_SECONDS: u64 = 1;

impl Driver {
    pub fn new(store: Arc<Store>) -> Driver {
        Driver {
            hub: Hub::new(store.clone()),
            store,
            turn: Mutex::new(()),
            trimmed: Mutex::default(),
        }
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Writes what is pending, once, and publishes it. Gives the durable revision.
    pub fn turn(&self) -> Result<Revision, StoreError> {
        let _turn = self.turn.lock();
        match self.store.write_pending() {
            Ok(released) => {
                self.hub.publish(&released);
                Ok(released.revision)
            }
            Err(error) => {
                if self.store.failure().is_some() {
                    self.hub.fail();
                }
                Err(error)
            }
        }
    }

    /// Lets time pass in the store, then takes a turn. Gives the time of the next tick that could matter.
    pub fn tick(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let next = self.store.tick(now)?;
        self.turn()?;
        let next_trim = self.trim_if_due(now);
        Ok([next, next_trim].into_iter().flatten().min())
    }

    /// Trims the hub unless it was just done; then gives the time at which it is due.
    fn trim_if_due(&self, now: Timestamp) -> Option<Timestamp> {
        let floor = self.store.compacted_revision();
        let mut trimmed = self.trimmed.lock();
        let due = trimmed.at.plus_seconds(TRIM_EVERY_SECONDS);
        // A clock that was set back makes it due too.
        if (trimmed.at..due).contains(&now) {
            return (floor > trimmed.floor).then_some(due);
        }
        *trimmed = Trimmed { at: now, floor };
        drop(trimmed);
        self.hub.trim();
        None
    }
}
