//! Whoever lists and then follows a watch holds what a list would give, whatever is written and whichever labels are asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use kubecore_store::{Options, Store, Txn, Value};
use kubecore_watch::Driver;
use kubecore_wire::{Allow, Credential, Door, Request, Served, Step, WatchStream};
use proptest::prelude::*;

const ROWS: &str = r#"[{"group":"","version":"v1","plural":"pods","kind":"Pod","namespaced":true,
                        "verbs":["list","watch","create"]}]"#;

#[derive(Clone, Debug)]
enum Write {
    Put {
        name: u8,
        tier: u8,
    },
    Delete {
        name: u8,
    },
    /// What was written until here becomes durable.
    Sync,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let put = (0..6u8, 0..3u8).prop_map(|(name, tier)| Write::Put { name, tier });
    let write = prop_oneof![4 => put, 2 => (0..6u8).prop_map(|name| Write::Delete { name }), 2 => Just(Write::Sync)];
    prop::collection::vec(write, 1..60)
}

struct House {
    driver: Driver,
    door: Door,
}

impl House {
    fn new() -> House {
        let driver = Driver::new(Arc::new(Store::memory(Options::default())));
        let door = Door::new(driver.store().clone(), driver.hub().clone());
        door.serve_resources(ROWS.as_bytes()).unwrap();
        House { driver, door }
    }

    fn write(&self, write: &Write) {
        let store = self.driver.store();
        let key = |name: &u8| format!("/registry/core/pods/default/p{name}");
        match write {
            Write::Put { name, tier } => {
                let head = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":""#;
                let text = format!(r#"{head}","name":"p{name}","labels":{{"tier":"t{tier}"}}}}}}"#);
                let value = Value::spliced(text.as_bytes(), head.len(), store.revision()).unwrap();
                store.apply(Txn::new().put(key(name), value)).unwrap();
            }
            // Deleting what is absent is refused and changes nothing.
            Write::Delete { name } => drop(store.apply(Txn::new().delete(key(name)))),
            Write::Sync => drop(self.driver.turn().unwrap()),
        }
    }

    fn served(&self, target: &str) -> Served {
        let credential = Credential::Local(Bytes::from_static(b"t"));
        let request = Arc::new(Request::new(
            Method::GET,
            target,
            HeaderMap::new(),
            credential,
            String::new(),
        ));
        let allow = Allow {
            epoch: self.driver.store().policy_epoch(),
            user: "t".to_owned(),
            any_name: true,
            any_namespace: true,
            ttl: None,
        };
        self.door.allowed(&request, &allow)
    }

    fn watch(&self, target: &str) -> WatchStream {
        match self.served(target) {
            Served::Watch(pending) => pending.start(Arc::new(|| {})),
            _ => panic!("no watch"),
        }
    }

    /// (revision, name → object)
    fn list(&self, target: &str) -> (String, BTreeMap<String, String>) {
        let Served::List(mut list) = self.served(target) else {
            panic!("no list")
        };
        let mut body = Vec::new();
        while let Some(segment) = list.segment() {
            body.extend_from_slice(&segment);
        }
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let items = value["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(identity)
            .collect();
        (
            value["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .to_owned(),
            items,
        )
    }

    fn follow(&self, stream: &mut WatchStream, held: &mut BTreeMap<String, String>) {
        while let Step::Items(items) = stream.step(&self.door.verdicts) {
            for item in items {
                let (name, version) = identity(&serde_json::from_slice(&item.object).unwrap());
                match item.kind {
                    "ADDED" => assert!(held.insert(name, version).is_none(), "added twice"),
                    "MODIFIED" => assert!(
                        held.insert(name, version).is_some(),
                        "modified before it was added"
                    ),
                    "DELETED" => {
                        assert!(held.remove(&name).is_some(), "deleted before it was added")
                    }
                    other => panic!("{other}"),
                }
            }
        }
    }
}

fn identity(object: &serde_json::Value) -> (String, String) {
    let text = |name: &str| object["metadata"][name].as_str().unwrap().to_owned();
    (text("name"), text("resourceVersion"))
}

proptest! {
    #[test]
    fn a_follower_holds_what_a_list_gives(before in writes(), after in writes(), selector in 0..4u8) {
        let house = House::new();
        let selector = if selector == 3 { String::new() } else { format!("labelSelector=tier%3Dt{selector}") };
        before.iter().for_each(|write| house.write(write));
        let (revision, mut held) = house.list(&format!("/api/v1/pods?{selector}"));
        let mut from_list = house.watch(&format!("/api/v1/pods?watch=1&resourceVersion={revision}&{selector}"));
        let mut from_nothing = house.watch(&format!("/api/v1/pods?watch=1&{selector}"));
        let mut also_held = BTreeMap::new();
        for write in &after {
            house.write(write);
            house.follow(&mut from_list, &mut held);
        }
        house.write(&Write::Sync);
        house.follow(&mut from_list, &mut held);
        house.follow(&mut from_nothing, &mut also_held);
        let (_, listed) = house.list(&format!("/api/v1/pods?{selector}"));
        prop_assert_eq!(&held, &listed);
        prop_assert_eq!(&also_held, &listed);
    }
}
