//! Maintenance and Cluster: how the store is, a copy of it, and who serves it.

use std::sync::Arc;

use bytes::Bytes;
use kubecore_store::{Head, Revision, write_frames};
use ring::digest::{Context, SHA256};
use tokio::sync::mpsc;
use tonic::Status;

use crate::failure::Failure;
use crate::messages::{
    AlarmMember, AlarmRequest, AlarmResponse, HashKvRequest, HashKvResponse, Member,
    MemberListResponse, OnlyHeader, SnapshotResponse, StatusResponse,
};
use crate::span::HIDDEN;
use crate::{Etcd, MEMBER_ID, RAFT_TERM, VERSION};

/// etcd's clients find a snapshot whole when its length, without the checksum behind it, is a multiple of this.
const SNAPSHOT_BLOCK_BYTES: usize = 512;
/// Pieces of a snapshot that wait for a slow client.
const SNAPSHOT_PIECES_MAX: usize = 4;

/// Of `AlarmRequest.action`: to list, the others to raise and to clear.
const ALARM_GET: i32 = 0;
/// Of `AlarmMember.alarm`.
const ALARM_NO_SPACE: i32 = 1;

impl Etcd {
    pub fn status(&self) -> StatusResponse {
        let stats = self.store.stats();
        let revision = self.store.durable_revision();
        StatusResponse {
            header: self.header(revision),
            version: VERSION.to_owned(),
            db_size: stats.log_bytes as i64,
            leader: MEMBER_ID,
            raft_index: revision.0,
            raft_term: RAFT_TERM,
            raft_applied_index: revision.0,
            errors: self
                .store
                .failure()
                .map(str::to_owned)
                .into_iter()
                .collect(),
            db_size_in_use: stats.log_bytes as i64,
        }
    }

    /// The store raises and clears it by itself: there is space or there is not.
    pub fn alarm(&self, request: &AlarmRequest) -> AlarmResponse {
        let is_raised = request.action == ALARM_GET && self.store.is_full();
        let alarm = AlarmMember {
            member_id: MEMBER_ID,
            alarm: ALARM_NO_SPACE,
        };
        AlarmResponse {
            header: self.header(self.store.durable_revision()),
            alarms: is_raised.then_some(alarm).into_iter().collect(),
        }
    }

    /// A snapshot, after which old log goes.
    pub async fn defragment(self: Arc<Self>) -> Result<OnlyHeader, Failure> {
        let etcd = self.clone();
        let written = tokio::task::spawn_blocking(move || etcd.store.snapshot()).await;
        written.map_err(|error| Failure::Store(error.to_string()))??;
        Ok(OnlyHeader {
            header: self.header(self.store.durable_revision()),
        })
    }

    /// The same for two stores with the same keys, values and revisions.
    pub fn hash_kv(&self, request: &HashKvRequest) -> Result<HashKvResponse, Failure> {
        let head = self.store.view(Head::Durable);
        let view = match u64::try_from(request.revision) {
            Ok(0) | Err(_) => head.clone(),
            Ok(asked) => self.store.view_at(Revision(asked))?,
        };
        let hash = view.between("\u{1}", None).fold(0, |hash, entry| {
            let hash = crc32c::crc32c_append(hash, entry.key.as_bytes());
            let hash = crc32c::crc32c_append(hash, &entry.value);
            crc32c::crc32c_append(hash, &entry.modified.0.to_le_bytes())
        });
        Ok(HashKvResponse {
            header: self.header(head.revision),
            hash,
            compact_revision: self.store.compacted_revision().0 as i64,
        })
    }

    /// The durable state as a file that `kubecore store restore` takes, padded and with its SHA-256 behind it as etcd's
    /// clients expect.
    pub fn snapshot(self: &Arc<Self>) -> mpsc::Receiver<Result<SnapshotResponse, Status>> {
        let (sender, receiver) = mpsc::channel(SNAPSHOT_PIECES_MAX);
        let etcd = self.clone();
        tokio::task::spawn_blocking(move || {
            let view = etcd.store.view(Head::Durable);
            let header = etcd.header(view.revision);
            let mut digest = Context::new(&SHA256);
            let mut length = 0;
            let send = |bytes: &[u8]| {
                let piece = SnapshotResponse {
                    header: header.clone(),
                    // How much is left is not known before it is written; it is not nothing.
                    remaining_bytes: 1,
                    blob: Bytes::copy_from_slice(bytes),
                };
                let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
                sender.blocking_send(Ok(piece)).map_err(gone)
            };
            let written = write_frames(&view, &mut |frame| {
                digest.update(frame);
                length += frame.len();
                send(frame)
            });
            let padding = vec![0; length.next_multiple_of(SNAPSHOT_BLOCK_BYTES) - length];
            digest.update(&padding);
            let ended = written
                .and_then(|()| send(&padding))
                .and_then(|()| send(digest.finish().as_ref()));
            // The only error is that the client has gone.
            drop(ended);
        });
        receiver
    }

    pub fn members(&self) -> MemberListResponse {
        MemberListResponse {
            header: self.header(self.store.durable_revision()),
            members: vec![Member {
                id: MEMBER_ID,
                name: "kubecore".to_owned(),
                ..Member::default()
            }],
        }
    }
}

const _: () = assert!(
    HIDDEN == '\0',
    "hash_kv passes over hidden keys by beginning after them"
);
