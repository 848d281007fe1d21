//! The bytes on disk: frames, and the records in them. docs/design/store.md draws every field.
//!
//! A frame is what was written and synced together: one group commit of the log, one block of a snapshot. It has one
//! checksum, so it counts as a whole or not at all, and a whole frame proves that all frames before it were synced.
//! All numbers are little-endian.

use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Attachment, Change, Entry, Event};
use crate::revision::{Revision, Timestamp};

pub(crate) const FRAME_HEADER_BYTES: usize = 32;
const MAGIC: [u8; 4] = *b"KCF1";
const EVENT_HEADER_BYTES: usize = 40;
const ENTRY_HEADER_BYTES: usize = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Of the log: events of revisions `first` to `last`.
    Commit = 1,
    /// Of a snapshot at revision `first`: entries, of which there were `last` in the frames before.
    Entries = 2,
    /// The end of a snapshot at revision `first` with `last` entries.
    End = 3,
}

#[derive(Debug)]
pub(crate) struct Frame<'bytes> {
    pub kind: FrameKind,
    pub first: u64,
    pub last: u64,
    pub payload: &'bytes [u8],
}

/// Room for the header of a frame that begins here; `seal_frame` fills it once the payload is behind it.
pub(crate) fn begin_frame(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.resize(start + FRAME_HEADER_BYTES, 0);
    start
}

