//! Adapter over kubecore-sched: bytes in, decisions out. The GIL is released while the kernel works.

use std::sync::Arc;

use kubecore_sched as sched;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};

fn failed(error: sched::SchedError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn event_kind(text: &str) -> PyResult<sched::EventKind> {
    match text {
        "ADDED" | "MODIFIED" => Ok(sched::EventKind::Put),
        "DELETED" => Ok(sched::EventKind::Deleted),
        other => Err(PyValueError::new_err(format!(
            "not a watch event's type: {other}"
        ))),
    }
}

fn state_name(state: sched::PodState) -> &'static str {
    match state {
        sched::PodState::Pending => "pending",
        sched::PodState::Gated => "gated",
        sched::PodState::Assigned => "assigned",
        sched::PodState::Gone => "gone",
    }
}

#[pyclass(frozen)]
struct PodChange {
    inner: sched::PodChange,
}

#[pymethods]
impl PodChange {
    #[getter]
    fn key(&self) -> &str {
        &self.inner.key
    }
    #[getter]
    fn state(&self) -> &'static str {
        state_name(self.inner.state)
    }
    #[getter]
    fn priority(&self) -> i32 {
        self.inner.priority
    }
    #[getter]
    fn changed(&self) -> bool {
        self.inner.changed
    }
}

#[pyclass(frozen)]
struct Failure {
    inner: Arc<sched::Failure>,
}

#[pymethods]
impl Failure {
    #[getter]
    fn nodes(&self) -> usize {
        self.inner.nodes
    }
    #[getter]
    fn before_nodes(&self) -> Option<&str> {
        self.inner.before_nodes.as_deref()
    }
    #[getter]
    fn reasons(&self) -> Vec<(String, usize)> {
        self.inner.reasons.clone()
    }
    #[getter]
    fn plugins(&self) -> Vec<&'static str> {
        self.inner.plugins.clone()
    }
    #[getter]
    fn undecided(&self) -> Vec<String> {
        self.inner.undecided.clone()
    }
    #[getter]
    fn preemption(&self) -> &'static str {
        match self.inner.preemption {
            sched::Preemption::NotConsidered => "not considered",
            sched::Preemption::NotEligible(_) => "not eligible",
            sched::Preemption::Useless(_) => "useless",
            sched::Preemption::Nominated(_) => "nominated",
        }
    }
    #[getter]
    fn not_eligible(&self) -> Option<&'static str> {
        match self.inner.preemption {
            sched::Preemption::NotEligible(why) => Some(why),
            _ => None,
        }
    }
    #[getter]
    fn preemption_reasons(&self) -> Vec<(String, usize)> {
        match &self.inner.preemption {
            sched::Preemption::Useless(reasons) => reasons.clone(),
            _ => Vec::new(),
        }
    }
    #[getter]
    fn nominated_node(&self) -> Option<String> {
        self.nomination().map(|each| each.node.to_string())
    }
    #[getter]
    fn victims(&self) -> Vec<(String, String, bool)> {
        let victims = self.nomination().into_iter().flat_map(|each| &each.victims);
        victims
            .map(|victim| {
                (
                    victim.key.to_string(),
                    victim.uid.to_string(),
                    victim.leaves,
                )
            })
            .collect()
    }
    #[getter]
    fn outranked(&self) -> Vec<String> {
        let outranked = self
            .nomination()
            .into_iter()
            .flat_map(|each| &each.outranked);
        outranked.map(ToString::to_string).collect()
    }
}

impl Failure {
    fn nomination(&self) -> Option<&sched::Nomination> {
        match &self.inner.preemption {
            sched::Preemption::Nominated(nomination) => Some(nomination),
            _ => None,
        }
    }
}

#[pyclass(frozen)]
struct Kernel {
    inner: Mutex<sched::Kernel>,
}

