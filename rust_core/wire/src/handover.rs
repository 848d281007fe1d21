//! The hand-over: calls wait here for the one Python thread, which takes them in batches and brings settlements back.
//!
//! Bound: `CALLS_MAX` calls that wait or are being answered. At the bound a request gets 429 with Retry-After at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::forward::Forward;
use crate::reply::Reply;
use crate::request::Request;
use crate::verdict::Allow;

pub const CALLS_MAX: usize = 2_048;
/// Python gets no more at a time, so that the first answer of a batch does not wait for a long one.
pub const BATCH_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// A read that the wire serves itself once it knows it may.
    Verdict,
    Answer,
}

#[derive(Clone)]
pub struct Call {
    pub id: u64,
    pub wants: Wants,
    pub request: Arc<Request>,
}

#[derive(Debug)]
pub enum Settlement {
    Answer(Reply),
    Allow(Allow),
    /// Somebody else answers.
    Forward(Box<Forward>),
}

/// Where a settlement goes. The receiver may have left: then nobody wants it.
pub type Waiter = oneshot::Sender<Settlement>;

#[derive(Default)]
struct Desk {
    waiting: VecDeque<Call>,
    waiters: HashMap<u64, Waiter>,
    closed: bool,
}

#[derive(Default)]
pub struct Handover {
    desk: Mutex<Desk>,
    ready: Condvar,
    last_id: AtomicU64,
    batches: AtomicU64,
    taken: AtomicU64,
}

/// Why a call was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Full,
    Closed,
}

impl Handover {
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Queues a call; the receiver gets its settlement.
    pub fn offer(
        &self,
        request: Arc<Request>,
        wants: Wants,
    ) -> Result<oneshot::Receiver<Settlement>, Refused> {
        let (waiter, settled) = oneshot::channel();
        let mut desk = self.desk.lock();
        if desk.closed {
            return Err(Refused::Closed);
        }
        if desk.waiters.len() >= CALLS_MAX {
            return Err(Refused::Full);
        }
        let id = self.next_id();
        desk.waiters.insert(id, waiter);
        desk.waiting.push_back(Call { id, wants, request });
        drop(desk);
        self.ready.notify_one();
        Ok(settled)
    }

    /// Blocks until calls are there; None once closed. Calls whose client has left are dropped unasked.
    pub fn take(&self) -> Option<Vec<Call>> {
        let mut desk = self.desk.lock();
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH_MAX {
                let Some(call) = desk.waiting.pop_front() else {
                    break;
                };
                if desk
                    .waiters
                    .get(&call.id)
                    .is_some_and(|waiter| waiter.is_closed())
                {
                    desk.waiters.remove(&call.id);
                } else {
                    batch.push(call);
                }
            }
            if !batch.is_empty() {
                self.batches.fetch_add(1, Ordering::Relaxed);
                self.taken.fetch_add(batch.len() as u64, Ordering::Relaxed);
                return Some(batch);
            }
            if desk.closed {
                return None;
            }
            self.ready.wait(&mut desk);
        }
    }

    /// The waiter of a call, for whoever settles it. None if it was settled already.
    pub fn claim(&self, id: u64) -> Option<Waiter> {
        self.desk.lock().waiters.remove(&id)
    }

    /// Wakes `take`, drops what waits: their requests answer 503.
    pub fn close(&self) {
        let mut desk = self.desk.lock();
        desk.closed = true;
        desk.waiting.clear();
        desk.waiters.clear();
        drop(desk);
        self.ready.notify_all();
    }

    /// (calls in flight, batches taken, calls taken)
    pub fn counts(&self) -> (usize, u64, u64) {
        let in_flight = self.desk.lock().waiters.len();
        (
            in_flight,
            self.batches.load(Ordering::Relaxed),
            self.taken.load(Ordering::Relaxed),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Credential;
    use bytes::Bytes;
    use http::{HeaderMap, Method};

    fn request() -> Arc<Request> {
        Arc::new(Request::new(
            Method::POST,
            "/api/v1/pods",
            HeaderMap::new(),
            Credential::None,
            String::new(),
        ))
    }

    #[test]
    fn calls_are_taken_in_order_and_in_batches() {
        let handover = Handover::default();
        let receivers: Vec<_> = (0..40)
            .map(|_| handover.offer(request(), Wants::Answer).unwrap())
            .collect();
        let first = handover.take().unwrap();
        assert_eq!(first.len(), BATCH_MAX);
        assert_eq!(handover.take().unwrap().len(), 40 - BATCH_MAX);
        assert!(first.windows(2).all(|pair| pair[0].id < pair[1].id));
        drop(receivers);
    }

    #[test]
    fn a_settlement_reaches_its_waiter_once() {
        let handover = Handover::default();
        let mut settled = handover.offer(request(), Wants::Answer).unwrap();
        let id = handover.take().unwrap()[0].id;
        let waiter = handover.claim(id).unwrap();
        assert!(
            waiter
                .send(Settlement::Answer(Reply::json(200, Bytes::new())))
                .is_ok()
        );
        assert!(handover.claim(id).is_none());
        assert!(matches!(settled.try_recv(), Ok(Settlement::Answer(reply)) if reply.status == 200));
    }

    #[test]
    fn at_the_bound_a_call_is_refused_and_room_comes_back() {
        let handover = Handover::default();
        let receivers: Vec<_> = (0..CALLS_MAX)
            .map(|_| handover.offer(request(), Wants::Answer).unwrap())
            .collect();
        assert_eq!(
            handover.offer(request(), Wants::Answer).unwrap_err(),
            Refused::Full
        );
        let id = handover.take().unwrap()[0].id;
        drop(handover.claim(id));
        assert!(handover.offer(request(), Wants::Answer).is_ok());
        drop(receivers);
    }

    #[test]
    fn a_call_whose_client_left_is_not_handed_over() {
        let handover = Handover::default();
        drop(handover.offer(request(), Wants::Answer).unwrap());
        let _kept = handover.offer(request(), Wants::Verdict).unwrap();
        let batch = handover.take().unwrap();
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].wants, Wants::Verdict);
    }

    #[test]
    fn closing_ends_the_taker() {
        let handover = Arc::new(Handover::default());
        let taker = std::thread::spawn({
            let handover = handover.clone();
            move || handover.take().is_none()
        });
        handover.close();
        assert!(taker.join().unwrap());
        assert_eq!(
            handover.offer(request(), Wants::Answer).unwrap_err(),
            Refused::Closed
        );
    }
}
