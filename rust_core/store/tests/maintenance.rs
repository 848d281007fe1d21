//! What an operator may do to a data directory, and what it must never cost.

use std::sync::atomic::{AtomicBool, Ordering};

use kubecore_store::{
    CrashableDisk, Disk, Options, RealDisk, Revision, Store, StoreError, Txn, Value, defragment,
    look, repair, restore, save, verify,
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

fn contents(disk: &dyn Disk) -> Vec<(String, Vec<u8>, Revision)> {
    let view = look(disk).unwrap();
    let entries = view.range("", "");
    entries
        .map(|entry| (entry.key.to_string(), entry.value.to_vec(), entry.modified))
        .collect()
}

#[test]
fn a_saved_file_restores_keys_revisions_and_the_head() {
    let directory = tempfile::tempdir().unwrap();
    let source = RealDisk::open(&directory.path().join("source")).unwrap();
    let store = Store::open(Box::new(source), Options::default()).unwrap();
    put(&store, "/a", "1");
    put(&store, "/b", "2");
    put(&store, "/a", "3");
    let beside = RealDisk::shared(&directory.path().join("source")).unwrap();
    let file = directory.path().join("saved");
    save(&look(&beside).unwrap(), &file).unwrap();
    let before = contents(&beside);

    let target = RealDisk::open(&directory.path().join("target")).unwrap();
    assert_eq!(restore(&file, &target).unwrap(), Revision(4));
    assert_eq!(contents(&target), before);
    let restored = Store::open(Box::new(target), Options::default()).unwrap();
    assert_eq!(put(&restored, "/c", "4"), Revision(5));
}

#[test]
fn a_store_is_never_restored_over_another() {
    let directory = tempfile::tempdir().unwrap();
    let disk = CrashableDisk::new();
    put(&open(&disk).unwrap(), "/a", "1");
    let file = directory.path().join("saved");
    save(&look(&disk).unwrap(), &file).unwrap();
    let before = contents(&disk);
    assert!(matches!(restore(&file, &disk), Err(StoreError::Io { .. })));
    assert_eq!(contents(&disk), before);
}

#[test]
fn a_saved_file_that_was_cut_or_changed_is_refused_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let disk = CrashableDisk::new();
    put(&open(&disk).unwrap(), "/a", "1");
    let file = directory.path().join("saved");
    save(&look(&disk).unwrap(), &file).unwrap();
    let whole = std::fs::read(&file).unwrap();
    let mut changed = whole.clone();
    changed[40] ^= 1;
    for bad in [&whole[..whole.len() - 1], &changed, &[]] {
        std::fs::write(&file, bad).unwrap();
        let target = CrashableDisk::new();
        let refused = restore(&file, &target);
        assert!(
            matches!(refused, Err(StoreError::Corrupt { .. })),
            "{refused:?}"
        );
        assert!(target.list().unwrap().is_empty());
    }
}

#[test]
fn repair_keeps_every_commit_before_the_damage_and_sets_the_rest_aside() {
    let disk = CrashableDisk::new();
    put(&open(&disk).unwrap(), "/a", "1");
    let end_of_first = verify(&disk).unwrap().log_bytes as usize;
    let store = open(&disk).unwrap();
    put(&store, "/b", "2");
    put(&store, "/c", "3");
    drop(store);
    put(&open(&disk).unwrap(), "/d", "4");
    let segments: Vec<String> = {
        let mut names = disk.list().unwrap();
        names.sort_unstable();
        names
    };
    // The first commit of the second run: revision 3.
    disk.damage(&segments[1], end_of_first / 2);
    assert!(matches!(open(&disk), Err(StoreError::Corrupt { .. })));
    let repaired = repair(&disk).unwrap();
    assert_eq!(repaired.revision, Revision(2));
    assert_eq!(repaired.set_aside, segments[1..]);
    for name in &segments[1..] {
        assert!(disk.list().unwrap().contains(&format!("{name}.damaged")));
    }
    assert_eq!(contents(&disk).len(), 1);
    assert_eq!(put(&open(&disk).unwrap(), "/e", "5"), Revision(3));
}

#[test]
fn repair_falls_back_to_the_snapshot_before_a_damaged_one() {
    let disk = CrashableDisk::new();
    let store = open(&disk).unwrap();
    put(&store, "/a", "1");
    store.snapshot().unwrap();
    put(&store, "/b", "2");
    store.snapshot().unwrap();
    put(&store, "/c", "3");
    let before = contents(&disk);
    drop(store);
    let newest = disk
        .list()
        .unwrap()
        .into_iter()
        .filter(|name| name.ends_with(".snap"))
        .max();
    disk.damage(&newest.unwrap(), 40);
    // The older snapshot and the log hold everything: a start needs no repair, and repair finds nothing to cut.
    assert_eq!(repair(&disk).unwrap().set_aside, Vec::<String>::new());
    assert_eq!(contents(&disk), before);
}

#[test]
fn repair_changes_nothing_where_nothing_is_damaged() {
    let disk = CrashableDisk::new();
    put(&open(&disk).unwrap(), "/a", "1");
    let before = disk.list().unwrap();
    let repaired = repair(&disk).unwrap();
    assert_eq!(
        (repaired.revision, repaired.set_aside),
        (Revision(2), vec![])
    );
    assert_eq!(disk.list().unwrap(), before);
}

#[test]
fn defragment_leaves_one_snapshot_and_loses_nothing() {
    let disk = CrashableDisk::new();
    let store = open(&disk).unwrap();
    for round in 0..100 {
        put(&store, "/a", &format!("{round}"));
    }
    drop(store);
    let before = contents(&disk);
    let (bytes_before, bytes_after) = defragment(&disk).unwrap();
    assert!(
        bytes_after < bytes_before / 100,
        "{bytes_before} → {bytes_after}"
    );
    assert_eq!(disk.list().unwrap().len(), 1);
    assert_eq!(contents(&disk), before);
    assert_eq!(put(&open(&disk).unwrap(), "/b", "1"), Revision(102));
}

#[test]
fn a_look_beside_a_writer_sees_a_state_that_was_durable() {
    let directory = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(directory.path()).unwrap();
    let store = Store::open(Box::new(disk), Options::default()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..2000 {
                put(&store, &format!("/{}", round % 7), &format!("{round}"));
                if round % 500 == 0 {
                    store.snapshot().unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        let beside = RealDisk::shared(directory.path()).unwrap();
        let mut last = Revision(1);
        while !done.load(Ordering::Acquire) {
            let view = look(&beside).unwrap();
            assert!(view.revision >= last && view.revision <= store.revision());
            let newest = view.range("", "").map(|entry| entry.modified).max();
            assert!(newest.is_none_or(|newest| newest == view.revision));
            last = view.revision;
        }
    });
}
