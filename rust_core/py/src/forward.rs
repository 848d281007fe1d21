//! `Forward`: Python's decision that somebody else answers a call, and the socket on which they will.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use kubecore_wire::{Forward as RustForward, Mount, Settlement, Status};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[pyclass(frozen, module = "kubecore._core")]
pub struct Forward {
    #[pyo3(get)]
    id: u64,
    /// Taken by the first settlement; a second one has nothing to send on.
    forward: Mutex<Option<Box<RustForward>>>,
}

impl Forward {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn settlement(&self) -> Settlement {
        match self.forward.lock().take() {
            Some(forward) => Settlement::Forward(forward),
            None => {
                Settlement::Answer(Status::internal("a forward can be settled once").into_reply())
            }
        }
    }
}

fn invalid(error: impl Into<http::Error>) -> PyErr {
    let error: http::Error = error.into();
    PyValueError::new_err(error.to_string())
}

#[pymethods]
impl Forward {
    #[new]
    #[pyo3(
        signature = (id, fd, method, target, headers, *, mount_path=String::new(), mount_host=String::new(), errors_of=None, revision=0),
        text_signature = "(id, fd, method, target, headers, *, mount_path='', mount_host='', errors_of=None, revision=0)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn new(
        id: u64,
        fd: RawFd,
        method: &str,
        target: &str,
        headers: Vec<(String, String)>,
        mount_path: String,
        mount_host: String,
        errors_of: Option<(String, String)>,
        revision: u64,
    ) -> PyResult<Forward> {
        if fd < 0 {
            return Err(PyValueError::new_err("not a file descriptor"));
        }
        // SAFETY: the caller gives the descriptor away, as the stub says: nobody else closes it.
        let stream = unsafe { OwnedFd::from_raw_fd(fd) }.into();
        let mut map = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(invalid)?;
            map.append(name, HeaderValue::try_from(value).map_err(invalid)?);
        }
        let forward = RustForward {
            stream,
            method: Method::from_bytes(method.as_bytes()).map_err(invalid)?,
            target: Uri::try_from(target).map_err(invalid)?,
            headers: map,
            mount: (!mount_path.is_empty()).then_some(Mount {
                path: mount_path,
                host: mount_host,
            }),
            errors_of,
            revision,
        };
        Ok(Forward {
            id,
            forward: Mutex::new(Some(Box::new(forward))),
        })
    }
}
