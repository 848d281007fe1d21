//! Watches lose nothing, repeat nothing, and see nothing before it is durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kubecore_store::{CrashableDisk, Head, Options, Store, Timestamp, Txn, Value};
use kubecore_watch::{Change, Driver, Event, Revision, Subscription, Wake, WatchError};
use proptest::prelude::*;

const PODS: &str = "/registry/core/pods/";
const PREFIXES: [&str; 8] = [
    "",
    "plain",
    "/registry/",
    PODS,
    "/registry/core/pods/one/",
    "/registry/core/pods/two/",
    "/registry/core/pods/one/a",
    "/registry/apps/deployments/",
];
const KEYS: [&str; 9] = [
    "plain",
    "/ends/",
    "/registry/core/pods/one/a",
    "/registry/core/pods/one/ab",
    "/registry/core/pods/two/a",
    "/registry/core/nodes/n",
    "/registry/apps/deployments/one/d",
    "/registry/odd",
    "/registry/core/podsecurity/p",
];

fn new_driver() -> Driver {
    Driver::new(Arc::new(Store::memory(Options::default())))
}

fn put(driver: &Driver, key: &str) -> Revision {
    driver
        .store()
        .apply(Txn::new().put(key, Value::plain("1")))
        .unwrap()
        .revision
}

fn nobody() -> Arc<dyn Wake> {
    Arc::new(|| ())
}

/// A wake that counts.
fn counter() -> (Arc<AtomicUsize>, Arc<dyn Wake>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    (
        count,
        Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        }),
    )
}

fn revisions(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.revision.0).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    PutTwo(usize, usize),
    Delete(usize),
    Turn,
    Subscribe { prefix: usize, back: u64 },
    Poll { watch: usize, limit: usize },
    Leave(usize),
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS.len();
    let step = prop_oneof![
        4 => key.clone().prop_map(Step::Put),
        2 => (key.clone(), key.clone()).prop_map(|(one, two)| Step::PutTwo(one, two)),
        2 => key.prop_map(Step::Delete),
        4 => Just(Step::Turn),
        3 => (0..PREFIXES.len(), 0..6u64).prop_map(|(prefix, back)| Step::Subscribe { prefix, back }),
        4 => (any::<usize>(), 1..5usize).prop_map(|(watch, limit)| Step::Poll { watch, limit }),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 1..120)
}

struct Watch {
    prefix: &'static str,
    from: Revision,
    subscription: Subscription,
    seen: Vec<Arc<Event>>,
    /// What was there at `from`.
    listed: BTreeMap<Arc<str>, Revision>,
    expired: bool,
}

impl Watch {
    fn poll(&mut self, limit: usize, durable: Revision) {
        match self.subscription.poll(limit) {
            Ok(events) => {
                assert!(!self.expired, "an expired watch came back");
                assert!(
                    events.iter().all(|event| event.revision <= durable),
                    "an event before it was durable"
                );
                self.seen.extend(events);
            }
            Err(WatchError::Expired { .. }) => self.expired = true,
            Err(error) => panic!("{error}"),
        }
        let progress = self.subscription.progress();
        assert!(
            self.expired
                || self
                    .seen
                    .last()
                    .is_none_or(|last| progress.next() >= last.revision)
        );
    }

    /// Everything that happened to the keys it follows, if it did not expire; else the beginning of it.
    fn check(&mut self, all: &[Arc<Event>]) {
        while !self.expired {
            let before = self.seen.len();
            self.poll(3, Revision(u64::MAX - 1));
            if self.seen.len() == before {
                break;
            }
        }
        let mut expected: Vec<&Arc<Event>> = all
            .iter()
            .filter(|event| event.revision > self.from && event.key().starts_with(self.prefix))
            .filter(|event| is_collection(self.prefix) || **event.key() == *self.prefix)
            .collect();
        if self.expired {
            expected.truncate(self.seen.len());
        }
        assert_eq!(
            revisions(&self.seen),
            expected
                .iter()
                .map(|event| event.revision.0)
                .collect::<Vec<_>>()
        );
        assert!(
            self.seen
                .iter()
                .zip(&expected)
                .all(|(seen, expected)| Arc::ptr_eq(seen, expected))
        );
    }

