//! The door without a socket: who is asked, what is shown, and that nothing leaves before it is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method};
use kubecore_store::{Options, Store, Txn, Value};
use kubecore_watch::Driver;
use kubecore_wire::{
    Allow, Begun, Credential, Door, Reply, Request, Served, Settlement, Step, Wants, WatchStream,
};

const POLICY: &str = "/registry/rbac.authorization.k8s.io/";
const ROWS: &str = r#"[
  {"group":"","version":"v1","plural":"pods","kind":"Pod","namespaced":true,"verbs":["get","list","watch","create"]},
  {"group":"","version":"v1","plural":"namespaces","kind":"Namespace","namespaced":false,"verbs":["get","list","watch"]}]"#;

struct House {
    driver: Driver,
    door: Arc<Door>,
}

impl House {
    fn new() -> House {
        let options = Options {
            policy_prefixes: vec![POLICY.to_owned()],
            ..Options::default()
        };
        let driver = Driver::new(Arc::new(Store::memory(options)));
        let door = Arc::new(Door::new(driver.store().clone(), driver.hub().clone()));
        door.serve_resources(ROWS.as_bytes()).unwrap();
        House { driver, door }
    }

    /// Applied, not durable.
    fn write(&self, key: &str, labels: &str) -> u64 {
        let head = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":""#;
        let name = key.rsplit('/').next().unwrap();
        let text = format!(r#"{head}","name":"{name}","labels":{{{labels}}}}}}}"#);
        let store = self.driver.store();
        let value = Value::spliced(text.as_bytes(), head.len(), store.revision()).unwrap();
        store.apply(Txn::new().put(key, value)).unwrap().revision.0
    }

    fn put(&self, name: &str, labels: &str) -> u64 {
        let revision = self.write(&format!("/registry/core/pods/default/{name}"), labels);
        self.driver.turn().unwrap();
        revision
    }

    fn change_policy(&self) {
        self.write(&format!("{POLICY}roles/default/reader"), "");
        self.driver.turn().unwrap();
    }

    fn allow(&self) -> Allow {
        let epoch = self.driver.store().policy_epoch();
        Allow {
            epoch,
            user: "ann".to_owned(),
            any_name: true,
            any_namespace: true,
            ttl: None,
        }
    }

    fn served(&self, target: &str) -> Served {
        let request = request("GET", target);
        match self.door.begin(&request) {
            Begun::Served(served) => served,
            Begun::Ask(Wants::Verdict) => self.door.allowed(&request, &self.allow()),
            Begun::Ask(Wants::Answer) => panic!("{target} is Python's to answer"),
        }
    }

    fn reply(&self, target: &str) -> Reply {
        match self.served(target) {
            Served::Reply(reply) => reply,
            Served::List(mut list) => {
                let mut body = Vec::new();
                while let Some(segment) = list.segment() {
                    body.extend_from_slice(&segment);
                }
                Reply::json(200, Bytes::from(body))
            }
            Served::Watch(_) | Served::Forward(_) => panic!("{target} is no whole answer"),
        }
    }

    fn watch(&self, target: &str) -> WatchStream {
        match self.served(target) {
            Served::Watch(pending) => pending.start(Arc::new(|| {})),
            _ => panic!("{target} is no watch"),
        }
    }
}

fn request(method: &str, target: &str) -> Arc<Request> {
    let credential = Credential::Token(Bytes::from_static(b"ann"));
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Arc::new(Request::new(
        method,
        target,
        HeaderMap::new(),
        credential,
        String::new(),
    ))
}

fn kinds(stream: &mut WatchStream, house: &House) -> Vec<&'static str> {
    match stream.step(&house.door.verdicts) {
        Step::Items(items) => items.iter().map(|item| item.kind).collect(),
        Step::Idle => vec!["idle"],
        Step::Ask => vec!["ask"],
        Step::Ended => vec!["ended"],
    }
}

