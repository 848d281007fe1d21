//! The same requests to Debian's etcd and to our door: the same answers, revisions included.

mod support;

use std::time::Duration;

use kubecore_etcd::messages::{
    Compare, CompareTarget, DeleteRangeRequest, Event, PutRequest, RangeRequest, RequestOp,
    ResponseHeader, ResponseOp, SortOrder, SortTarget, TxnRequest, WatchCreateRequest,
    WatchRequest, compare, request_op, response_op, watch_request,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use support::{Client, Door, RealEtcd};

const KEYS: [&str; 8] = ["/a", "/a/", "/a/1", "/a/2", "/b", "b", "\u{e9}", "z"];
const ENDS: [&str; 6] = ["", "\0", "/a0", "/b", "c", "/a/2"];
const SEED: u64 = 7;
const ROUNDS: usize = 400;

#[derive(Clone, Debug)]
enum Step {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
}

fn key() -> impl Strategy<Value = bytes::Bytes> {
    prop_oneof![
        20 => prop::sample::select(&KEYS[..]).prop_map(bytes::Bytes::from),
        1 => Just(bytes::Bytes::new()),
    ]
}

fn end() -> impl Strategy<Value = bytes::Bytes> {
    prop::sample::select(&ENDS[..]).prop_map(bytes::Bytes::from)
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let filters = (0..30i64, 0..30i64, 0..30i64, 0..30i64, 0..6u8);
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.1),
        0..4i64,
        0..3i32,
        0..5i32,
    );
    (key(), end(), 0..40i64, flags, filters).prop_map(|(key, range_end, back, flags, filters)| {
        let (keys_only, count_only, limit, sort_order, sort_target) = flags;
        let filtered = |which, value| if filters.4 == which { value } else { 0 };
        RangeRequest {
            key,
            range_end,
            limit,
            // Made relative to what stands when the step is taken.
            revision: back,
            sort_order,
            sort_target,
            serializable: false,
            keys_only,
            count_only,
            min_mod_revision: filtered(1, filters.0),
            max_mod_revision: filtered(2, filters.1),
            min_create_revision: filtered(3, filters.2),
            max_create_revision: filtered(4, filters.3),
        }
    })
}

