//! KV: Range, Put, DeleteRange, Txn, Compact.
//!
//! Every write is a draft of the store: compares, the branch that they choose, and reads in the middle of it see one state,
//! and get one revision.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use kubecore_store::{Draft, Entry, Head, Revision, Txn, Value, View};

use crate::Etcd;
use crate::failure::Failure;
use crate::lease::{self, Attachments};
use crate::messages::{
    CompactionRequest, Compare, CompareResult, DeleteRangeRequest, DeleteRangeResponse, KeyValue,
    OnlyHeader, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, ResponseOp,
    SortOrder, SortTarget, TxnRequest, TxnResponse, compare, request_op, response_op,
};
use crate::span::{Span, text};

/// etcd's own default for `--max-txn-ops`.
const TXN_OPS_MAX: usize = 128;

impl Etcd {
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Failure> {
        let span = Span::new(&request.key, &request.range_end)?;
        // What was acknowledged to anybody is durable, so this view is never behind it.
        let head = self.store.view(Head::Durable);
        let view = match u64::try_from(request.revision) {
            Ok(0) | Err(_) => head.clone(),
            Ok(asked) if asked == head.revision.0 => head.clone(),
            Ok(asked) => self.store.view_at(Revision(asked))?,
        };
        Ok(RangeResponse {
            header: self.header(head.revision),
            ..read(&view, &span, &request)
        })
    }

    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, Failure> {
        let (revision, mut response) = if self.is_plain(&request) {
            let txn = Txn::new().put(text(&request.key)?, Value::plain(request.value));
            self.drive.before_write();
            let applied = self.store.apply(txn)?;
            self.drive.after_write();
            (applied.revision, PutResponse::default())
        } else {
            self.write(|draft, attachments| put(draft, attachments, request))?
        };
        self.durable(revision).await?;
        response.header = self.header(revision);
        Ok(response)
    }

    /// Nothing need be read, and no lease is in play.
    fn is_plain(&self, request: &PutRequest) -> bool {
        let looks = request.prev_kv || request.ignore_value || request.ignore_lease;
        !looks && request.lease == 0 && self.leases.lock().is_empty()
    }

    pub async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Failure> {
        let (revision, mut response) =
            self.write(|draft, attachments| delete_range(draft, attachments, request))?;
        self.durable(revision).await?;
        response.header = self.header(revision);
        Ok(response)
    }

    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Failure> {
        check(&request)?;
        let (revision, mut response) =
            self.write(|draft, attachments| txn(draft, attachments, request))?;
        self.durable(revision).await?;
        response.header = self.header(revision);
        Ok(response)
    }

    pub async fn compact(&self, request: CompactionRequest) -> Result<OnlyHeader, Failure> {
        self.store
            .compact(Revision(u64::try_from(request.revision).unwrap_or(0)))?;
        Ok(OnlyHeader {
            header: self.header(self.store.durable_revision()),
        })
    }

    /// Drafts under the leases' lock, so that keys and leases agree; what it attached counts only if it was applied.
    pub(crate) fn write<T>(
        &self,
        draft: impl FnOnce(&mut Draft, &mut Attachments) -> Result<T, Failure>,
    ) -> Result<(Revision, T), Failure> {
        let mut leases = self.leases.lock();
        let mut attachments = Attachments::new(&leases);
        let written = self.transact(|drafted| draft(drafted, &mut attachments))?;
        let changes = attachments.into_changes();
        leases.attach(changes);
        Ok(written)
    }
}

/// An entry as etcd shows it.
fn shown(view: &View, entry: &Entry) -> KeyValue {
    key_value(entry, lease::of_key(view, &entry.key))
}

pub(crate) fn key_value(entry: &Entry, lease: i64) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(entry.key.as_bytes()),
        create_revision: entry.created.0 as i64,
        mod_revision: entry.modified.0 as i64,
        version: entry.version as i64,
        value: entry.value.clone(),
        lease,
    }
}