#[test]
fn only_reads_of_served_resources_ask_for_a_verdict() {
    let house = House::new();
    let rows = [
        ("GET", "/api/v1/namespaces/default/pods/a", Wants::Verdict),
        (
            "GET",
            "/api/v1/namespaces/default/pods/a/status",
            Wants::Verdict,
        ),
        ("GET", "/api/v1/pods", Wants::Verdict),
        ("GET", "/api/v1/namespaces/default", Wants::Verdict),
        ("GET", "/api/v1/namespaces/a/namespaces/b", Wants::Answer),
        ("GET", "/api/v1/namespaces/a/namespaces", Wants::Answer),
        (
            "GET",
            "/api/v1/namespaces/default/pods/a/log",
            Wants::Answer,
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/a/status/x",
            Wants::Answer,
        ),
        ("GET", "/api/v1/pods/a", Wants::Answer),
        (
            "GET",
            "/api/v1/namespaces/default/namespaces",
            Wants::Answer,
        ),
        (
            "GET",
            "/api/v1/namespaces/default/namespaces/other",
            Wants::Answer,
        ),
        (
            "GET",
            "/api/v1/namespaces/default/namespaces?watch=1",
            Wants::Answer,
        ),
        ("GET", "/api/v1/nodes", Wants::Answer),
        ("HEAD", "/api/v1/pods", Wants::Answer),
        ("POST", "/api/v1/namespaces/default/pods", Wants::Answer),
        ("GET", "/version", Wants::Answer),
        (
            "GET",
            "/api/v1/proxy/namespaces/default/pods/a",
            Wants::Answer,
        ),
    ];
    for (method, target, expected) in rows {
        match house.door.begin(&request(method, target)) {
            Begun::Ask(wants) => assert_eq!(wants, expected, "{method} {target}"),
            Begun::Served(_) => panic!("{method} {target} was served unasked"),
        }
    }
}

#[test]
fn yaml_is_pythons_to_write() {
    let house = House::new();
    let mut headers = HeaderMap::new();
    headers.insert("accept", "application/yaml".parse().unwrap());
    let credential = Credential::Token(Bytes::from_static(b"ann"));
    let request = Arc::new(Request::new(
        Method::GET,
        "/api/v1/pods",
        headers,
        credential,
        String::new(),
    ));
    assert!(matches!(
        house.door.begin(&request),
        Begun::Ask(Wants::Answer)
    ));
}

#[test]
fn nothing_is_read_before_it_is_durable() {
    let house = House::new();
    house.write("/registry/core/pods/default/a", "");
    assert_eq!(house.reply("/api/v1/namespaces/default/pods/a").status, 404);
    assert!(!String::from_utf8_lossy(&house.reply("/api/v1/pods").body).contains("\"a\""));
    house.driver.turn().unwrap();
    assert_eq!(house.reply("/api/v1/namespaces/default/pods/a").status, 200);
}

#[test]
fn an_answer_waits_for_its_revision() {
    let house = House::new();
    let mut settled = house
        .door
        .ask(
            request("POST", "/api/v1/namespaces/default/pods"),
            Wants::Answer,
        )
        .unwrap();
    let id = house.door.take().unwrap()[0].id;
    let revision = house.write("/registry/core/pods/default/a", "");
    let reply = Reply {
        revision,
        ..Reply::json(201, Bytes::new())
    };
    house.door.settle(id, Settlement::Answer(reply));
    assert!(
        settled.try_recv().is_err(),
        "released before the revision was durable"
    );
    house.driver.turn().unwrap();
    assert!(matches!(settled.try_recv(), Ok(Settlement::Answer(reply)) if reply.status == 201));
}

#[test]
fn a_permission_waits_for_the_rule_that_gives_it() {
    let house = House::new();
    let asked = request("GET", "/api/v1/pods");
    let mut settled = house.door.ask(asked.clone(), Wants::Verdict).unwrap();
    let id = house.door.take().unwrap()[0].id;
    house.write(&format!("{POLICY}roles/default/reader"), "");
    let allow = house.allow();
    house.door.settle(id, Settlement::Allow(allow.clone()));
    assert!(
        settled.try_recv().is_err(),
        "told of a role before it was durable"
    );
    // In this process nothing is held, so nothing is remembered either.
    house.door.allowed(&asked, &allow);
    assert!(house.door.verdicts.is_empty());
    house.driver.turn().unwrap();
    assert!(matches!(settled.try_recv(), Ok(Settlement::Allow(_))));
    house.door.allowed(&asked, &allow);
    assert_eq!(house.door.verdicts.len(), 1);
}

