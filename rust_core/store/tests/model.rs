//! The store against the simplest thing that could be right: one map per revision, all kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubecore_store::{
    Change, Entry, Expected, Head, HistoryBounds, Limits, Options, Revision, Store, StoreError,
    Timestamp, Txn, Value,
};
use proptest::prelude::*;

/// (value, created, modified, version) by key.
type Model = BTreeMap<String, (Vec<u8>, u64, u64, u64)>;

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Create(u8, u8),
    Update(u8, u8),
    Delete(u8),
    Both(u8, u8),
    Commit,
    Compact(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..8u8;
    let step = prop_oneof![
        3 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Create(key, value)),
        2 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Update(key, value)),
        2 => key.clone().prop_map(Step::Delete),
        2 => (key.clone(), key).prop_map(|(put, delete)| Step::Both(put, delete)),
        2 => Just(Step::Commit),
        1 => any::<u8>().prop_map(Step::Compact),
    ];
    prop::collection::vec(step, 1..80)
}

fn key_of(number: u8) -> String {
    format!(
        "/registry/core/pods/{}/{number}",
        if number.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        }
    )
}

fn spliced(value: u8, likely: Revision) -> Value {
    Value::spliced(format!("{{rv:\"\",v:{value}}}").as_bytes(), 5, likely).unwrap()
}

fn expect_value(value: u8, revision: u64) -> Vec<u8> {
    format!("{{rv:\"{revision}\",v:{value}}}").into_bytes()
}

fn as_model<'view>(entries: impl Iterator<Item = &'view Arc<Entry>>) -> Model {
    let fields = |entry: &Entry| {
        (
            entry.value.to_vec(),
            entry.created.0,
            entry.modified.0,
            entry.version,
        )
    };
    entries
        .map(|entry| (entry.key.to_string(), fields(entry)))
        .collect()
}

struct Both {
    store: Store,
    /// Index 0 is revision 1.
    models: Vec<Model>,
    compacted: u64,
}

impl Both {
    fn put(&mut self, key: &str, value: u8, model: &mut Model) -> (Txn, u64) {
        let revision = self.store.revision().0 + 1;
        let (created, version) = model
            .get(key)
            .map_or((revision, 1), |old| (old.1, old.3 + 1));
        model.insert(
            key.to_owned(),
            (expect_value(value, revision), created, revision, version),
        );
        (
            Txn::new().put(key, spliced(value, self.store.revision())),
            revision,
        )
    }

    fn step(&mut self, step: &Step) {
        let head = self.models.last().unwrap().clone();
        let mut model = head.clone();
        match *step {
            Step::Put(number, value) => {
                let (txn, _) = self.put(&key_of(number), value, &mut model);
                self.applied(txn, model);
            }
            Step::Create(number, value) => {
                let key = key_of(number);
                let (txn, _) = self.put(&key, value, &mut model);
                self.conditional(
                    txn.expect(key.clone(), Expected::Absent),
                    model,
                    !head.contains_key(&key),
                );
            }
            Step::Update(number, value) => {
                let key = key_of(number);
                let at = head.get(&key).map_or(u64::from(value) + 1, |old| {
                    if value < 200 { old.2 } else { old.2 + 1 }
                });
                let (txn, _) = self.put(&key, value, &mut model);
                let holds = head.get(&key).is_some_and(|old| old.2 == at);
                self.conditional(
                    txn.expect(key, Expected::Modified(Revision(at))),
                    model,
                    holds,
                );
            }
            Step::Delete(number) => {
                let key = key_of(number);
                let was_there = model.remove(&key).is_some();
                self.conditional(Txn::new().delete(key), model, was_there);
            }
            Step::Both(put, delete) if put != delete => {
                let (txn, _) = self.put(&key_of(put), 7, &mut model);
                let was_there = model.remove(&key_of(delete)).is_some();
                self.conditional(txn.delete(key_of(delete)), model, was_there);
            }
            Step::Both(number, _) => {
                let txn = Txn::new()
                    .put(key_of(number), Value::plain("1"))
                    .delete(key_of(number));
                assert!(matches!(
                    self.store.apply(txn),
                    Err(StoreError::DuplicateKey { .. })
                ));
            }
            Step::Commit => {
                let released = self.store.write_pending().unwrap();
                assert_eq!(released.revision, self.store.revision());
            }
            Step::Compact(number) => {
                let durable = self.store.durable_revision().0;
                let revision = (durable * u64::from(number) / 255).max(1);
                let done = self.store.compact(Revision(revision));
                assert_eq!(done.is_ok(), revision > self.compacted);
                self.compacted = self.compacted.max(revision);
            }
        }
    }

