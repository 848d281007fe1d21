//! What one object costs beyond its own JSON: at most 512 bytes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use kubecore_store::{Options, Revision, Store, Txn, Value};

struct Counting;

static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What the allocator itself rounds up to and puts before each block, on 64-bit glibc.
fn taken(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD_BYTES.fetch_add(taken(layout.size()), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(taken(layout.size()), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OBJECTS: usize = 40_000;
const OVERHEAD_BYTES_MAX: usize = 512;

fn overhead_bytes(order: impl Fn(usize) -> usize, rewrites: usize) -> usize {
    let before = HELD_BYTES.load(Ordering::Relaxed);
    let store = Store::memory(Options::default());
    let json = vec![b'x'; 1200];
    for _ in 0..=rewrites {
        for number in 0..OBJECTS {
            let key = format!(
                "/registry/core/pods/namespace-{:02}/deployment-7d4b9c-{:05}",
                number % 20,
                order(number)
            );
            store
                .apply(Txn::new().put(key, Value::spliced(&json, 600, store.revision()).unwrap()))
                .unwrap();
            if number % 64 == 0 {
                store.write_pending().unwrap();
            }
        }
    }
    store.write_pending().unwrap();
    store.compact(Revision(store.revision().0)).unwrap();
    let held = HELD_BYTES.load(Ordering::Relaxed) - before;
    held / OBJECTS - json.len()
}

#[test]
fn an_object_costs_little_beyond_its_json() {
    let ascending = overhead_bytes(|number| number, 0);
    let scattered = overhead_bytes(|number| number.wrapping_mul(2_654_435_761) % 100_003, 0);
    let rewritten = overhead_bytes(|number| number, 2);
    println!(
        "bytes beyond the JSON: ascending {ascending}, scattered {scattered}, rewritten {rewritten}"
    );
    assert!(ascending.max(scattered).max(rewritten) <= OVERHEAD_BYTES_MAX);
}
