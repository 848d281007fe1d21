//! What a client of etcd is told when something cannot be done: etcd's own codes and words, since clients compare them.

use kubecore_store::StoreError;
use tonic::{Code, Status};

/// One row per failure that clients know: gRPC's code, and what etcd says.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    #[error("etcdserver: request is too large")]
    TooLarge,
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    #[error("etcdserver: too many requests")]
    Overloaded,
    /// Ours: etcd takes any bytes.
    #[error("kubecore: a key is UTF-8 text that does not begin with a zero byte")]
    NotText,
    #[error("kubecore: {0}")]
    Store(String),
}

impl Failure {
    pub fn code(&self) -> Code {
        match self {
            Failure::EmptyKey
            | Failure::ValueProvided
            | Failure::LeaseProvided
            | Failure::KeyNotFound
            | Failure::TooManyOps
            | Failure::DuplicateKey
            | Failure::TooLarge
            | Failure::NotText => Code::InvalidArgument,
            Failure::Compacted | Failure::FutureRevision | Failure::LeaseTtlTooLarge => {
                Code::OutOfRange
            }
            Failure::LeaseNotFound => Code::NotFound,
            Failure::LeaseExists => Code::FailedPrecondition,
            Failure::NoSpace | Failure::Overloaded => Code::ResourceExhausted,
            Failure::Store(_) => Code::Unavailable,
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        Status::new(failure.code(), failure.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::DuplicateKey { .. } => Failure::DuplicateKey,
            StoreError::Compacted { .. } => Failure::Compacted,
            StoreError::FutureRevision { .. } => Failure::FutureRevision,
            StoreError::TooLarge { .. } => Failure::TooLarge,
            StoreError::NoSpace => Failure::NoSpace,
            StoreError::Overloaded { .. } => Failure::Overloaded,
            error => Failure::Store(error.to_string()),
        }
    }
}
