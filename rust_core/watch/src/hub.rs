//! Who follows what, and who waits for which revision to be durable.
//!
//! Owns one topic per resource prefix (`/registry/core/pods/`), and one per narrower prefix (a namespace, one object) for
//! as long as somebody follows it. Flows in: released events, in order, from the driver. Flows out: wakes, and events to
//! whoever asks with `poll`. An event touches only the topics of its own key, so watchers elsewhere cost it nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kubecore_store::{Event, Released, Revision, Store};
use parking_lot::{Mutex, RwLock};

use crate::index::{IndexedField, indexed_field};
use crate::topic::{Follower, Ring, WatchError};
use crate::wake::Wake;

type Topic = Mutex<Ring>;
type Topics = BTreeMap<Box<str>, Arc<Topic>>;

pub struct Hub {
    store: Arc<Store>,
    topics: RwLock<Topics>,
    /// Topics of one value of an indexed field: without any, no event is read for its fields.
    indexed_topics: AtomicUsize,
    /// Everything up to here is in the topics.
    head: AtomicU64,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    /// By (revision, arrival). Bounded by the requests in flight, which the wire bounds.
    by_revision: BTreeMap<(Revision, u64), Arc<dyn Wake>>,
    arrivals: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct HubStats {
    pub topics: usize,
    pub events: usize,
    pub followers: usize,
    pub waiters: usize,
}

/// A key's events live in the topic of its first four parts: `/registry/core/pods/` of `/registry/core/pods/default/web`.
const HOME_SLASHES: usize = 4;

/// Nothing, every prefix of `key` that ends with a slash, and the key itself: the topics that its events may belong to.
fn topic_names(key: &str) -> impl Iterator<Item = &str> {
    let slashes = key
        .bytes()
        .enumerate()
        .filter(|(_, byte)| *byte == b'/')
        .map(|(index, _)| index + 1);
    let whole = (!key.ends_with('/')).then_some(key.len());
    let ends = [0].into_iter().chain(slashes).chain(whole);
    ends.map(|end| &key[..end])
}

/// Where the events of `key` live; a key with fewer parts lives with its siblings.
fn home_of(key: &str) -> &str {
    let ends = key
        .bytes()
        .enumerate()
        .filter(|(_, byte)| *byte == b'/')
        .map(|(index, _)| index + 1);
    &key[..ends.take(HOME_SLASHES).last().unwrap_or(0)]
}

/// A prefix that does not end with a slash is one whole key; the empty one is that of all keys.
fn covers(prefix: &str, key: &str) -> bool {
    if prefix.is_empty() || prefix.ends_with('/') {
        key.starts_with(prefix)
    } else {
        key == prefix
    }
}

/// The topic of one value of an indexed field.
fn is_of_a_value(name: &str) -> bool {
    name.contains('#')
}

/// All keys under `prefix` live in one topic.
fn has_one_home(prefix: &str) -> bool {
    prefix.bytes().filter(|byte| *byte == b'/').count() >= HOME_SLASHES
}

impl Hub {
    /// A hub at the store's durable head that knows the events the store still has.
    pub fn new(store: Arc<Store>) -> Arc<Hub> {
        let hub = Arc::new(Hub {
            store,
            topics: RwLock::default(),
            indexed_topics: AtomicUsize::new(0),
            head: AtomicU64::new(0),
            waiters: Mutex::default(),
        });
        let released = hub.durable_history();
        hub.publish(&released);
        hub
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Everything up to here has been published.
    pub fn revision(&self) -> Revision {
        Revision(self.head.load(Ordering::Acquire))
    }

    /// Takes what `write_pending` released, in that order. The driver's call.
    pub fn publish(&self, released: &Released) {
        self.make_homes(&released.events);
        let mut touched: Vec<Arc<Topic>> = Vec::new();
        {
            // Held over the whole release: a topic that is being made sees all of it or nothing, as `head` says.
            let topics = self.topics.read();
            let is_indexed = self.indexed_topics.load(Ordering::Relaxed) > 0;
            for event in &released.events {
                let mut push = |topic: &Arc<Topic>| {
                    if topic.lock().push(event.clone()) {
                        touched.push(topic.clone());
                    }
                };
                let names = topic_names(event.key());
                names
                    .filter_map(|name| topics.get(name))
                    .for_each(&mut push);
                if is_indexed && let Some(field) = indexed_field(home_of(event.key())) {
                    let names = field.topics(event);
                    names
                        .filter_map(|name| topics.get(name.as_str()))
                        .for_each(&mut push);
                }
            }
            self.head.store(released.revision.0, Ordering::Release);
        }
        for topic in touched {
            let followers = topic.lock().touched_followers();
            followers.iter().for_each(|follower| follower.tell());
        }
        self.wake_waiters(released.revision);
    }

    fn make_homes(&self, events: &[Arc<Event>]) {
        let is_missing = |topics: &Topics, name: &str| {
            topics.get(name).is_none_or(|topic| !topic.lock().is_home)
        };
        let missing: Vec<&str> = {
            let topics = self.topics.read();
            events
                .iter()
                .map(|event| home_of(event.key()))
                .filter(|home| is_missing(&topics, home))
                .collect()
        };
        if !missing.is_empty() {
            let mut topics = self.topics.write();
            for home in missing {
                self.topic_in(&mut topics, home).lock().is_home = true;
            }
        }
    }

    /// Lets go of what the store no longer holds either, and of topics that nobody follows. It looks at every topic, so
    /// the driver calls it now and then, not with each release; until it does, a slow watcher only lives longer.
    pub fn trim(&self) {
        let floor = self.store.compacted_revision();
        let mut dropped = Vec::new();
        let mut has_idle = false;
        for topic in self.topics.read().values() {
            let mut ring = topic.lock();
            dropped.extend(ring.trim(floor));
            has_idle |= ring.is_idle();
        }
        if has_idle {
            let mut topics = self.topics.write();
            topics.retain(|_, topic| !topic.lock().is_idle());
            let indexed = topics.keys().filter(|name| is_of_a_value(name)).count();
            self.indexed_topics.store(indexed, Ordering::Relaxed);
        }
    }

    /// Follows the changes of keys under `prefix` (which ends with a slash, or is one whole key) after
    /// `from_revision`, exactly: all of them, in order, each once, and only durable ones. To follow without a gap, list
    /// at the durable view and subscribe from its revision.
    pub fn subscribe(
        self: &Arc<Hub>,
        prefix: &str,
        from_revision: Revision,
        wake: Arc<dyn Wake>,
    ) -> Result<Subscription, WatchError> {
        let follower = Arc::new(Follower::new(wake));
        let topic = self.topic(prefix, &follower);
        self.follow(topic, follower, from_revision)
    }

    /// As `subscribe` to the field's collection, but only for the events of objects that have, or had just before, one value of
    /// the field. Events of other objects may come too: whoever subscribes still selects.
    pub fn subscribe_to_value(
        self: &Arc<Hub>,
        field: &'static IndexedField,
        value: &str,
        from_revision: Revision,
        wake: Arc<dyn Wake>,
    ) -> Result<Subscription, WatchError> {
        let follower = Arc::new(Follower::new(wake));
        let topic = self.topic_of_value(field, value, from_revision, &follower);
        let topic = topic.unwrap_or_else(|| self.topic(field.collection, &follower));
        self.follow(topic, follower, from_revision)
    }

    fn follow(
        self: &Arc<Hub>,
        topic: Arc<Topic>,
        follower: Arc<Follower>,
        from_revision: Revision,
    ) -> Result<Subscription, WatchError> {
        // Under the topic's lock: a trim that removes events above `from_revision` has moved the floor before.
        let cursor = {
            let ring = topic.lock();
            let oldest = self.store.compacted_revision();
            let newest = self.store.durable_revision();
            if from_revision < oldest {
                Err(WatchError::Compacted {
                    asked: from_revision,
                    oldest,
                })
            } else if from_revision > newest {
                Err(WatchError::Future {
                    asked: from_revision,
                    newest,
                })
            } else {
                Ok(ring.position_after(from_revision))
            }
        };
        let hub = self.clone();
        let subscription = |cursor| Subscription {
            hub,
            topic,
            follower,
            cursor,
            from: from_revision,
        };
        cursor.map(subscription)
    }

    /// The topic of a prefix, followed by `follower`.
    fn topic(&self, prefix: &str, follower: &Arc<Follower>) -> Arc<Topic> {
        // With the write lock nothing is being published, so what fills the topic misses nothing and doubles nothing.
        let mut topics = self.topics.write();
        let topic = self.topic_in(&mut topics, prefix);
        topic.lock().follow(follower);
        topic
    }

    /// The topic of one value, followed by `follower`. None if it is there but does not reach back to `from`. A new one is
    /// filled from there on only: reading the field of every event that the store still has would cost too much.
    fn topic_of_value(
        &self,
        field: &'static IndexedField,
        value: &str,
        from: Revision,
        follower: &Arc<Follower>,
    ) -> Option<Arc<Topic>> {
        let name = field.topic(value);
        let mut topics = self.topics.write();
        if let Some(topic) = topics.get(name.as_str()) {
            let mut ring = topic.lock();
            if ring.since > from {
                return None;
            }
            ring.follow(follower);
            return Some(topic.clone());
        }
        let past: Vec<Arc<Event>> = topics.get(field.collection).map_or_else(Vec::new, |home| {
            let home = home.lock();
            let has_value = |event: &&Arc<Event>| field.topics(event).any(|topic| topic == name);
            home.events_after(from).filter(has_value).cloned().collect()
        });
        let mut ring = Ring::with_events(from, past);
        ring.follow(follower);
        let topic = Arc::new(Mutex::new(ring));
        topics.insert(name.into(), topic.clone());
        self.indexed_topics.fetch_add(1, Ordering::Relaxed);
        Some(topic)
    }

    /// The topic of a prefix, made with all its past if it is not there.
    fn topic_in(&self, topics: &mut Topics, prefix: &str) -> Arc<Topic> {
        if let Some(topic) = topics.get(prefix) {
            return topic.clone();
        }
        let past = self.past_events(topics, prefix);
        let topic = Arc::new(Mutex::new(Ring::with_events(Revision::default(), past)));
        topics.insert(prefix.into(), topic.clone());
        topic
    }

    /// What was published of the keys under `prefix`, as far back as the floor.
    fn past_events(&self, topics: &Topics, prefix: &str) -> Vec<Arc<Event>> {
        if has_one_home(prefix) {
            let Some(home) = topics.get(home_of(prefix)) else {
                return Vec::new();
            };
            return home
                .lock()
                .events()
                .filter(|event| covers(prefix, event.key()))
                .cloned()
                .collect();
        }
        let head = self.revision();
        let mut events = self.durable_history().events;
        events.retain(|event| event.revision <= head && covers(prefix, event.key()));
        events
    }

    /// All events that the store still has.
    fn durable_history(&self) -> Released {
        loop {
            // The floor may move between the two calls: then ask again from where it is now.
            if let Ok(released) = self
                .store
                .durable_events_since(self.store.compacted_revision())
            {
                return released;
            }
        }
    }

    /// Wakes once `revision` is durable, at once if it is. After a failure of the log it wakes too: look at
    /// `store().durable_revision()` and `store().failure()`.
    pub fn when_durable(&self, revision: Revision, wake: Arc<dyn Wake>) {
        {
            let mut waiters = self.waiters.lock();
            if self.store.durable_revision() < revision && self.store.failure().is_none() {
                let arrival = waiters.arrivals;
                waiters.arrivals += 1;
                waiters.by_revision.insert((revision, arrival), wake);
                return;
            }
        }
        wake.wake();
    }

    fn wake_waiters(&self, durable: Revision) {
        let due = {
            let mut waiters = self.waiters.lock();
            let later = waiters.by_revision.split_off(&(durable.next(), 0));
            std::mem::replace(&mut waiters.by_revision, later)
        };
        for wake in due.into_values() {
            wake.wake();
        }
    }

    /// Nothing will become durable any more: everybody who waits is told. The driver's call.
    pub fn fail(&self) {
        let everybody = std::mem::take(&mut self.waiters.lock().by_revision);
        for wake in everybody.into_values() {
            wake.wake();
        }
    }

    pub fn stats(&self) -> HubStats {
        let topics = self.topics.read();
        let mut stats = HubStats {
            topics: topics.len(),
            events: 0,
            followers: 0,
            waiters: self.waiters.lock().by_revision.len(),
        };
        for topic in topics.values() {
            let ring = topic.lock();
            stats.events += if ring.is_home { ring.len() } else { 0 };
            stats.followers += ring.followers_count();
        }
        stats
    }
}

/// One follower's place in a topic. Dropping it ends the watch.
pub struct Subscription {
    hub: Arc<Hub>,
    topic: Arc<Topic>,
    follower: Arc<Follower>,
    cursor: u64,
    from: Revision,
}

impl Subscription {
    /// The next events, at most `limit`; none if there are none yet, and then the wake comes when there are.
    /// Events of one revision may be split over two polls.
    pub fn poll(&mut self, limit: usize) -> Result<Vec<Arc<Event>>, WatchError> {
        self.follower.looks();
        loop {
            // What is being published just now waits until all of it is: `progress` could not tell how much of it there is,
            // and would fall behind what was polled. The wake comes after.
            let head = self.hub.revision();
            let read = self.topic.lock().read(self.cursor, limit, head);
            let Some(mut events) = read else {
                return Err(WatchError::Expired {
                    oldest: self.hub.store.compacted_revision(),
                });
            };
            let taken = events.len();
            self.cursor += taken as u64;
            // Subscribed from a durable revision that had not been published yet: what is not after it is skipped.
            events.retain(|event| event.revision > self.from);
            if !events.is_empty() || taken == 0 {
                return Ok(events);
            }
        }
    }

    /// Every change up to this revision has been polled: what a bookmark may say.
    pub fn progress(&self) -> Revision {
        // The head first: all events up to it were in the ring before it moved.
        let head = self.hub.revision();
        let seen = self.topic.lock().seen_until(self.cursor, head);
        seen.unwrap_or(self.from).max(self.from)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.topic.lock().unfollow(&self.follower);
    }
}
