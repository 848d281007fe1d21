//! What a start finds, and says, when the last run did not end well.

use std::sync::Arc;

use kubecore_store::{
    CrashableDisk, Disk, LogOptions, Options, RealDisk, Revision, Store, StoreError, Timestamp,
    Txn, Value, verify,
};

fn open(disk: &CrashableDisk) -> Result<Store, StoreError> {
    Store::open(Box::new(disk.clone()), Options::default())
}

fn put(store: &Store, key: &str, value: &str) -> Revision {
    let revision = store
        .apply(Txn::new().put(key, Value::plain(value)))
        .unwrap()
        .revision;
    store.write_pending().unwrap();
    revision
}

fn segments(disk: &CrashableDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| name.ends_with(".wal"));
    names
}

fn has(store: &Store, key: &str) -> bool {
    store.get(key).is_some()
}

#[test]
fn a_restart_finds_everything_and_watches_may_resume() {
    let disk = CrashableDisk::new();
    let store = open(&disk).unwrap();
    put(&store, "/a", "1");
    put(&store, "/a", "2");
    put(&store, "/b", "3");
    store.apply(Txn::new().delete("/b")).unwrap();
    store.write_pending().unwrap();
    let before = store.durable_events_since(Revision(1)).unwrap();
    drop(store);
    let store = open(&disk).unwrap();
    assert_eq!(
        (store.revision(), store.compacted_revision()),
        (Revision(5), Revision(1))
    );
    let entry = store.get("/a").unwrap();
    assert_eq!(
        (entry.created, entry.modified, entry.version),
        (Revision(2), Revision(3), 2)
    );
    let after = store.durable_events_since(Revision(1)).unwrap();
    let shown = |events: &[Arc<kubecore_store::Event>]| -> Vec<_> {
        let previous = |event: &kubecore_store::Event| {
            event.previous.as_ref().map(|entry| entry.value.to_vec())
        };
        let fields = |event: &Arc<kubecore_store::Event>| {
            (
                event.revision,
                event.change,
                event.key().clone(),
                previous(event),
            )
        };
        events.iter().map(fields).collect()
    };
    assert_eq!(shown(&after.events), shown(&before.events));
    assert_eq!(store.view_at(Revision(4)).unwrap().len(), 2);
}

#[test]
fn a_torn_end_is_cut_and_never_comes_back() {
    let disk = CrashableDisk::new();
    let store = open(&disk).unwrap();
    put(&store, "/kept", "1");
    let end = verify(&disk).unwrap().log_bytes as usize;
    put(&store, "/torn", "2");
    drop(store);
    disk.damage(&segments(&disk)[0], end + 20);
    assert!(verify(&disk).unwrap().torn_bytes > 0);
    let store = open(&disk).unwrap();
    assert!(has(&store, "/kept") && !has(&store, "/torn"));
    assert_eq!(put(&store, "/other", "3"), Revision(3));
    drop(store);
    let store = open(&disk).unwrap();
    assert!(has(&store, "/other") && !has(&store, "/torn"));
    assert_eq!(verify(&disk).unwrap().torn_bytes, 0);
}

