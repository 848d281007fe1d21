//! A watch tells every change once, in order, a revision whole; and how far it is, and when it has lost its way.

mod support;

use std::time::Duration;

use kubecore_etcd::messages::{
    CompactionRequest, Empty, Event, PutRequest, RequestOp, TxnRequest, WatchCancelRequest,
    WatchCreateRequest, WatchRequest, WatchResponse, request_op, watch_request,
};
use support::{Client, Door};
use tonic::Streaming;

fn put(key: &str, size: usize) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: vec![b'v'; size].into(),
        ..PutRequest::default()
    }
}

fn create(ask: WatchCreateRequest) -> WatchRequest {
    WatchRequest {
        request: Some(watch_request::Request::Create(ask)),
    }
}

fn everything(start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision,
        ..WatchCreateRequest::default()
    }
}

async fn next(answers: &mut Streaming<WatchResponse>) -> WatchResponse {
    let answer = tokio::time::timeout(Duration::from_secs(20), answers.message());
    answer.await.expect("silent").unwrap().expect("ended")
}

fn revisions(events: &[Event]) -> Vec<i64> {
    let kvs = events.iter().filter_map(|event| event.kv.as_ref());
    kvs.map(|kv| kv.mod_revision).collect()
}

async fn put_many(client: &mut Client, keys: &[&str]) -> i64 {
    let success = keys.iter().map(|key| RequestOp {
        request: Some(request_op::Request::Put(put(key, 1))),
    });
    let txn = TxnRequest {
        success: success.collect(),
        ..TxnRequest::default()
    };
    client.txn(txn).await.unwrap().header.unwrap().revision
}

#[tokio::test]
async fn the_events_of_a_transaction_come_in_one_answer() {
    let door = Door::open().await;
    let mut client = door.client().await;
    let (_asks, mut answers) = client.watch(create(everything(0))).await;
    assert!(next(&mut answers).await.created);
    let revision = put_many(&mut client, &["a", "b", "c"]).await;
    assert_eq!(revisions(&next(&mut answers).await.events), [revision; 3]);
}

#[tokio::test]
async fn many_watches_share_a_stream_and_one_is_cancelled() {
    let door = Door::open().await;
    let mut client = door.client().await;
    let of = |key: &str| {
        create(WatchCreateRequest {
            key: key.to_owned().into(),
            ..WatchCreateRequest::default()
        })
    };
    let (asks, mut answers) = client.watch(of("a")).await;
    let first = next(&mut answers).await.watch_id;
    asks.send(of("b")).await.unwrap();
    let second = next(&mut answers).await.watch_id;
    assert_ne!(first, second);
    client.put(put("b", 1)).await.unwrap();
    assert_eq!(next(&mut answers).await.watch_id, second);
    let cancel = watch_request::Request::Cancel(WatchCancelRequest { watch_id: second });
    asks.send(WatchRequest {
        request: Some(cancel),
    })
    .await
    .unwrap();
    let cancelled = next(&mut answers).await;
    assert!(cancelled.canceled && cancelled.watch_id == second);
    client.put(put("b", 1)).await.unwrap();
    client.put(put("a", 1)).await.unwrap();
    assert_eq!(next(&mut answers).await.watch_id, first);
}

#[tokio::test]
async fn progress_on_request_says_that_nothing_is_missing() {
    let door = Door::open().await;
    let mut client = door.client().await;
    let (asks, mut answers) = client.watch(create(everything(0))).await;
    next(&mut answers).await;
    let newest = put_many(&mut client, &["a"]).await;
    asks.send(WatchRequest {
        request: Some(watch_request::Request::Progress(Empty {})),
    })
    .await
    .unwrap();
    let mut seen = Vec::new();
    loop {
        let answer = next(&mut answers).await;
        if answer.watch_id == -1 {
            assert_eq!(answer.header.unwrap().revision, newest);
            break;
        }
        seen.extend(revisions(&answer.events));
    }
    assert_eq!(seen, [newest]);
}

#[tokio::test]
async fn a_watch_from_before_the_compaction_is_told_from_where_there_is_history() {
    let door = Door::open().await;
    let mut client = door.client().await;
    for key in ["a", "b", "c"] {
        client.put(put(key, 1)).await.unwrap();
    }
    let compact = CompactionRequest {
        revision: 3,
        physical: true,
    };
    client.compact(compact).await.unwrap();
    let (_asks, mut answers) = client.watch(create(everything(2))).await;
    assert!(next(&mut answers).await.created);
    let lost = next(&mut answers).await;
    assert!(lost.canceled);
    assert_eq!(lost.compact_revision, 3);
    assert_eq!(
        lost.cancel_reason,
        "etcdserver: mvcc: required revision has been compacted"
    );
}

#[tokio::test]
async fn a_watch_of_the_future_begins_there() {
    let door = Door::open().await;
    let mut client = door.client().await;
    let (_asks, mut answers) = client.watch(create(everything(4))).await;
    next(&mut answers).await;
    for key in ["a", "b", "c", "d"] {
        client.put(put(key, 1)).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(revisions(&next(&mut answers).await.events));
    }
    assert_eq!(seen, [4, 5]);
}

#[tokio::test]
async fn a_large_answer_comes_in_fragments_to_whoever_puts_them_together() {
    let door = Door::open().await;
    let mut client = door.client().await;
    for index in 0..4 {
        client
            .put(put(&format!("key-{index}"), 1_000_000))
            .await
            .unwrap();
    }
    let ask = WatchCreateRequest {
        fragment: true,
        ..everything(2)
    };
    let (_asks, mut answers) = client.watch(create(ask)).await;
    assert!(next(&mut answers).await.created);
    let (mut seen, mut fragments) = (Vec::new(), 0);
    while seen.len() < 4 {
        let answer = next(&mut answers).await;
        fragments += usize::from(answer.fragment);
        seen.extend(revisions(&answer.events));
    }
    assert_eq!(seen, [2, 3, 4, 5]);
    assert!(fragments > 0);
}

#[tokio::test]
async fn what_the_leases_note_is_nobodys_to_see() {
    let door = Door::open().await;
    let mut client = door.client().await;
    let (_asks, mut answers) = client.watch(create(everything(0))).await;
    next(&mut answers).await;
    let lease = client
        .grant(kubecore_etcd::messages::LeaseGrantRequest { ttl: 100, id: 5 })
        .await
        .unwrap();
    client
        .put(PutRequest {
            lease: lease.id,
            ..put("a", 1)
        })
        .await
        .unwrap();
    let seen = next(&mut answers).await.events;
    let kv = seen[0].kv.clone().unwrap();
    assert_eq!((seen.len(), &kv.key[..], kv.lease), (1, &b"a"[..], 5));
}
