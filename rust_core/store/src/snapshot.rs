//! Snapshots: the whole store at one revision in one file, so that the log before it can go.
//!
//! Flows in: a view, which no writer waits for. Flows out: a file that is there under its name only when it is whole and
//! synced. It is a row of frames of entries in key order, and an end frame that says how many there were.

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::storage_error;
use crate::record::{FrameKind, begin_frame, read_entries, read_frame, seal_frame, write_entry};
use crate::revision::Revision;
use crate::view::View;

const FRAME_PAYLOAD_BYTES: usize = 1 << 20;

pub(crate) fn snapshot_name(revision: Revision) -> String {
    format!("snapshot-{:020}.snap", revision.0)
}

pub(crate) fn snapshot_revision(name: &str) -> Option<Revision> {
    name.strip_prefix("snapshot-")?
        .strip_suffix(".snap")?
        .parse()
        .ok()
        .map(Revision)
}

pub(crate) fn write_snapshot(disk: &dyn Disk, view: &View) -> Result<(), StoreError> {
    write_snapshot_as(disk, view, &snapshot_name(view.revision))
}

pub(crate) fn write_snapshot_as(
    disk: &dyn Disk,
    view: &View,
    name: &str,
) -> Result<(), StoreError> {
    let temporary = format!("{name}.tmp");
    write_file(disk, view, &temporary)
        .and_then(|()| disk.rename(&temporary, name))
        .and_then(|()| disk.sync_directory())
        .map_err(|source| {
            // Half a snapshot helps nobody and takes room; if it cannot go now, the next start removes it.
            let _ = disk.remove(&temporary);
            storage_error("writing a snapshot", source)
        })
}

fn write_file(disk: &dyn Disk, view: &View, name: &str) -> std::io::Result<()> {
    let mut file = disk.create(name, 0)?;
    let mut offset = 0;
    write_frames(view, &mut |frame| {
        file.write_at(offset, frame)?;
        offset += frame.len() as u64;
        Ok(())
    })?;
    file.sync()
}

/// The bytes of a snapshot, frame by frame.
pub fn write_frames(
    view: &View,
    write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let revision = view.revision.0;
    let mut buffer = Vec::with_capacity(FRAME_PAYLOAD_BYTES + (64 << 10));
    let mut start = begin_frame(&mut buffer);
    let (mut written, mut count) = (0, 0);
    for entry in view.range("", "") {
        write_entry(&mut buffer, entry);
        count += 1;
        if buffer.len() >= FRAME_PAYLOAD_BYTES {
            seal_frame(&mut buffer, start, FrameKind::Entries, revision, written);
            write(&buffer)?;
            buffer.clear();
            start = begin_frame(&mut buffer);
            written = count;
        }
    }
    seal_frame(&mut buffer, start, FrameKind::Entries, revision, written);
    write(&buffer)?;
    buffer.clear();
    start = begin_frame(&mut buffer);
    seal_frame(&mut buffer, start, FrameKind::End, revision, count);
    write(&buffer)
}

/// Reads a snapshot. `Corrupt` if it is not whole.
pub(crate) fn read_snapshot(disk: &dyn Disk, name: &str) -> Result<View, StoreError> {
    let bytes = disk
        .read(name)
        .map_err(|source| StoreError::io(format!("reading {name}"), source))?;
    let corrupt = |offset: usize, why| StoreError::Corrupt {
        file: name.to_owned(),
        offset: offset as u64,
        why,
    };
    let mut view = View::empty();
    let (mut offset, mut count) = (0, 0);
    loop {
        let Some((frame, length)) = read_frame(&bytes[offset..]) else {
            return Err(corrupt(offset, "a frame of the snapshot is not whole"));
        };
        view.revision = Revision(frame.first);
        match frame.kind {
            FrameKind::Entries if frame.last == count => {
                let Some(entries) = read_entries(frame.payload) else {
                    return Err(corrupt(offset, "an entry cannot be read"));
                };
                count += entries.len() as u64;
                for entry in entries {
                    view.map.insert(entry.key.clone(), Arc::new(entry));
                }
            }
            FrameKind::End if frame.last == count => return Ok(view),
            _ => return Err(corrupt(offset, "entries are missing")),
        }
        offset += length;
    }
}
