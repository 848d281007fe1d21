//! A watch as an HTTP body: the stream's items as lines of JSON, merged for `TICK`, with bookmarks and an end in time.
//!
//! A lone event leaves at once; after a segment the next one waits until the tick is over and takes everything that came meanwhile.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kubecore_watch::Wake;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::audit_id;
use crate::door::{Door, PendingWatch};
use crate::handover::{Settlement, Wants};
use crate::listener::Phase;
use crate::stall::cut_if_stalled;
use crate::watch_stream::{Item, Step, WatchStream};

const TICK: Duration = Duration::from_millis(5);
/// A segment costs a watcher's turn, a TLS record and a write, some 20 µs together. Where many watch, they wait a little longer, so
/// that a busy collection fills segments instead of processors.
const TICK_PER_WATCHER: Duration = Duration::from_micros(20);
const TICK_MAX: Duration = Duration::from_millis(25);
/// More is left for the next segment; HTTP/2 frames are half of it.
const SEGMENT_BYTES: usize = 128 << 10;
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// Upstream's least; each watch lasts up to twice as long, so that not all clients come back at once.
const TIMEOUT_MIN: Duration = Duration::from_secs(1800);
/// After a refused hand-over, before asking again.
const ASK_RETRY: Duration = Duration::from_millis(200);

pub struct WatchBody {
    door: Arc<Door>,
    stream: WatchStream,
    signal: Arc<Signal>,
    phase: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Items that found no room in the last segment.
    rest: std::vec::IntoIter<Item>,
    asking: Option<oneshot::Receiver<Settlement>>,
    timer: Pin<Box<Sleep>>,
    /// No segment before.
    not_before: Instant,
    next_bookmark: Instant,
    ends: Instant,
    ending: bool,
    /// Somebody looks whether the client takes what was there at the start.
    is_looked_after: bool,
}

/// Wakes the task that writes the body.
#[derive(Default)]
struct Signal(Mutex<Option<Waker>>);

impl Wake for Signal {
    fn wake(&self) {
        if let Some(waker) = self.0.lock().take() {
            waker.wake();
        }
    }
}

impl WatchBody {
    pub fn new(watch: PendingWatch, door: Arc<Door>, mut phase: watch::Receiver<Phase>) -> Self {
        let signal = Arc::new(Signal::default());
        let stream = watch.start(signal.clone());
        let now = Instant::now();
        let ends = now
            + stream
                .options
                .timeout
                .unwrap_or_else(|| TIMEOUT_MIN.mul_f64(1.0 + audit_id::fraction()));
        door.metrics.watches.fetch_add(1, Ordering::Relaxed);
        WatchBody {
            door,
            stream,
            signal,
            phase: Box::pin(async move {
                // A sender that is gone means the same: the server ends.
                let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await;
            }),
            rest: Vec::new().into_iter(),
            asking: None,
            timer: Box::pin(sleep_until(now)),
            not_before: now,
            next_bookmark: now + BOOKMARK_INTERVAL,
            ends,
            ending: false,
            is_looked_after: false,
        }
    }

