//! The log: segments of frames, one frame a group commit.
//!
//! Owns the open segment and the next one, made ahead of need. Flows in: batches of events. Flows out: nothing, but when
//! `append` returns they are on the disk.
//!
//! Segments are named by the first revision they may hold and are full of zeros when they start. Every start of a store
//! begins a new one, so nothing is ever written behind bytes that a crash left.

use std::io::{Error, ErrorKind};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};
use crate::entry::Event;
use crate::error::StoreError;
use crate::record::{FrameKind, begin_frame, seal_frame, write_event};
use crate::revision::Revision;

const PREPARED_NAME: &str = "next.tmp";
/// A buffer that one great commit made larger than this is not kept.
const KEPT_BUFFER_BYTES_MAX: usize = 8 << 20;

#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Of the segment that a start makes before the store is ready: small, because zeroing takes time.
    pub first_segment_bytes: u64,
    pub segment_bytes: u64,
    /// A snapshot is due when the log has grown by this much since the last.
    pub snapshot_after_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            first_segment_bytes: 2 << 20,
            segment_bytes: 16 << 20,
            snapshot_after_bytes: 64 << 20,
        }
    }
}

/// `log-00000000000000000042.wal`: sorts as it counts.
pub(crate) fn segment_name(first: Revision) -> String {
    format!("log-{:020}.wal", first.0)
}

pub(crate) fn segment_first(name: &str) -> Option<Revision> {
    name.strip_prefix("log-")?
        .strip_suffix(".wal")?
        .parse()
        .ok()
        .map(Revision)
}

/// Why `append` did not.
pub(crate) enum AppendError {
    /// Nothing was written: there is no room for a new segment. May be tried again.
    NoSpace,
    /// Nobody knows what was written. Never tried again.
    Fatal(StoreError),
}

pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    segment: Segment,
    buffer: Vec<u8>,
}

struct Segment {
    file: Box<dyn DiskFile>,
    offset: u64,
    size_bytes: u64,
}

/// The next segment, under a temporary name. Made by a housekeeper, taken by the log.
#[derive(Default)]
pub(crate) struct Prepared(Mutex<Option<Segment>>);

impl Prepared {
    pub fn is_missing(&self) -> bool {
        self.0.lock().is_none()
    }

    /// Makes the next segment if there is none. Takes as long as writing it takes, holding no lock of the log.
    pub fn prepare(&self, disk: &dyn Disk, options: &LogOptions) -> Result<(), StoreError> {
        if !self.is_missing() {
            return Ok(());
        }
        let size_bytes = options.segment_bytes;
        let file = disk.create(PREPARED_NAME, size_bytes).map_err(|source| {
            // What a full disk left of it only takes room.
            let _ = disk.remove(PREPARED_NAME);
            storage_error("preparing a log segment", source)
        })?;
        *self.0.lock() = Some(Segment {
            file,
            offset: 0,
            size_bytes,
        });
        Ok(())
    }
}

impl Log {
    /// A log whose next revision is `next`, in a new segment.
    pub fn start(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        next: Revision,
    ) -> Result<Log, StoreError> {
        let size_bytes = options.first_segment_bytes;
        let segment = new_segment(&*disk, next, size_bytes)
            .map_err(|source| storage_error("creating a log segment", source))?;
        Ok(Log {
            disk,
            options,
            segment,
            buffer: Vec::new(),
        })
    }

    /// Puts the events, which are not empty, on the disk: one write, one sync. Gives the bytes written.
    pub fn append(
        &mut self,
        events: &[Arc<Event>],
        prepared: &Prepared,
    ) -> Result<u64, AppendError> {
        let (first, last) = (events[0].revision, events[events.len() - 1].revision);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let start = begin_frame(&mut buffer);
        for event in events {
            write_event(&mut buffer, event);
        }
        seal_frame(&mut buffer, start, FrameKind::Commit, first.0, last.0);
        let written = self.write(&buffer, first, prepared);
        if buffer.capacity() <= KEPT_BUFFER_BYTES_MAX {
            self.buffer = buffer;
        }
        written
    }

