//! Watch: many watches over one stream, each a follower of the hub.
//!
//! One task per stream owns all its watches. It wakes when one of them has something, when the client says something, and
//! now and then for progress. A client that reads slowly stops only its own stream: its watches lag, and end as compacted
//! when the history leaves them behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kubecore_store::{Change, Event as StoreEvent, Head, Revision};
use kubecore_watch::{Subscription, WatchError};
use prost::Message;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::Etcd;
use crate::failure::Failure;
use crate::kv::key_value;
use crate::lease;
use crate::messages::{
    Event, EventType, FilterType, KeyValue, WatchCreateRequest, WatchRequest, WatchResponse,
    watch_request,
};
use crate::span::Span;

/// Events taken from the hub at a time.
const BATCH_MAX: usize = 1_000;
/// A response grows to about this, and fragments are cut to it: etcd's request limit.
const RESPONSE_BYTES_MAX: usize = 1_536 * 1_024;
/// How often a quiet watch that asked for it hears how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// Watches on one stream. At the bound a new one is cancelled with the reason.
const WATCHES_MAX: usize = 10_000;
/// Of the answer to a client's own question for progress: it concerns all watches of the stream.
const ALL_WATCHES: i64 = -1;

pub type Responses = mpsc::Sender<Result<WatchResponse, Status>>;

/// The stream's end came from the client: nobody is left to tell.
struct Left;

struct Watch {
    span: Span,
    filters: Vec<FilterType>,
    wants_previous: bool,
    wants_fragments: bool,
    wants_progress: bool,
    /// Events below it are not meant: a watch may begin in the future.
    start: Revision,
    subscription: Subscription,
    /// Taken from the hub; the last revision may not be whole yet.
    held: Vec<Arc<StoreEvent>>,
    has_news: Arc<AtomicBool>,
    told: Instant,
}

pub struct WatchStream {
    etcd: Arc<Etcd>,
    responses: Responses,
    watches: BTreeMap<i64, Watch>,
    next_id: i64,
    news: Arc<Notify>,
}

impl WatchStream {
    pub fn new(etcd: Arc<Etcd>, responses: Responses) -> WatchStream {
        WatchStream {
            etcd,
            responses,
            watches: BTreeMap::new(),
            next_id: 0,
            news: Arc::new(Notify::new()),
        }
    }

