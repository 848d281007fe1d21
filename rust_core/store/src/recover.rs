//! From a data directory to a store: the newest good snapshot, and the log after it.
//!
//! The log ends at the first frame that is not whole. Whether that is the torn end that a crash leaves (it was never
//! synced, so never acknowledged, and is cut off) or damage to what was acknowledged is told by what follows: a frame is
//! only written once the one before is synced, so a whole frame behind a broken one means damage. Damage is reported with
//! file and offset, and nothing is changed.

use std::sync::Arc;

use crate::disk::Disk;
use crate::entry::{Attachment, Change, Entry, Event};
use crate::error::StoreError;
use crate::history::{History, HistoryBounds};
use crate::log::{segment_first, segment_name};
use crate::record::{EventRecord, FrameKind, find_frame, read_events, read_frame};
use crate::revision::{Revision, Timestamp};
use crate::snapshot::{read_snapshot, snapshot_name, snapshot_revision};
use crate::view::View;

/// What was found.
pub(crate) struct Recovered {
    pub head: View,
    pub history: History,
    /// Of the last event.
    pub time: Timestamp,
    pub log_bytes: u64,
}

/// What a data directory holds, for those who want to know without opening it.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    pub revision: Revision,
    pub snapshot_revision: Option<Revision>,
    pub entries: usize,
    pub log_bytes: u64,
    /// Bytes of a commit that never finished, which the next start cuts off.
    pub torn_bytes: u64,
}

/// Reads and checks everything; changes nothing.
pub fn verify(disk: &dyn Disk) -> Result<Verified, StoreError> {
    let found = read_all(disk)?;
    Ok(Verified {
        revision: found.recovered.head.revision,
        snapshot_revision: found.snapshot,
        entries: found.recovered.head.len(),
        log_bytes: found.recovered.log_bytes,
        torn_bytes: found.tail.map_or(0, |tail| tail.torn_bytes),
    })
}

/// The store as a start would find it; changes nothing.
pub fn read(disk: &dyn Disk) -> Result<View, StoreError> {
    Ok(read_all(disk)?.recovered.head)
}

/// Reads everything and cuts the end of the log, so that a new segment can follow.
pub(crate) fn recover(disk: &dyn Disk) -> Result<Recovered, StoreError> {
    let found = read_all(disk)?;
    let tidied = (|| {
        for name in names(disk)?.iter().filter(|name| name.ends_with(".tmp")) {
            disk.remove(name)?;
        }
        match &found.tail {
            Some(tail) if tail.good_bytes == 0 => disk.remove(&tail.name)?,
            Some(tail) => disk.truncate(&tail.name, tail.good_bytes)?,
            None => (),
        }
        disk.sync_directory()
    })();
    tidied.map_err(|source| StoreError::io("tidying the data directory", source))?;
    Ok(found.recovered)
}

struct Found {
    recovered: Recovered,
    snapshot: Option<Revision>,
    /// The last segment.
    tail: Option<Tail>,
}

struct Tail {
    name: String,
    good_bytes: u64,
    torn_bytes: u64,
}

fn names(disk: &dyn Disk) -> std::io::Result<Vec<String>> {
    let mut names = disk.list()?;
    names.sort_unstable();
    Ok(names)
}

fn read_all(disk: &dyn Disk) -> Result<Found, StoreError> {
    let names =
        names(disk).map_err(|source| StoreError::io("listing the data directory", source))?;
    let snapshots: Vec<Revision> = names
        .iter()
        .rev()
        .filter_map(|name| snapshot_revision(name))
        .collect();
    let segments: Vec<Revision> = names
        .iter()
        .filter_map(|name| segment_first(name))
        .collect();
    // The newest snapshot that is whole and that the log continues; the log alone, if it goes back to the beginning.
    let log_is_complete = segments
        .first()
        .is_none_or(|first| *first == Revision::FIRST.next());
    let log_alone = snapshots.is_empty() || (!segments.is_empty() && log_is_complete);
    let candidates = snapshots
        .iter()
        .copied()
        .map(Some)
        .chain(log_alone.then_some(None));
    let newest = snapshots.first().copied().unwrap_or_default();
    let mut first_failure = None;
    for snapshot in candidates {
        match read_from(disk, snapshot, &segments) {
            Ok((recovered, tail)) if recovered.head.revision >= newest => {
                return Ok(Found {
                    recovered,
                    snapshot,
                    tail,
                });
            }
            Ok((recovered, _)) => {
                let file = snapshot_name(recovered.head.revision);
                let why = "the log ends before the newest snapshot";
                first_failure = first_failure.or(Some(StoreError::Corrupt {
                    file,
                    offset: 0,
                    why,
                }));
            }
            // Damage to the newest is the news; that an older one does not help either is not.
            Err(error @ StoreError::Corrupt { .. }) => {
                first_failure = first_failure.or(Some(error))
            }
            Err(error) => return Err(error),
        }
    }
    // Without a snapshot the log alone is a candidate, so there was one, and it failed.
    Err(first_failure.expect("a failure of each candidate"))
}