/// Node, the plugin that refused it, its reasons, or each plugin's score and weight.
type NodeVerdict = (String, Option<&'static str>, Vec<String>, sched::Scores);
type Explained = (Option<String>, Failure, Vec<NodeVerdict>);
type Decision = (PyBackedStr, Option<String>, Option<Failure>);

#[pymethods]
impl Kernel {
    #[new]
    #[pyo3(signature = (*, seed = 0, profiles = Vec::new()))]
    fn new(seed: u64, profiles: Vec<PyBackedBytes>) -> PyResult<Kernel> {
        let each = profiles.iter();
        let mut settings: Vec<sched::Settings> = each
            .map(|text| sched::Settings::read(text).map_err(failed))
            .collect::<PyResult<_>>()?;
        if settings.is_empty() {
            settings.push(sched::Settings::default());
        }
        Ok(Kernel {
            inner: Mutex::new(sched::Kernel::new(seed, &settings)),
        })
    }

    fn node_event(&self, py: Python<'_>, r#type: &str, body: PyBackedBytes) -> PyResult<bool> {
        let kind = event_kind(r#type)?;
        py.detach(|| self.inner.lock().node_event(kind, &body))
            .map_err(failed)
    }

    fn take_woken(&self) -> Vec<String> {
        let woken = self.inner.lock().take_woken();
        woken.iter().map(ToString::to_string).collect()
    }

    fn pod_events(
        &self,
        py: Python<'_>,
        events: Vec<(PyBackedStr, PyBackedBytes)>,
    ) -> PyResult<Vec<Py<PyAny>>> {
        let kinds: Vec<sched::EventKind> = events
            .iter()
            .map(|(kind, _)| event_kind(kind))
            .collect::<PyResult<_>>()?;
        // Released once for all: giving the GIL away for each event would mean waiting for it as often.
        let changes = py.detach(|| {
            let mut kernel = self.inner.lock();
            let each = kinds.iter().zip(&events);
            each.map(|(kind, (_, body))| kernel.pod_event(*kind, body))
                .collect::<Vec<_>>()
        });
        changes
            .into_iter()
            .map(|change| match change {
                Ok(inner) => Ok(Py::new(py, PodChange { inner })?.into_any()),
                Err(unreadable) => Ok(failed(unreadable).into_value(py).into_any()),
            })
            .collect()
    }

    fn related_event(
        &self,
        py: Python<'_>,
        resource: &str,
        r#type: &str,
        body: PyBackedBytes,
    ) -> PyResult<()> {
        let kind = event_kind(r#type)?;
        let found = sched::RELATED.iter().find(|(name, _)| *name == resource);
        let Some((_, related)) = found else {
            return Err(PyValueError::new_err(format!(
                "no resource that decisions depend on: {resource}"
            )));
        };
        py.detach(|| self.inner.lock().related_event(*related, kind, &body))
            .map_err(failed)
    }

    fn schedule(&self, py: Python<'_>, keys: Vec<PyBackedStr>) -> Vec<Decision> {
        let outcomes = py.detach(|| self.inner.lock().schedule(keys.iter().map(|key| &**key)));
        keys.into_iter()
            .zip(outcomes)
            .map(|(key, outcome)| match outcome {
                sched::Outcome::Placed(node) => (key, Some(node.to_string()), None),
                sched::Outcome::Failed(inner) => (key, None, Some(Failure { inner })),
                sched::Outcome::Skipped => (key, None, None),
            })
            .collect()
    }

    fn forget(&self, key: &str) -> bool {
        self.inner.lock().forget(key)
    }

    fn spare(&self, key: &str) {
        self.inner.lock().spare(key);
    }

    fn node_of(&self, key: &str) -> Option<String> {
        self.inner.lock().node_of(key).map(ToString::to_string)
    }

    fn explain(&self, py: Python<'_>, pod: PyBackedBytes) -> PyResult<Explained> {
        let explained = py
            .detach(|| self.inner.lock().explain(&pod))
            .map_err(failed)?;
        let nodes = explained.nodes.into_iter().map(|each| {
            let node = each.node.to_string();
            match each.verdict {
                sched::Verdict::Scored(scores) => (node, None, Vec::new(), scores),
                sched::Verdict::Refused { plugin, reasons } => {
                    (node, Some(plugin), reasons, Vec::new())
                }
            }
        });
        Ok((
            explained.node.map(|node| node.to_string()),
            Failure {
                inner: Arc::new(explained.failure),
            },
            nodes.collect(),
        ))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, pyo3::types::PyDict>> {
        let stats = self.inner.lock().stats();
        let named = pyo3::types::PyDict::new(py);
        named.set_item("nodes", stats.nodes)?;
        named.set_item("pods", stats.pods)?;
        named.set_item("assumed", stats.assumed)?;
        named.set_item("classes", stats.classes)?;
        named.set_item("decisions", stats.decisions)?;
        named.set_item("nodes_considered", stats.nodes_considered)?;
        Ok(named)
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PodChange>()?;
    module.add_class::<Failure>()?;
    module.add_class::<Kernel>()
}