    /// Until the client leaves.
    pub async fn run(mut self, mut requests: Streaming<WatchRequest>) {
        let mut progress = tokio::time::interval(PROGRESS_EVERY);
        loop {
            let news = self.news.clone();
            let went_on = tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.answer(request).await,
                    // The client has said all it wanted to say, or is gone; closing our side tells it so.
                    Ok(None) | Err(_) => Err(Left),
                },
                () = news.notified() => self.deliver_news().await,
                _ = progress.tick() => self.tell_progress().await,
                () = self.responses.closed() => Err(Left),
            };
            if went_on.is_err() {
                return;
            }
        }
    }

    async fn send(&self, response: WatchResponse) -> Result<(), Left> {
        self.responses.send(Ok(response)).await.map_err(|_| Left)
    }

    async fn answer(&mut self, request: WatchRequest) -> Result<(), Left> {
        match request.request {
            Some(watch_request::Request::Create(create)) => self.create(create).await,
            Some(watch_request::Request::Cancel(cancel)) => {
                if self.watches.remove(&cancel.watch_id).is_none() {
                    return Ok(());
                }
                self.send(WatchResponse {
                    watch_id: cancel.watch_id,
                    canceled: true,
                    ..self.response()
                })
                .await
            }
            Some(watch_request::Request::Progress(_)) => {
                self.deliver_everything().await?;
                let progress = self.watches.values().map(Watch::progress).min();
                let revision = progress.unwrap_or_else(|| self.etcd.hub.revision());
                self.send(WatchResponse {
                    watch_id: ALL_WATCHES,
                    header: self.etcd.header(revision),
                    ..WatchResponse::default()
                })
                .await
            }
            None => Ok(()),
        }
    }

    fn response(&self) -> WatchResponse {
        WatchResponse {
            header: self.etcd.header(self.etcd.hub.revision()),
            ..WatchResponse::default()
        }
    }

    async fn create(&mut self, request: WatchCreateRequest) -> Result<(), Left> {
        let id = self.id(request.watch_id);
        let created = WatchResponse {
            watch_id: id.unwrap_or(request.watch_id),
            created: true,
            ..self.response()
        };
        let refused = |reason: String| WatchResponse {
            canceled: true,
            cancel_reason: reason,
            watch_id: -1,
            ..created.clone()
        };
        let Some(id) = id else {
            let reason = "mvcc: duplicate watch ID provided on the WatchStream".to_owned();
            return self.send(refused(reason)).await;
        };
        if self.watches.len() >= WATCHES_MAX {
            let reason = format!("kubecore: a stream carries {WATCHES_MAX} watches at most");
            return self.send(refused(reason)).await;
        }
        let span = match Span::new(&request.key, &request.range_end) {
            Ok(span) => span,
            Err(failure) => return self.send(refused(failure.to_string())).await,
        };
        match self.watch(span, &request) {
            Ok(watch) => {
                self.send(created).await?;
                self.watches.insert(id, watch);
                self.deliver(id).await
            }
            Err(error) => {
                self.send(created).await?;
                self.send(self.lost(id, &error)).await
            }
        }
    }

    /// The id that the client wants, or a fresh one; None if it has that already.
    fn id(&mut self, wanted: i64) -> Option<i64> {
        if wanted != 0 {
            return (!self.watches.contains_key(&wanted)).then_some(wanted);
        }
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Some(self.next_id - 1)
    }

    fn watch(&self, span: Span, request: &WatchCreateRequest) -> Result<Watch, WatchError> {
        let newest = self.etcd.store.durable_revision();
        let start = u64::try_from(request.start_revision).unwrap_or(0);
        // A watch from the future follows from now on, and looks away until then.
        let from = if start == 0 {
            newest
        } else {
            Revision(start - 1).min(newest)
        };
        let has_news = Arc::new(AtomicBool::new(false));
        let wake = {
            let (has_news, news) = (has_news.clone(), self.news.clone());
            move || {
                has_news.store(true, Ordering::Release);
                news.notify_one();
            }
        };
        let topic = span.topic().to_owned();
        let subscription = self.etcd.hub.subscribe(&topic, from, Arc::new(wake))?;
        Ok(Watch {
            span,
            filters: request.filters().collect(),
            wants_previous: request.prev_kv,
            wants_fragments: request.fragment,
            wants_progress: request.progress_notify,
            start: Revision(start),
            subscription,
            held: Vec::new(),
            has_news,
            told: Instant::now(),
        })
    }

    fn lost(&self, id: i64, error: &WatchError) -> WatchResponse {
        let oldest = match error {
            WatchError::Compacted { oldest, .. } | WatchError::Expired { oldest } => oldest.0,
            WatchError::Future { .. } => 0,
        };
        WatchResponse {
            watch_id: id,
            canceled: true,
            compact_revision: oldest as i64,
            cancel_reason: Failure::Compacted.to_string(),
            ..self.response()
        }
    }

    async fn deliver_news(&mut self) -> Result<(), Left> {
        let with_news = self.watches.iter();
        let ids: Vec<i64> = with_news
            .filter(|(_, watch)| watch.has_news.load(Ordering::Acquire))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.deliver(id).await?;
        }
        Ok(())
    }

    async fn deliver_everything(&mut self) -> Result<(), Left> {
        let ids: Vec<i64> = self.watches.keys().copied().collect();
        for id in ids {
            self.deliver(id).await?;
        }
        Ok(())
    }

    /// Tells one watch everything that there is for it.
    async fn deliver(&mut self, id: i64) -> Result<(), Left> {
        loop {
            let Some(watch) = self.watches.get_mut(&id) else {
                return Ok(());
            };
            watch.has_news.store(false, Ordering::Release);
            let events = match watch.take() {
                Ok(Some(events)) => events,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.watches.remove(&id);
                    return self.send(self.lost(id, &error)).await;
                }
            };
            let shown = watch.shown(&self.etcd, &events);
            if shown.is_empty() {
                continue;
            }
            watch.told = Instant::now();
            let fragments = fragments(shown, watch.wants_fragments);
            let last = fragments.len() - 1;
            for (index, events) in fragments.into_iter().enumerate() {
                let response = WatchResponse {
                    watch_id: id,
                    fragment: index < last,
                    events,
                    ..self.response()
                };
                self.send(response).await?;
            }
        }
    }

    async fn tell_progress(&mut self) -> Result<(), Left> {
        let mut due = Vec::new();
        for (id, watch) in &mut self.watches {
            if watch.wants_progress
                && watch.held.is_empty()
                && watch.told.elapsed() >= PROGRESS_EVERY
            {
                watch.told = Instant::now();
                due.push(WatchResponse {
                    watch_id: *id,
                    header: self.etcd.header(watch.progress()),
                    ..WatchResponse::default()
                });
            }
        }
        for response in due {
            self.send(response).await?;
        }
        Ok(())
    }
}