pub(crate) fn seal_frame(buffer: &mut [u8], start: usize, kind: FrameKind, first: u64, last: u64) {
    let frame = &mut buffer[start..];
    // Limits keep a group commit far below 4 GiB (`pending_bytes_max`), and so a frame.
    let payload_bytes = (frame.len() - FRAME_HEADER_BYTES) as u32;
    frame[0..4].copy_from_slice(&MAGIC);
    frame[8..12].copy_from_slice(&payload_bytes.to_le_bytes());
    frame[12] = kind as u8;
    frame[16..24].copy_from_slice(&first.to_le_bytes());
    frame[24..32].copy_from_slice(&last.to_le_bytes());
    let checksum = crc32c::crc32c(&frame[8..]);
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// The frame at the start of `bytes`, and its length. `None`: there is no whole frame.
pub(crate) fn read_frame(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let header = bytes.get(..FRAME_HEADER_BYTES)?;
    if header[..4] != MAGIC {
        return None;
    }
    let length = FRAME_HEADER_BYTES + u32_at(header, 8) as usize;
    let frame = bytes.get(..length)?;
    if crc32c::crc32c(&frame[8..]) != u32_at(header, 4) {
        return None;
    }
    let kind = match header[12] {
        1 => FrameKind::Commit,
        2 => FrameKind::Entries,
        3 => FrameKind::End,
        _ => return None,
    };
    let (first, last) = (u64_at(header, 16), u64_at(header, 24));
    Some((
        Frame {
            kind,
            first,
            last,
            payload: &frame[FRAME_HEADER_BYTES..],
        },
        length,
    ))
}

/// Where the next whole frame starts in `bytes`, if there is one: what tells damage from a torn end.
pub(crate) fn find_frame(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(offset) = find_magic(&bytes[from..]) {
        if read_frame(&bytes[from + offset..]).is_some() {
            return Some(from + offset);
        }
        from += offset + 1;
    }
    None
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(offset) = bytes[from..].iter().position(|byte| *byte == MAGIC[0]) {
        if bytes[from + offset..].starts_with(&MAGIC) {
            return Some(from + offset);
        }
        from += offset + 1;
    }
    None
}

/// An event as the log keeps it; what it leaves out follows from the state before.
#[derive(Debug)]
pub(crate) struct EventRecord {
    pub revision: Revision,
    pub time: Timestamp,
    pub change: Change,
    pub key: Arc<str>,
    pub value: Bytes,
    pub expires: Option<Timestamp>,
    pub splice: Option<u32>,
}

pub(crate) fn write_event(buffer: &mut Vec<u8>, event: &Event) {
    let entry = &event.entry;
    let change = match event.change {
        Change::Put => 1,
        Change::Delete => 2,
    };
    buffer.extend_from_slice(&(entry.key.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&(entry.value.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&event.revision.0.to_le_bytes());
    buffer.extend_from_slice(&event.time.0.to_le_bytes());
    buffer.extend_from_slice(&expires_field(entry).to_le_bytes());
    buffer.extend_from_slice(&splice_field(entry).to_le_bytes());
    buffer.extend_from_slice(&[change, 0, 0, 0]);
    buffer.extend_from_slice(entry.key.as_bytes());
    buffer.extend_from_slice(&entry.value);
}

/// All events of a commit's payload. `None`: it does not hold what its checksum vouches for, so we wrote it wrong.
pub(crate) fn read_events(mut payload: &[u8]) -> Option<Vec<EventRecord>> {
    let mut records = Vec::new();
    while !payload.is_empty() {
        let header = payload.get(..EVENT_HEADER_BYTES)?;
        let (key, value, rest) = key_and_value(payload, EVENT_HEADER_BYTES)?;
        records.push(EventRecord {
            revision: Revision(u64_at(header, 8)),
            time: Timestamp(u64_at(header, 16)),
            expires: expires_of(u64_at(header, 24)),
            splice: u32_at(header, 32).checked_sub(1),
            change: match header[36] {
                1 => Change::Put,
                2 => Change::Delete,
                _ => return None,
            },
            key,
            value,
        });
        payload = rest;
    }
    Some(records)
}

pub(crate) fn write_entry(buffer: &mut Vec<u8>, entry: &Entry) {
    buffer.extend_from_slice(&(entry.key.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&(entry.value.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&entry.created.0.to_le_bytes());
    buffer.extend_from_slice(&entry.modified.0.to_le_bytes());
    buffer.extend_from_slice(&entry.version.to_le_bytes());
    buffer.extend_from_slice(&expires_field(entry).to_le_bytes());
    buffer.extend_from_slice(&splice_field(entry).to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(entry.key.as_bytes());
    buffer.extend_from_slice(&entry.value);
}

/// All entries of a snapshot frame's payload. `None` as in `read_events`.
pub(crate) fn read_entries(mut payload: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !payload.is_empty() {
        let header = payload.get(..ENTRY_HEADER_BYTES)?;
        let (key, value, rest) = key_and_value(payload, ENTRY_HEADER_BYTES)?;
        entries.push(Entry {
            key,
            value,
            created: Revision(u64_at(header, 8)),
            modified: Revision(u64_at(header, 16)),
            version: u64_at(header, 24),
            expires: expires_of(u64_at(header, 32)),
            splice: u32_at(header, 40).checked_sub(1),
            attachment: Attachment::default(),
        });
        payload = rest;
    }
    Some(entries)
}

/// The key and value behind a record's header (whose first two fields are their lengths), and what follows.
fn key_and_value(record: &[u8], header_bytes: usize) -> Option<(Arc<str>, Bytes, &[u8])> {
    let key_end = header_bytes + u32_at(record, 0) as usize;
    let value_end = key_end + u32_at(record, 4) as usize;
    let key = std::str::from_utf8(record.get(header_bytes..key_end)?).ok()?;
    let value = Bytes::copy_from_slice(record.get(key_end..value_end)?);
    Some((key.into(), value, &record[value_end..]))
}

/// 0 stands for never: nothing expires in 1970.
fn expires_field(entry: &Entry) -> u64 {
    entry.expires.map_or(0, |expires| expires.0)
}

fn expires_of(field: u64) -> Option<Timestamp> {
    (field > 0).then_some(Timestamp(field))
}

/// One more than the offset, so that 0 stands for none. Values are far below 4 GiB.
fn splice_field(entry: &Entry) -> u32 {
    entry.splice.map_or(0, |offset| offset + 1)
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    // Callers have checked that the header is all there.
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(revision: u64, key: &str, value: &[u8], change: Change, splice: Option<u32>) -> Event {
        let entry = Entry {
            key: key.into(),
            value: Bytes::copy_from_slice(value),
            created: Revision(1),
            modified: Revision(revision),
            version: 1,
            expires: splice.map(|offset| Timestamp(u64::from(offset) + 1)),
            splice,
            attachment: Attachment::default(),
        };
        Event {
            revision: Revision(revision),
            change,
            entry: Arc::new(entry),
            previous: None,
            time: Timestamp(7),
            attachment: Attachment::default(),
        }
    }

    fn frame_of(events: &[Event]) -> Vec<u8> {
        let mut buffer = Vec::new();
        let start = begin_frame(&mut buffer);
        events
            .iter()
            .for_each(|event| write_event(&mut buffer, event));
        seal_frame(&mut buffer, start, FrameKind::Commit, 1, 2);
        buffer
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            values in prop::collection::vec(("[a-zé/]{0,20}", any::<Vec<u8>>(), any::<bool>(), any::<Option<u16>>()), 1..5),
        ) {
            let events: Vec<Event> = values
                .iter()
                .map(|(key, value, put, splice)| {
                    event(3, key, value, if *put { Change::Put } else { Change::Delete }, splice.map(u32::from))
                })
                .collect();
            let bytes = frame_of(&events);
            let (frame, length) = read_frame(&bytes).unwrap();
            prop_assert_eq!(length, bytes.len());
            let records = read_events(frame.payload).unwrap();
            prop_assert_eq!(records.len(), events.len());
            for (record, event) in records.iter().zip(&events) {
                prop_assert_eq!((&record.key, &record.value), (&event.entry.key, &event.entry.value));
                prop_assert_eq!((record.revision, record.time, record.change), (event.revision, event.time, event.change));
                prop_assert_eq!((record.expires, record.splice), (event.entry.expires, event.entry.splice));
            }
        }

        #[test]
        fn whatever_the_payload_reading_it_does_not_panic(payload in any::<Vec<u8>>()) {
            let _ = read_events(&payload);
            let _ = read_entries(&payload);
            let _ = read_frame(&payload);
        }
    }

    #[test]
    fn a_frame_with_any_byte_turned_over_or_cut_off_is_not_whole() {
        let bytes = frame_of(&[event(1, "/a", b"{\"x\":1}", Change::Put, None)]);
        for index in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[index] ^= 0x40;
            assert!(read_frame(&broken).is_none(), "byte {index}");
            assert!(read_frame(&bytes[..index]).is_none(), "cut at {index}");
        }
    }

    #[test]
    fn a_whole_frame_is_found_behind_rubbish_that_looks_like_one() {
        let frame = frame_of(&[event(1, "/a", b"{}", Change::Put, None)]);
        let mut bytes = vec![0, b'K', b'C', b'F', b'1', 9, b'K', b'K'];
        let behind = bytes.len();
        assert_eq!(find_frame(&bytes), None);
        bytes.extend_from_slice(&frame);
        assert_eq!(find_frame(&bytes), Some(behind));
    }
}
