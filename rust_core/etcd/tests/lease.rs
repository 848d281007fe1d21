//! Leases end when they are over, with their keys, and live on when they are renewed.

use std::sync::Arc;
use std::time::Duration;

use kubecore_etcd::messages::{
    LeaseGrantRequest, LeaseId, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
};
use kubecore_etcd::{Drive, Etcd};
use kubecore_store::{Options, Store};
use kubecore_watch::Driver;

struct AtOnce(Arc<Driver>);

impl Drive for AtOnce {
    fn before_write(&self) {}

    fn after_write(&self) {
        self.0.turn().unwrap();
    }
}

fn driver() -> Arc<Driver> {
    Arc::new(Driver::new(Arc::new(Store::memory(Options::default()))))
}

fn etcd(driver: &Arc<Driver>) -> Arc<Etcd> {
    Etcd::new(driver.hub().clone(), Box::new(AtOnce(driver.clone())))
}

async fn grant(etcd: &Etcd, id: i64, ttl: i64) {
    let granted = etcd.grant(LeaseGrantRequest { ttl, id }).await.unwrap();
    assert_eq!((granted.id, granted.ttl), (id, ttl));
}

async fn put(etcd: &Etcd, key: &'static str, lease: i64) {
    let ask = PutRequest {
        key: key.into(),
        lease,
        ..PutRequest::default()
    };
    etcd.put(ask).await.unwrap();
}

async fn keys(etcd: &Etcd) -> Vec<(String, i64)> {
    let everything = RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        ..RangeRequest::default()
    };
    let found = etcd.range(everything).await.unwrap().kvs.into_iter();
    found
        .map(|kv| (String::from_utf8(kv.key.to_vec()).unwrap(), kv.lease))
        .collect()
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_over_takes_its_keys_along_and_no_others() {
    let driver = driver();
    let etcd = etcd(&driver);
    let clock = etcd.clone();
    tokio::spawn(async move { clock.expire_leases().await });
    grant(&etcd, 1, 10).await;
    grant(&etcd, 2, 30).await;
    for (key, lease) in [("a", 1), ("b", 1), ("c", 2), ("d", 0)] {
        put(&etcd, key, lease).await;
    }
    pass(9).await;
    assert_eq!(keys(&etcd).await.len(), 4);
    pass(2).await;
    assert_eq!(
        keys(&etcd).await,
        [("c".to_owned(), 2), ("d".to_owned(), 0)]
    );
    assert_eq!(etcd.lease_ids().leases, [LeaseId { id: 2 }]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_kept_alive_has_its_whole_time_again() {
    let driver = driver();
    let etcd = etcd(&driver);
    let clock = etcd.clone();
    tokio::spawn(async move { clock.expire_leases().await });
    grant(&etcd, 1, 10).await;
    put(&etcd, "a", 1).await;
    for _ in 0..5 {
        pass(8).await;
        assert_eq!(etcd.keep_alive(LeaseId { id: 1 }).ttl, 10);
    }
    assert_eq!(keys(&etcd).await.len(), 1);
    pass(11).await;
    assert!(keys(&etcd).await.is_empty());
    assert_eq!(etcd.keep_alive(LeaseId { id: 1 }).ttl, 0);
}

#[tokio::test]
async fn a_key_hangs_on_the_lease_of_its_last_put() {
    let driver = driver();
    let etcd = etcd(&driver);
    grant(&etcd, 1, 10).await;
    grant(&etcd, 2, 10).await;
    put(&etcd, "a", 1).await;
    put(&etcd, "a", 2).await;
    put(&etcd, "b", 1).await;
    put(&etcd, "b", 0).await;
    etcd.revoke(LeaseId { id: 1 }).await.unwrap();
    assert_eq!(
        keys(&etcd).await,
        [("a".to_owned(), 2), ("b".to_owned(), 0)]
    );
    etcd.revoke(LeaseId { id: 2 }).await.unwrap();
    assert_eq!(keys(&etcd).await, [("b".to_owned(), 0)]);
    let refused = etcd.revoke(LeaseId { id: 2 }).await.unwrap_err();
    assert_eq!(refused.to_string(), "etcdserver: requested lease not found");
}

#[tokio::test]
async fn leases_are_found_again_after_a_restart() {
    let driver = driver();
    let before = etcd(&driver);
    grant(&before, 7, 1_000).await;
    put(&before, "a", 7).await;
    drop(before);
    let after = etcd(&driver);
    let found = after.time_to_live(LeaseTimeToLiveRequest { id: 7, keys: true });
    assert_eq!((found.granted_ttl, found.keys), (1_000, vec!["a".into()]));
    after.revoke(LeaseId { id: 7 }).await.unwrap();
    assert!(keys(&after).await.is_empty());
}

#[tokio::test]
async fn a_put_on_a_lease_that_is_not_there_changes_nothing() {
    let driver = driver();
    let etcd = etcd(&driver);
    let ask = PutRequest {
        key: "a".into(),
        lease: 9,
        ..PutRequest::default()
    };
    let refused = etcd.put(ask).await.unwrap_err();
    assert_eq!(refused.to_string(), "etcdserver: requested lease not found");
    assert!(keys(&etcd).await.is_empty());
    assert_eq!(driver.store().revision().0, 1);
}