fn put() -> impl Strategy<Value = PutRequest> {
    (key(), 0..5u8, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(key, value, prev_kv, ignore_value)| PutRequest {
            key,
            value: bytes::Bytes::from(vec![b'v'; usize::from(value)]),
            lease: 0,
            prev_kv,
            ignore_value,
            ignore_lease: false,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn comparison() -> impl Strategy<Value = Compare> {
    let number = prop_oneof![Just(0i64), 0..4i64, 0..40i64];
    (key(), prop::bool::weighted(0.2), 0..4i32, 0..4i32, number).prop_map(
        |(key, is_range, result, target, number)| {
            let target_union = match CompareTarget::try_from(target) {
                Ok(CompareTarget::Version) => compare::TargetUnion::Version(number),
                Ok(CompareTarget::Create) => compare::TargetUnion::CreateRevision(number),
                Ok(CompareTarget::Mod) => compare::TargetUnion::ModRevision(number),
                _ => {
                    compare::TargetUnion::Value(bytes::Bytes::from(vec![b'v'; number as usize % 5]))
                }
            };
            Compare {
                result,
                target,
                key,
                target_union: Some(target_union),
                range_end: bytes::Bytes::from(if is_range { "\0" } else { "" }),
            }
        },
    )
}

fn operation() -> impl Strategy<Value = RequestOp> {
    let request = prop_oneof![
        range().prop_map(|range| request_op::Request::Range(RangeRequest {
            revision: 0,
            ..range
        })),
        put().prop_map(request_op::Request::Put),
        delete().prop_map(request_op::Request::DeleteRange),
    ];
    request.prop_map(|request| RequestOp {
        request: Some(request),
    })
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    (
        vec(comparison(), 0..3),
        vec(operation(), 0..4),
        vec(operation(), 0..4),
    )
        .prop_map(|(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => range().prop_map(Step::Range),
        3 => put().prop_map(Step::Put),
        1 => delete().prop_map(Step::Delete),
        4 => txn().prop_map(Step::Txn),
    ]
}

/// What both may say differently is left out: who they are, and headers inside of a transaction, which only etcd fills.
fn plain_header(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
    }
}

fn plain_responses(responses: &mut [ResponseOp]) {
    for response in responses {
        match &mut response.response {
            Some(response_op::Response::Range(range)) => range.header = None,
            Some(response_op::Response::Put(put)) => put.header = None,
            Some(response_op::Response::DeleteRange(range)) => range.header = None,
            Some(response_op::Response::Txn(_)) | None => {}
        }
    }
}

async fn take(client: &mut Client, step: &Step, revision: &mut i64) -> String {
    macro_rules! said {
        ($answer:expr, $plain:expr) => {
            match $answer {
                Ok(mut answer) => {
                    plain_header(&mut answer.header);
                    *revision = answer.header.as_ref().map_or(0, |header| header.revision);
                    $plain(&mut answer);
                    format!("{answer:?}")
                }
                Err(status) => format!("{:?}: {}", status.code(), status.message()),
            }
        };
    }
    match step.clone() {
        Step::Range(mut range) => {
            // A few revisions back, sometimes in the future, most often now.
            range.revision = match range.revision {
                back @ 1..8 => (*revision - back).max(1),
                8 => *revision + 5,
                _ => 0,
            };
            said!(client.range(range).await, |_: &mut _| ())
        }
        Step::Put(put) => said!(client.put(put).await, |_: &mut _| ()),
        Step::Delete(delete) => said!(client.delete_range(delete).await, |_: &mut _| ()),
        Step::Txn(txn) => said!(
            client.txn(txn).await,
            |answer: &mut kubecore_etcd::messages::TxnResponse| {
                plain_responses(&mut answer.responses);
            }
        ),
    }
}

/// Deletes that overlap puts of one branch are refused by etcd even where nothing is deleted: it judges the request, we judge
/// what happens. Such steps are left out.
fn is_comparable(step: &Step) -> bool {
    let Step::Txn(txn) = step else {
        return true;
    };
    [&txn.success, &txn.failure].into_iter().all(|branch| {
        let deletes = branch
            .iter()
            .filter(|op| matches!(op.request, Some(request_op::Request::DeleteRange(_))));
        let puts = branch
            .iter()
            .filter(|op| matches!(op.request, Some(request_op::Request::Put(_))));
        let keys: Vec<_> = branch
            .iter()
            .filter_map(|op| match &op.request {
                Some(request_op::Request::Put(put)) => Some(&put.key),
                _ => None,
            })
            .collect();
        let is_unique = keys
            .iter()
            .enumerate()
            .all(|(index, key)| !keys[..index].contains(key));
        let ignores = branch.iter().any(
            |op| matches!(&op.request, Some(request_op::Request::Put(put)) if put.ignore_value),
        );
        (deletes.count() == 0 || puts.count() == 0) && is_unique && !ignores
    })
}

#[tokio::test]
async fn etcd_and_our_door_answer_alike() {
    let (real, ours) = (RealEtcd::start().await, Door::open().await);
    let (mut real_client, mut our_client) = (real.client().await, ours.client().await);
    let config = Config {
        rng_seed: RngSeed::Fixed(SEED),
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let (mut their_revision, mut our_revision) = (1, 1);
    let mut counts = [0usize; 4];
    let mut refused = 0;
    for round in 0..ROUNDS {
        let step = step().new_tree(&mut runner).unwrap().current();
        if !is_comparable(&step) {
            continue;
        }
        let theirs = take(&mut real_client, &step, &mut their_revision).await;
        let answer = take(&mut our_client, &step, &mut our_revision).await;
        assert_eq!(theirs, answer, "seed {SEED}, round {round}: {step:?}");
        refused += usize::from(theirs.starts_with("InvalidArgument"));
        counts[match step {
            Step::Range(_) => 0,
            Step::Put(_) => 1,
            Step::Delete(_) => 2,
            Step::Txn(_) => 3,
        }] += 1;
    }
    assert!(
        counts.iter().all(|count| *count > ROUNDS / 20),
        "idle: {counts:?}"
    );
    assert!(
        refused > 5 && our_revision > 100,
        "{refused} refused, at revision {our_revision}"
    );
    assert_eq!(
        watched(&mut real_client, our_revision).await,
        watched(&mut our_client, our_revision).await
    );
}

/// Every event of the last revisions, with the value before.
async fn watched(client: &mut Client, newest: i64) -> Vec<Event> {
    let create = WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision: 2,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    let first = WatchRequest {
        request: Some(watch_request::Request::Create(create)),
    };
    let (_asks, mut answers) = client.watch(first).await;
    assert!(answers.message().await.unwrap().unwrap().created);
    let mut events: Vec<Event> = Vec::new();
    let last = |events: &[Event]| {
        events
            .last()
            .and_then(|event| event.kv.as_ref())
            .map_or(0, |kv| kv.mod_revision)
    };
    while last(&events) < newest {
        let answer = tokio::time::timeout(Duration::from_secs(20), answers.message());
        let answer = answer
            .await
            .unwrap_or_else(|_| panic!("silent after revision {} of {newest}", last(&events)));
        events.extend(answer.unwrap().unwrap().events);
    }
    events
}

#[tokio::test]
async fn a_sorted_range_is_sorted_as_etcd_sorts() {
    let (real, ours) = (RealEtcd::start().await, Door::open().await);
    let (mut real_client, mut our_client) = (real.client().await, ours.client().await);
    for (index, key) in ["c", "a", "b", "a"].into_iter().enumerate() {
        for client in [&mut real_client, &mut our_client] {
            let value = bytes::Bytes::from(format!("{}", 9 - index));
            client
                .put(PutRequest {
                    key: key.into(),
                    value,
                    ..PutRequest::default()
                })
                .await
                .unwrap();
        }
    }
    for order in [SortOrder::None, SortOrder::Ascend, SortOrder::Descend] {
        for target in [
            SortTarget::Key,
            SortTarget::Version,
            SortTarget::Create,
            SortTarget::Mod,
            SortTarget::Value,
        ] {
            let ask = RangeRequest {
                key: "a".into(),
                range_end: "d".into(),
                limit: 2,
                sort_order: order.into(),
                sort_target: target.into(),
                ..RangeRequest::default()
            };
            let keys = |answer: kubecore_etcd::messages::RangeResponse| {
                (
                    answer.kvs.into_iter().map(|kv| kv.key).collect::<Vec<_>>(),
                    answer.more,
                    answer.count,
                )
            };
            let theirs = keys(real_client.range(ask.clone()).await.unwrap());
            assert_eq!(
                keys(our_client.range(ask).await.unwrap()),
                theirs,
                "{order:?} {target:?}"
            );
        }
    }
}