#[test]
fn damage_in_the_middle_names_file_and_offset_and_changes_nothing() {
    let disk = CrashableDisk::new();
    let store = open(&disk).unwrap();
    put(&store, "/a", "1");
    let offset = verify(&disk).unwrap().log_bytes;
    put(&store, "/b", "2");
    put(&store, "/c", "3");
    drop(store);
    let name = segments(&disk)[0].clone();
    disk.damage(&name, offset as usize + 50);
    let before = disk.read(&name).unwrap();
    for _ in 0..2 {
        match open(&disk).map(drop) {
            Err(StoreError::Corrupt {
                file, offset: at, ..
            }) => assert_eq!((&file, at), (&name, offset)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(disk.read(&name).unwrap(), before);
}

#[test]
fn damage_in_an_older_segment_is_damage_even_at_its_end() {
    let disk = CrashableDisk::new();
    for key in ["/a", "/b"] {
        put(&open(&disk).unwrap(), key, "1");
    }
    let first = segments(&disk)[0].clone();
    disk.damage(&first, 40);
    assert!(
        matches!(open(&disk).map(drop), Err(StoreError::Corrupt { file, offset: 0, .. }) if file == first)
    );
}

#[test]
fn a_missing_segment_is_damage() {
    let disk = CrashableDisk::new();
    for key in ["/a", "/b", "/c"] {
        put(&open(&disk).unwrap(), key, "1");
    }
    disk.remove(&segments(&disk)[1]).unwrap();
    let why = match open(&disk).map(drop) {
        Err(StoreError::Corrupt { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why, "revisions are missing before this commit");
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before_and_the_log() {
    let disk = CrashableDisk::new();
    let store = open(&disk).unwrap();
    for (number, key) in ["/a", "/b", "/c"].into_iter().enumerate() {
        put(&store, key, "1");
        if number < 2 {
            store.snapshot().unwrap();
        }
    }
    drop(store);
    let mut snapshots = disk.list().unwrap();
    snapshots.retain(|name| name.ends_with(".snap"));
    assert_eq!(verify(&disk).unwrap().snapshot_revision, Some(Revision(3)));
    disk.damage(&snapshots[1], 60);
    assert_eq!(verify(&disk).unwrap().snapshot_revision, Some(Revision(2)));
    let store = open(&disk).unwrap();
    assert_eq!(store.revision(), Revision(4));
    assert!(["/a", "/b", "/c"].iter().all(|key| has(&store, key)));
}

#[test]
fn a_damaged_snapshot_with_nothing_to_replace_it_is_corrupt_and_not_an_empty_store() {
    let disk = CrashableDisk::new();
    let store = open(&disk).unwrap();
    put(&store, "/a", "1");
    store.snapshot().unwrap();
    drop(store);
    for name in segments(&disk) {
        disk.remove(&name).unwrap();
    }
    assert_eq!(open(&disk).unwrap().revision(), Revision(2));
    for name in segments(&disk) {
        disk.remove(&name).unwrap();
    }
    disk.damage("snapshot-00000000000000000002.snap", 60);
    assert!(matches!(
        open(&disk).map(drop),
        Err(StoreError::Corrupt { .. })
    ));
}

#[test]
fn snapshots_keep_the_log_short() {
    let disk = CrashableDisk::new();
    let log = LogOptions {
        first_segment_bytes: 4096,
        segment_bytes: 4096,
        snapshot_after_bytes: 16_384,
    };
    let options = Options {
        log,
        ..Options::default()
    };
    let store = Store::open(Box::new(disk.clone()), options.clone()).unwrap();
    for number in 0..200 {
        put(&store, &format!("/{}", number % 10), &"x".repeat(1000));
        if store.housekeeping_due() {
            store.housekeep().unwrap();
        }
    }
    assert!(segments(&disk).len() < 20, "{:?}", segments(&disk));
    drop(store);
    let store = Store::open(Box::new(disk.clone()), options).unwrap();
    assert_eq!(store.revision(), Revision(201));
    assert_eq!(store.stats().entries, 10);
}

#[test]
fn a_failed_sync_is_final() {
    let disk = CrashableDisk::new();
    let store = open(&disk).unwrap();
    put(&store, "/a", "1");
    store
        .apply(Txn::new().put("/b", Value::plain("2")))
        .unwrap();
    disk.set_sync_fails(true);
    assert!(matches!(
        store.write_pending(),
        Err(StoreError::Failed { .. })
    ));
    disk.set_sync_fails(false);
    assert!(
        matches!(store.write_pending(), Err(StoreError::Failed { .. })),
        "a sync must never be tried again"
    );
    assert!(matches!(
        store.apply(Txn::new().put("/c", Value::plain("3"))),
        Err(StoreError::Failed { .. })
    ));
    assert_eq!(store.durable_revision(), Revision(2));
    assert!(store.get_durable("/b").is_none());
    assert!(store.failure().is_some());
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room_and_loses_none() {
    let disk = CrashableDisk::new();
    let log = LogOptions {
        first_segment_bytes: 1024,
        segment_bytes: 1024,
        ..LogOptions::default()
    };
    let store = Store::open(
        Box::new(disk.clone()),
        Options {
            log,
            ..Options::default()
        },
    )
    .unwrap();
    let write = |key: &str| store.apply(Txn::new().put(key, Value::plain("x".repeat(900))));
    write("/a").unwrap();
    store.write_pending().unwrap();
    disk.set_full(true);
    write("/b").unwrap();
    assert!(matches!(store.write_pending(), Err(StoreError::NoSpace)));
    assert!(matches!(write("/c"), Err(StoreError::NoSpace)));
    assert_eq!(store.durable_revision(), Revision(2));
    disk.set_full(false);
    let released = store.write_pending().unwrap();
    assert_eq!((released.revision, released.events.len()), (Revision(3), 1));
    write("/c").unwrap();
    store.write_pending().unwrap();
    drop(store);
    assert_eq!(open(&disk).unwrap().revision(), Revision(4));
}

#[test]
fn keys_that_expire_on_a_full_disk_go_once_there_is_room() {
    let disk = CrashableDisk::new();
    let log = LogOptions {
        first_segment_bytes: 1024,
        segment_bytes: 1024,
        ..LogOptions::default()
    };
    let options = Options {
        log,
        ..Options::default()
    };
    let store = Store::open(Box::new(disk.clone()), options).unwrap();
    let lease = Txn::new().put_with_ttl("/lease", Value::plain("1"), 10);
    store.apply(lease).unwrap();
    store.write_pending().unwrap();
    disk.set_full(true);
    let large = Txn::new().put("/b", Value::plain("x".repeat(1000)));
    store.apply(large).unwrap();
    assert!(matches!(store.write_pending(), Err(StoreError::NoSpace)));
    // The driver comes to its turn all the same, or nothing would ever be written again.
    let now = Timestamp(60_000);
    assert!(store.tick(now).unwrap().is_some());
    assert!(matches!(store.write_pending(), Err(StoreError::NoSpace)));
    disk.set_full(false);
    store.write_pending().unwrap();
    store.tick(now).unwrap();
    store.write_pending().unwrap();
    assert!(store.get_durable("/lease").is_none());
}

#[test]
fn a_ttl_survives_a_restart() {
    let disk = CrashableDisk::new();
    let store = open(&disk).unwrap();
    store.tick(Timestamp(1000)).unwrap();
    store
        .apply(Txn::new().put_with_ttl("/event", Value::plain("1"), 60))
        .unwrap();
    store.write_pending().unwrap();
    for snapshot_first in [false, true] {
        if snapshot_first {
            store.snapshot().unwrap();
        }
        let restarted = open(&disk.kill()).unwrap();
        restarted.tick(Timestamp(60_999)).unwrap();
        assert!(has(&restarted, "/event"));
        restarted.tick(Timestamp(61_000)).unwrap();
        assert!(!has(&restarted, "/event"));
    }
}

#[test]
fn a_delete_after_a_restart_still_shows_its_revision() {
    let disk = CrashableDisk::new();
    let store = open(&disk).unwrap();
    let value = Value::spliced(br#"{"rv":"","n":1}"#, 7, store.revision()).unwrap();
    store.apply(Txn::new().put("/a", value)).unwrap();
    store.write_pending().unwrap();
    store.snapshot().unwrap();
    drop(store);
    let store = open(&disk).unwrap();
    let last = store
        .apply(Txn::new().delete("/a"))
        .unwrap()
        .entries
        .swap_remove(0);
    assert_eq!(&last.value[..], br#"{"rv":"3","n":1}"#);
}

#[test]
fn a_data_directory_belongs_to_one_store_at_a_time() {
    let directory =
        std::env::temp_dir().join(format!("kubecore-store-test-{}", std::process::id()));
    let open = || Store::open(Box::new(RealDisk::open(&directory)?), Options::default());
    let store = open().unwrap();
    put(&store, "/a", "1");
    assert!(matches!(open().map(drop), Err(StoreError::InUse { .. })));
    store.close();
    store.release();
    assert!(matches!(
        store.apply(Txn::new().delete("/a")),
        Err(StoreError::Failed { .. } | StoreError::Closed)
    ));
    let store = open().unwrap();
    assert!(has(&store, "/a"));
    drop(store);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn nobody_else_may_read_a_data_directory() {
    use std::os::unix::fs::PermissionsExt;
    let parent = std::env::temp_dir().join(format!("kubecore-store-mode-{}", std::process::id()));
    let directory = parent.join("inner");
    let store = Store::open(
        Box::new(RealDisk::open(&directory).unwrap()),
        Options::default(),
    )
    .unwrap();
    put(&store, "/registry/core/secrets/default/a", "1");
    store.snapshot().unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!(mode(&directory), 0);
    let files = std::fs::read_dir(&directory)
        .unwrap()
        .map(|file| file.unwrap().path());
    let open_files: Vec<_> = files.filter(|file| mode(file) != 0).collect();
    assert!(open_files.is_empty(), "{open_files:?}");
    drop(store);
    std::fs::remove_dir_all(&parent).unwrap();
}
