"""What the registry asks of a storage, whichever it is: the embedded store, or a cluster of etcd later.

Flows in: keys (made by `Resource.key`), encoded objects and the byte offset at which the revision goes (both made by
`codec.encode`). Flows out: `Stored` objects, and one exception for each thing that can go wrong; turning those into
Status errors is the registry's work, because only it knows the resource and the name.

All writes and reads here are at the applied head: what a mutation decides on is what it compares with. An answer
that reflects one carries its revision, and the wire holds it until that revision is durable.

    StorageError
    ├── KeyExists               create of a key that is there
    ├── KeyAbsent               update or delete of a key that is not
    ├── RevisionMismatch        the key is at another revision than expected
    ├── RevisionCompacted       a list at a revision that has been forgotten (410 Expired)
    ├── RevisionInFuture        a list at a revision that is not there yet
    ├── ValueTooLarge           over the limit of one object or one transaction (413)
    └── StorageUnavailable      closed, disk full, log failed, overloaded (503)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kubecore.api.meta import Object

ANY_REVISION = -1
"""As `expected`: whatever the key's revision is."""


class StorageError(Exception):
    """Something that the storage could not do."""


class KeyExists(StorageError):
    def __init__(self, key: str, *, actual: int) -> None:
        super().__init__(f"{key} exists, at revision {actual}")
        self.key = key
        self.actual = actual


class KeyAbsent(StorageError):
    def __init__(self, key: str) -> None:
        super().__init__(f"{key} does not exist")
        self.key = key


class RevisionMismatch(StorageError):
    def __init__(self, key: str, *, expected: int, actual: int) -> None:
        super().__init__(f"{key} is at revision {actual}, expected {expected}")
        self.key = key
        self.expected = expected
        self.actual = actual


class RevisionCompacted(StorageError):
    """The revision asked for has been forgotten."""


class RevisionInFuture(StorageError):
    """The revision asked for is not there yet."""


class ValueTooLarge(StorageError):
    """A key, value or transaction is over the limit."""


class StorageUnavailable(StorageError):
    """Nothing can be written now: the storage is closed, full, failed or overloaded."""


class Stored(Protocol):
    """One object at one revision."""

    @property
    def key(self) -> str: ...

    @property
    def value(self) -> bytes:
        """Complete JSON, `metadata.resourceVersion` included."""

    @property
    def object(self) -> Object:
        """`value` decoded, once for everybody who asks. Shared: never change it."""

    @property
    def revision(self) -> int:
        """Of its last modification: its resourceVersion."""

    @property
    def create_revision(self) -> int: ...

    @property
    def version(self) -> int:
        """1 at creation, one more with each update."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    items: list[Stored]
    revision: int
    """At which the list was read: ask for the next page with it."""
    remaining: int
    """How many objects follow beyond the limit."""


@dataclass(frozen=True, slots=True)
class Put:
    """Part of a transaction. `expected`: `ANY_REVISION` (or none at all), 0 (must be absent), or a revision."""

    key: str
    value: bytes
    splice: int
    expected: int = ANY_REVISION


@dataclass(frozen=True, slots=True)
class Delete:
    """Part of a transaction. The key must be there."""

    key: str
    expected: int = ANY_REVISION


class Storage(Protocol):
    """Safe to call from any thread; no call waits for the disk but `wait_durable` and `close`."""

    def revision(self) -> int:
        """The applied head: what an answer made now must carry."""

    def durable_revision(self) -> int: ...

    def compacted_revision(self) -> int:
        """The oldest revision that can be listed or watched from."""

    def policy_epoch(self) -> int:
        """Moves when a key under a policy prefix changes. Read it before computing a verdict."""

    def get(self, key: str) -> Stored | None: ...

    def list(self, prefix: str, *, start_after: str = "", limit: int = 0, revision: int = 0) -> Page:
        """Objects under `prefix` (`Resource.key_prefix`) in key order, at most `limit` (0: all), those after the key
        `start_after` only. `revision` 0: now. Raises RevisionCompacted, RevisionInFuture."""

    def count(self, prefix: str) -> int: ...

    def create(self, key: str, value: bytes, *, splice: int, ttl_seconds: int = 0) -> Stored:
        """`ttl_seconds`: it deletes itself after so long; 0: never. Raises KeyExists, ValueTooLarge,
        StorageUnavailable."""

    def update(
        self, key: str, value: bytes, *, splice: int, expected: int = ANY_REVISION, ttl_seconds: int = 0
    ) -> Stored:
        """`expected` is the revision that the registry read; `ANY_REVISION` overwrites whatever is there, and creates
        what is not. Raises KeyAbsent, RevisionMismatch, ValueTooLarge, StorageUnavailable."""

    def delete(self, key: str, *, expected: int = ANY_REVISION, value: bytes | None = None, splice: int = -1) -> Stored:
        """Gives the last state, whose resourceVersion is the deletion's revision; watchers are shown it. `value`: that
        state, if it differs from what is stored. Raises KeyAbsent, RevisionMismatch, StorageUnavailable."""

    def transact(self, writes: Sequence[Put | Delete]) -> Sequence[Stored]:
        """All or nothing, under one revision; each key at most once. Gives what each write left, in order: a delete
        gives the last state. Raises as the single writes do, for the first that cannot be done."""

    def compact(self, revision: int) -> None:
        """Forgets what was up to `revision`. Raises RevisionCompacted, RevisionInFuture."""

    def wait_durable(self, revision: int) -> None:
        """Blocks until `revision` is on disk. Raises StorageUnavailable if it never will be."""

    def close(self) -> None:
        """Puts what is pending on disk and lets go of the data directory."""
