//! Adapter over kubecore-store and kubecore-watch: `Store`, `Versioned`, and the exceptions. The thread that drives the
//! log is in log_writer.rs, `Notifier` in notifier.rs.
//!
//! No call here holds the interpreter while it waits for the disk or for another thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kubecore_store::{
    Applied, Entry, Expected, Head, Op, Options, RealDisk, Revision, Store as RustStore,
    StoreError as Error, Timestamp, Txn, Value, View,
};
use kubecore_watch::{Driver, Hub};
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::log_writer::LogWriter;
use crate::notifier::Notifier;

create_exception!(kubecore._core, StoreError, pyo3::exceptions::PyException);
create_exception!(kubecore._core, CompareFailed, StoreError);
create_exception!(kubecore._core, Compacted, StoreError);
create_exception!(kubecore._core, FutureRevision, StoreError);
create_exception!(kubecore._core, TooLarge, StoreError);
create_exception!(kubecore._core, NoSpace, StoreError);
create_exception!(kubecore._core, Corrupt, StoreError);
create_exception!(kubecore._core, Closed, StoreError);

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("StoreError", py.get_type::<StoreError>())?;
    module.add("CompareFailed", py.get_type::<CompareFailed>())?;
    module.add("Compacted", py.get_type::<Compacted>())?;
    module.add("FutureRevision", py.get_type::<FutureRevision>())?;
    module.add("TooLarge", py.get_type::<TooLarge>())?;
    module.add("NoSpace", py.get_type::<NoSpace>())?;
    module.add("Corrupt", py.get_type::<Corrupt>())?;
    module.add("Closed", py.get_type::<Closed>())?;
    module.add_class::<Store>()?;
    module.add_class::<Versioned>()?;
    module.add_function(wrap_pyfunction!(verify_store, module)?)?;
    module.add_function(wrap_pyfunction!(dump_store, module)?)?;
    module.add_function(wrap_pyfunction!(save_store, module)?)?;
    module.add_function(wrap_pyfunction!(restore_store, module)?)?;
    module.add_function(wrap_pyfunction!(repair_store, module)?)?;
    module.add_function(wrap_pyfunction!(defragment_store, module)?)?;
    module.add_class::<Notifier>()
}

/// The exception that stands for an error of the store.
pub(crate) fn to_python(py: Python<'_>, error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::CompareFailed { key, actual } => {
            let raised = CompareFailed::new_err(message);
            let value = raised.value(py);
            match value
                .setattr("key", &*key)
                .and_then(|()| value.setattr("revision", actual.0))
            {
                Ok(()) => raised,
                Err(failed) => failed,
            }
        }
        Error::Compacted { .. } => Compacted::new_err(message),
        Error::FutureRevision { .. } => FutureRevision::new_err(message),
        Error::TooLarge { .. } => TooLarge::new_err(message),
        Error::NoSpace => NoSpace::new_err(message),
        Error::Corrupt { .. } => Corrupt::new_err(message),
        Error::Closed | Error::Failed { .. } => Closed::new_err(message),
        Error::DuplicateKey { .. } | Error::BadSplice { .. } => PyValueError::new_err(message),
        Error::Overloaded { .. } | Error::InUse { .. } | Error::Io { .. } => {
            StoreError::new_err(message)
        }
    }
}

#[pyfunction]
fn verify_store<'py>(py: Python<'py>, directory: PathBuf) -> PyResult<Bound<'py, PyDict>> {
    let verified = py.detach(|| kubecore_store::verify(&RealDisk::shared(&directory)?));
    let verified = verified.map_err(|error| to_python(py, error))?;
    let figures = PyDict::new(py);
    figures.set_item("revision", verified.revision.0)?;
    figures.set_item(
        "snapshot_revision",
        verified.snapshot_revision.map_or(0, |revision| revision.0),
    )?;
    figures.set_item("entries", verified.entries)?;
    figures.set_item("log_bytes", verified.log_bytes)?;
    figures.set_item("torn_bytes", verified.torn_bytes)?;
    Ok(figures)
}