#[test]
fn answers_do_not_pile_up_behind_a_disk_that_takes_nothing() {
    let house = House::new();
    let revision = house.write("/registry/core/pods/default/a", "");
    let mut waiting = Vec::new();
    let mut timed_out = 0;
    for _ in 0..20_000 {
        let asked = request("POST", "/api/v1/namespaces/default/pods");
        let mut settled = house.door.ask(asked, Wants::Answer).unwrap();
        let id = house.door.take().unwrap()[0].id;
        let reply = Reply {
            revision,
            ..Reply::json(409, Bytes::new())
        };
        house.door.settle(id, Settlement::Answer(reply));
        match settled.try_recv() {
            Ok(Settlement::Answer(reply)) => {
                assert_eq!(reply.status, 504);
                timed_out += 1;
            }
            _ => waiting.push(settled),
        }
    }
    assert_eq!(
        (waiting.len(), timed_out),
        (house.driver.hub().stats().waiters, 3616)
    );
    house.driver.turn().unwrap();
    let released = waiting.iter_mut().all(
        |settled| matches!(settled.try_recv(), Ok(Settlement::Answer(reply)) if reply.status == 409),
    );
    assert!(released);
    assert_eq!(house.driver.hub().stats().waiters, 0);
}

#[test]
fn an_answer_whose_client_has_left_is_not_kept() {
    let house = House::new();
    let asked = request("POST", "/api/v1/namespaces/default/pods");
    let settled = house.door.ask(asked, Wants::Answer).unwrap();
    let id = house.door.take().unwrap()[0].id;
    let revision = house.write("/registry/core/pods/default/a", "");
    drop(settled);
    let reply = Reply {
        revision,
        ..Reply::json(201, Bytes::new())
    };
    house.door.settle(id, Settlement::Answer(reply));
    assert_eq!(house.driver.hub().stats().waiters, 0);
}

#[test]
fn an_answer_that_reveals_nothing_new_is_released_at_once() {
    let house = House::new();
    let mut settled = house
        .door
        .ask(request("GET", "/version"), Wants::Answer)
        .unwrap();
    let id = house.door.take().unwrap()[0].id;
    house
        .door
        .settle(id, Settlement::Answer(Reply::json(200, Bytes::new())));
    assert!(settled.try_recv().is_ok());
}

#[test]
fn a_known_verdict_serves_without_asking_until_policy_moves() {
    let house = House::new();
    house.put("a", "");
    house.reply("/api/v1/namespaces/default/pods/a");
    assert!(matches!(
        house
            .door
            .begin(&request("GET", "/api/v1/namespaces/other/pods/b")),
        Begun::Served(_)
    ));
    house.change_policy();
    let begun = house
        .door
        .begin(&request("GET", "/api/v1/namespaces/default/pods/a"));
    assert!(matches!(begun, Begun::Ask(Wants::Verdict)));
}

#[test]
fn a_watch_holds_what_came_after_a_change_of_policy() {
    let house = House::new();
    let mut stream = house.watch("/api/v1/pods?watch=1&resourceVersion=1");
    house.put("a", "");
    assert_eq!(kinds(&mut stream, &house), ["ADDED"]);
    house.change_policy();
    house.put("b", "");
    assert_eq!(kinds(&mut stream, &house), ["ask"]);
    assert_eq!(
        kinds(&mut stream, &house),
        ["ask"],
        "asking does not show it"
    );
    stream.allowed(house.allow().epoch);
    assert_eq!(kinds(&mut stream, &house), ["ADDED"]);
    house.change_policy();
    house.put("c", "");
    assert_eq!(kinds(&mut stream, &house), ["ask"]);
    stream.end();
    assert_eq!(kinds(&mut stream, &house), ["ended"]);
}

#[test]
fn what_is_there_at_the_start_of_a_watch_is_held_after_a_change_of_policy_too() {
    let house = House::new();
    house.put("a", "");
    let mut stream = house.watch("/api/v1/pods?watch=1");
    house.change_policy();
    assert_eq!(kinds(&mut stream, &house), ["ask"]);
    stream.allowed(house.allow().epoch);
    assert_eq!(kinds(&mut stream, &house), ["ADDED"]);
}

#[test]
fn a_watch_whose_policy_moved_says_no_bookmark_either() {
    let house = House::new();
    let mut stream = house.watch("/api/v1/pods?watch=1&resourceVersion=1&allowWatchBookmarks=true");
    assert_eq!(
        stream.bookmark(&house.door.verdicts).unwrap().kind,
        "BOOKMARK"
    );
    house.change_policy();
    assert!(stream.bookmark(&house.door.verdicts).is_none());
}