fn read(view: &View, span: &Span, request: &RangeRequest) -> RangeResponse {
    let within = |value: Revision, least: i64, most: i64| {
        let value = value.0 as i64;
        (least == 0 || value >= least) && (most == 0 || value <= most)
    };
    let limit = usize::try_from(request.limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let sorted = order(request);
    let mut count = 0;
    let mut found: Vec<&Arc<Entry>> = Vec::new();
    for entry in span.entries(view) {
        count += 1;
        let is_meant = within(
            entry.modified,
            request.min_mod_revision,
            request.max_mod_revision,
        ) && within(
            entry.created,
            request.min_create_revision,
            request.max_create_revision,
        );
        // One more than the limit tells that there are more. Without an order etcd takes only so many, and sorts those.
        let has_room = request.sort_order() != SortOrder::None || found.len() <= limit;
        if is_meant && has_room && !request.count_only {
            found.push(entry);
        }
    }
    if let Some(sorted) = sorted {
        found.sort_by(|left, right| sorted(left, right));
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let has_leases = lease::any(view);
    let kvs = found.into_iter().map(|entry| {
        let lease = if has_leases {
            lease::of_key(view, &entry.key)
        } else {
            0
        };
        let mut shown = key_value(entry, lease);
        if request.keys_only {
            shown.value = Bytes::new();
        }
        shown
    });
    RangeResponse {
        header: None,
        kvs: kvs.collect(),
        more,
        count,
    }
}

type Order = Box<dyn Fn(&Entry, &Entry) -> Ordering>;

/// How the answer is sorted, if not as the store gives it.
fn order(request: &RangeRequest) -> Option<Order> {
    let target = request.sort_target();
    let by = move |left: &Entry, right: &Entry| match target {
        SortTarget::Key => left.key.cmp(&right.key),
        SortTarget::Version => left.version.cmp(&right.version),
        SortTarget::Create => left.created.cmp(&right.created),
        SortTarget::Mod => left.modified.cmp(&right.modified),
        SortTarget::Value => left.value.cmp(&right.value),
    };
    match request.sort_order() {
        SortOrder::Descend => Some(Box::new(move |left, right| by(right, left))),
        // A target without an order is ascending.
        SortOrder::Ascend | SortOrder::None if target == SortTarget::Key => None,
        SortOrder::Ascend | SortOrder::None => Some(Box::new(by)),
    }
}

fn put(
    draft: &mut Draft,
    attachments: &mut Attachments,
    request: PutRequest,
) -> Result<PutResponse, Failure> {
    let key = text(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(Failure::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Failure::LeaseProvided);
    }
    let previous = draft.view().get(key).cloned();
    let prev_kv = previous.as_ref().map(|entry| shown(draft.view(), entry));
    let value = match (&previous, request.ignore_value) {
        (_, false) => request.value,
        (Some(previous), true) => previous.value.clone(),
        (None, true) => return Err(Failure::KeyNotFound),
    };
    let lease = match (&prev_kv, request.ignore_lease) {
        (_, false) => request.lease,
        (Some(previous), true) => previous.lease,
        (None, true) => return Err(Failure::KeyNotFound),
    };
    draft.put(key, value)?;
    attachments.set(draft, key, lease)?;
    Ok(PutResponse {
        header: None,
        prev_kv: prev_kv.filter(|_| request.prev_kv),
    })
}

fn delete_range(
    draft: &mut Draft,
    attachments: &mut Attachments,
    request: DeleteRangeRequest,
) -> Result<DeleteRangeResponse, Failure> {
    let span = Span::new(&request.key, &request.range_end)?;
    let meant: Vec<Arc<Entry>> = span.entries(draft.view()).cloned().collect();
    let mut response = DeleteRangeResponse::default();
    for entry in &meant {
        if request.prev_kv {
            response.prev_kvs.push(shown(draft.view(), entry));
        }
        draft.delete(&entry.key)?;
        attachments.set(draft, &entry.key, 0)?;
        response.deleted += 1;
    }
    Ok(response)
}

/// What can be judged before anything is locked.
fn check(request: &TxnRequest) -> Result<(), Failure> {
    let ops = [&request.success, &request.failure];
    if request.compare.len() > TXN_OPS_MAX || ops.iter().any(|ops| ops.len() > TXN_OPS_MAX) {
        return Err(Failure::TooManyOps);
    }
    for compare in &request.compare {
        Span::new(&compare.key, &compare.range_end)?;
    }
    for op in ops.into_iter().flatten() {
        match &op.request {
            Some(request_op::Request::Range(range)) => {
                drop(Span::new(&range.key, &range.range_end)?)
            }
            Some(request_op::Request::Put(put)) => drop(text(&put.key)?),
            Some(request_op::Request::DeleteRange(range)) => {
                drop(Span::new(&range.key, &range.range_end)?);
            }
            Some(request_op::Request::Txn(txn)) => check(txn)?,
            None => {}
        }
    }
    Ok(())
}

fn txn(
    draft: &mut Draft,
    attachments: &mut Attachments,
    request: TxnRequest,
) -> Result<TxnResponse, Failure> {
    let mut succeeded = true;
    for compare in &request.compare {
        succeeded = succeeded && holds(draft.view(), compare)?;
    }
    let ops = if succeeded {
        request.success
    } else {
        request.failure
    };
    let mut responses = Vec::with_capacity(ops.len());
    for op in ops {
        responses.push(ResponseOp {
            response: carry_out(draft, attachments, op)?,
        });
    }
    Ok(TxnResponse {
        header: None,
        succeeded,
        responses,
    })
}

fn carry_out(
    draft: &mut Draft,
    attachments: &mut Attachments,
    op: RequestOp,
) -> Result<Option<response_op::Response>, Failure> {
    let Some(request) = op.request else {
        return Ok(None);
    };
    Ok(Some(match request {
        request_op::Request::Range(range) => {
            let now = draft.view().revision.0 as i64;
            // The past is not at hand here: a transaction reads what stands.
            if range.revision > now {
                return Err(Failure::FutureRevision);
            }
            if range.revision > 0 && range.revision < now {
                return Err(Failure::Compacted);
            }
            let span = Span::new(&range.key, &range.range_end)?;
            response_op::Response::Range(read(draft.view(), &span, &range))
        }
        request_op::Request::Put(request) => {
            response_op::Response::Put(put(draft, attachments, request)?)
        }
        request_op::Request::DeleteRange(request) => {
            response_op::Response::DeleteRange(delete_range(draft, attachments, request)?)
        }
        request_op::Request::Txn(request) => {
            response_op::Response::Txn(txn(draft, attachments, request)?)
        }
    }))
}

/// Whether a compare holds of every key in its span; a span without keys is compared as a key that never was.
fn holds(view: &View, compare: &Compare) -> Result<bool, Failure> {
    let span = Span::new(&compare.key, &compare.range_end)?;
    let mut keys = span.entries(view).peekable();
    if keys.peek().is_none() {
        let of_value = matches!(compare.target_union, Some(compare::TargetUnion::Value(_)));
        return Ok(!of_value && holds_of(compare, &KeyValue::default()));
    }
    Ok(keys.all(|entry| holds_of(compare, &shown(view, entry))))
}

fn holds_of(compare: &Compare, key: &KeyValue) -> bool {
    use compare::TargetUnion::{CreateRevision, Lease, ModRevision, Value, Version};
    let order = match &compare.target_union {
        Some(Version(version)) => key.version.cmp(version),
        Some(CreateRevision(revision)) => key.create_revision.cmp(revision),
        Some(ModRevision(revision)) => key.mod_revision.cmp(revision),
        Some(Value(value)) => key.value.cmp(value),
        Some(Lease(lease)) => key.lease.cmp(lease),
        // proto3 leaves a zero out: the target says which number it was.
        None => zero_of(compare, key),
    };
    match compare.result() {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
        CompareResult::NotEqual => order != Ordering::Equal,
    }
}

fn zero_of(compare: &Compare, key: &KeyValue) -> Ordering {
    use crate::messages::CompareTarget as Target;
    match compare.target() {
        Target::Version => key.version.cmp(&0),
        Target::Create => key.create_revision.cmp(&0),
        Target::Mod => key.mod_revision.cmp(&0),
        Target::Value => key.value[..].cmp(b""),
        Target::Lease => key.lease.cmp(&0),
    }
}
