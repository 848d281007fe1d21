//! Takes a snapshot of the store from a client that does not take what is made of it.
//!
//! A stalled connection is cut by `cut_io`; on HTTP/2 one stream may stall while its connection lives, and then nobody asks its body
//! for more. So what holds a snapshot for long is looked at every `STALL_TIMEOUT`: if nothing was taken in between, it is let go.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use tokio::time::sleep;

use crate::cut_io::STALL_TIMEOUT;
use crate::door::Door;

/// What a stalled client loses.
pub trait Snapshot: Send + Sync {
    /// How many pieces were taken so far; None if nothing is held any more.
    fn taken(&self) -> Option<u64>;
    /// Lets go of it. Whoever asks for the next piece gets an error.
    fn cut(&self);
}

pub async fn cut_if_stalled(snapshot: Weak<dyn Snapshot>, door: Arc<Door>) {
    let mut seen = None;
    loop {
        sleep(STALL_TIMEOUT).await;
        let Some(taken) = snapshot.upgrade().and_then(|held| held.taken()) else {
            return;
        };
        if seen == Some(taken) {
            if let Some(held) = snapshot.upgrade() {
                held.cut();
            }
            door.metrics
                .slow_readers_cut
                .fetch_add(1, Ordering::Relaxed);
            return;
        }
        seen = Some(taken);
    }
}
