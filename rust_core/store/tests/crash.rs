//! A crash before, in and after every single operation on the disk: nothing acknowledged is lost, nothing half-written
//! is seen. And the proof that this test can fail: on a disk whose syncs are lies, it does.

use std::collections::BTreeMap;

use kubecore_store::{CrashableDisk, Head, LogOptions, Options, Revision, Store, Txn, Value, View};

type Model = BTreeMap<String, Vec<u8>>;

fn options() -> Options {
    // Segments of a few commits, so that a short run rolls many times.
    let log = LogOptions {
        first_segment_bytes: 1024,
        segment_bytes: 2048,
        snapshot_after_bytes: 6000,
    };
    Options {
        log,
        ..Options::default()
    }
}

/// A small generator, so that a seed in a message is all it takes to see the same run again.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn as_model(view: &View) -> Model {
    view.range("", "")
        .map(|entry| (entry.key.to_string(), entry.value.to_vec()))
        .collect()
}

#[derive(Default)]
struct Run {
    /// The state at each revision that was ever applied, by revision.
    applied: BTreeMap<u64, Model>,
    /// The newest revision that was acknowledged.
    acknowledged: u64,
}

/// Writes until the disk dies, or to the end.
fn work(disk: &CrashableDisk, run: &mut Run, random: &mut Random, commits: usize) {
    let Ok(store) = Store::open(Box::new(disk.clone()), options()) else {
        return;
    };
    run.applied
        .insert(store.revision().0, as_model(&store.view(Head::Applied)));
    for _ in 0..commits {
        for _ in 0..=random.next(3) {
            let key = format!("/registry/core/pods/default/{}", random.next(12));
            let size = random.next(700) as usize;
            let mut txn = Txn::new();
            if random.next(4) == 0 && store.get(&key).is_some() {
                txn = txn
                    .delete(key.clone())
                    .put("/registry/core/other", Value::plain(vec![b'o'; size]));
            } else {
                let text = format!("{{\"\":{}}}", "v".repeat(size));
                txn = txn.put(
                    key,
                    Value::spliced(text.as_bytes(), 2, store.revision()).unwrap(),
                );
            }
            let applied = store.apply(txn).unwrap();
            run.applied
                .insert(applied.revision.0, as_model(&store.view(Head::Applied)));
        }
        match store.write_pending() {
            Ok(released) => run.acknowledged = released.revision.0,
            Err(_) => return,
        }
        if store.housekeeping_due() && store.housekeep().is_err() {
            return;
        }
    }
}

/// What is wrong with a disk after a crash, if anything.
fn wrong(crashed: &CrashableDisk, run: &Run) -> Option<String> {
    let store = match Store::open(Box::new(crashed.clone()), options()) {
        Ok(store) => store,
        Err(error) => return Some(format!("it does not open: {error}")),
    };
    let revision = store.revision().0;
    if revision < run.acknowledged {
        return Some(format!(
            "revision {} was acknowledged, {revision} was found",
            run.acknowledged
        ));
    }
    match run.applied.get(&revision) {
        Some(model) if *model == as_model(&store.view(Head::Durable)) => None,
        Some(_) => Some(format!("revision {revision} is not what it was")),
        // The store had not been opened yet when it died, and so had only its first revision.
        None if run.applied.is_empty() && revision == 1 => None,
        None => Some(format!("revision {revision} never was")),
    }
}

/// Crashes one run at every operation, each with several fates for what was not synced. Gives what went wrong.
fn crash_everywhere(seed: u64, lying: bool) -> Vec<String> {
    const COMMITS: usize = 25;
    let new_disk = || {
        if lying {
            CrashableDisk::new().ignoring_sync()
        } else {
            CrashableDisk::new()
        }
    };
    let whole = new_disk();
    work(&whole, &mut Run::default(), &mut Random(seed), COMMITS);
    let mut found = Vec::new();
    for operations in 0..=whole.operations() {
        let disk = new_disk().dying_after(operations);
        let mut run = Run::default();
        work(&disk, &mut run, &mut Random(seed), COMMITS);
        let mut fate = Random(seed ^ operations);
        let fates: [&mut dyn FnMut() -> bool; 4] = [
            &mut || false,
            &mut || true,
            &mut || fate.next(2) == 0,
            &mut || operations % 2 == 0,
        ];
        for (number, keeps) in fates.into_iter().enumerate() {
            let crashed = disk.crash(keeps);
            let note = |what| format!("seed {seed}, operation {operations}, fate {number}: {what}");
            if let Some(what) = wrong(&crashed, &run) {
                found.push(note(what));
                continue;
            }
            // Life goes on after the crash, until the next one.
            let mut second = Run {
                acknowledged: run.acknowledged,
                ..Run::default()
            };
            work(&crashed, &mut second, &mut Random(seed + 1), 3);
            found.extend(
                wrong(&crashed.crash(|| false), &second)
                    .map(|what| note(format!("after it: {what}"))),
            );
        }
    }
    found
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    for seed in 1..=4 {
        let found = crash_everywhere(seed, false);
        assert!(
            found.is_empty(),
            "{} of them, the first: {}",
            found.len(),
            found[0]
        );
    }
}

#[test]
fn without_syncs_the_crash_test_finds_losses() {
    let found = crash_everywhere(1, true);
    assert!(
        found.iter().any(|what| what.contains("was acknowledged")),
        "a crash test that cannot fail proves nothing"
    );
}

#[test]
fn a_kill_keeps_even_what_was_not_synced() {
    let disk = CrashableDisk::new();
    let mut run = Run::default();
    work(&disk, &mut run, &mut Random(7), 40);
    let newest = *run.applied.keys().last().unwrap();
    let store = Store::open(Box::new(disk.kill()), options()).unwrap();
    assert_eq!(store.revision(), Revision(newest));
}