    fn write(
        &mut self,
        frame: &[u8],
        first: Revision,
        prepared: &Prepared,
    ) -> Result<u64, AppendError> {
        let size_bytes = frame.len() as u64;
        if self.segment.offset + size_bytes > self.segment.size_bytes {
            self.roll(first, size_bytes, prepared)?;
        }
        let Segment { file, offset, .. } = &mut self.segment;
        file.write_at(*offset, frame)
            .and_then(|()| file.sync())
            .map_err(|source| AppendError::Fatal(StoreError::io("writing the log", source)))?;
        *offset += size_bytes;
        Ok(size_bytes)
    }

    /// Goes on in a new segment. The old one is all synced, because every append is.
    fn roll(
        &mut self,
        first: Revision,
        size_bytes: u64,
        prepared: &Prepared,
    ) -> Result<(), AppendError> {
        // Locked until the file has its own name: a housekeeper that found the place empty before would make the next
        // segment under the temporary one, over the file that is being taken.
        let mut place = prepared.0.lock();
        let taken = place.take_if(|segment| segment.size_bytes >= size_bytes);
        let rolled = match taken {
            Some(segment) => self
                .disk
                .rename(PREPARED_NAME, &segment_name(first))
                .and_then(|()| self.disk.sync_directory())
                .map(|()| segment),
            None => new_segment(
                &*self.disk,
                first,
                self.options.segment_bytes.max(size_bytes),
            ),
        };
        drop(place);
        match rolled {
            Ok(segment) => {
                self.segment = segment;
                Ok(())
            }
            Err(source) if is_no_space(&source) => Err(AppendError::NoSpace),
            Err(source) => Err(AppendError::Fatal(StoreError::io(
                "starting a log segment",
                source,
            ))),
        }
    }
}

fn new_segment(disk: &dyn Disk, first: Revision, size_bytes: u64) -> std::io::Result<Segment> {
    let name = segment_name(first);
    let file = match disk.create(&name, size_bytes) {
        Ok(file) => file,
        Err(error) => {
            // What a full disk left of it is in the way of whatever comes next; if it cannot go, it is all zeros.
            let _ = disk.remove(&name);
            return Err(error);
        }
    };
    disk.sync_directory()?;
    Ok(Segment {
        file,
        offset: 0,
        size_bytes,
    })
}

fn is_no_space(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

pub(crate) fn storage_error(what: &str, source: Error) -> StoreError {
    if is_no_space(&source) {
        return StoreError::NoSpace;
    }
    StoreError::io(what, source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crashable::CrashableDisk;
    use std::io;

    /// Fails a rename during which a housekeeper could find the prepared segment's place empty.
    struct Guarded {
        disk: CrashableDisk,
        prepared: Arc<Prepared>,
    }

    impl Disk for Guarded {
        fn list(&self) -> io::Result<Vec<String>> {
            self.disk.list()
        }

        fn read(&self, name: &str) -> io::Result<Vec<u8>> {
            self.disk.read(name)
        }

        fn create(&self, name: &str, size_bytes: u64) -> io::Result<Box<dyn DiskFile>> {
            self.disk.create(name, size_bytes)
        }

        fn truncate(&self, name: &str, size_bytes: u64) -> io::Result<()> {
            self.disk.truncate(name, size_bytes)
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            if self.prepared.0.try_lock().is_some() {
                return Err(io::Error::other("a housekeeper could look now"));
            }
            self.disk.rename(from, to)
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.disk.remove(name)
        }

        fn sync_directory(&self) -> io::Result<()> {
            self.disk.sync_directory()
        }
    }

    #[test]
    fn nobody_makes_the_next_segment_over_the_one_that_is_being_taken() {
        let prepared = Arc::new(Prepared::default());
        let disk: Arc<dyn Disk> = Arc::new(Guarded {
            disk: CrashableDisk::new(),
            prepared: prepared.clone(),
        });
        let options = LogOptions {
            first_segment_bytes: 64,
            ..LogOptions::default()
        };
        let mut log = Log::start(disk.clone(), options.clone(), Revision(2)).unwrap();
        prepared.prepare(&*disk, &options).unwrap();
        assert!(log.write(&[1; 100], Revision(2), &prepared).is_ok());
        assert!(prepared.is_missing());
    }
}
