//! Adapter over kubecore-wire: `Door`, and what crosses it. Local (in-process) requests are in local.rs.
//!
//! No call here holds the interpreter while it waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kubecore_wire::{
    Call as RustCall, Credential, Reply as RustReply, Request, Server, Settlement, Tls, Wants,
    WireError,
};
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::local::{Local, LocalWatch, Reply};
use crate::notifier::Notifier;
use crate::store::Store;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Call>()?;
    module.add_class::<Answer>()?;
    module.add_class::<Allow>()?;
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
pub struct Call {
    call: RustCall,
    headers: PyOnceLock<Py<PyList>>,
    body: PyOnceLock<Py<PyBytes>>,
}

impl Call {
    pub(crate) fn new(call: RustCall) -> Call {
        Call {
            call,
            headers: PyOnceLock::new(),
            body: PyOnceLock::new(),
        }
    }
}

#[pymethods]
impl Call {
    #[getter]
    fn id(&self) -> u64 {
        self.call.id
    }

    #[getter]
    fn wants(&self) -> &'static str {
        match self.call.wants {
            Wants::Verdict => "verdict",
            Wants::Answer => "answer",
        }
    }

    #[getter]
    fn method(&self) -> &str {
        self.call.request.method.as_str()
    }

    #[getter]
    fn path(&self) -> &str {
        &self.call.request.path
    }

    #[getter]
    fn query(&self) -> Vec<(String, String)> {
        self.call.request.query.0.clone()
    }

    #[getter]
    fn verb(&self) -> &str {
        &self.call.request.info.verb
    }

    #[getter]
    fn is_resource(&self) -> bool {
        self.call.request.info.is_resource
    }

    #[getter]
    fn group(&self) -> &str {
        &self.call.request.info.group
    }

    #[getter]
    fn version(&self) -> &str {
        &self.call.request.info.version
    }

    #[getter]
    fn resource(&self) -> &str {
        &self.call.request.info.resource
    }

    #[getter]
    fn subresource(&self) -> &str {
        &self.call.request.info.subresource
    }

    #[getter]
    fn namespace(&self) -> &str {
        &self.call.request.info.namespace
    }

    #[getter]
    fn name(&self) -> &str {
        &self.call.request.info.name
    }

    /// Made once: several layers look for one header each.
    #[getter]
    fn headers(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        let made = self.headers.get_or_try_init(py, || {
            let headers = self.call.request.headers.iter();
            let pairs = headers
                .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())));
            PyList::new(py, pairs.collect::<Vec<_>>()).map(Bound::unbind)
        })?;
        Ok(made.clone_ref(py))
    }

    #[getter]
    fn body(&self, py: Python<'_>) -> Py<PyBytes> {
        self.body
            .get_or_init(py, || PyBytes::new(py, &self.call.request.body).unbind())
            .clone_ref(py)
    }

    #[getter]
    fn credential_kind(&self) -> &'static str {
        self.call.request.credential.kind()
    }

    #[getter]
    fn credential<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.call.request.credential.bytes())
    }

    #[getter]
    fn remote_address(&self) -> &str {
        &self.call.request.remote_address
    }

    fn __repr__(&self) -> String {
        let request = &self.call.request;
        format!(
            "Call(id={}, method={:?}, path={:?})",
            self.call.id,
            request.method.as_str(),
            request.path
        )
    }
}

#[pyclass(frozen, module = "kubecore._core")]
pub struct Answer {
    id: u64,
    reply: RustReply,
}

#[pymethods]
impl Answer {
    #[new]
    #[pyo3(
        signature = (id, status, body, *, content_type="application/json".to_owned(), headers=Vec::new(), revision=0),
        text_signature = "(id, status, body, *, content_type='application/json', headers=(), revision=0)"
    )]
    fn new(
        id: u64,
        status: u16,
        body: &[u8],
        content_type: String,
        headers: Vec<(String, String)>,
        revision: u64,
    ) -> Answer {
        let body = Bytes::copy_from_slice(body);
        Answer {
            id,
            reply: RustReply {
                status,
                content_type: content_type.into(),
                headers,
                body,
                revision,
            },
        }
    }

    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    #[getter]
    fn status(&self) -> u16 {
        self.reply.status
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.reply.body)
    }

    #[getter]
    fn content_type(&self) -> &str {
        &self.reply.content_type
    }

    #[getter]
    fn headers(&self) -> Vec<(String, String)> {
        self.reply.headers.clone()
    }

    #[getter]
    fn revision(&self) -> u64 {
        self.reply.revision
    }
}

#[pyclass(frozen, module = "kubecore._core")]
pub struct Allow {
    id: u64,
    allow: kubecore_wire::Allow,
}

#[pymethods]
impl Allow {
    #[new]
    #[pyo3(signature = (id, *, epoch, user, any_name=false, any_namespace=false, ttl_seconds=0.0))]
    fn new(
        id: u64,
        epoch: u64,
        user: String,
        any_name: bool,
        any_namespace: bool,
        ttl_seconds: f64,
    ) -> PyResult<Allow> {
        let ttl = if ttl_seconds > 0.0 {
            let ttl = Duration::try_from_secs_f64(ttl_seconds);
            Some(ttl.map_err(|error| PyValueError::new_err(error.to_string()))?)
        } else {
            None
        };
        Ok(Allow {
            id,
            allow: kubecore_wire::Allow {
                epoch,
                user,
                any_name,
                any_namespace,
                ttl,
            },
        })
    }

    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    #[getter]
    fn user(&self) -> &str {
        &self.allow.user
    }
}

/// What Python said to one call.
#[derive(FromPyObject)]
pub(crate) enum Settled<'py> {
    Answer(PyRef<'py, Answer>),
    Allow(PyRef<'py, Allow>),
}

impl Settled<'_> {
    pub(crate) fn split(&self) -> (u64, Settlement) {
        match self {
            Settled::Answer(answer) => (answer.id, Settlement::Answer(answer.reply.clone())),
            Settled::Allow(allow) => (allow.id, Settlement::Allow(allow.allow.clone())),
        }
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
