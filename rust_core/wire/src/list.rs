//! LIST: a snapshot of one revision, written in segments, so that a list of any length needs the memory of one segment.
//!
//! A list with a limit is collected first (its metadata, which comes before the items, says how it goes on); one without streams.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kubecore_object::table::ListMetadata;
use kubecore_store::{Entry, Head, Revision, Store, StoreError, View};

use crate::continue_token::ContinueToken;
use crate::encoder::Encoder;
use crate::options::{Match, Options};
use crate::reply::Reply;
use crate::selection::Selection;
use crate::status::Status;

/// What a list's body is written in. hyper queues at most 16 of them.
const SEGMENT_BYTES: usize = 128 << 10;

pub struct List {
    pub encoder: Encoder,
    pub revision: Revision,
    selection: Selection,
    source: Source,
    state: State,
    /// `metadata.continue` and `remainingItemCount`.
    continue_token: String,
    remaining: Option<usize>,
}

enum Source {
    /// Reads on after `after` with each segment.
    Streaming {
        view: View,
        prefix: String,
        after: String,
    },
    Collected(std::vec::IntoIter<Arc<Entry>>),
}

#[derive(PartialEq)]
enum State {
    Head,
    FirstItem,
    Items,
    Done,
}

impl List {
    pub fn new(
        store: &Store,
        prefix: String,
        encoder: Encoder,
        selection: Selection,
        options: &Options,
    ) -> Result<Self, Status> {
        let view = view(store, options)?;
        let after = options
            .continue_token
            .as_ref()
            .map_or(String::new(), |token| format!("{prefix}{}", token.after));
        let mut list = List {
            encoder,
            revision: view.revision,
            selection,
            source: Source::Streaming {
                view,
                prefix,
                after,
            },
            state: State::Head,
            continue_token: String::new(),
            remaining: None,
        };
        if options.limit > 0 {
            list.collect(options.limit);
        }
        Ok(list)
    }

    /// Takes the first `limit` matches out of the snapshot and lets it go.
    fn collect(&mut self, limit: usize) {
        let Source::Streaming {
            view,
            prefix,
            after,
        } = &self.source
        else {
            return;
        };
        let mut range = view.range(prefix, after);
        let matching = range
            .by_ref()
            .filter(|entry| self.selection.matches(&entry.value));
        let taken: Vec<Arc<Entry>> = matching.take(limit).cloned().collect();
        if let (Some(last), true) = (taken.last(), taken.len() == limit)
            && range.next().is_some()
        {
            let token = ContinueToken {
                revision: Some(self.revision.0),
                after: last.key[prefix.len()..].to_owned(),
            };
            self.continue_token = token.encode();
            self.remaining = self.selection.is_everything().then(|| 1 + range.count());
        } else {
            drop(range);
        }
        self.source = Source::Collected(taken.into_iter());
    }

