//! A client of etcd's API, our own store behind a door, and Debian's etcd.

#![allow(dead_code)] // each test uses what it needs

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use kubecore_etcd::messages::{
    CompactionRequest, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest,
    LeaseGrantResponse, LeaseId, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, OnlyHeader,
    PutRequest, PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchRequest,
    WatchResponse,
};
use kubecore_etcd::{Drive, Etcd, Server};
use kubecore_store::{Options, RealDisk, Store};
use kubecore_watch::Driver;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// A driver that makes everything durable at once.
struct AtOnce(Arc<Driver>);

impl Drive for AtOnce {
    fn before_write(&self) {}

    fn after_write(&self) {
        // A store in memory never refuses.
        self.0.turn().unwrap();
    }
}

/// A driver with a thread of its own, as a server has: what is applied while one sync runs is written by the next.
struct LogThread {
    work: std::sync::mpsc::Sender<()>,
}

impl LogThread {
    fn start(driver: Arc<Driver>) -> LogThread {
        let (work, orders) = std::sync::mpsc::channel();
        // Ends when the last door onto the store is gone.
        std::thread::spawn(move || {
            while orders.recv().is_ok() {
                while orders.try_recv().is_ok() {}
                driver.turn().unwrap();
                if driver.store().housekeeping_due() {
                    driver.store().housekeep().unwrap();
                }
            }
        });
        LogThread { work }
    }
}

impl Drive for LogThread {
    fn before_write(&self) {}

    fn after_write(&self) {
        // The thread lives as long as this.
        self.work.send(()).unwrap();
    }
}

pub struct Door {
    pub etcd: Arc<Etcd>,
    pub store: Arc<Store>,
    server: Server,
    _directory: Option<tempfile::TempDir>,
}

impl Door {
    pub async fn open() -> Door {
        let store = Arc::new(Store::memory(Options::default()));
        let driver = Arc::new(Driver::new(store.clone()));
        let etcd = Etcd::new(driver.hub().clone(), Box::new(AtOnce(driver)));
        Door::onto(etcd, store, None).await
    }

    /// With a log, and its syncs.
    pub async fn on_disk() -> Door {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        let store = Arc::new(Store::open(Box::new(disk), Options::default()).unwrap());
        let driver = Arc::new(Driver::new(store.clone()));
        let hub = driver.hub().clone();
        let etcd = Etcd::new(hub, Box::new(LogThread::start(driver)));
        Door::onto(etcd, store, Some(directory)).await
    }

    async fn onto(
        etcd: Arc<Etcd>,
        store: Arc<Store>,
        directory: Option<tempfile::TempDir>,
    ) -> Door {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(etcd.clone(), address, None).await.unwrap();
        Door {
            etcd,
            store,
            server,
            _directory: directory,
        }
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.server.address()).await
    }
}

/// Debian's etcd with an empty store; it ends with the value.
pub struct RealEtcd {
    address: SocketAddr,
    _directory: tempfile::TempDir,
    _process: tokio::process::Child,
}

impl RealEtcd {
    pub async fn start() -> RealEtcd {
        let directory = tempfile::tempdir().unwrap();
        // Somebody may take a port between this look and etcd's own: then it says so and ends, and the test fails by name.
        let free = || {
            TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
        };
        let (address, peers) = (free(), free());
        let process = tokio::process::Command::new("etcd")
            .arg("--data-dir")
            .arg(directory.path())
            .args(["--log-level", "error"])
            .args(["--listen-client-urls", &format!("http://{address}")])
            .args(["--advertise-client-urls", &format!("http://{address}")])
            .args(["--listen-peer-urls", &format!("http://{peers}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peers}")])
            .args(["--initial-cluster", &format!("default=http://{peers}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("etcd is not installed: scripts/debian-packages test");
        RealEtcd {
            address,
            _directory: directory,
            _process: process,
        }
    }

    pub async fn client(&self) -> Client {
        let mut client = Client::connect(self.address).await;
        // It listens before it has elected itself.
        let any = RangeRequest {
            key: "ready".into(),
            ..RangeRequest::default()
        };
        let ready = async { while client.range(any.clone()).await.is_err() {} };
        tokio::time::timeout(Duration::from_secs(30), ready)
            .await
            .expect("etcd did not become ready");
        client
    }
}

#[derive(Clone)]
pub struct Client(Channel);

macro_rules! calls {
    ($($name:ident: $path:literal, $ask:ty => $answer:ty;)*) => {
        $(pub async fn $name(&mut self, ask: $ask) -> Result<$answer, Status> {
            self.unary(concat!("/etcdserverpb.", $path), ask).await
        })*
    };
}

impl Client {
    async fn connect(address: SocketAddr) -> Client {
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        let connected = async {
            loop {
                match endpoint.connect().await {
                    Ok(channel) => return Client(channel),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), connected)
            .await
            .expect("nobody listens")
    }

    calls! {
        range: "KV/Range", RangeRequest => RangeResponse;
        put: "KV/Put", PutRequest => PutResponse;
        delete_range: "KV/DeleteRange", DeleteRangeRequest => DeleteRangeResponse;
        txn: "KV/Txn", TxnRequest => TxnResponse;
        compact: "KV/Compact", CompactionRequest => OnlyHeader;
        grant: "Lease/LeaseGrant", LeaseGrantRequest => LeaseGrantResponse;
        revoke: "Lease/LeaseRevoke", LeaseId => OnlyHeader;
        time_to_live: "Lease/LeaseTimeToLive", LeaseTimeToLiveRequest => LeaseTimeToLiveResponse;
    }

    async fn unary<Ask, Answer>(&mut self, path: &'static str, ask: Ask) -> Result<Answer, Status>
    where
        Ask: Message + Default + 'static,
        Answer: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready()
            .await
            .map_err(|error| Status::unknown(error.to_string()))?;
        let codec = ProstCodec::<Ask, Answer>::default();
        let path = PathAndQuery::from_static(path);
        Ok(grpc
            .unary(Request::new(ask), path, codec)
            .await?
            .into_inner())
    }

    /// A stream of watches that begins with one request (etcd says nothing before it): what is sent into the one end, and
    /// what comes out of the other.
    pub async fn watch(
        &mut self,
        first: WatchRequest,
    ) -> (mpsc::Sender<WatchRequest>, Streaming<WatchResponse>) {
        let (sender, asks) = mpsc::channel(16);
        sender.send(first).await.unwrap();
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.unwrap();
        let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let asks = Request::new(ReceiverStream::new(asks));
        let answers = grpc.streaming(asks, path, codec).await.unwrap();
        (sender, answers.into_inner())
    }
}