#[pyfunction]
fn dump_store(py: Python<'_>, directory: PathBuf) -> PyResult<(Vec<Versioned>, u64)> {
    let view = py.detach(|| kubecore_store::look(&RealDisk::shared(&directory)?));
    let view = view.map_err(|error| to_python(py, error))?;
    let entries = view.range("", "").cloned().map(Versioned::new).collect();
    Ok((entries, view.revision.0))
}

#[pyfunction]
fn save_store(py: Python<'_>, directory: PathBuf, file: PathBuf) -> PyResult<u64> {
    let saved = py.detach(|| {
        let view = kubecore_store::look(&RealDisk::shared(&directory)?)?;
        kubecore_store::save(&view, &file).map(|()| view.revision)
    });
    saved
        .map(|revision| revision.0)
        .map_err(|error| to_python(py, error))
}

#[pyfunction]
fn restore_store(py: Python<'_>, file: PathBuf, directory: PathBuf) -> PyResult<u64> {
    let restored = py.detach(|| kubecore_store::restore(&file, &RealDisk::open(&directory)?));
    restored
        .map(|revision| revision.0)
        .map_err(|error| to_python(py, error))
}

/// The directory must be there: opening it would make one.
fn own_disk(directory: &Path) -> Result<RealDisk, Error> {
    RealDisk::shared(directory)?;
    RealDisk::open(directory)
}

#[pyfunction]
fn repair_store(py: Python<'_>, directory: PathBuf) -> PyResult<(u64, Vec<String>)> {
    let repaired = py.detach(|| kubecore_store::repair(&own_disk(&directory)?));
    let repaired = repaired.map_err(|error| to_python(py, error))?;
    Ok((repaired.revision.0, repaired.set_aside))
}

#[pyfunction]
fn defragment_store(py: Python<'_>, directory: PathBuf) -> PyResult<(u64, u64)> {
    py.detach(|| kubecore_store::defragment(&own_disk(&directory)?))
        .map_err(|error| to_python(py, error))
}

/// One key at one revision.
#[pyclass(frozen, module = "kubecore._core")]
pub struct Versioned {
    entry: Arc<Entry>,
    value: PyOnceLock<Py<PyBytes>>,
}

impl Versioned {
    fn new(entry: Arc<Entry>) -> Versioned {
        Versioned {
            entry,
            value: PyOnceLock::new(),
        }
    }
}

#[pymethods]
impl Versioned {
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        PyString::new(py, &self.entry.key)
    }

    #[getter]
    fn value(&self, py: Python<'_>) -> Py<PyBytes> {
        self.value
            .get_or_init(py, || PyBytes::new(py, &self.entry.value).unbind())
            .clone_ref(py)
    }

    #[getter]
    fn revision(&self) -> u64 {
        self.entry.modified.0
    }

    #[getter]
    fn create_revision(&self) -> u64 {
        self.entry.created.0
    }

    #[getter]
    fn version(&self) -> u64 {
        self.entry.version
    }

    fn __repr__(&self) -> String {
        format!(
            "Versioned(key={:?}, revision={})",
            self.entry.key, self.entry.modified
        )
    }
}

#[pyclass(frozen, module = "kubecore._core")]
pub struct Store {
    driver: Arc<Driver>,
    /// `None`: threadless, every write is driven on the thread that makes it.
    writer: Option<LogWriter>,
}

impl Store {
    fn start(store: RustStore, threadless: bool) -> Store {
        let driver = Arc::new(Driver::new(Arc::new(store)));
        let writer = (!threadless).then(|| LogWriter::start(driver.clone()));
        Store { driver, writer }
    }

