//! etcd's v3 messages (`etcdserverpb`, `mvccpb`): names and field numbers are etcd's, API version 3.5. Fields that a single
//! store has no use for are left out; protobuf skips them.

/// One message from its fields, without generated code: a message is a row of numbers here.
macro_rules! message {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct $name { $($(#[$field_meta])* pub $field: $kind,)* }
    };
}

message!(ResponseHeader {
    #[prost(uint64, tag = "1")]
    cluster_id: u64,
    #[prost(uint64, tag = "2")]
    member_id: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
    #[prost(uint64, tag = "4")]
    raft_term: u64,
});

message!(KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    key: bytes::Bytes,
    #[prost(int64, tag = "2")]
    create_revision: i64,
    #[prost(int64, tag = "3")]
    mod_revision: i64,
    #[prost(int64, tag = "4")]
    version: i64,
    #[prost(bytes = "bytes", tag = "5")]
    value: bytes::Bytes,
    #[prost(int64, tag = "6")]
    lease: i64,
});

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum EventType {
    Put = 0,
    Delete = 1,
}

message!(Event {
    #[prost(enumeration = "EventType", tag = "1")]
    r#type: i32,
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
    #[prost(message, optional, tag = "3")]
    prev_kv: Option<KeyValue>,
});

// ── KV ──

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum SortOrder {
    None = 0,
    Ascend = 1,
    Descend = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum SortTarget {
    Key = 0,
    Version = 1,
    Create = 2,
    Mod = 3,
    Value = 4,
}

message!(RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: bytes::Bytes,
    #[prost(int64, tag = "3")]
    limit: i64,
    #[prost(int64, tag = "4")]
    revision: i64,
    #[prost(enumeration = "SortOrder", tag = "5")]
    sort_order: i32,
    #[prost(enumeration = "SortTarget", tag = "6")]
    sort_target: i32,
    #[prost(bool, tag = "7")]
    serializable: bool,
    #[prost(bool, tag = "8")]
    keys_only: bool,
    #[prost(bool, tag = "9")]
    count_only: bool,
    #[prost(int64, tag = "10")]
    min_mod_revision: i64,
    #[prost(int64, tag = "11")]
    max_mod_revision: i64,
    #[prost(int64, tag = "12")]
    min_create_revision: i64,
    #[prost(int64, tag = "13")]
    max_create_revision: i64,
});

message!(RangeResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
    #[prost(bool, tag = "3")]
    more: bool,
    #[prost(int64, tag = "4")]
    count: i64,
});

message!(PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: bytes::Bytes,
    #[prost(int64, tag = "3")]
    lease: i64,
    #[prost(bool, tag = "4")]
    prev_kv: bool,
    #[prost(bool, tag = "5")]
    ignore_value: bool,
    #[prost(bool, tag = "6")]
    ignore_lease: bool,
});

message!(PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(message, optional, tag = "2")]
    prev_kv: Option<KeyValue>,
});

message!(DeleteRangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: bytes::Bytes,
    #[prost(bool, tag = "3")]
    prev_kv: bool,
});

message!(DeleteRangeResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(int64, tag = "2")]
    deleted: i64,
    #[prost(message, repeated, tag = "3")]
    prev_kvs: Vec<KeyValue>,
});

message!(RequestOp {
    #[prost(oneof = "request_op::Request", tags = "1, 2, 3, 4")]
    request: Option<request_op::Request>,
});

pub mod request_op {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Request {
        #[prost(message, tag = "1")]
        Range(super::RangeRequest),
        #[prost(message, tag = "2")]
        Put(super::PutRequest),
        #[prost(message, tag = "3")]
        DeleteRange(super::DeleteRangeRequest),
        #[prost(message, tag = "4")]
        Txn(super::TxnRequest),
    }
}

message!(ResponseOp {
    #[prost(oneof = "response_op::Response", tags = "1, 2, 3, 4")]
    response: Option<response_op::Response>,
});

pub mod response_op {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Response {
        #[prost(message, tag = "1")]
        Range(super::RangeResponse),
        #[prost(message, tag = "2")]
        Put(super::PutResponse),
        #[prost(message, tag = "3")]
        DeleteRange(super::DeleteRangeResponse),
        #[prost(message, tag = "4")]
        Txn(super::TxnResponse),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum CompareResult {
    Equal = 0,
    Greater = 1,
    Less = 2,
    NotEqual = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum CompareTarget {
    Version = 0,
    Create = 1,
    Mod = 2,
    Value = 3,
    Lease = 4,
}

message!(Compare {
    #[prost(enumeration = "CompareResult", tag = "1")]
    result: i32,
    #[prost(enumeration = "CompareTarget", tag = "2")]
    target: i32,
    #[prost(bytes = "bytes", tag = "3")]
    key: bytes::Bytes,
    #[prost(oneof = "compare::TargetUnion", tags = "4, 5, 6, 7, 8")]
    target_union: Option<compare::TargetUnion>,
    #[prost(bytes = "bytes", tag = "64")]
    range_end: bytes::Bytes,
});

pub mod compare {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum TargetUnion {
        #[prost(int64, tag = "4")]
        Version(i64),
        #[prost(int64, tag = "5")]
        CreateRevision(i64),
        #[prost(int64, tag = "6")]
        ModRevision(i64),
        #[prost(bytes = "bytes", tag = "7")]
        Value(bytes::Bytes),
        #[prost(int64, tag = "8")]
        Lease(i64),
    }
}

message!(TxnRequest {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
    #[prost(message, repeated, tag = "3")]
    failure: Vec<RequestOp>,
});

message!(TxnResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(bool, tag = "2")]
    succeeded: bool,
    #[prost(message, repeated, tag = "3")]
    responses: Vec<ResponseOp>,
});

message!(CompactionRequest {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(bool, tag = "2")]
    physical: bool,
});

