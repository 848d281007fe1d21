//! Leases end when they are over, with their keys, and live on when they are renewed.

use std::sync::Arc;

use kubecore_etcd::messages::LeaseGrantRequest;
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

fn etcd() -> Arc<Etcd> {
    let driver = Arc::new(Driver::new(Arc::new(Store::memory(Options::default()))));
    let hub = driver.hub().clone();
    Etcd::new(hub, Box::new(AtOnce(driver)))
}

#[tokio::test]
async fn a_granted_lease_answers() {
    let etcd = etcd();
    let granted = etcd
        .grant(LeaseGrantRequest { ttl: 60, id: 7 })
        .await
        .unwrap();
    assert_eq!((granted.id, granted.ttl), (7, 60));
}