    /// What the wire and the notifier share with this store.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        self.driver.hub()
    }

    /// How to tell the log writer of a write; None for a store without one.
    pub(crate) fn notifier(&self) -> Option<impl Fn() + Send + Sync + use<>> {
        self.writer.as_ref().map(LogWriter::notifier)
    }

    fn store(&self) -> &RustStore {
        self.driver.store()
    }

    fn apply(&self, py: Python<'_>, txn: Txn) -> PyResult<Applied> {
        if self.writer.is_some() {
            self.store().observe(crate::log_writer::wall_clock());
        }
        let applied = self
            .store()
            .apply(txn)
            .map_err(|error| to_python(py, error))?;
        match &self.writer {
            Some(writer) => writer.notify(),
            None => {
                self.driver.turn().map_err(|error| to_python(py, error))?;
            }
        }
        Ok(applied)
    }

    fn apply_one(&self, py: Python<'_>, txn: Txn) -> PyResult<Versioned> {
        // A transaction of one op gives one entry.
        let entry = self.apply(py, txn)?.entries.swap_remove(0);
        Ok(Versioned::new(entry))
    }

    fn value(&self, py: Python<'_>, bytes: &[u8], splice: i64) -> PyResult<Value> {
        let offset = usize::try_from(splice).ok();
        Value::new(bytes, offset, self.store().revision().next())
            .map_err(|error| to_python(py, error))
    }

    fn view(&self, py: Python<'_>, revision: u64) -> PyResult<View> {
        match revision {
            0 => Ok(self.store().view(Head::Applied)),
            _ => py
                .detach(|| self.store().view_at(Revision(revision)))
                .map_err(|error| to_python(py, error)),
        }
    }
}

/// -1 anything, 0 absent, n that modification revision.
fn expected_of(expected: i64) -> PyResult<Expected> {
    match expected {
        -1 => Ok(Expected::Any),
        0 => Ok(Expected::Absent),
        revision if revision > 0 => Ok(Expected::Modified(Revision(revision as u64))),
        _ => Err(PyValueError::new_err("expected is -1, 0 or a revision")),
    }
}

#[pymethods]
impl Store {
    #[staticmethod]
    #[pyo3(signature = (directory, *, policy_prefixes = Vec::new()), text_signature = "(directory, *, policy_prefixes=())")]
    fn open(py: Python<'_>, directory: PathBuf, policy_prefixes: Vec<String>) -> PyResult<Store> {
        let options = Options {
            policy_prefixes,
            ..Options::default()
        };
        let opened = py.detach(|| RustStore::open(Box::new(RealDisk::open(&directory)?), options));
        Ok(Store::start(
            opened.map_err(|error| to_python(py, error))?,
            false,
        ))
    }

    #[staticmethod]
    #[pyo3(signature = (*, policy_prefixes = Vec::new(), threadless = false), text_signature = "(*, policy_prefixes=(), threadless=False)")]
    fn memory(policy_prefixes: Vec<String>, threadless: bool) -> Store {
        let options = Options {
            policy_prefixes,
            ..Options::default()
        };
        Store::start(RustStore::memory(options), threadless)
    }

    fn revision(&self) -> u64 {
        self.store().revision().0
    }

    fn durable_revision(&self) -> u64 {
        self.store().durable_revision().0
    }

    fn compacted_revision(&self) -> u64 {
        self.store().compacted_revision().0
    }

    fn policy_epoch(&self) -> u64 {
        self.store().policy_epoch()
    }

    fn failure(&self) -> Option<&str> {
        self.store().failure()
    }

    fn get(&self, key: &str) -> Option<Versioned> {
        self.store().get(key).map(Versioned::new)
    }

    #[pyo3(signature = (prefix, *, start_after = "", limit = 0, revision = 0))]
    fn range(
        &self,
        py: Python<'_>,
        prefix: &str,
        start_after: &str,
        limit: usize,
        revision: u64,
    ) -> PyResult<(Vec<Versioned>, u64, usize)> {
        let view = self.view(py, revision)?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut entries = view.range(prefix, start_after);
        let page = entries
            .by_ref()
            .take(limit)
            .cloned()
            .map(Versioned::new)
            .collect();
        Ok((page, view.revision.0, entries.count()))
    }

    fn count(&self, prefix: &str) -> usize {
        self.store().view(Head::Applied).count(prefix)
    }