    fn applied(&mut self, txn: Txn, model: Model) {
        let applied = self.store.apply(txn).unwrap();
        self.models.push(model);
        assert_eq!(applied.revision.0, self.models.len() as u64);
    }

    fn conditional(&mut self, txn: Txn, model: Model, holds: bool) {
        if holds {
            return self.applied(txn, model);
        }
        assert!(matches!(
            self.store.apply(txn),
            Err(StoreError::CompareFailed { .. })
        ));
    }

    fn check(&self) {
        let head = self.models.len() as u64;
        assert_eq!(self.store.revision().0, head);
        let model = self.models.last().unwrap();
        for (key, (value, ..)) in model {
            assert_eq!(self.store.get(key).unwrap().value, value);
        }
        let durable = self.store.view(Head::Durable);
        assert_eq!(
            as_model(durable.range("", "")),
            self.models[durable.revision.0 as usize - 1]
        );
        for revision in 1..=head + 1 {
            let view = self.store.view_at(Revision(revision));
            match view {
                Ok(view) => {
                    assert_eq!(view.revision.0, revision);
                    assert_eq!(
                        as_model(view.range("", "")),
                        self.models[revision as usize - 1]
                    );
                    let odd = as_model(view.range("/registry/core/pods/odd/", ""));
                    assert!(odd.keys().all(|key| key.contains("/odd/")));
                    assert_eq!(odd.len(), view.count("/registry/core/pods/odd/"));
                }
                Err(StoreError::Compacted { oldest, .. }) => {
                    assert!(revision < self.compacted);
                    assert_eq!(oldest.0, self.compacted);
                }
                Err(StoreError::FutureRevision { .. }) => assert_eq!(revision, head + 1),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_store_agrees_with_a_map_per_revision(steps in steps()) {
        let mut both = Both { store: Store::memory(Options::default()), models: vec![Model::new()], compacted: 1 };
        for step in &steps {
            both.step(step);
        }
        both.check();
    }
}

#[test]
fn the_past_is_right_across_checkpoints() {
    let store = Store::memory(Options::default());
    for number in 0..20_000u32 {
        let key = format!("/k/{}", number % 100);
        if number % 7 == 3 && store.get(&key).is_some() {
            store.apply(Txn::new().delete(key)).unwrap();
        } else {
            store
                .apply(Txn::new().put(key, Value::plain(number.to_string())))
                .unwrap();
        }
        if number % 10 == 0 {
            store.write_pending().unwrap();
        }
    }
    let replayed = |until: u64| {
        let mut model = BTreeMap::new();
        let events = store.durable_events_since(Revision(1)).unwrap().events;
        for event in events.iter().take_while(|event| event.revision.0 <= until) {
            match event.change {
                Change::Put => {
                    drop(model.insert(event.key().to_string(), event.entry.value.clone()))
                }
                Change::Delete => drop(model.remove(&**event.key())),
            }
        }
        model
    };
    store.write_pending().unwrap();
    for revision in [1, 2, 4095, 4096, 4097, 4098, 8193, 12_000, 20_000, 20_001] {
        let view = store.view_at(Revision(revision)).unwrap();
        let found: BTreeMap<_, _> = view
            .range("", "")
            .map(|entry| (entry.key.to_string(), entry.value.clone()))
            .collect();
        assert_eq!(found, replayed(revision), "revision {revision}");
    }
    store.compact(Revision(9000)).unwrap();
    assert!(matches!(
        store.view_at(Revision(8999)),
        Err(StoreError::Compacted {
            oldest: Revision(9000),
            ..
        })
    ));
    assert_eq!(
        store.view_at(Revision(9000)).unwrap().revision,
        Revision(9000)
    );
    assert_eq!(store.stats().history_events, 20_001 - 9000);
}

#[test]
fn a_released_event_shows_what_was_and_what_is() {
    let store = Store::memory(Options::default());
    store
        .apply(Txn::new().put("/a", spliced(1, store.revision())))
        .unwrap();
    store
        .apply(Txn::new().put("/a", spliced(2, store.revision())))
        .unwrap();
    store.apply(Txn::new().delete("/a")).unwrap();
    assert_eq!(store.durable_revision(), Revision(1));
    let released = store.write_pending().unwrap();
    let seen: Vec<_> = released
        .events
        .iter()
        .map(|event| {
            let before = event
                .previous
                .as_ref()
                .map(|previous| previous.value.to_vec());
            (
                event.revision.0,
                event.change,
                event.is_creation(),
                event.entry.value.to_vec(),
                before,
            )
        })
        .collect();
    let [one, two, last] = [expect_value(1, 2), expect_value(2, 3), expect_value(2, 4)];
    assert_eq!(
        seen,
        [
            (2, Change::Put, true, one.clone(), None),
            (3, Change::Put, false, two.clone(), Some(one)),
            (4, Change::Delete, false, last, Some(two)),
        ]
    );
    assert!(store.write_pending().unwrap().events.is_empty());
}

#[test]
fn history_goes_when_it_is_too_old_and_only_then() {
    let store = Store::memory(Options::default());
    store.tick(Timestamp::from_seconds(1000.0)).unwrap();
    store
        .apply(Txn::new().put("/a", Value::plain("1")))
        .unwrap();
    store.write_pending().unwrap();
    let next = store
        .tick(Timestamp::from_seconds(1300.0))
        .unwrap()
        .unwrap();
    assert_eq!(store.compacted_revision(), Revision(1));
    store.tick(next).unwrap();
    assert_eq!(store.compacted_revision(), Revision(2));
}

#[test]
fn history_is_bounded_in_bytes() {
    let history = HistoryBounds {
        bytes_max: 100_000,
        ..HistoryBounds::default()
    };
    let store = Store::memory(Options {
        history,
        ..Options::default()
    });
    for _ in 0..1000 {
        store
            .apply(Txn::new().put("/a", Value::plain(vec![b'x'; 1000])))
            .unwrap();
        store.write_pending().unwrap();
        assert!(store.stats().history_bytes <= 100_000 + 1300);
    }
    assert!(store.stats().history_events > 50);
}

#[test]
fn what_is_not_durable_never_leaves_the_history() {
    let history = HistoryBounds {
        bytes_max: 0,
        age_seconds: 0,
    };
    let store = Store::memory(Options {
        history,
        ..Options::default()
    });
    for _ in 0..10 {
        store
            .apply(Txn::new().put("/a", Value::plain("1")))
            .unwrap();
    }
    store.tick(Timestamp::from_seconds(1e9)).unwrap();
    assert_eq!(store.compacted_revision(), Revision(1));
    assert_eq!(store.write_pending().unwrap().events.len(), 10);
}

#[test]
fn a_key_expires_as_an_ordinary_delete_unless_it_was_written_again() {
    let store = Store::memory(Options::default());
    store.tick(Timestamp(1000)).unwrap();
    store
        .apply(Txn::new().put_with_ttl("/event", Value::plain("1"), 60))
        .unwrap();
    store
        .apply(Txn::new().put_with_ttl("/renewed", Value::plain("1"), 60))
        .unwrap();
    store
        .apply(Txn::new().put_with_ttl("/kept", Value::plain("1"), 60))
        .unwrap();
    store.tick(Timestamp(2000)).unwrap();
    store
        .apply(Txn::new().put_with_ttl("/renewed", Value::plain("2"), 60))
        .unwrap();
    store
        .apply(Txn::new().put("/kept", Value::plain("2")))
        .unwrap();
    assert_eq!(
        store.tick(Timestamp(60_999)).unwrap(),
        Some(Timestamp(61_000))
    );
    assert!(store.get("/event").is_some());
    assert_eq!(
        store.tick(Timestamp(61_000)).unwrap(),
        Some(Timestamp(62_000))
    );
    assert!(store.get("/event").is_none());
    assert!(store.get("/renewed").is_some());
    store.tick(Timestamp(62_000)).unwrap();
    assert!(store.get("/renewed").is_none());
    assert!(store.get("/kept").is_some());
    let events = store.write_pending().unwrap().events;
    let deleted: Vec<&str> = events
        .iter()
        .filter(|event| event.change == Change::Delete)
        .map(|event| &**event.key())
        .collect();
    assert_eq!(deleted, ["/event", "/renewed"]);
}

#[test]
fn every_compare_can_hold_and_fail() {
    let store = Store::memory(Options::default());
    store
        .apply(Txn::new().put("/a", Value::plain("1")))
        .unwrap();
    store
        .apply(Txn::new().put("/a", Value::plain("2")))
        .unwrap();
    let judge = |expected: Expected| store.apply(Txn::new().expect("/a", expected)).is_ok();
    assert!(judge(Expected::Any));
    assert!(!judge(Expected::Absent));
    assert!(judge(Expected::Modified(Revision(3))) && !judge(Expected::Modified(Revision(2))));
    assert!(judge(Expected::Created(Revision(2))) && !judge(Expected::Created(Revision(3))));
    assert!(judge(Expected::Version(2)) && !judge(Expected::Version(1)));
    assert!(judge(Expected::Value("2".into())) && !judge(Expected::Value("1".into())));
    assert_eq!(store.revision(), Revision(3));
}

#[test]
fn the_policy_epoch_moves_with_policy_and_with_nothing_else() {
    let policy_prefixes = vec!["/registry/rbac/".to_owned()];
    let store = Store::memory(Options {
        policy_prefixes,
        ..Options::default()
    });
    let mut epochs = vec![store.policy_epoch()];
    for txn in [
        Txn::new().put("/registry/rbac/a", Value::plain("1")),
        Txn::new().put("/registry/pods/a", Value::plain("1")),
        Txn::new()
            .put("/registry/rbac/a", Value::plain("2"))
            .put("/registry/rbac/b", Value::plain("2")),
        Txn::new().delete("/registry/rbac/a"),
    ] {
        store.apply(txn).unwrap();
        epochs.push(store.policy_epoch());
    }
    assert!(store.apply(Txn::new().delete("/registry/rbac/a")).is_err());
    epochs.push(store.policy_epoch());
    let moved: Vec<bool> = epochs.windows(2).map(|pair| pair[1] > pair[0]).collect();
    assert_eq!(moved, [true, false, true, true, false]);
}

#[test]
fn limits_are_kept_and_what_waits_for_the_disk_is_bounded() {
    let limits = Limits {
        value_bytes_max: 100,
        pending_bytes_max: 1000,
        ..Limits::default()
    };
    let store = Store::memory(Options {
        limits,
        ..Options::default()
    });
    let put = |bytes: usize| store.apply(Txn::new().put("/a", Value::plain(vec![b'x'; bytes])));
    assert!(matches!(
        put(101),
        Err(StoreError::TooLarge {
            size_bytes: 101,
            limit_bytes: 100,
            ..
        })
    ));
    let accepted = (0..100).take_while(|_| put(100).is_ok()).count();
    assert_eq!(accepted, 10);
    assert!(matches!(put(1), Err(StoreError::Overloaded { .. })));
    store.write_pending().unwrap();
    assert!(put(100).is_ok());
}

#[test]
fn keys_that_expire_while_too_much_waits_for_the_disk_go_with_the_next_turn() {
    let limits = Limits {
        pending_bytes_max: 100,
        ..Limits::default()
    };
    let store = Store::memory(Options {
        limits,
        ..Options::default()
    });
    store
        .apply(Txn::new().put_with_ttl("/lease", Value::plain("1"), 10))
        .unwrap();
    store.write_pending().unwrap();
    store
        .apply(Txn::new().put("/a", Value::plain("x".repeat(200))))
        .unwrap();
    let due_again = store.tick(Timestamp(60_000)).unwrap().unwrap();
    assert!(due_again <= Timestamp(60_000));
    store.write_pending().unwrap();
    store.tick(Timestamp(60_000)).unwrap();
    assert!(store.get("/lease").is_none());
}

#[test]
fn a_store_that_was_closed_with_keys_due_still_writes_what_it_took() {
    let store = Store::memory(Options::default());
    store
        .apply(Txn::new().put_with_ttl("/lease", Value::plain("1"), 10))
        .unwrap();
    store.close();
    assert!(store.tick(Timestamp(60_000)).unwrap().is_none());
    assert_eq!(store.write_pending().unwrap().events.len(), 1);
}

#[test]
fn a_past_that_nobody_may_ask_for_is_let_go() {
    let store = Store::memory(Options::default());
    let put = |value: &str| {
        let applied = store
            .apply(Txn::new().put("/a", Value::plain(value)))
            .unwrap();
        store.write_pending().unwrap();
        applied.revision
    };
    let then = put("1");
    put("2");
    let old = std::sync::Arc::downgrade(store.view_at(then).unwrap().get("/a").unwrap());
    let mut last = then;
    for _ in 0..5000 {
        last = put("3");
    }
    store.compact(last).unwrap();
    put("4");
    assert!(old.upgrade().is_none(), "a remembered view holds on to it");
}

#[test]
fn a_clock_that_was_far_ahead_and_set_right_again_leaves_new_keys_their_time() {
    let store = Store::memory(Options::default());
    store.tick(Timestamp::from_seconds(4e9)).unwrap();
    store
        .apply(Txn::new().put("/ahead", Value::plain("1")))
        .unwrap();
    store.tick(Timestamp::from_seconds(2e9)).unwrap();
    store
        .apply(Txn::new().put_with_ttl("/event", Value::plain("1"), 60))
        .unwrap();
    assert_eq!(
        store.get("/event").unwrap().expires,
        Some(Timestamp::from_seconds(2e9 + 60.0))
    );
    store.tick(Timestamp::from_seconds(2e9 + 60.0)).unwrap();
    assert!(store.get("/event").is_none());
}
