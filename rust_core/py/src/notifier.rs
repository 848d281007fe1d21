//! `Notifier`: how Rust wakes one asyncio loop. Any number of wakes between two drains are one readable eventfd.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use kubecore_store::Revision;
use kubecore_watch::{Hub, Wake};
use parking_lot::Mutex;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::event::{EventfdFlags, eventfd};

use crate::store::Store;

#[pyclass(frozen, module = "kubecore._core")]
pub struct Notifier {
    bell: Arc<Bell>,
    hub: Arc<Hub>,
}

/// The eventfd, and for which watches it rings.
struct Bell {
    eventfd: OwnedFd,
    ringing: Mutex<Ringing>,
}

#[derive(Default)]
struct Ringing {
    /// The eventfd is readable, or about to be.
    rung: bool,
    /// Bounded by the watches that exist.
    watches: BTreeSet<u64>,
}

impl Bell {
    fn ring(&self, watch: Option<u64>) {
        let mut ringing = self.ringing.lock();
        ringing.watches.extend(watch);
        if !std::mem::replace(&mut ringing.rung, true) {
            // It fails only if the counter is at its maximum, and then it is readable, which is what is wanted.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }
}

/// Rings a notifier for one watch: what the hub wakes when that watch has events.
pub(crate) struct NotifierHandle {
    bell: Arc<Bell>,
    watch: Option<u64>,
}

impl Wake for NotifierHandle {
    fn wake(&self) {
        self.bell.ring(self.watch);
    }
}

impl Notifier {
    /// A wake that makes `drain` name `watch`.
    pub(crate) fn handle(&self, watch: u64) -> Arc<dyn Wake> {
        Arc::new(NotifierHandle {
            bell: self.bell.clone(),
            watch: Some(watch),
        })
    }
}

#[pymethods]
impl Notifier {
    #[new]
    fn new(store: &Store) -> PyResult<Notifier> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| PyOSError::new_err((errno.raw_os_error(), "eventfd")))?;
        let bell = Arc::new(Bell {
            eventfd,
            ringing: Mutex::default(),
        });
        Ok(Notifier {
            bell,
            hub: store.hub().clone(),
        })
    }

    fn fileno(&self) -> i32 {
        self.bell.eventfd.as_raw_fd()
    }

    fn drain(&self) -> (Vec<u64>, u64) {
        let ringing = {
            let mut ringing = self.bell.ringing.lock();
            // It fails only if nothing rang, and then there is nothing to reset.
            let _ = rustix::io::read(&self.bell.eventfd, &mut [0; 8]);
            std::mem::take(&mut *ringing)
        };
        (
            ringing.watches.into_iter().collect(),
            self.hub.store().durable_revision().0,
        )
    }

    fn want_durable(&self, revision: u64) {
        let handle = NotifierHandle {
            bell: self.bell.clone(),
            watch: None,
        };
        self.hub.when_durable(Revision(revision), Arc::new(handle));
    }
}
