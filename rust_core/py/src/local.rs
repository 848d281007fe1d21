//! Requests from inside the process: the same door, on the caller's thread, without a runtime, so that virtual time works.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use kubecore_wire::{
    Begun, Call as RustCall, Door, Reply as RustReply, Request, Served, Settlement, Status, Step,
    Wants, WatchStream, WireError,
};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::calls::Call;
use crate::notifier::Notifier;

/// Calls that were given out and not settled. At the bound the oldest is forgotten: settling it raises.
const UNSETTLED_MAX: usize = 10_000;

pub(crate) struct Local {
    door: Arc<Door>,
    unsettled: Mutex<BTreeMap<u64, Unsettled>>,
}

struct Unsettled {
    request: Arc<Request>,
    started: Instant,
    then: Then,
}

/// What a settlement is for.
enum Then {
    Serve(Py<Notifier>),
    /// A running watch asks whether it still may.
    Resume(Py<LocalWatch>),
}

impl Local {
    pub fn new(door: Arc<Door>) -> Arc<Local> {
        Arc::new(Local {
            door,
            unsettled: Mutex::default(),
        })
    }

    pub fn begin<'py>(
        self: &Arc<Self>,
        py: Python<'py>,
        request: Arc<Request>,
        notifier: Py<Notifier>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let started = Instant::now();
        match self.door.begin(&request) {
            Begun::Served(served) => self.hand_out(py, &request, served, started, &notifier),
            Begun::Ask(wants) => self.ask(
                py,
                Unsettled {
                    request,
                    started,
                    then: Then::Serve(notifier),
                },
                wants,
            ),
        }
    }

    fn ask<'py>(
        &self,
        py: Python<'py>,
        unsettled: Unsettled,
        wants: Wants,
    ) -> PyResult<Bound<'py, PyAny>> {
        let id = self.door.count_local_call();
        let call = RustCall {
            id,
            wants,
            request: unsettled.request.clone(),
        };
        let forgotten = {
            let mut all = self.unsettled.lock();
            all.insert(id, unsettled);
            if all.len() > UNSETTLED_MAX {
                all.pop_first()
            } else {
                None
            }
        };
        drop(forgotten);
        Ok(Bound::new(py, Call::new(call))?.into_any())
    }

    pub fn settle<'py>(
        self: &Arc<Self>,
        py: Python<'py>,
        id: u64,
        settlement: Settlement,
    ) -> Result<PyResult<Bound<'py, PyAny>>, WireError> {
        let unsettled = self.unsettled.lock().remove(&id);
        let Some(Unsettled {
            request,
            started,
            then,
        }) = unsettled
        else {
            return Err(WireError::UnknownCall(id));
        };
        Ok(match (then, settlement) {
            (Then::Serve(notifier), Settlement::Allow(allow)) => {
                let served = self.door.allowed(&request, &allow);
                self.hand_out(py, &request, served, started, &notifier)
            }
            (Then::Serve(notifier), Settlement::Forward(forward)) => {
                self.hand_out(py, &request, Served::Forward(forward), started, &notifier)
            }
            (Then::Serve(notifier), Settlement::Answer(reply)) => {
                self.hand_out(py, &request, Served::Reply(reply), started, &notifier)
            }
            (Then::Resume(watch), Settlement::Allow(allow)) => {
                self.door.remember(&request, &allow);
                watch.get().resume(Some(allow.epoch));
                Ok(watch.into_bound(py).into_any())
            }
            (Then::Resume(watch), Settlement::Answer(_) | Settlement::Forward(_)) => {
                watch.get().resume(None);
                Ok(watch.into_bound(py).into_any())
            }
        })
    }

    fn hand_out<'py>(
        self: &Arc<Self>,
        py: Python<'py>,
        request: &Arc<Request>,
        served: Served,
        started: Instant,
        notifier: &Py<Notifier>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut reply = match served {
            Served::Reply(reply) => reply,
            Served::List(mut list) => {
                let mut body = BytesMut::new();
                while let Some(segment) = list.segment() {
                    body.extend_from_slice(&segment);
                }
                RustReply::json(200, body.freeze())
            }
            // Its bytes need a runtime, which a caller in this process may not have.
            Served::Forward(_) => {
                Status::internal("streams are answered on a connection only").into_reply()
            }
            Served::Watch(pending) => {
                self.door.count(request, 200, started.elapsed());
                let id = self.door.handover.next_id();
                let stream = pending.start(notifier.get().handle(id));
                self.door.metrics.watches.fetch_add(1, Ordering::Relaxed);
                let watch = LocalWatch {
                    id,
                    local: self.clone(),
                    stream: Mutex::new(stream),
                };
                return Ok(Bound::new(py, watch)?.into_any());
            }
        };
        // The caller waits for the rule that allowed it too, as for the revision of any answer.
        reply.revision = reply.revision.max(self.door.store.policy_revision().0);
        self.door.count(request, reply.status, started.elapsed());
        Ok(Bound::new(py, Reply { reply })?.into_any())
    }
}

#[pyclass(frozen, module = "kubecore._core")]
pub struct Reply {
    reply: RustReply,
}

#[pymethods]
impl Reply {
    #[getter]
    fn status(&self) -> u16 {
        self.reply.status
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
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.reply.body)
    }

    #[getter]
    fn revision(&self) -> u64 {
        self.reply.revision
    }
}

#[pyclass(frozen, module = "kubecore._core")]
pub struct LocalWatch {
    #[pyo3(get)]
    id: u64,
    local: Arc<Local>,
    stream: Mutex<WatchStream>,
}

impl LocalWatch {
    /// `epoch`: what it may go on under; None: it may not.
    fn resume(&self, epoch: Option<u64>) {
        let mut stream = self.stream.lock();
        match epoch {
            Some(epoch) => stream.allowed(epoch),
            None => stream.end(),
        }
    }
}

impl Drop for LocalWatch {
    fn drop(&mut self) {
        self.local
            .door
            .metrics
            .watches
            .fetch_sub(1, Ordering::Relaxed);
    }
}

type PyEvent<'py> = (&'static str, String, Bound<'py, PyBytes>);

#[pymethods]
impl LocalWatch {
    #[pyo3(signature = (limit=1000))]
    fn poll<'py>(slf: &Bound<'py, Self>, limit: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        let mut events: Vec<PyEvent<'py>> = Vec::new();
        let mut stream = this.stream.lock();
        while events.len() < limit {
            match stream.step(&this.local.door.verdicts) {
                Step::Items(items) => events.extend(items.into_iter().map(|item| {
                    let object: &Bytes = &item.object;
                    (item.kind, item.key.to_string(), PyBytes::new(py, object))
                })),
                Step::Idle => break,
                Step::Ended if events.is_empty() => return Ok(None),
                Step::Ended => break,
                Step::Ask if !events.is_empty() => break,
                Step::Ask => {
                    let request = stream.request.clone();
                    drop(stream);
                    let then = Then::Resume(slf.clone().unbind());
                    let unsettled = Unsettled {
                        request,
                        started: Instant::now(),
                        then,
                    };
                    return this.local.ask(py, unsettled, Wants::Verdict).map(Some);
                }
            }
        }
        drop(stream);
        Ok(Some(events.into_pyobject(py)?.into_any()))
    }

    fn close(&self) {
        self.stream.lock().end();
    }
}
