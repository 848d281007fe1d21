//! etcd's door onto a store: a runtime of its own, so that no client of etcd's waits for a client of ours.

use std::net::SocketAddr;

use kubecore_etcd::{Drive, Etcd, Server, Tls};
use kubecore_watch::Hub;
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

use crate::log_writer::wall_clock;
use crate::store::Store;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<EtcdDoor>()
}

struct LogWriterDrive<N> {
    hub: Arc<Hub>,
    notify: N,
}

impl<N: Fn() + Send + Sync> Drive for LogWriterDrive<N> {
    fn before_write(&self) {
        self.hub.store().observe(wall_clock());
    }

    fn after_write(&self) {
        (self.notify)();
    }
}

#[pyclass(frozen, module = "kubecore._core")]
pub struct EtcdDoor {
    address: SocketAddr,
    running: Mutex<Option<(Server, Runtime)>>,
}

#[pymethods]
impl EtcdDoor {
    #[new]
    #[pyo3(signature = (store, address, *, certificate_pem=None, key_pem=None, client_ca_pem=None, threads=2))]
    fn new(
        py: Python<'_>,
        store: &Store,
        address: &str,
        certificate_pem: Option<&[u8]>,
        key_pem: Option<&[u8]>,
        client_ca_pem: Option<&[u8]>,
        threads: usize,
    ) -> PyResult<EtcdDoor> {
        let address: SocketAddr = address
            .parse()
            .map_err(|error| PyValueError::new_err(format!("{address}: {error}")))?;
        let tls = match (certificate_pem, key_pem, client_ca_pem) {
            (Some(certificate), Some(key), Some(client_ca)) => Some(Tls {
                certificate: certificate.to_vec(),
                key: key.to_vec(),
                client_ca: client_ca.to_vec(),
            }),
            (None, None, None) => None,
            _ => {
                return Err(PyValueError::new_err(
                    "TLS needs a certificate, its key and a client CA",
                ));
            }
        };
        let Some(notify) = store.notifier() else {
            return Err(PyValueError::new_err(
                "a store without a log writer has no door for etcd's clients",
            ));
        };
        let hub = store.hub().clone();
        let etcd = Etcd::new(hub.clone(), Box::new(LogWriterDrive { hub, notify }));
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("etcd-door")
            .enable_all()
            .build()?;
        let started = py.detach(|| runtime.block_on(Server::start(etcd, address, tls)));
        let server = started.map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(EtcdDoor {
            address: server.address(),
            running: Mutex::new(Some((server, runtime))),
        })
    }

    /// (host, port)
    fn address(&self) -> (String, u16) {
        (self.address.ip().to_string(), self.address.port())
    }

    fn close(&self, py: Python<'_>) {
        let running = self.running.lock().take();
        if let Some((server, runtime)) = running {
            py.detach(|| {
                drop(server);
                runtime.shutdown_background();
            });
        }
    }
}
