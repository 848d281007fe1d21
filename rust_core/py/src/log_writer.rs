//! The thread that drives a store: it writes what is pending, syncs, publishes, and lets time pass. It never holds the
//! interpreter, so a sync stops nobody.
//!
//! Group commit comes by itself: whatever is applied while one sync runs is written by the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use kubecore_store::{Revision, StoreError, Timestamp};
use kubecore_watch::{Driver, Hub};
use parking_lot::{Condvar, Mutex};

/// How long to wait before trying again what a full disk refused.
const FULL_DISK_RETRY: Duration = Duration::from_secs(1);

pub(crate) fn wall_clock() -> Timestamp {
    // A clock before 1970 stands at its start: expiries are late then, nothing else.
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(since_epoch.as_millis() as u64)
}

/// Blocks until `revision` is durable, or never will be.
pub(crate) fn wait_durable(hub: &Arc<Hub>, revision: Revision) -> Result<(), StoreError> {
    let store = hub.store();
    if store.durable_revision() >= revision {
        return Ok(());
    }
    let newest = store.revision();
    if revision > newest {
        return Err(StoreError::FutureRevision {
            asked: revision,
            newest,
        });
    }
    let sleeper = std::thread::current();
    hub.when_durable(revision, Arc::new(move || sleeper.unpark()));
    loop {
        if store.durable_revision() >= revision {
            return Ok(());
        }
        if let Some(why) = store.failure() {
            return Err(StoreError::Failed {
                why: why.to_owned(),
            });
        }
        std::thread::park();
    }
}

pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
}

struct Shared {
    driver: Arc<Driver>,
    orders: Mutex<Orders>,
    ordered: Condvar,
    /// A housekeeper is at work.
    keeps_house: AtomicBool,
}

#[derive(Default)]
struct Orders {
    has_work: bool,
    stop: bool,
}

impl LogWriter {
    pub fn start(driver: Arc<Driver>) -> LogWriter {
        driver.store().observe(wall_clock());
        let shared = Arc::new(Shared {
            driver,
            orders: Mutex::default(),
            ordered: Condvar::new(),
            keeps_house: AtomicBool::new(false),
        });
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || of_thread.run())
            // Without the thread nothing would ever be durable: there is no store to give.
            .expect("the log writer's thread cannot be started");
        LogWriter {
            shared,
            thread: Mutex::new(Some(thread)),
        }
    }

    /// Something was applied.
    pub fn notify(&self) {
        self.shared.notify();
    }

    /// Notifies like `notify`, from wherever it is taken to.
    pub fn notifier(&self) -> impl Fn() + Send + Sync + use<> {
        let shared = self.shared.clone();
        move || shared.notify()
    }

    /// Takes no more writes, writes what is pending, ends the thread. A second call does nothing.
    pub fn stop(&self) -> Result<(), StoreError> {
        self.shared.driver.store().close();
        self.shared.orders.lock().stop = true;
        self.shared.ordered.notify_one();
        match self.thread.lock().take() {
            // A panic of the log writer is a broken invariant: it goes on in whoever closes.
            Some(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Ok(()),
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("kubecore: closing the store: {error}");
        }
    }
}

/// Without a log writer nothing becomes durable: lets go of the data directory, and tells whoever still waits.
struct Farewell<'thread> {
    driver: &'thread Driver,
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.driver.store().fail("the log writer has panicked");
        }
        self.driver.store().release();
        self.driver.hub().fail();
    }
}

impl Shared {
    fn notify(&self) {
        let mut orders = self.orders.lock();
        if !orders.has_work {
            orders.has_work = true;
            self.ordered.notify_one();
        }
    }

    fn run(self: &Arc<Self>) -> Result<(), StoreError> {
        // Dropped last, whether the loop ends or panics.
        let _farewell = Farewell {
            driver: &self.driver,
        };
        self.run_until_stopped()
    }

    fn run_until_stopped(self: &Arc<Self>) -> Result<(), StoreError> {
        loop {
            let stop = std::mem::take(&mut *self.orders.lock()).stop;
            let deadline = match self.turn(stop) {
                Ok(next) => next.map(until),
                Err(StoreError::NoSpace) if !stop => {
                    eprintln!(
                        "kubecore: the data directory is full; writes wait until there is room"
                    );
                    Some(FULL_DISK_RETRY)
                }
                Err(error) => {
                    eprintln!("kubecore: {error}");
                    return Err(error);
                }
            };
            if stop {
                return Ok(());
            }
            self.keep_house_if_due();
            let mut orders = self.orders.lock();
            if !orders.has_work && !orders.stop {
                match deadline {
                    Some(timeout) => drop(self.ordered.wait_for(&mut orders, timeout)),
                    None => self.ordered.wait(&mut orders),
                }
            }
        }
    }

    /// Snapshots and fresh segments take long: they are made on a thread of their own, one at a time.
    fn keep_house_if_due(self: &Arc<Self>) {
        if !self.driver.store().housekeeping_due() || self.keeps_house.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let shared = self.clone();
        let housekeeper = std::thread::Builder::new()
            .name("store-housekeeper".into())
            .spawn(move || {
                if let Err(error) = shared.driver.store().housekeep()
                    && shared.driver.store().failure().is_none()
                {
                    eprintln!("kubecore: keeping the data directory in order: {error}");
                    std::thread::sleep(FULL_DISK_RETRY);
                }
                shared.keeps_house.store(false, Ordering::Release);
            });
        if let Err(error) = housekeeper {
            // The log goes on without: it makes its segments itself, only later than it could.
            eprintln!("kubecore: no thread to keep the data directory in order: {error}");
            self.keeps_house.store(false, Ordering::Release);
        }
    }

    fn turn(&self, stop: bool) -> Result<Option<Timestamp>, StoreError> {
        if stop {
            // A closed store lets nothing expire, but what was applied is still written.
            return self.driver.turn().map(|_| None);
        }
        self.driver.tick(wall_clock())
    }
}

/// How long from now; never zero, so that a deadline that cannot be met does not spin.
fn until(deadline: Timestamp) -> Duration {
    Duration::from_millis(deadline.0.saturating_sub(wall_clock().0).max(1))
}