message!(
    /// The answer of several calls that only say when they were done.
    OnlyHeader {
        #[prost(message, optional, tag = "1")]
        header: Option<ResponseHeader>,
    }
);

// ── Watch ──

message!(WatchRequest {
    #[prost(oneof = "watch_request::Request", tags = "1, 2, 3")]
    request: Option<watch_request::Request>,
});

pub mod watch_request {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Request {
        #[prost(message, tag = "1")]
        Create(super::WatchCreateRequest),
        #[prost(message, tag = "2")]
        Cancel(super::WatchCancelRequest),
        #[prost(message, tag = "3")]
        Progress(super::Empty),
    }
}

message!(Empty {});

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum FilterType {
    NoPut = 0,
    NoDelete = 1,
}

message!(WatchCreateRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: bytes::Bytes,
    #[prost(int64, tag = "3")]
    start_revision: i64,
    #[prost(bool, tag = "4")]
    progress_notify: bool,
    #[prost(enumeration = "FilterType", repeated, tag = "5")]
    filters: Vec<i32>,
    #[prost(bool, tag = "6")]
    prev_kv: bool,
    #[prost(int64, tag = "7")]
    watch_id: i64,
    #[prost(bool, tag = "8")]
    fragment: bool,
});

message!(WatchCancelRequest {
    #[prost(int64, tag = "1")]
    watch_id: i64,
});

message!(WatchResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(int64, tag = "2")]
    watch_id: i64,
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(bool, tag = "4")]
    canceled: bool,
    #[prost(int64, tag = "5")]
    compact_revision: i64,
    #[prost(string, tag = "6")]
    cancel_reason: String,
    #[prost(bool, tag = "7")]
    fragment: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
});

// ── Lease ──

message!(LeaseGrantRequest {
    #[prost(int64, tag = "1")]
    ttl: i64,
    #[prost(int64, tag = "2")]
    id: i64,
});

message!(LeaseGrantResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(int64, tag = "2")]
    id: i64,
    #[prost(int64, tag = "3")]
    ttl: i64,
    #[prost(string, tag = "4")]
    error: String,
});

message!(LeaseId {
    #[prost(int64, tag = "1")]
    id: i64,
});

message!(LeaseKeepAliveResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(int64, tag = "2")]
    id: i64,
    #[prost(int64, tag = "3")]
    ttl: i64,
});

message!(LeaseTimeToLiveRequest {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(bool, tag = "2")]
    keys: bool,
});

message!(LeaseTimeToLiveResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(int64, tag = "2")]
    id: i64,
    #[prost(int64, tag = "3")]
    ttl: i64,
    #[prost(int64, tag = "4")]
    granted_ttl: i64,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    keys: Vec<bytes::Bytes>,
});

message!(LeaseLeasesResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = "2")]
    leases: Vec<LeaseId>,
});

// ── Maintenance and Cluster ──

message!(AlarmRequest {
    #[prost(int32, tag = "1")]
    action: i32,
    #[prost(uint64, tag = "2")]
    member_id: u64,
    #[prost(int32, tag = "3")]
    alarm: i32,
});

message!(AlarmMember {
    #[prost(uint64, tag = "1")]
    member_id: u64,
    #[prost(int32, tag = "2")]
    alarm: i32,
});

message!(AlarmResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = "2")]
    alarms: Vec<AlarmMember>,
});

message!(StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(int64, tag = "3")]
    db_size: i64,
    #[prost(uint64, tag = "4")]
    leader: u64,
    #[prost(uint64, tag = "5")]
    raft_index: u64,
    #[prost(uint64, tag = "6")]
    raft_term: u64,
    #[prost(uint64, tag = "7")]
    raft_applied_index: u64,
    #[prost(string, repeated, tag = "8")]
    errors: Vec<String>,
    #[prost(int64, tag = "9")]
    db_size_in_use: i64,
});

message!(HashKvRequest {
    #[prost(int64, tag = "1")]
    revision: i64,
});

message!(HashKvResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint32, tag = "2")]
    hash: u32,
    #[prost(int64, tag = "3")]
    compact_revision: i64,
});

message!(SnapshotResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "2")]
    remaining_bytes: u64,
    #[prost(bytes = "bytes", tag = "3")]
    blob: bytes::Bytes,
});

message!(Member {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    peer_urls: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    client_urls: Vec<String>,
});

message!(MemberListResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = "2")]
    members: Vec<Member>,
});