    /// The list plus the watch is the store.
    fn check_state(&self, driver: &Driver) {
        let mut state = self.listed.clone();
        for event in &self.seen {
            match event.change {
                Change::Put => drop(state.insert(event.key().clone(), event.revision)),
                Change::Delete => drop(state.remove(event.key())),
            }
        }
        assert!(self.expired || state == list(&driver.store().view(Head::Durable), self.prefix));
    }
}

fn is_collection(prefix: &str) -> bool {
    prefix.is_empty() || prefix.ends_with('/')
}

fn list(view: &kubecore_store::View, prefix: &str) -> BTreeMap<Arc<str>, Revision> {
    let under = view
        .range(prefix, "")
        .filter(|entry| is_collection(prefix) || *entry.key == *prefix);
    under
        .map(|entry| (entry.key.clone(), entry.modified))
        .collect()
}

fn subscribe(driver: &Driver, prefix: &'static str, back: u64) -> Option<Watch> {
    let durable = driver.store().view(Head::Durable).revision;
    let from = Revision(durable.0.saturating_sub(back).max(1));
    let Ok(view) = driver.store().view_at(from) else {
        let refused = driver.hub().subscribe(prefix, from, nobody()).map(drop);
        assert!(matches!(refused, Err(WatchError::Compacted { .. })));
        return None;
    };
    let subscription = driver.hub().subscribe(prefix, from, nobody()).unwrap();
    let listed = list(&view, prefix);
    Some(Watch {
        prefix,
        from,
        subscription,
        seen: Vec::new(),
        listed,
        expired: false,
    })
}