impl Watch {
    /// Everything up to here has been told.
    fn progress(&self) -> Revision {
        let seen = self.subscription.progress();
        match self.held.first() {
            Some(held) => seen.min(Revision(held.revision.0 - 1)),
            None => seen,
        }
    }

    /// The next whole revisions, about as much as a response holds; None when there is nothing.
    fn take(&mut self) -> Result<Option<Vec<Arc<StoreEvent>>>, WatchError> {
        let mut bytes: usize = self.held.iter().map(weight).sum();
        loop {
            let more = self.subscription.poll(BATCH_MAX)?;
            let is_all = more.len() < BATCH_MAX;
            bytes += more.iter().map(weight).sum::<usize>();
            self.held.extend(more);
            if is_all {
                let taken = std::mem::take(&mut self.held);
                return Ok((!taken.is_empty()).then_some(taken));
            }
            // The rest of the last revision may come with the next poll.
            let last = self.held.last().map(|event| event.revision);
            let whole = self
                .held
                .partition_point(|event| Some(event.revision) < last);
            if bytes >= RESPONSE_BYTES_MAX && whole > 0 {
                let rest = self.held.split_off(whole);
                return Ok(Some(std::mem::replace(&mut self.held, rest)));
            }
        }
    }

    fn shown(&self, etcd: &Etcd, events: &[Arc<StoreEvent>]) -> Vec<Event> {
        let is_meant = |event: &&Arc<StoreEvent>| {
            let filter = match event.change {
                Change::Put => FilterType::NoPut,
                Change::Delete => FilterType::NoDelete,
            };
            event.revision >= self.start
                && self.span.covers(event.key())
                && !self.filters.contains(&filter)
        };
        // As the leases hang now: a key that was hung elsewhere since shows that, as an etcd that restarted would.
        let view = etcd.store.view(Head::Durable);
        let has_leases = lease::any(&view);
        let lease = |key: &str| {
            if has_leases {
                lease::of_key(&view, key)
            } else {
                0
            }
        };
        let meant = events.iter().filter(is_meant);
        meant
            .map(|event| self.event(event, lease(event.key())))
            .collect()
    }

    fn event(&self, event: &StoreEvent, lease: i64) -> Event {
        let kv = match event.change {
            Change::Put => key_value(&event.entry, lease),
            Change::Delete => KeyValue {
                key: Bytes::copy_from_slice(event.key().as_bytes()),
                mod_revision: event.revision.0 as i64,
                ..KeyValue::default()
            },
        };
        let kind = match event.change {
            Change::Put => EventType::Put,
            Change::Delete => EventType::Delete,
        };
        let previous = event.previous.as_ref().filter(|_| self.wants_previous);
        Event {
            r#type: kind.into(),
            kv: Some(kv),
            prev_kv: previous.map(|previous| key_value(previous, lease)),
        }
    }
}

fn weight(event: &Arc<StoreEvent>) -> usize {
    event.entry.key.len() + event.entry.value.len()
}

/// One response, or as many as its size asks for if the client puts them together again.
fn fragments(events: Vec<Event>, wanted: bool) -> Vec<Vec<Event>> {
    if !wanted {
        return vec![events];
    }
    let mut fragments = vec![Vec::new()];
    let mut bytes = 0;
    for event in events {
        let size = event.encoded_len();
        if bytes > 0 && bytes + size > RESPONSE_BYTES_MAX {
            fragments.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        // There is always a last one.
        if let Some(last) = fragments.last_mut() {
            last.push(event);
        }
    }
    fragments
}