#[test]
fn selectors_turn_changes_into_additions_and_deletions() {
    let house = House::new();
    let mut stream = house.watch("/api/v1/pods?watch=1&resourceVersion=1&labelSelector=app%3Dweb");
    for labels in [
        r#""app":"db""#,
        r#""app":"web""#,
        r#""app":"web","x":"y""#,
        r#""app":"db""#,
    ] {
        house.put("a", labels);
    }
    assert_eq!(kinds(&mut stream, &house), ["ADDED", "MODIFIED", "DELETED"]);
}

#[test]
fn what_leaves_a_selection_is_shown_as_it_was_at_the_revision_of_leaving() {
    let house = House::new();
    house.put("a", r#""app":"web""#);
    let mut stream = house.watch("/api/v1/pods?watch=1&resourceVersion=2&labelSelector=app%3Dweb");
    let left = house.put("a", r#""app":"db""#);
    let Step::Items(items) = stream.step(&house.door.verdicts) else {
        panic!("no event")
    };
    let text = String::from_utf8_lossy(&items[0].object).into_owned();
    assert!(
        text.contains(r#""app":"web""#) && text.contains(&format!(r#""resourceVersion":"{left}""#)),
        "{text}"
    );
}

#[test]
fn a_watch_of_tables_says_their_columns_once() {
    let house = House::new();
    house.put("a", "");
    let mut request = Request::new(
        Method::GET,
        "/api/v1/pods?watch=1",
        HeaderMap::new(),
        Credential::Token(Bytes::from_static(b"ann")),
        String::new(),
    );
    let table = http::HeaderValue::from_static("application/json;as=Table;v=v1;g=meta.k8s.io");
    request.headers.insert("accept", table);
    let request = Arc::new(request);
    let watch = || match house.door.allowed(&request, &house.allow()) {
        Served::Watch(pending) => pending.start(Arc::new(|| {})),
        _ => panic!("no watch"),
    };
    let defines_columns = |stream: &mut WatchStream| -> Vec<bool> {
        let mut defines = Vec::new();
        while let Step::Items(items) = stream.step(&house.door.verdicts) {
            for item in items {
                let table: serde_json::Value = serde_json::from_slice(&item.object).unwrap();
                assert_eq!(table["rows"].as_array().unwrap().len(), 1);
                defines.push(!table["columnDefinitions"].is_null());
            }
        }
        defines
    };
    let mut early = watch();
    assert_eq!(defines_columns(&mut early), [true]);
    house.put("b", "");
    house.put("c", "");
    // One form of an event is shared by all watchers who want it; who comes new wants another.
    assert_eq!(defines_columns(&mut early), [false, false]);
    assert_eq!(defines_columns(&mut watch()), [true, false, false]);
}

#[test]
fn a_watch_of_one_name_sleeps_through_the_others() {
    let house = House::new();
    let woken = Arc::new(AtomicUsize::new(0));
    let counter = woken.clone();
    let Served::Watch(pending) = house.served(
        "/api/v1/namespaces/default/pods?watch=1&resourceVersion=1&fieldSelector=metadata.name%3Da",
    ) else {
        panic!("no watch")
    };
    let mut stream = pending.start(Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    house.put("b", "");
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    house.put("a", "");
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert_eq!(kinds(&mut stream, &house), ["ADDED"]);
}

#[test]
fn a_long_list_comes_in_segments_and_is_whole() {
    let house = House::new();
    let filler = format!(r#""filler":"{}""#, "x".repeat(1000));
    for number in 0..1000 {
        house.put(&format!("p{number:04}"), &filler);
    }
    let Served::List(mut list) = house.served("/api/v1/pods") else {
        panic!("no list")
    };
    let mut segments = Vec::new();
    while let Some(segment) = list.segment() {
        segments.push(segment);
    }
    assert!(
        segments.len() > 5 && segments.iter().all(|segment| segment.len() < 256 << 10),
        "{}",
        segments.len()
    );
    let whole: serde_json::Value = serde_json::from_slice(&segments.concat()).unwrap();
    assert_eq!(whole["items"].as_array().unwrap().len(), 1000);
    assert_eq!(whole["items"][999]["metadata"]["name"], "p0999");
    assert!(whole["items"][0].get("kind").is_none());
}
