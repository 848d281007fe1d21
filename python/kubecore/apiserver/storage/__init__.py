"""Where objects are kept. `protocol` says what the registry may ask; `embedded` answers it with the Rust store."""

from kubecore.apiserver.storage.protocol import (
    ANY_REVISION,
    Delete,
    KeyAbsent,
    KeyExists,
    Page,
    Put,
    RevisionCompacted,
    RevisionInFuture,
    RevisionMismatch,
    Storage,
    StorageError,
    StorageUnavailable,
    Stored,
    ValueTooLarge,
)

__all__ = [
    "ANY_REVISION",
    "Delete",
    "KeyAbsent",
    "KeyExists",
    "Page",
    "Put",
    "RevisionCompacted",
    "RevisionInFuture",
    "RevisionMismatch",
    "Storage",
    "StorageError",
    "StorageUnavailable",
    "Stored",
    "ValueTooLarge",
]