fn read_from(
    disk: &dyn Disk,
    snapshot: Option<Revision>,
    segments: &[Revision],
) -> Result<(Recovered, Option<Tail>), StoreError> {
    let head = match snapshot {
        Some(revision) => read_snapshot(disk, &snapshot_name(revision))?,
        None => View::empty(),
    };
    let mut replay = Replayer {
        history: History::starting_at(head.clone()),
        head,
        time: Timestamp::default(),
        log_bytes: 0,
    };
    // Segments that end before the snapshot need not be read: the next one's name tells.
    let start = segments
        .partition_point(|first| first.0 <= replay.head.revision.0 + 1)
        .saturating_sub(1);
    let mut tail = None;
    for (index, first) in segments.iter().enumerate().skip(start) {
        let name = segment_name(*first);
        let bytes = disk
            .read(&name)
            .map_err(|source| StoreError::io(format!("reading {name}"), source))?;
        let good_bytes = replay.segment(&name, &bytes)?;
        let rest = &bytes[good_bytes..];
        let is_last = index + 1 == segments.len();
        if !is_zeros(rest) {
            let later_commit = find_frame(rest).is_some() || !is_last;
            if later_commit {
                let why = "a commit is broken, though later ones are whole";
                return Err(StoreError::Corrupt {
                    file: name,
                    offset: good_bytes as u64,
                    why,
                });
            }
        }
        if is_last {
            let torn_bytes = rest
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last as u64 + 1);
            tail = Some(Tail {
                name,
                good_bytes: good_bytes as u64,
                torn_bytes,
            });
        }
    }
    let Replayer {
        head,
        history,
        time,
        log_bytes,
    } = replay;
    Ok((
        Recovered {
            head,
            history,
            time,
            log_bytes,
        },
        tail,
    ))
}

fn is_zeros(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| *chunk == ZEROS[..chunk.len()])
}

struct Replayer {
    head: View,
    history: History,
    time: Timestamp,
    log_bytes: u64,
}

impl Replayer {
    /// Replays the whole frames at the start of a segment. Gives how many bytes they take.
    fn segment(&mut self, name: &str, bytes: &[u8]) -> Result<usize, StoreError> {
        let mut offset = 0;
        while let Some((frame, length)) = read_frame(&bytes[offset..]) {
            let corrupt = |why| StoreError::Corrupt {
                file: name.to_owned(),
                offset: offset as u64,
                why,
            };
            if frame.kind != FrameKind::Commit {
                return Err(corrupt("a frame of a snapshot in the log"));
            }
            // A snapshot may hold the beginning of a segment already, never the middle of a commit: it is made of a
            // durable view, and those end with a commit.
            if frame.last > self.head.revision.0 {
                if frame.first != self.head.revision.0 + 1 {
                    return Err(corrupt("revisions are missing before this commit"));
                }
                let records =
                    read_events(frame.payload).ok_or_else(|| corrupt("an event cannot be read"))?;
                for record in records {
                    self.event(record).map_err(corrupt)?;
                }
                self.log_bytes += length as u64;
            }
            offset += length;
        }
        Ok(offset)
    }

    fn event(&mut self, record: EventRecord) -> Result<(), &'static str> {
        let is_next = record.revision == self.head.revision.next();
        // Several events of one transaction share a revision.
        if !is_next && record.revision != self.head.revision {
            return Err("revisions are out of order");
        }
        if is_next {
            self.history.checkpoint_if_due(&self.head);
        }
        let previous = self.head.get(&record.key).cloned();
        if record.change == Change::Delete && previous.is_none() {
            return Err("a key is deleted that was never written");
        }
        let event = Arc::new(event_of(record, previous));
        self.head.advance(&event);
        self.time = self.time.max(event.time);
        self.history.push(event);
        // Never more in memory than a running store would keep.
        drop(self.history.trim(
            Timestamp::default(),
            &HistoryBounds::default(),
            self.head.revision,
        ));
        Ok(())
    }
}

/// What the log leaves out follows from the state before.
fn event_of(record: EventRecord, previous: Option<Arc<Entry>>) -> Event {
    let before = previous.as_deref();
    let version = before.map_or(0, |before| before.version);
    let entry = Entry {
        key: before.map_or(record.key, |before| before.key.clone()),
        value: record.value,
        created: before.map_or(record.revision, |before| before.created),
        modified: record.revision,
        version: if record.change == Change::Put {
            version + 1
        } else {
            version
        },
        expires: record.expires,
        splice: record.splice,
        attachment: Attachment::default(),
    };
    Event {
        revision: record.revision,
        change: record.change,
        entry: Arc::new(entry),
        previous,
        time: record.time,
        attachment: Attachment::default(),
    }
}