    #[pyo3(signature = (key, value, *, splice = -1, expected = -1, ttl_seconds = 0), text_signature = "($self, key, value, *, splice=-1, expected=-1, ttl_seconds=0)")]
    fn put(
        &self,
        py: Python<'_>,
        key: &str,
        value: &[u8],
        splice: i64,
        expected: i64,
        ttl_seconds: u64,
    ) -> PyResult<Versioned> {
        let key: Arc<str> = key.into();
        let value = self.value(py, value, splice)?;
        let ttl_seconds = (ttl_seconds > 0).then_some(ttl_seconds);
        let mut txn = Txn {
            compares: Vec::new(),
            ops: vec![Op::Put {
                key: key.clone(),
                value,
                ttl_seconds,
            }],
        };
        if expected != -1 {
            txn = txn.expect(key, expected_of(expected)?);
        }
        self.apply_one(py, txn)
    }

    #[pyo3(signature = (key, *, expected = -1, value = None, splice = -1), text_signature = "($self, key, *, expected=-1, value=None, splice=-1)")]
    fn delete(
        &self,
        py: Python<'_>,
        key: &str,
        expected: i64,
        value: Option<&[u8]>,
        splice: i64,
    ) -> PyResult<Versioned> {
        let last = value
            .map(|value| self.value(py, value, splice))
            .transpose()?;
        let txn = Txn::new().expect(key, expected_of(expected)?);
        self.apply_one(
            py,
            Txn {
                ops: vec![Op::Delete {
                    key: key.into(),
                    last,
                }],
                ..txn
            },
        )
    }

    #[pyo3(signature = (compares, puts, deletes = Vec::new()), text_signature = "($self, compares, puts, deletes=())")]
    fn transact(
        &self,
        py: Python<'_>,
        compares: Vec<(String, i64)>,
        puts: Vec<(String, Bound<'_, PyBytes>, i64)>,
        deletes: Vec<String>,
    ) -> PyResult<Vec<Versioned>> {
        let mut txn = Txn::new();
        for (key, expected) in compares {
            txn = txn.expect(key, expected_of(expected)?);
        }
        for (key, value, splice) in puts {
            txn = txn.put(key, self.value(py, value.as_bytes(), splice)?);
        }
        for key in deletes {
            txn = txn.delete(key);
        }
        Ok(self
            .apply(py, txn)?
            .entries
            .into_iter()
            .map(Versioned::new)
            .collect())
    }

    fn compact(&self, py: Python<'_>, revision: u64) -> PyResult<()> {
        py.detach(|| self.store().compact(Revision(revision)))
            .map_err(|error| to_python(py, error))
    }

    fn wait_durable(&self, py: Python<'_>, revision: u64) -> PyResult<()> {
        py.detach(|| crate::log_writer::wait_durable(self.driver.hub(), Revision(revision)))
            .map_err(|error| to_python(py, error))
    }

    /// Tells a threadless store that time has passed.
    fn tick(&self, py: Python<'_>, now_seconds: f64) -> PyResult<Option<f64>> {
        let next = py.detach(|| self.driver.tick(Timestamp::from_seconds(now_seconds)));
        let next = next.map_err(|error| to_python(py, error))?;
        Ok(next.map(|Timestamp(milliseconds)| milliseconds as f64 / 1000.0))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let closed = py.detach(|| match &self.writer {
            Some(writer) => writer.stop(),
            None => {
                self.store().close();
                let turned = self.driver.turn().map(drop);
                self.store().release();
                turned
            }
        });
        closed.map_err(|error| to_python(py, error))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.store().stats();
        let hub = self.driver.hub().stats();
        let figures = PyDict::new(py);
        for (name, figure) in [
            ("revision", stats.revision.0),
            ("durable_revision", stats.durable_revision.0),
            ("compacted_revision", stats.compacted_revision.0),
            ("policy_epoch", stats.policy_epoch),
            ("entries", stats.entries as u64),
            ("history_events", stats.history_events as u64),
            ("history_bytes", stats.history_bytes as u64),
            ("pending_events", stats.pending_events as u64),
            ("pending_bytes", stats.pending_bytes as u64),
            ("commits", stats.commits),
            ("failed", u64::from(self.store().failure().is_some())),
            ("log_bytes", stats.log_bytes),
            ("watch_topics", hub.topics as u64),
            ("watch_followers", hub.followers as u64),
            ("durable_waiters", hub.waiters as u64),
        ] {
            figures.set_item(name, figure)?;
        }
        Ok(figures)
    }
}