    /// The next lines; None at the end of the watch.
    pub fn poll_segment(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        *this.signal.0.lock() = Some(context.waker().clone());
        if this.ending || this.phase.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            let now = Instant::now();
            if now < this.not_before {
                if this.sleep(this.not_before, context).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            if this.poll_verdict(context).is_pending() {
                return Poll::Pending;
            }
            let mut out = BytesMut::new();
            let mut idle = this.fill(&mut out);
            if now >= this.next_bookmark
                && this.asking.is_none()
                && this.stream.is_stale(&this.door.verdicts)
            {
                // A watch with nothing to say learns of its revocation too.
                this.next_bookmark = now + BOOKMARK_INTERVAL;
                idle = this.ask();
            }
            this.fill_due_bookmark(now, &mut out);
            if !out.is_empty() {
                this.look_after_start();
                this.not_before = now + this.tick();
                return Poll::Ready(Some(out.freeze()));
            }
            match idle {
                Pause::Ended => return Poll::Ready(None),
                Pause::Asking => continue,
                Pause::Idle if this.ending => return Poll::Ready(None),
                Pause::Idle => {
                    let next = this.next_bookmark.min(this.ends);
                    if this.sleep(next, context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn tick(&self) -> Duration {
        let watches = self.door.metrics.watches.load(Ordering::Relaxed);
        let shared = TICK_PER_WATCHER * u32::try_from(watches).unwrap_or(0);
        shared.clamp(TICK, TICK_MAX)
    }

    /// A long start outlasts the first segment, and its snapshot must not wait for ever.
    fn look_after_start(&mut self) {
        if self.is_looked_after {
            return;
        }
        self.is_looked_after = true;
        if let Some(start) = self.stream.start_snapshot() {
            tokio::spawn(cut_if_stalled(start, self.door.clone()));
        }
    }

    fn sleep(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.timer.deadline() != until {
            self.timer.as_mut().reset(until);
        }
        self.timer.as_mut().poll(context)
    }

    /// Ready if nothing is being asked, or has been answered now.
    fn poll_verdict(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(asking) = &mut self.asking else {
            return Poll::Ready(());
        };
        let Poll::Ready(settled) = Pin::new(asking).poll(context) else {
            return Poll::Pending;
        };
        self.asking = None;
        match settled {
            Ok(Settlement::Allow(allow)) => {
                self.door.remember(&self.stream.request, &allow);
                self.stream.allowed(allow.epoch);
            }
            // Refused, or the door is closed.
            Ok(Settlement::Answer(_) | Settlement::Forward(_)) | Err(_) => self.stream.end(),
        }
        Poll::Ready(())
    }

    /// Writes what there is, up to a segment.
    fn fill(&mut self, out: &mut BytesMut) -> Pause {
        loop {
            let room = SEGMENT_BYTES.saturating_sub(out.len());
            out.reserve(room_for(self.rest.as_slice(), room));
            let mut count = 0;
            for item in self.rest.by_ref() {
                write_line(&item, out);
                count += 1;
                if out.len() >= SEGMENT_BYTES {
                    break;
                }
            }
            self.door
                .metrics
                .watch_events
                .fetch_add(count, Ordering::Relaxed);
            if out.len() >= SEGMENT_BYTES {
                return Pause::Idle;
            }
            match self.stream.step(&self.door.verdicts) {
                Step::Items(items) => self.rest = items.into_iter(),
                Step::Idle => return Pause::Idle,
                Step::Ended => return Pause::Ended,
                Step::Ask => return self.ask(),
            }
        }
    }

    fn ask(&mut self) -> Pause {
        match self.door.ask(self.stream.request.clone(), Wants::Verdict) {
            Ok(asking) => self.asking = Some(asking),
            Err(_) => self.not_before = Instant::now() + ASK_RETRY,
        }
        Pause::Asking
    }

    /// A bookmark about every minute, and one before a watch ends in time.
    fn fill_due_bookmark(&mut self, now: Instant, out: &mut BytesMut) {
        let ends_now = now >= self.ends && !self.ending;
        self.ending |= ends_now;
        if (now < self.next_bookmark && !ends_now) || self.rest.len() > 0 {
            return;
        }
        self.next_bookmark = now + BOOKMARK_INTERVAL;
        if !self.stream.options.bookmarks {
            return;
        }
        if let Some(item) = self.stream.bookmark(&self.door.verdicts) {
            write_line(&item, out);
        }
    }
}

enum Pause {
    /// Nothing more for now, or the segment is full.
    Idle,
    Asking,
    Ended,
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        self.door.metrics.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

const LINE_EXTRA_BYTES: usize = br#"{"type":"BOOKMARK","object":}"#.len() + 1;

/// What the lines of these items take, as far as they go into a segment with this much room: a buffer that grows copies.
fn room_for(items: &[Item], room: usize) -> usize {
    let mut size_bytes = 0;
    for item in items {
        if size_bytes >= room {
            break;
        }
        size_bytes += item.object.len() + LINE_EXTRA_BYTES;
    }
    size_bytes
}

fn write_line(item: &Item, out: &mut BytesMut) {
    out.put_slice(br#"{"type":""#);
    out.put_slice(item.kind.as_bytes());
    out.put_slice(br#"","object":"#);
    out.put_slice(&item.object);
    out.put_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    use http::{HeaderMap, Method};
    use kubecore_store::{Options, Store, Txn, Value};
    use kubecore_watch::Driver;

    use crate::cut_io::STALL_TIMEOUT;
    use crate::door::Served;
    use crate::request::{Credential, Request};
    use crate::status::Status;
    use crate::verdict::Allow;

    const ROWS: &[u8] =
        br#"[{"group":"","version":"v1","plural":"pods","kind":"Pod","namespaced":true,
                              "verbs":["watch"]}]"#;

    struct House {
        driver: Driver,
        door: Arc<Door>,
        phase: watch::Sender<Phase>,
    }

    impl House {
        fn new() -> House {
            let options = Options {
                policy_prefixes: vec!["/policy/".to_owned()],
                ..Options::default()
            };
            let driver = Driver::new(Arc::new(Store::memory(options)));
            let door = Arc::new(Door::new(driver.store().clone(), driver.hub().clone()));
            door.serve_resources(ROWS).unwrap();
            House {
                driver,
                door,
                phase: watch::channel(Phase::Serving).0,
            }
        }

        fn put(&self, key: &str) {
            self.driver
                .store()
                .apply(Txn::new().put(key, Value::plain("{}")))
                .unwrap();
            self.driver.turn().unwrap();
        }

        fn watch(&self, query: &str) -> Pin<Box<WatchBody>> {
            let target = format!("/api/v1/pods?watch=1&resourceVersion=1&{query}");
            let request = Request::new(
                Method::GET,
                &target,
                HeaderMap::new(),
                Credential::None,
                String::new(),
            );
            let epoch = self.driver.store().policy_epoch();
            let allow = Allow {
                epoch,
                user: "t".to_owned(),
                any_name: true,
                any_namespace: true,
                ttl: None,
            };
            let Served::Watch(pending) = self.door.allowed(&Arc::new(request), &allow) else {
                panic!("no watch")
            };
            Box::pin(WatchBody::new(
                *pending,
                self.door.clone(),
                self.phase.subscribe(),
            ))
        }
    }

    async fn segment(body: &mut Pin<Box<WatchBody>>) -> Option<String> {
        let segment = poll_fn(|context| body.as_mut().poll_segment(context)).await;
        segment.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_event_leaves_at_once_and_those_after_it_share_a_segment() {
        let house = House::new();
        let mut body = house.watch("");
        let started = Instant::now();
        house.put("/registry/core/pods/a/1");
        assert_eq!(segment(&mut body).await.unwrap().lines().count(), 1);
        assert_eq!(started.elapsed(), Duration::ZERO);
        house.put("/registry/core/pods/a/2");
        house.put("/registry/core/pods/a/3");
        assert_eq!(segment(&mut body).await.unwrap().lines().count(), 2);
        assert!(started.elapsed() >= TICK);
    }

    #[tokio::test(start_paused = true)]
    async fn among_many_watchers_segments_are_fuller_but_a_lone_event_still_leaves_at_once() {
        let house = House::new();
        let mut others: Vec<_> = (0..2_000).map(|_| house.watch("")).collect();
        let mut body = house.watch("");
        let started = Instant::now();
        house.put("/registry/core/pods/a/1");
        segment(&mut body).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        house.put("/registry/core/pods/a/2");
        segment(&mut body).await;
        // The paused clock has whole milliseconds.
        assert!(started.elapsed() >= TICK_MAX && started.elapsed() <= TICK_MAX + TICK);
        others.clear();
        house.put("/registry/core/pods/a/3");
        segment(&mut body).await;
        house.put("/registry/core/pods/a/4");
        let alone = Instant::now();
        segment(&mut body).await;
        assert!(alone.elapsed() <= TICK * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn bookmarks_come_every_minute_and_before_the_end() {
        let house = House::new();
        let mut body = house.watch("allowWatchBookmarks=true&timeoutSeconds=150");
        let started = Instant::now();
        let mut seconds = Vec::new();
        while let Some(text) = segment(&mut body).await {
            assert!(text.contains("BOOKMARK"), "{text}");
            seconds.push(started.elapsed().as_secs());
        }
        assert_eq!(seconds, [60, 120, 150]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_for_as_long_as_a_number_can_say_goes_on() {
        let house = House::new();
        let mut body = house.watch("timeoutSeconds=9223372036854775807");
        house.put("/registry/core/pods/a/1");
        assert!(segment(&mut body).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_nobody_takes_loses_its_snapshot_and_says_so() {
        let house = House::new();
        for number in 0..6000 {
            house.put(&format!("/registry/core/pods/a/{number}"));
        }
        let mut body = house.watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
        let first = segment(&mut body).await.unwrap();
        assert!(first.contains("ADDED"));
        let start = body.stream.start_snapshot().unwrap();
        tokio::time::sleep(STALL_TIMEOUT * 3).await;
        assert_eq!(start.upgrade().unwrap().taken(), None);
        let mut last = String::new();
        while let Some(text) = segment(&mut body).await {
            last = text;
        }
        assert!(last.contains("ERROR") && last.contains("410"), "{last}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_watch_ends_in_time_too() {
        let house = House::new();
        let mut body = house.watch("timeoutSeconds=1");
        let mut segments = 0;
        loop {
            house.put("/registry/core/pods/a/1");
            if segment(&mut body).await.is_none() {
                break;
            }
            segments += 1;
        }
        assert!((100..300).contains(&segments), "{segments}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_watch_learns_of_its_revocation_within_a_minute() {
        let house = House::new();
        let mut body = house.watch("");
        house.put("/policy/role");
        let following = tokio::spawn(async move { segment(&mut body).await });
        tokio::time::sleep(BOOKMARK_INTERVAL + TICK).await;
        assert_eq!(house.door.handover.counts().0, 1, "nobody was asked");
        let id = house.door.take().unwrap()[0].id;
        let refusal = Status::new(403, "Forbidden", "no").into_reply();
        house.door.settle(id, Settlement::Answer(refusal));
        assert_eq!(following.await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_ends_when_the_server_does() {
        let house = House::new();
        let mut body = house.watch("");
        house.phase.send_replace(Phase::Draining);
        assert_eq!(segment(&mut body).await, None);
    }
}
