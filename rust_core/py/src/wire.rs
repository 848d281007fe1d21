//! Adapter over kubecore-wire: `Door`. What crosses it is in calls.rs, local (in-process) requests are in local.rs.
//!
//! No call here holds the interpreter while it waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kubecore_wire::{Credential, Request, Server, Tls, WireError};
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::calls::{Allow, Answer, Call, Settled};
use crate::forward::Forward;
use crate::local::{Local, LocalWatch, Reply};
use crate::notifier::Notifier;
use crate::store::Store;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Call>()?;
    module.add_class::<Answer>()?;
    module.add_class::<Allow>()?;
    module.add_class::<Forward>()?;
    module.add_class::<Reply>()?;
    module.add_class::<LocalWatch>()?;
    module.add_class::<Door>()
}

fn to_python(error: WireError) -> PyErr {
    let message = error.to_string();
    match error {
        WireError::Listen { source, .. } => PyOSError::new_err((source.raw_os_error(), message)),
        WireError::Pem(_)
        | WireError::Tls(_)
        | WireError::Resources(_)
        | WireError::UnknownCall(_)
        | WireError::NotLoopback(_) => PyValueError::new_err(message),
        WireError::Runtime(_) => PyRuntimeError::new_err(message),
    }
}

#[pyclass(frozen, module = "kubecore._core")]
pub struct Door {
    door: Arc<kubecore_wire::Door>,
    local: Arc<Local>,
    /// Made with the first listener: in-process use needs no thread.
    server: Mutex<Option<Arc<Server>>>,
}

impl Door {
    fn server(&self, threads: usize) -> PyResult<Arc<Server>> {
        let mut server = self.server.lock();
        if let Some(server) = &*server {
            return Ok(server.clone());
        }
        let made = Arc::new(Server::new(self.door.clone(), threads).map_err(to_python)?);
        *server = Some(made.clone());
        Ok(made)
    }
}

#[pymethods]
impl Door {
    #[new]
    fn new(store: &Store) -> Door {
        let hub = store.hub().clone();
        let door = Arc::new(kubecore_wire::Door::new(hub.store().clone(), hub));
        Door {
            local: Local::new(door.clone()),
            door,
            server: Mutex::default(),
        }
    }

    fn serve_resources(&self, rows: &[u8]) -> PyResult<()> {
        self.door.serve_resources(rows).map_err(to_python)
    }

    #[pyo3(signature = (address, port, *, certificate_pem, key_pem, client_ca_pem, threads=1))]
    #[allow(clippy::too_many_arguments)]
    fn listen(
        &self,
        py: Python<'_>,
        address: &str,
        port: u16,
        certificate_pem: &[u8],
        key_pem: &[u8],
        client_ca_pem: &[u8],
        threads: usize,
    ) -> PyResult<u16> {
        let tls = Tls::new(certificate_pem, key_pem, client_ca_pem).map_err(to_python)?;
        let server = self.server(threads)?;
        py.detach(|| server.listen(address, port, tls))
            .map_err(to_python)
    }

    #[pyo3(signature = (fd, *, certificate_pem, key_pem, client_ca_pem, threads=1))]
    fn listen_fd(
        &self,
        py: Python<'_>,
        fd: i32,
        certificate_pem: &[u8],
        key_pem: &[u8],
        client_ca_pem: &[u8],
        threads: usize,
    ) -> PyResult<u16> {
        if fd < 0 {
            return Err(PyValueError::new_err(format!("{fd} is no file descriptor")));
        }
        let tls = Tls::new(certificate_pem, key_pem, client_ca_pem).map_err(to_python)?;
        let server = self.server(threads)?;
        // SAFETY: only borrowed to be duplicated, in this call, while the caller holds it; a number that is no open descriptor is
        // refused by the kernel.
        let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
        let listener = std::net::TcpListener::from(borrowed.try_clone_to_owned()?);
        py.detach(|| server.listen_on(listener, tls))
            .map_err(to_python)
    }

    #[pyo3(signature = (address, port, *, identity))]
    fn listen_plain(
        &self,
        py: Python<'_>,
        address: &str,
        port: u16,
        identity: &str,
    ) -> PyResult<u16> {
        let server = self.server(1)?;
        py.detach(|| server.listen_plain(address, port, identity))
            .map_err(to_python)
    }

    fn next(&self, py: Python<'_>, answers: Vec<Settled<'_>>) -> Option<Vec<Call>> {
        let settled: Vec<_> = answers.iter().map(Settled::split).collect();
        drop(answers);
        let calls = py.detach(|| {
            for (id, settlement) in settled {
                self.door.settle(id, settlement);
            }
            self.door.take()
        });
        calls.map(|calls| calls.into_iter().map(Call::new).collect())
    }

    fn hand_over(&self, py: Python<'_>, answer: Settled<'_>) {
        let (id, settlement) = answer.split();
        drop(answer);
        py.detach(|| self.door.settle(id, settlement));
    }

    #[pyo3(signature = (identity, method, target, headers, body, notifier))]
    #[allow(clippy::too_many_arguments)]
    fn local<'py>(
        &self,
        py: Python<'py>,
        identity: &str,
        method: &str,
        target: &str,
        headers: Vec<(String, String)>,
        body: &[u8],
        notifier: Py<Notifier>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let method = http::Method::from_bytes(method.as_bytes())
            .map_err(|error| PyValueError::new_err(format!("{method}: {error}")))?;
        let mut map = http::HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let invalid =
                |error: http::Error| PyValueError::new_err(format!("header {name}: {error}"));
            let key = http::HeaderName::try_from(&name).map_err(|error| invalid(error.into()))?;
            let value =
                http::HeaderValue::try_from(value).map_err(|error| invalid(error.into()))?;
            map.append(key, value);
        }
        let credential = Credential::Local(Bytes::copy_from_slice(identity.as_bytes()));
        let mut request = Request::new(method, target, map, credential, "local".to_owned());
        request.body = Bytes::copy_from_slice(body);
        self.local.begin(py, Arc::new(request), notifier)
    }

    fn settle<'py>(&self, py: Python<'py>, answer: Settled<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (id, settlement) = answer.split();
        self.local.settle(py, id, settlement).map_err(to_python)?
    }

    #[pyo3(signature = (*, timeout_seconds))]
    fn drain(&self, py: Python<'_>, timeout_seconds: f64) -> PyResult<()> {
        let limit = Duration::try_from_secs_f64(timeout_seconds);
        let limit = limit.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let server = self.server.lock().clone();
        if let Some(server) = server {
            py.detach(|| server.drain(limit));
        }
        Ok(())
    }

    fn close(&self, py: Python<'_>) {
        let server = self.server.lock().clone();
        py.detach(|| {
            self.door.handover.close();
            if let Some(server) = server {
                server.close();
            }
        });
    }

    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let text = self.door.metrics_json();
        let metrics = py.import("json")?.call_method1("loads", (text,))?;
        Ok(metrics.cast_into::<PyDict>()?)
    }
}
