//! Many writers, readers and watchers at once, with a thread that drives the log, as in a server: whatever the interleaving, nothing is
//! seen before it is durable, nothing is lost or doubled, and heads only grow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, scope};
use std::time::{Duration, Instant};

use kubecore_store::{
    CrashableDisk, Expected, Head, HistoryBounds, LogOptions, Options, Store, StoreError,
    Timestamp, Txn, Value,
};
use kubecore_watch::{Change, Driver, Hub, Revision, Subscription, WatchError};

const RUNS_FOR: Duration = Duration::from_millis(1500);
const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const NAMES: u64 = 8;
const PODS: &str = "/registry/core/pods/";

/// By key: its modification revision.
type State = BTreeMap<String, u64>;

struct House {
    driver: Driver,
    disk: CrashableDisk,
    stop: AtomicBool,
    is_written: AtomicBool,
    acknowledged: AtomicU64,
    observed: AtomicU64,
}

impl House {
    /// Small segments, a short history, frequent snapshots: everything that happens rarely happens all the time.
    fn new() -> House {
        let disk = CrashableDisk::new();
        let options = Options {
            history: HistoryBounds {
                age_seconds: 300,
                bytes_max: 2 << 20,
            },
            log: LogOptions {
                first_segment_bytes: 16 << 10,
                segment_bytes: 64 << 10,
                snapshot_after_bytes: 256 << 10,
            },
            ..Options::default()
        };
        let store = Store::open(Box::new(disk.clone()), options).unwrap();
        House {
            driver: Driver::new(Arc::new(store)),
            disk,
            stop: AtomicBool::new(false),
            is_written: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            observed: AtomicU64::new(0),
        }
    }

    fn store(&self) -> &Store {
        self.driver.store()
    }

    fn hub(&self) -> &Arc<Hub> {
        self.driver.hub()
    }

    fn is_running(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }

    /// The log writer: turns, one after the other, until nobody writes any more.
    fn drive(&self) {
        let mut milliseconds = 1;
        while !self.is_written.load(Ordering::Acquire) || self.store().has_pending() {
            milliseconds += 1;
            self.driver.tick(Timestamp(milliseconds)).unwrap();
        }
    }

    fn keep_house(&self) {
        while self.is_running() {
            self.store().housekeep().unwrap();
            std::thread::yield_now();
        }
    }

