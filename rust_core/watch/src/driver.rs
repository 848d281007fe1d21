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
}

impl Driver {
    pub fn new(store: Arc<Store>) -> Driver {
        Driver {
            hub: Hub::new(store.clone()),
            store,
            turn: Mutex::new(()),
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
        Ok(next)
    }
}
