//! A list as an HTTP body. It holds a snapshot of the store, so a client that stops taking it loses it (`stall`), and the stream ends
//! with an error when it is next asked.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::door::Door;
use crate::list::List;
use crate::pretty::Printer;
use crate::stall::{Snapshot, cut_if_stalled};

/// Shorter lists fit into what hyper and the kernel queue, and are gone at once.
const WATCHED_FROM_SEGMENT: u64 = 4;

pub struct ListBody {
    held: Arc<Mutex<Held>>,
    door: Arc<Door>,
}

struct Held {
    list: Option<Box<List>>,
    segments: u64,
    cut: bool,
    printer: Option<Printer>,
}

impl ListBody {
    /// `pretty`: indented, for a person.
    pub fn new(list: Box<List>, door: Arc<Door>, pretty: bool) -> Self {
        let held = Held {
            list: Some(list),
            segments: 0,
            cut: false,
            printer: pretty.then(Printer::default),
        };
        ListBody {
            held: Arc::new(Mutex::new(held)),
            door,
        }
    }

    /// The next segment; None at the end.
    pub fn segment(&self) -> Option<io::Result<Bytes>> {
        let mut held = self.held.lock();
        held.segments += 1;
        if held.segments == WATCHED_FROM_SEGMENT {
            let held: Arc<dyn Snapshot> = self.held.clone();
            tokio::spawn(cut_if_stalled(Arc::downgrade(&held), self.door.clone()));
        }
        if held.cut {
            return Some(Err(io::ErrorKind::TimedOut.into()));
        }
        let segment = held.list.as_mut()?.segment();
        if segment.is_none() {
            held.list = None;
        }
        match (&mut held.printer, segment) {
            (Some(printer), Some(segment)) => Some(Ok(printer.next(&segment).freeze())),
            (_, segment) => segment.map(Ok),
        }
    }
}

impl Snapshot for Mutex<Held> {
    fn taken(&self) -> Option<u64> {
        let held = self.lock();
        held.list.is_some().then_some(held.segments)
    }

    fn cut(&self) {
        let mut held = self.lock();
        held.list = None;
        held.cut = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::Transform;
    use crate::cut_io::STALL_TIMEOUT;
    use crate::encoder::Encoder;
    use crate::options::Options;
    use crate::request::Query;
    use crate::resources::Resources;
    use crate::selection::Selection;
    use kubecore_store::{Store, Txn, Value};
    use kubecore_watch::Hub;
    use std::sync::atomic::Ordering;
    use tokio::time::sleep;

    fn long_list() -> (ListBody, Arc<Door>) {
        let store = Arc::new(Store::memory(kubecore_store::Options::default()));
        for number in 0..20 {
            let value = Value::plain(format!(r#"{{"x":"{}"}}"#, "x".repeat(100_000)));
            store
                .apply(Txn::new().put(format!("/registry/core/pods/a/{number}"), value))
                .unwrap();
            store.write_pending().unwrap();
        }
        let rows = br#"[{"group":"","version":"v1","plural":"pods","kind":"Pod","namespaced":true,"verbs":["list"]}]"#;
        let resource = Resources::from_json(rows)
            .unwrap()
            .find("", "v1", "pods")
            .unwrap()
            .clone();
        let options = Options::parse(&Query::default(), false).unwrap();
        let selection = Selection::parse(&resource, &options).unwrap();
        let prefix = resource.key_prefix("");
        let encoder = Encoder::new(resource, Transform::None, options.include_object);
        let list = List::new(&store, prefix, encoder, selection, &options).unwrap();
        let door = Arc::new(Door::new(store.clone(), Hub::new(store)));
        (ListBody::new(Box::new(list), door.clone(), false), door)
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_nobody_takes_loses_its_snapshot() {
        let (body, door) = long_list();
        for _ in 0..WATCHED_FROM_SEGMENT {
            assert!(body.segment().unwrap().is_ok());
        }
        sleep(STALL_TIMEOUT * 3).await;
        assert!(body.held.lock().list.is_none());
        assert!(body.segment().unwrap().is_err());
        assert_eq!(door.metrics.slow_readers_cut.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_taken_slowly_but_steadily_is_whole() {
        let (body, door) = long_list();
        let mut size_bytes = 0;
        while let Some(segment) = body.segment() {
            size_bytes += segment.unwrap().len();
            sleep(STALL_TIMEOUT * 9 / 10).await;
        }
        assert!(size_bytes > 20 * 100_000);
        assert_eq!(door.metrics.slow_readers_cut.load(Ordering::Relaxed), 0);
    }
}
