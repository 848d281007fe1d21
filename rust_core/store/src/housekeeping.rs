//! Which files a data directory can do without.
//!
//! The two newest snapshots stay, and the log from the older of them on: should the newest turn out to be damaged, the
//! one before and the log still hold everything.

use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::{segment_first, segment_name};
use crate::revision::Revision;
use crate::snapshot::{snapshot_name, snapshot_revision};

const KEPT_SNAPSHOTS: usize = 2;

/// To be called after a snapshot was written.
pub(crate) fn drop_unneeded_files(disk: &dyn Disk) -> Result<(), StoreError> {
    let remove = || {
        for name in unneeded(&disk.list()?) {
            disk.remove(&name)?;
        }
        disk.sync_directory()
    };
    remove().map_err(|source| StoreError::io("deleting old log segments", source))
}

fn unneeded(names: &[String]) -> Vec<String> {
    let mut snapshots: Vec<Revision> = names
        .iter()
        .filter_map(|name| snapshot_revision(name))
        .collect();
    let mut segments: Vec<Revision> = names
        .iter()
        .filter_map(|name| segment_first(name))
        .collect();
    snapshots.sort_unstable();
    segments.sort_unstable();
    let surplus = snapshots.len().saturating_sub(KEPT_SNAPSHOTS);
    // With a single snapshot the log before it still stands in for the second.
    let needed_from = if snapshots.len() < KEPT_SNAPSHOTS {
        Revision::FIRST
    } else {
        snapshots[surplus].next()
    };
    // A segment reaches to where the next begins; the last has no end.
    let finished = segments
        .windows(2)
        .filter(|pair| pair[1] <= needed_from)
        .map(|pair| segment_name(pair[0]));
    snapshots[..surplus]
        .iter()
        .map(|revision| snapshot_name(*revision))
        .chain(finished)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(snapshots: &[u64], segments: &[u64]) -> Vec<String> {
        let snapshots = snapshots
            .iter()
            .map(|revision| snapshot_name(Revision(*revision)));
        snapshots
            .chain(segments.iter().map(|first| segment_name(Revision(*first))))
            .collect()
    }

    #[test]
    fn two_snapshots_and_the_log_from_the_older_one_stay() {
        let unneeded = unneeded(&names(&[10, 20, 30], &[2, 11, 21, 25, 31]));
        assert_eq!(unneeded, names(&[10], &[2, 11]));
    }

    #[test]
    fn a_segment_that_the_older_snapshot_ends_in_stays() {
        assert_eq!(unneeded(&names(&[10, 20], &[2, 9, 15])), names(&[], &[2]));
    }

    #[test]
    fn with_one_snapshot_the_whole_log_stays() {
        assert_eq!(unneeded(&names(&[10], &[2, 11])), names(&[], &[]));
    }
}