    /// `{"resourceVersion":..., "continue":..., "remainingItemCount":...}`
    pub fn metadata(&self) -> String {
        let mut metadata = format!(r#"{{"resourceVersion":"{}""#, self.revision);
        if !self.continue_token.is_empty() {
            metadata.push_str(&format!(r#","continue":"{}""#, self.continue_token));
        }
        if let Some(remaining) = self.remaining {
            metadata.push_str(&format!(r#","remainingItemCount":{remaining}"#));
        }
        metadata.push('}');
        metadata
    }

    /// The next piece of the body; None at its end.
    pub fn segment(&mut self) -> Option<Bytes> {
        if self.state == State::Done {
            return None;
        }
        let mut out = BytesMut::with_capacity(SEGMENT_BYTES + (SEGMENT_BYTES >> 3));
        if self.state == State::Head {
            let (kind, api_version) = self.encoder.list_type();
            out.put_slice(
                format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":"#).as_bytes(),
            );
            out.put_slice(self.metadata().as_bytes());
            out.put_slice(br#","items":["#);
            self.state = State::FirstItem;
        }
        if self.write_items(&mut out) {
            out.put_slice(b"]}\n");
            self.state = State::Done;
        }
        Some(out.freeze())
    }

    /// All of it as one Table, which is small beside its objects: cells and metadata.
    pub fn into_table(mut self, version: &str) -> Result<Reply, Status> {
        let entries = self.entries();
        let metadata = ListMetadata {
            resource_version: self.revision.to_string(),
            continue_token: std::mem::take(&mut self.continue_token),
            remaining: self.remaining.map(|remaining| remaining as u64),
        };
        let values = entries.iter().map(|entry| &entry.value[..]);
        let body = self.encoder.table(version, metadata, values);
        body.map(|body| Reply::json(200, body))
            .ok_or_else(|| Status::internal("a stored object is not JSON"))
    }

    /// Everything that matches.
    fn entries(&mut self) -> Vec<Arc<Entry>> {
        let selection = &self.selection;
        match &mut self.source {
            Source::Collected(entries) => entries.collect(),
            Source::Streaming {
                view,
                prefix,
                after,
            } => view
                .range(prefix, after)
                .filter(|entry| selection.matches(&entry.value))
                .cloned()
                .collect(),
        }
    }

    /// Writes items until the segment is full; true if there are no more.
    fn write_items(&mut self, out: &mut BytesMut) -> bool {
        let mut writer = ItemWriter {
            encoder: &self.encoder,
            state: &mut self.state,
            out,
        };
        match &mut self.source {
            Source::Collected(entries) => entries.all(|entry| writer.write(&entry)),
            Source::Streaming {
                view,
                prefix,
                after,
            } => {
                let selection = &self.selection;
                let mut matching = view
                    .range(prefix, after)
                    .filter(|entry| selection.matches(&entry.value));
                // The one that fills the segment.
                let Some(last) = matching.find(|entry| !writer.write(entry)) else {
                    return true;
                };
                let last = last.key.to_string();
                drop(matching);
                *after = last;
                false
            }
        }
    }
}

/// Writes items one after the other, straight from the stored bytes if that is what the client wants.
struct ItemWriter<'a> {
    encoder: &'a Encoder,
    state: &'a mut State,
    out: &'a mut BytesMut,
}

impl ItemWriter<'_> {
    /// False if the segment is full now.
    fn write(&mut self, entry: &Entry) -> bool {
        if *self.state == State::FirstItem {
            *self.state = State::Items;
        } else {
            self.out.put_u8(b',');
        }
        let object = self.encoder.borrowed_object(&entry.value);
        let (head, rest) = self.encoder.item(&object);
        self.out.put_slice(head.as_bytes());
        self.out.put_slice(rest);
        self.out.len() < SEGMENT_BYTES
    }
}

/// The durable head, or the revision that the options ask for.
fn view(store: &Store, options: &Options) -> Result<View, Status> {
    if let Some(token) = &options.continue_token {
        return match token.revision {
            None => Ok(store.view(Head::Durable)),
            Some(revision) => at(store, revision).map_err(|gone| continue_expired(gone, token)),
        };
    }
    match options.resource_version {
        None | Some(0) => Ok(store.view(Head::Durable)),
        // Without a match rule, a limited list at a revision has always meant exactly that revision.
        Some(asked)
            if options.resource_version_match == Match::Exact
                || (options.resource_version_match == Match::Unset && options.limit > 0) =>
        {
            at(store, asked)
        }
        Some(asked) => {
            not_newer_than_durable(store, asked)?;
            Ok(store.view(Head::Durable))
        }
    }
}

/// Refuses a resourceVersion that nobody can have seen yet.
pub fn not_newer_than_durable(store: &Store, asked: u64) -> Result<(), Status> {
    let durable = store.durable_revision().0;
    if asked > durable {
        Err(Status::too_large_resource_version(asked, durable))
    } else {
        Ok(())
    }
}

fn at(store: &Store, revision: u64) -> Result<View, Status> {
    not_newer_than_durable(store, revision)?;
    store
        .view_at(Revision(revision))
        .map_err(|error| match error {
            StoreError::Compacted { .. } => {
                Status::expired("The resourceVersion for the provided list is too old.")
            }
            other => Status::internal(other.to_string()),
        })
}

/// The revision of a chunked list is gone: the client may go on where it was, at whatever is newest.
fn continue_expired(gone: Status, token: &ContinueToken) -> Status {
    if gone.code != 410 {
        return gone;
    }
    let onward = ContinueToken {
        revision: None,
        after: token.after.clone(),
    };
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                   without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
                   results. Continuing with the provided token results in an inconsistent list - objects that were created, \
                   modified, or deleted between the time the first chunk was returned and now may show up in the list.";
    Status {
        continue_token: onward.encode(),
        ..Status::expired(message)
    }
}
