//! The door: what happens to a request between its arrival and its answer, whichever way it came in.
//!
//! ```text
//! begin ─┬─ a read, known to be allowed ──────────────▶ Served
//!        ├─ a read, not known    ──▶ Ask(Verdict) ──▶ Python ──▶ allowed ──▶ Served
//!        └─ everything else      ──▶ Ask(Answer)  ──▶ Python ──▶ settle: released once its revision is durable
//! ```
//!
//! It owns the served resources, the verdict cache, the hand-over and the counters; store and hub are lent. It has no thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, Method};
use kubecore_store::{Revision, Store};
use kubecore_watch::{Hub, Wake};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::accept::{Transform, negotiate};
use crate::encoder::Encoder;
use crate::error::WireError;
use crate::forward::Forward;
use crate::handover::{Call, Handover, Refused, Settlement, Waiter, Wants};
use crate::list::{List, not_newer_than_durable};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::reply::Reply;
use crate::request::Request;
use crate::resources::{Resource, Resources};
use crate::selection::Selection;
use crate::status::Status;
use crate::verdict::{Allow, VerdictCache};
use crate::watch_stream::{Scope, WatchStream};
use crate::watchers::{Watchers, Watching};

/// Settlements that wait for their revision. More would pile up behind a disk that takes nothing, after their clients have
/// given up: at the bound a client is told at once that its request timed out, which says nothing of what it did.
const HELD_SETTLEMENTS_MAX: usize = 16_384;

pub struct Door {
    pub store: Arc<Store>,
    pub hub: Arc<Hub>,
    pub verdicts: VerdictCache,
    pub handover: Handover,
    pub metrics: Metrics,
    watchers: Watchers,
    resources: RwLock<Arc<Resources>>,
    held: Arc<AtomicUsize>,
}

/// Where a request stands after its first look.
pub enum Begun {
    Served(Served),
    Ask(Wants),
}

pub enum Served {
    Reply(Reply),
    List(Box<List>),
    Watch(Box<PendingWatch>),
    Forward(Box<Forward>),
}

/// A watch that is allowed and waits for somebody to drive it.
pub struct PendingWatch {
    scope: Scope,
    store: Arc<Store>,
    hub: Arc<Hub>,
    watching: Watching,
}

impl PendingWatch {
    /// Starts it; `wake` is called when there is something to look at.
    pub fn start(self, wake: Arc<dyn Wake>) -> WatchStream {
        WatchStream::new(&self.store, &self.hub, self.scope, self.watching, wake)
    }
}

impl Door {
    pub fn new(store: Arc<Store>, hub: Arc<Hub>) -> Self {
        Door {
            store,
            hub,
            verdicts: VerdictCache::default(),
            handover: Handover::default(),
            metrics: Metrics::default(),
            watchers: Watchers::default(),
            resources: RwLock::default(),
            held: Arc::default(),
        }
    }

    /// Replaces the table of resources that the wire reads by itself.
    pub fn serve_resources(&self, rows: &[u8]) -> Result<(), WireError> {
        *self.resources.write() = Arc::new(Resources::from_json(rows)?);
        Ok(())
    }

    pub fn begin(&self, request: &Arc<Request>) -> Begun {
        let Some(resource) = self.readable(request) else {
            return Begun::Ask(Wants::Answer);
        };
        let epoch = self.store.policy_epoch();
        if !self.verdicts.allows(request, epoch) {
            return Begun::Ask(Wants::Verdict);
        }
        self.metrics.verdict_hits.fetch_add(1, Ordering::Relaxed);
        Begun::Served(self.read(request, resource, epoch))
    }

    /// Python has allowed this read: it is remembered and served.
    pub fn allowed(&self, request: &Arc<Request>, allow: &Allow) -> Served {
        self.remember(request, allow);
        match self.readable(request) {
            Some(resource) => self.read(request, resource, allow.epoch),
            None => {
                Served::Reply(Status::internal("the resource is no longer served").into_reply())
            }
        }
    }

    /// Keeps a verdict, unless it rests on a rule that is not durable yet: the next request asks again.
    pub fn remember(&self, request: &Request, allow: &Allow) {
        if self.store.policy_revision() <= self.store.durable_revision() {
            self.verdicts.remember(request, allow);
        }
    }

