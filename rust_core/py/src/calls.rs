//! What crosses the door one by one: `Call` to Python, `Answer` and `Allow` back (and `Forward`, in forward.rs).

use std::time::Duration;

use bytes::Bytes;
use kubecore_wire::{Call as RustCall, Reply as RustReply, Settlement, Wants};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList};

use crate::forward::Forward;

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
    Forward(PyRef<'py, Forward>),
}

impl Settled<'_> {
    pub(crate) fn split(&self) -> (u64, Settlement) {
        match self {
            Settled::Answer(answer) => (answer.id, Settlement::Answer(answer.reply.clone())),
            Settled::Allow(allow) => (allow.id, Settlement::Allow(allow.allow.clone())),
            Settled::Forward(forward) => (forward.id(), forward.settlement()),
        }
    }
}
