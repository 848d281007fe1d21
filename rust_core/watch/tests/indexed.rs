//! Whoever watches one value of an indexed field sees all of its changes and hears of no others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kubecore_store::{Options, Store, Txn, Value};
use kubecore_watch::{
    Driver, Event, IndexedField, Revision, Subscription, Wake, WatchError, indexed_field,
};
use proptest::prelude::*;

const PODS: &str = "/registry/core/pods/";

fn field() -> &'static IndexedField {
    indexed_field(PODS).unwrap()
}

fn driver() -> Driver {
    Driver::new(Arc::new(Store::memory(Options::default())))
}

fn pod(node: &str) -> Value {
    Value::plain(match node {
        "" => r#"{"kind":"Pod","spec":{"containers":[]}}"#.to_owned(),
        node => format!(r#"{{"kind":"Pod","spec":{{"containers":[],"nodeName":"{node}"}}}}"#),
    })
}

fn put(driver: &Driver, name: &str, node: &str) -> Revision {
    let txn = Txn::new().put(format!("{PODS}default/{name}"), pod(node));
    driver.store().apply(txn).unwrap().revision
}

fn turn(driver: &Driver) {
    driver.turn().unwrap();
}

fn counted() -> (Arc<AtomicUsize>, Arc<dyn Wake>) {
    let count = Arc::new(AtomicUsize::new(0));
    let wakes = count.clone();
    (
        count,
        Arc::new(move || {
            wakes.fetch_add(1, Ordering::SeqCst);
        }),
    )
}

fn nobody() -> Arc<dyn Wake> {
    Arc::new(|| ())
}

fn revisions(subscription: &mut Subscription) -> Vec<u64> {
    let events = subscription.poll(1_000).unwrap();
    events.iter().map(|event| event.revision.0).collect()
}

#[test]
fn an_event_wakes_the_watcher_of_its_node_and_nobody_else() {
    let driver = driver();
    let hub = driver.hub();
    let mut watchers: Vec<_> = (0..5_000)
        .map(|node| {
            let (count, wake) = counted();
            let from = driver.store().durable_revision();
            let value = format!("node-{node}");
            let subscription = hub.subscribe_to_value(field(), &value, from, wake).unwrap();
            (count, subscription)
        })
        .collect();
    put(&driver, "a", "");
    turn(&driver);
    assert!(
        watchers
            .iter()
            .all(|(count, _)| count.load(Ordering::SeqCst) == 0)
    );
    let bound = put(&driver, "a", "node-7");
    turn(&driver);
    for (node, (count, subscription)) in watchers.iter_mut().enumerate() {
        let expected = if node == 7 { vec![bound.0] } else { vec![] };
        assert_eq!(count.load(Ordering::SeqCst), expected.len());
        assert_eq!(revisions(subscription), expected);
        // Everybody's bookmark moves on: what happened elsewhere is not theirs to wait for.
        assert_eq!(subscription.progress(), bound);
    }
}

#[test]
fn a_value_that_changes_reaches_the_watchers_of_both() {
    let driver = driver();
    put(&driver, "a", "one");
    turn(&driver);
    let from = driver.store().durable_revision();
    let subscribe = |value| {
        driver
            .hub()
            .subscribe_to_value(field(), value, from, nobody())
    };
    let (mut one, mut two) = (subscribe("one").unwrap(), subscribe("two").unwrap());
    let moved = put(&driver, "a", "two");
    turn(&driver);
    let deleted = driver
        .store()
        .apply(Txn::new().delete(format!("{PODS}default/a")));
    turn(&driver);
    assert_eq!(revisions(&mut one), [moved.0]);
    assert_eq!(revisions(&mut two), [moved.0, deleted.unwrap().revision.0]);
}

#[test]
fn a_watch_from_before_the_topic_was_made_misses_nothing() {
    let driver = driver();
    let start = driver.store().durable_revision();
    let first = put(&driver, "a", "one");
    turn(&driver);
    let late = driver
        .hub()
        .subscribe_to_value(field(), "one", first, nobody())
        .unwrap();
    // The topic reaches back to `first` only: this one reads the whole collection's.
    let mut early = driver
        .hub()
        .subscribe_to_value(field(), "one", start, nobody())
        .unwrap();
    let second = put(&driver, "b", "one");
    turn(&driver);
    let mut late = late;
    assert_eq!(revisions(&mut early), [first.0, second.0]);
    assert_eq!(revisions(&mut late), [second.0]);
}

#[test]
fn compacted_and_future_revisions_are_refused_as_for_any_watch() {
    let driver = driver();
    for _ in 0..3 {
        put(&driver, "a", "one");
    }
    turn(&driver);
    let newest = driver.store().durable_revision();
    driver.store().compact(newest).unwrap();
    let subscribe = |from| {
        driver
            .hub()
            .subscribe_to_value(field(), "one", Revision(from), nobody())
    };
    assert!(matches!(
        subscribe(1).err(),
        Some(WatchError::Compacted { .. })
    ));
    assert!(matches!(
        subscribe(newest.0 + 1).err(),
        Some(WatchError::Future { .. })
    ));
}

fn sees(event: &Event, node: &str) -> bool {
    let needle = format!(r#""nodeName":"{node}""#);
    let has = |value: &[u8]| String::from_utf8_lossy(value).contains(&needle);
    has(&event.entry.value)
        || event
            .previous
            .as_ref()
            .is_some_and(|entry| has(&entry.value))
}

proptest! {
    #[test]
    fn it_is_the_collections_watch_with_the_others_left_out(
        steps in prop::collection::vec((0..4usize, 0..4usize, 0..4usize, any::<bool>()), 1..80),
    ) {
        let driver = driver();
        let nodes = ["", "one", "two", "three"];
        let mut pairs: Vec<(&str, Subscription, Subscription)> = Vec::new();
        for (action, name, node, turns) in steps {
            let key = format!("{PODS}default/{name}");
            match action {
                0 if driver.store().get(&key).is_some() => {
                    driver.store().apply(Txn::new().delete(key)).unwrap();
                }
                0 | 1 => drop(put(&driver, &name.to_string(), nodes[node])),
                2 if node > 0 => {
                    let newest = driver.store().durable_revision();
                    let from = Revision(newest.0.saturating_sub(name as u64).max(1));
                    let value = driver.hub().subscribe_to_value(field(), nodes[node], from, nobody()).unwrap();
                    let all = driver.hub().subscribe(PODS, from, nobody()).unwrap();
                    pairs.push((nodes[node], value, all));
                }
                _ if !pairs.is_empty() => drop(pairs.remove(name % pairs.len())),
                _ => {}
            }
            if turns {
                turn(&driver);
                driver.hub().trim();
            }
        }
        turn(&driver);
        for (node, value, all) in &mut pairs {
            let of_value: Vec<_> = value.poll(1_000).unwrap().into_iter().filter(|event| sees(event, node)).collect();
            let of_all: Vec<_> = all.poll(1_000).unwrap().into_iter().filter(|event| sees(event, node)).collect();
            prop_assert_eq!(of_value.len(), of_all.len());
            prop_assert!(of_value.iter().zip(&of_all).all(|(left, right)| Arc::ptr_eq(left, right)));
            prop_assert_eq!(value.progress(), all.progress());
        }
    }
}