    /// Reads, then writes what it read: half of the attempts conflict. Each success waits for the disk.
    fn write(&self, seed: u64) {
        let mut random = Random(seed);
        while self.is_running() {
            let namespace = NAMESPACES[random.below(NAMESPACES.len() as u64) as usize];
            let key = format!("{PODS}{namespace}/p{}", random.below(NAMES));
            let found = self.store().get(&key);
            let expected = match &found {
                Some(entry) => Expected::Modified(entry.modified),
                None => Expected::Absent,
            };
            let head = br#"{"metadata":{"resourceVersion":""#;
            let text = [&head[..], br#""},"filler":""#, &[b'x'; 200], br#""}"#].concat();
            let value = Value::spliced(&text, head.len(), self.store().revision()).unwrap();
            let txn = match (&found, random.below(8)) {
                (Some(_), 0) => Txn::new().delete(key.as_str()),
                (None, 1) => Txn::new().put_with_ttl(key.as_str(), value, 1),
                _ => Txn::new().put(key.as_str(), value),
            };
            match self.store().apply(txn.expect(key, expected)) {
                Ok(applied) => self.wait_durable(applied.revision),
                Err(StoreError::CompareFailed { .. }) => (),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn wait_durable(&self, revision: Revision) {
        let sleeper = std::thread::current();
        self.hub()
            .when_durable(revision, Arc::new(move || sleeper.unpark()));
        let given_up = Instant::now() + Duration::from_secs(30);
        while self.store().durable_revision() < revision {
            assert!(Instant::now() < given_up, "nobody drives the log any more");
            std::thread::park_timeout(Duration::from_secs(1));
        }
        self.acknowledged.fetch_max(revision.0, Ordering::AcqRel);
    }

    /// Durable views only grow, hold nothing newer than they say, and the past does not change.
    fn read(&self) {
        let mut last = Revision::ZERO;
        while self.is_running() {
            let acknowledged = Revision(self.acknowledged.load(Ordering::Acquire));
            let view = self.store().view(Head::Durable);
            assert!(view.revision >= last, "a read went back");
            assert!(
                view.revision >= acknowledged,
                "an acknowledged write is not read"
            );
            last = view.revision;
            let now = state_of(view.range(PODS, ""));
            assert!(now.values().all(|revision| *revision <= last.0));
            match self.store().view_at(last) {
                Ok(again) => assert_eq!(state_of(again.range(PODS, "")), now),
                Err(StoreError::Compacted { .. }) => (),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Lists, follows, and again from where it was or from a list: what it holds is what a list gives.
    fn watch(&self, prefix: &str) {
        let mut random = Random(prefix.len() as u64);
        while self.is_running() {
            let view = self.store().view(Head::Durable);
            let mut follower = Follower {
                house: self,
                prefix,
                state: state_of(view.range(prefix, "")),
                at: view.revision,
            };
            for _ in 0..3 {
                match self.follow(&mut follower, random.below(60)) {
                    Ok(()) => (),
                    // It was too slow for the short history: it lists again, as a client does.
                    Err(WatchError::Expired { .. } | WatchError::Compacted { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn follow(&self, follower: &mut Follower<'_>, rounds: u64) -> Result<(), WatchError> {
        let sleeper = std::thread::current();
        let wake = Arc::new(move || sleeper.unpark());
        let mut subscription = self.hub().subscribe(follower.prefix, follower.at, wake)?;
        for _ in 0..rounds {
            follower.catch_up(&mut subscription)?;
            if !self.is_running() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Ok(())
    }

    /// What was acknowledged is there after a restart.
    fn reopen(self) {
        let state = state_of(self.store().view(Head::Durable).range(PODS, ""));
        let durable = self.store().durable_revision();
        assert!(durable.0 >= self.acknowledged.load(Ordering::Acquire));
        let disk = self.disk.clone();
        drop(self);
        let again = Store::open(Box::new(disk), Options::default()).unwrap();
        assert_eq!(again.revision(), durable);
        assert_eq!(state_of(again.view(Head::Durable).range(PODS, "")), state);
    }
}

struct Follower<'house> {
    house: &'house House,
    prefix: &'house str,
    state: State,
    at: Revision,
}

impl Follower<'_> {
    fn catch_up(&mut self, subscription: &mut Subscription) -> Result<(), WatchError> {
        loop {
            let events = subscription.poll(7)?;
            // Read after the poll: whatever was polled must have been durable by then.
            let durable = self.house.store().durable_revision();
            for event in &events {
                assert!(event.revision <= durable, "an event before it was durable");
                assert!(event.revision >= self.at, "events out of order");
                self.at = event.revision;
                let key = event.key().to_string();
                let before = self.state.get(&key).copied();
                let previous = event.previous.as_ref().map(|entry| entry.modified.0);
                assert_eq!(before, previous, "{key}: an event was lost or came twice");
                match event.change {
                    Change::Put => self.state.insert(key, event.entry.modified.0),
                    Change::Delete => self.state.remove(&key),
                };
                self.house.observed.fetch_add(1, Ordering::Relaxed);
            }
            if events.is_empty() {
                break;
            }
        }
        let progress = subscription.progress();
        assert!(progress >= self.at, "a bookmark went back");
        assert!(progress <= self.house.store().durable_revision());
        self.at = progress;
        // A bookmark promises: what is held is the state at its revision.
        if let Ok(view) = self.house.store().view_at(progress) {
            assert_eq!(self.state, state_of(view.range(self.prefix, "")));
        }
        Ok(())
    }
}

fn state_of<'view>(entries: impl Iterator<Item = &'view Arc<kubecore_watch::Entry>>) -> State {
    entries
        .map(|entry| (entry.key.to_string(), entry.modified.0))
        .collect()
}

/// A small generator: the threads differ, and no run depends on the system's.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn whatever_the_interleaving_nothing_is_early_lost_or_doubled() {
    let house = House::new();
    let prefixes = [
        "/registry/",
        PODS,
        "/registry/core/pods/a/",
        "/registry/core/pods/b/p1",
    ];
    scope(|threads: &Scope<'_, '_>| {
        threads.spawn(|| house.drive());
        threads.spawn(|| house.keep_house());
        let house = &house;
        let writers: Vec<_> = (1..=6)
            .map(|seed| threads.spawn(move || house.write(seed)))
            .collect();
        for prefix in prefixes {
            threads.spawn(move || house.watch(prefix));
        }
        threads.spawn(|| house.read());
        let ends = Instant::now() + RUNS_FOR;
        while Instant::now() < ends {
            std::thread::park_timeout(ends.saturating_duration_since(Instant::now()));
        }
        house.stop.store(true, Ordering::Release);
        let written = writers.into_iter().all(|writer| writer.join().is_ok());
        house.is_written.store(true, Ordering::Release);
        assert!(written, "a writer failed");
    });
    assert!(house.acknowledged.load(Ordering::Relaxed) > 100);
    assert!(house.observed.load(Ordering::Relaxed) > 100);
    house.reopen();
}