fn play(driver: &Driver, steps: &[Step]) -> (Vec<Watch>, Vec<Arc<Event>>) {
    let mut watches: Vec<Watch> = Vec::new();
    let mut all: Vec<Arc<Event>> = Vec::new();
    let spy = driver.store().revision();
    let mut spy = driver.hub().subscribe("", spy, nobody()).unwrap();
    for step in steps {
        match *step {
            Step::Put(key) => drop(put(driver, KEYS[key])),
            Step::PutTwo(one, two) if one != two => {
                let txn = Txn::new()
                    .put(KEYS[one], Value::plain("2"))
                    .put(KEYS[two], Value::plain("2"));
                driver.store().apply(txn).unwrap();
            }
            // The same key twice is refused, and an absent one cannot be deleted: nothing happens.
            Step::PutTwo(..) => (),
            Step::Delete(key) => drop(driver.store().apply(Txn::new().delete(KEYS[key]))),
            Step::Turn => drop(driver.turn().unwrap()),
            Step::Subscribe { prefix, back } => {
                watches.extend(subscribe(driver, PREFIXES[prefix], back))
            }
            Step::Poll { watch, limit } => {
                let count = watches.len().max(1);
                if let Some(watch) = watches.get_mut(watch % count) {
                    watch.poll(limit, driver.store().durable_revision());
                }
            }
            Step::Leave(watch) => {
                if !watches.is_empty() {
                    let count = watches.len();
                    drop(watches.swap_remove(watch % count));
                }
            }
            Step::Compact => {
                // Refused if nothing happened since the last.
                drop(driver.store().compact(driver.store().durable_revision()));
                if all.len().is_multiple_of(2) {
                    driver.hub().trim();
                }
            }
        }
        all.extend(spy.poll(usize::MAX).unwrap());
    }
    driver.turn().unwrap();
    all.extend(spy.poll(usize::MAX).unwrap());
    (watches, all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_list_and_a_watch_from_it_miss_nothing_and_repeat_nothing(steps in steps()) {
        let driver = new_driver();
        let (watches, all) = play(&driver, &steps);
        for mut watch in watches {
            watch.check(&all);
            watch.check_state(&driver);
        }
    }
}

#[test]
fn an_event_is_seen_only_when_it_is_durable() {
    let driver = new_driver();
    let (woken, wake) = counter();
    let mut watch = driver.hub().subscribe(PODS, Revision(1), wake).unwrap();
    put(&driver, "/registry/core/pods/one/a");
    assert_eq!(
        (watch.poll(10).unwrap().len(), woken.load(Ordering::SeqCst)),
        (0, 0)
    );
    driver.turn().unwrap();
    assert_eq!(
        (watch.poll(10).unwrap().len(), woken.load(Ordering::SeqCst)),
        (1, 1)
    );
}

#[test]
fn a_sleeper_is_woken_once_until_it_looks() {
    let driver = new_driver();
    let (woken, wake) = counter();
    let mut watch = driver.hub().subscribe(PODS, Revision(1), wake).unwrap();
    for _ in 0..5 {
        put(&driver, "/registry/core/pods/one/a");
        driver.turn().unwrap();
    }
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    assert_eq!(watch.poll(3).unwrap().len(), 3);
    put(&driver, "/registry/core/pods/one/a");
    driver.turn().unwrap();
    assert_eq!(woken.load(Ordering::SeqCst), 2);
    assert_eq!(revisions(&watch.poll(10).unwrap()), [5, 6, 7]);
}

#[test]
fn changes_elsewhere_wake_nobody() {
    let driver = new_driver();
    let (woken, wake) = counter();
    let _watch = driver
        .hub()
        .subscribe("/registry/core/pods/one/", Revision(1), wake)
        .unwrap();
    for key in [
        "/registry/core/pods/two/a",
        "/registry/core/pods/only",
        "/registry/core/nodes/one/",
    ] {
        put(&driver, key);
    }
    driver.turn().unwrap();
    assert_eq!(woken.load(Ordering::SeqCst), 0);
}

#[test]
fn a_watch_from_before_the_history_or_after_the_present_is_refused() {
    let driver = new_driver();
    for _ in 0..5 {
        put(&driver, "/registry/core/pods/one/a");
    }
    driver.turn().unwrap();
    driver.store().compact(Revision(4)).unwrap();
    let subscribe = |from| {
        driver
            .hub()
            .subscribe(PODS, Revision(from), nobody())
            .map(drop)
    };
    assert_eq!(
        subscribe(3),
        Err(WatchError::Compacted {
            asked: Revision(3),
            oldest: Revision(4)
        })
    );
    assert_eq!(subscribe(4), Ok(()));
    assert_eq!(
        subscribe(7),
        Err(WatchError::Future {
            asked: Revision(7),
            newest: Revision(6)
        })
    );
    put(&driver, "/registry/core/pods/one/a");
    assert!(subscribe(7).is_err(), "applied is not durable");
}

#[test]
fn a_watcher_that_falls_behind_the_history_is_told() {
    let driver = new_driver();
    let mut slow = driver.hub().subscribe(PODS, Revision(1), nobody()).unwrap();
    let mut quiet = driver
        .hub()
        .subscribe("/registry/core/nodes/", Revision(1), nobody())
        .unwrap();
    for _ in 0..5 {
        put(&driver, "/registry/core/pods/one/a");
    }
    driver.turn().unwrap();
    driver.store().compact(Revision(5)).unwrap();
    put(&driver, "/registry/core/pods/one/a");
    driver.tick(Timestamp(1_000)).unwrap();
    assert_eq!(
        slow.poll(10).unwrap_err(),
        WatchError::Expired {
            oldest: Revision(5)
        }
    );
    assert_eq!(
        slow.poll(10).unwrap_err(),
        WatchError::Expired {
            oldest: Revision(5)
        }
    );
    assert!(
        quiet.poll(10).unwrap().is_empty(),
        "nothing happened to nodes, so nothing was missed"
    );
    assert_eq!(quiet.progress(), Revision(7));
}

#[test]
fn progress_never_passes_what_was_not_polled() {
    let driver = new_driver();
    let mut watch = driver.hub().subscribe(PODS, Revision(1), nobody()).unwrap();
    assert_eq!(watch.progress(), Revision(1));
    let two = Txn::new()
        .put("/registry/core/pods/one/a", Value::plain("1"))
        .put("/registry/core/pods/one/b", Value::plain("1"));
    driver.store().apply(two).unwrap();
    put(&driver, "/registry/core/nodes/n");
    driver.turn().unwrap();
    assert_eq!(watch.progress(), Revision(1));
    assert_eq!(watch.poll(1).unwrap().len(), 1);
    assert_eq!(
        watch.progress(),
        Revision(1),
        "half a transaction is not a revision"
    );
    assert_eq!(watch.poll(1).unwrap().len(), 1);
    assert_eq!(watch.progress(), Revision(3));
}

#[test]
fn who_waits_for_a_revision_is_woken_when_it_is_durable_and_not_before() {
    let driver = new_driver();
    let first = put(&driver, "/a");
    let (early, wake) = counter();
    driver.hub().when_durable(first, wake);
    let (late, wake) = counter();
    driver.hub().when_durable(first.next(), wake);
    assert_eq!(early.load(Ordering::SeqCst), 0);
    driver.turn().unwrap();
    assert_eq!(
        (early.load(Ordering::SeqCst), late.load(Ordering::SeqCst)),
        (1, 0)
    );
    let (already, wake) = counter();
    driver.hub().when_durable(first, wake);
    assert_eq!(already.load(Ordering::SeqCst), 1);
    put(&driver, "/a");
    driver.turn().unwrap();
    assert_eq!(late.load(Ordering::SeqCst), 1);
    assert_eq!(driver.hub().stats().waiters, 0);
}

#[test]
fn when_the_log_fails_who_waits_is_woken_and_watchers_see_nothing() {
    let disk = CrashableDisk::new();
    let driver = Driver::new(Arc::new(
        Store::open(Box::new(disk.clone()), Options::default()).unwrap(),
    ));
    let mut watch = driver.hub().subscribe(PODS, Revision(1), nobody()).unwrap();
    let revision = put(&driver, "/registry/core/pods/one/a");
    let (woken, wake) = counter();
    driver.hub().when_durable(revision, wake);
    disk.set_sync_fails(true);
    assert!(driver.turn().is_err());
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    assert!(driver.store().failure().is_some());
    assert!(watch.poll(10).unwrap().is_empty());
}

#[test]
fn a_watch_resumes_over_a_restart() {
    let disk = CrashableDisk::new();
    let open = || {
        Driver::new(Arc::new(
            Store::open(Box::new(disk.clone()), Options::default()).unwrap(),
        ))
    };
    let driver = open();
    for _ in 0..3 {
        put(&driver, "/registry/core/pods/one/a");
        driver.turn().unwrap();
    }
    drop(driver);
    let driver = open();
    let mut watch = driver
        .hub()
        .subscribe("/registry/core/pods/one/", Revision(2), nobody())
        .unwrap();
    assert_eq!(revisions(&watch.poll(10).unwrap()), [3, 4]);
}

#[test]
fn topics_that_nobody_follows_go_and_rings_follow_the_store_s_floor() {
    let driver = new_driver();
    let names: Vec<String> = (0..50)
        .map(|number| format!("/registry/core/pods/one/{number}"))
        .collect();
    let watches: Vec<_> = names
        .iter()
        .map(|name| driver.hub().subscribe(name, Revision(1), nobody()).unwrap())
        .collect();
    put(&driver, &names[0]);
    driver.turn().unwrap();
    assert_eq!(driver.hub().stats().followers, 50);
    drop(watches);
    put(&driver, &names[0]);
    driver.tick(Timestamp(1_000)).unwrap();
    assert_eq!(
        (driver.hub().stats().topics, driver.hub().stats().events),
        (1, 2)
    );
    driver.tick(Timestamp(1_000_000)).unwrap();
    assert_eq!(driver.hub().stats().events, 0);
}

#[test]
fn watchers_on_other_threads_see_every_event_in_order() {
    const EVENTS: u64 = 3_000;
    let driver = new_driver();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for prefix in ["/registry/", PODS, "/registry/core/pods/one/"] {
            let driver = &driver;
            scope.spawn(move || {
                let this = std::thread::current();
                let wake = Arc::new(move || this.unpark());
                let mut watch = driver.hub().subscribe(prefix, Revision(1), wake).unwrap();
                let mut next = 2;
                while next < EVENTS + 2 {
                    let events = watch.poll(64).unwrap();
                    for event in &events {
                        assert_eq!(event.revision.0, next);
                        next += 1;
                    }
                    if events.is_empty() {
                        std::thread::park();
                    }
                }
            });
        }
        let (driver, done) = (&driver, &done);
        scope.spawn(move || {
            while !done.load(Ordering::SeqCst) || driver.store().has_pending() {
                driver.turn().unwrap();
                std::thread::yield_now();
            }
        });
        for _ in 0..EVENTS {
            put(driver, "/registry/core/pods/one/a");
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn after_a_burst_the_driver_is_told_to_come_back_and_trim() {
    let driver = new_driver();
    let start = Timestamp(1_000_000);
    driver.tick(start).unwrap();
    put(&driver, "/registry/core/pods/one/a");
    driver.turn().unwrap();
    driver.store().compact(Revision(2)).unwrap();
    assert_eq!(driver.tick(start).unwrap(), Some(start.plus_seconds(1)));
    assert_eq!(driver.hub().stats().events, 1);
    assert_eq!(driver.tick(start.plus_seconds(1)).unwrap(), None);
    assert_eq!(driver.hub().stats().events, 0);
}