    /// Queues a question for Python.
    pub fn ask(
        &self,
        request: Arc<Request>,
        wants: Wants,
    ) -> Result<oneshot::Receiver<Settlement>, Refused> {
        // Counted first: a look at the counters is a question too, and must see itself.
        self.metrics.python_calls.fetch_add(1, Ordering::Relaxed);
        let asked = self.handover.offer(request, wants);
        if asked.is_err() {
            self.metrics.python_calls.fetch_sub(1, Ordering::Relaxed);
            self.metrics.rejected.fetch_add(1, Ordering::Relaxed);
        }
        asked
    }

    /// The id of a call that is answered on its caller's own thread.
    pub fn count_local_call(&self) -> u64 {
        self.metrics.python_calls.fetch_add(1, Ordering::Relaxed);
        self.handover.next_id()
    }

    /// The `Warning` header of whoever uses a deprecated resource.
    pub fn warning(&self, request: &Request) -> Option<HeaderValue> {
        let info = &request.info;
        let resources = self.resources.read().clone();
        let resource = resources.find(&info.group, &info.version, &info.resource)?;
        let told = !resource.warning.is_empty();
        told.then(|| HeaderValue::try_from(format!("299 - \"{}\"", resource.warning)).ok())?
    }

    /// Counts one finished request. What is no served resource shares one series: a stranger cannot make labels.
    pub fn count(&self, request: &Request, code: u16, took: Duration) {
        let info = &request.info;
        let resources = self.resources.read().clone();
        let known = info.is_resource
            && resources
                .find(&info.group, &info.version, &info.resource)
                .is_some();
        self.metrics.count(request, known, code, took);
    }

    /// All counters as JSON.
    pub fn metrics_json(&self) -> String {
        let mut metrics = self.metrics.to_json();
        let (in_flight, batches, taken) = self.handover.counts();
        metrics["calls_in_flight"] = in_flight.into();
        metrics["call_batches_total"] = batches.into();
        metrics["calls_taken_total"] = taken.into();
        metrics["verdicts"] = self.verdicts.len().into();
        metrics["watchers"] = self.watchers.to_json();
        metrics.to_string()
    }

    pub fn take(&self) -> Option<Vec<Call>> {
        self.handover.take()
    }

    /// Python's word on a call. An answer is released once its revision is durable: the waiting task wakes once, after that.
    pub fn settle(&self, id: u64, settlement: Settlement) {
        // The client may have left, or the request timed out.
        let Some(waiter) = self.handover.claim(id) else {
            return;
        };
        let revision = self.reflects(&settlement);
        if self.store.durable_revision() >= revision {
            // A receiver that is gone wants nothing.
            let _ = waiter.send(settlement);
        } else if !waiter.is_closed() {
            self.hold(waiter, settlement, revision);
        }
    }

    /// The newest revision that a settlement lets its client know of. A permission tells of the rule that gives it.
    fn reflects(&self, settlement: &Settlement) -> Revision {
        match settlement {
            Settlement::Answer(reply) => Revision(reply.revision),
            Settlement::Allow(_) => self.store.policy_revision(),
            Settlement::Forward(forward) => Revision(forward.revision),
        }
    }

    fn hold(&self, waiter: Waiter, settlement: Settlement, revision: Revision) {
        if self.held.fetch_add(1, Ordering::AcqRel) >= HELD_SETTLEMENTS_MAX {
            self.held.fetch_sub(1, Ordering::AcqRel);
            self.metrics.rejected.fetch_add(1, Ordering::Relaxed);
            let _ = waiter.send(Settlement::Answer(Status::timeout().into_reply()));
            return;
        }
        let release = Release {
            store: self.store.clone(),
            revision,
            waiting: Mutex::new(Some((waiter, settlement))),
            held: self.held.clone(),
        };
        self.hub.when_durable(revision, Arc::new(release));
    }

