//! Our door and Debian's etcd, one after the other in one run, on the same disk, both with their syncs, by the same client:
//! puts of 1 KiB by more and more clients, ranges of 1 and 1,000 keys, and how long a put takes to reach a watcher.
//!
//! `cargo bench -p kubecore-etcd` prints a table and, as its last line, the same as JSON. Only ratios within one run mean anything.

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kubecore_etcd::messages::{
    PutRequest, RangeRequest, WatchCreateRequest, WatchRequest, watch_request,
};
use support::{Client, Door, RealEtcd};

const CLIENTS: [usize; 5] = [1, 16, 64, 256, 1_000];
const RUN: Duration = Duration::from_secs(3);
const VALUE_BYTES: usize = 1_024;
const RANGE_KEYS: usize = 1_000;
const WATCHED_PUTS: usize = 500;
/// Connections, as etcd's own benchmark has several: calls of many clients share one.
const CONNECTIONS_MAX: usize = 16;

fn put(key: String) -> PutRequest {
    PutRequest {
        key: key.into(),
        value: vec![b'v'; VALUE_BYTES].into(),
        ..PutRequest::default()
    }
}

/// Calls per second of `clients` that each wait for their answer before they ask again.
async fn rate<Ask, Work>(connections: &[Client], clients: usize, ask: Ask) -> f64
where
    Ask: Fn(Client, usize) -> Work + Clone + Send + 'static,
    Work: Future<Output = ()> + Send,
{
    let over = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|number| {
            let client = connections[number % connections.len()].clone();
            let (ask, over) = (ask.clone(), over.clone());
            tokio::spawn(async move {
                let mut calls = 0;
                while !over.load(Ordering::Relaxed) {
                    ask(client.clone(), number * 1_000_000 + calls).await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    tokio::time::sleep(RUN).await;
    over.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for task in tasks {
        calls += task.await.unwrap();
    }
    calls as f64 / started.elapsed().as_secs_f64()
}

/// Milliseconds from before a put to its event at a watcher: p50 and p99.
async fn watch_delay(client: &mut Client) -> (f64, f64) {
    let create = WatchCreateRequest {
        key: "watched".into(),
        ..WatchCreateRequest::default()
    };
    let first = WatchRequest {
        request: Some(watch_request::Request::Create(create)),
    };
    let (_asks, mut answers) = client.clone().watch(first).await;
    answers.message().await.unwrap();
    let mut delays = Vec::with_capacity(WATCHED_PUTS);
    for _ in 0..WATCHED_PUTS {
        let before = Instant::now();
        let put = client.put(put("watched".to_owned()));
        let (_, event) = tokio::join!(put, answers.message());
        assert_eq!(event.unwrap().unwrap().events.len(), 1);
        delays.push(before.elapsed().as_secs_f64() * 1e3);
    }
    delays.sort_by(f64::total_cmp);
    (delays[WATCHED_PUTS / 2], delays[WATCHED_PUTS * 99 / 100])
}

async fn figures(connect: impl AsyncFn() -> Client) -> Vec<(String, f64)> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        connections.push(connect().await);
    }
    let mut rows = Vec::new();
    for clients in CLIENTS {
        let puts = rate(&connections, clients, |mut client, call| async move {
            client.put(put(format!("/bench/{call:012}"))).await.unwrap();
        });
        rows.push((format!("puts/s, {clients} clients"), puts.await));
    }
    for key in 0..RANGE_KEYS {
        connections[0]
            .put(put(format!("/range/{key:06}")))
            .await
            .unwrap();
    }
    for (name, key, range_end) in [
        ("ranges of 1/s, 64 clients", "/range/000500", ""),
        ("ranges of 1,000/s, 64 clients", "/range/", "/range0"),
    ] {
        let ranges = rate(&connections, 64, move |mut client, _| async move {
            let ask = RangeRequest {
                key: key.into(),
                range_end: range_end.into(),
                ..RangeRequest::default()
            };
            assert!(!client.range(ask).await.unwrap().kvs.is_empty());
        });
        rows.push((name.to_owned(), ranges.await));
    }
    let (p50, p99) = watch_delay(&mut connections[0]).await;
    rows.push(("put to event, p50 ms".to_owned(), p50));
    rows.push(("put to event, p99 ms".to_owned(), p99));
    rows
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let theirs = {
            let real = RealEtcd::start().await;
            figures(async || real.client().await).await
        };
        let ours = {
            let door = Door::on_disk().await;
            figures(async || door.client().await).await
        };
        println!(
            "{:<32} {:>12} {:>12} {:>8}",
            "", "etcd", "kubecore", "ratio"
        );
        let mut json = Vec::new();
        for ((name, theirs), (_, ours)) in theirs.iter().zip(&ours) {
            println!(
                "{name:<32} {theirs:>12.1} {ours:>12.1} {:>8.2}",
                ours / theirs
            );
            json.push(format!(
                r#""{name}": {{"etcd": {theirs:.2}, "kubecore": {ours:.2}}}"#
            ));
        }
        println!("{{{}}}", json.join(", "));
    });
}