    /// The resource of a read that the wire can serve by itself.
    fn readable(&self, request: &Request) -> Option<Arc<Resource>> {
        let info = &request.info;
        // YAML is written by Python: people ask for it, programs don't.
        let yaml = request
            .header("accept")
            .is_some_and(|accept| accept.contains("yaml"));
        let read = request.method == Method::GET && info.is_resource && !info.has_rest && !yaml;
        let verb = match (info.verb.as_str(), info.subresource.as_str()) {
            ("get", "" | "status") | ("list" | "watch", "") if read => info.verb.as_str(),
            _ => return None,
        };
        let resources = self.resources.read().clone();
        let resource = resources.find(&info.group, &info.version, &info.resource)?;
        let scoped = match (resource.namespaced, verb) {
            (true, "get") => !info.namespace.is_empty(),
            (true, _) => true,
            // A namespace is the one cluster-scoped thing whose request has a namespace: itself, never another. Whoever may
            // read everything in one namespace has no say over the rest.
            (false, _) => {
                info.namespace.is_empty()
                    || (resource.plural == "namespaces" && info.namespace == info.name)
            }
        };
        (scoped && resource.verbs.iter().any(|served| served == verb)).then(|| resource.clone())
    }

    fn read(&self, request: &Arc<Request>, resource: Arc<Resource>, epoch: u64) -> Served {
        let served = match request.info.verb.as_str() {
            "get" => self.get(request, resource).map(Served::Reply),
            "list" => self.list(request, resource),
            _ => self.watch(request, resource, epoch),
        };
        served.unwrap_or_else(|status| Served::Reply(status.into_reply()))
    }

    fn get(&self, request: &Request, resource: Arc<Resource>) -> Result<Reply, Status> {
        let info = &request.info;
        let transform = negotiate(request.header("accept"), false)?;
        let options = Options::parse(&request.query, false)?;
        if let Some(asked) = options.resource_version {
            not_newer_than_durable(&self.store, asked)?;
        }
        let entry = self
            .store
            .get_durable(&resource.key(&info.namespace, &info.name));
        let Some(entry) = entry else {
            return Err(Status::not_found(
                &resource.group,
                &resource.plural,
                &info.name,
            ));
        };
        let encoder = Encoder::new(resource, transform, options.include_object);
        Ok(Reply::json(200, encoder.object(&entry.value)))
    }

    fn list(&self, request: &Request, resource: Arc<Resource>) -> Result<Served, Status> {
        let transform = negotiate(request.header("accept"), false)?;
        let options = Options::parse(&request.query, false)?;
        let selection = Selection::parse(&resource, &options)?;
        let prefix = resource.key_prefix(&request.info.namespace);
        let encoder = Encoder::new(resource, transform, options.include_object);
        let list = List::new(&self.store, prefix, encoder, selection, &options)?;
        if let Transform::Table(version) = transform {
            return list.into_table(version).map(Served::Reply);
        }
        Ok(Served::List(Box::new(list)))
    }

    fn watch(
        &self,
        request: &Arc<Request>,
        resource: Arc<Resource>,
        epoch: u64,
    ) -> Result<Served, Status> {
        let transform = negotiate(request.header("accept"), true)?;
        let mut options = Options::parse(&request.query, true)?;
        let info = &request.info;
        if info.watch_by_path && !info.name.is_empty() {
            options.field_selector = format!("metadata.name={}", info.name);
        }
        let selection = Selection::parse(&resource, &options)?;
        // One object's changes come from one key: the watcher of a pod hears nothing of the others.
        let prefix = match selection.name() {
            Some(name) if !resource.namespaced || !info.namespace.is_empty() => {
                resource.key(&info.namespace, name)
            }
            _ => resource.key_prefix(&info.namespace),
        };
        let encoder = Encoder::new(resource, transform, options.include_object);
        let scope = Scope {
            request: request.clone(),
            options,
            encoder,
            selection,
            prefix,
            epoch,
        };
        Ok(Served::Watch(Box::new(PendingWatch {
            scope,
            store: self.store.clone(),
            hub: self.hub.clone(),
            watching: self.watchers.begin(request),
        })))
    }
}

/// A settlement that waits for its revision to be durable.
struct Release {
    store: Arc<Store>,
    revision: Revision,
    waiting: Mutex<Option<(Waiter, Settlement)>>,
    held: Arc<AtomicUsize>,
}

impl Wake for Release {
    fn wake(&self) {
        let Some((waiter, settlement)) = self.waiting.lock().take() else {
            return;
        };
        // After a failure of the log the hub wakes everybody: what is not on disk is not told.
        let settlement = if self.store.durable_revision() >= self.revision {
            settlement
        } else {
            Settlement::Answer(Status::internal("the log has failed").into_reply())
        };
        let _ = waiter.send(settlement);
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::AcqRel);
    }
}
