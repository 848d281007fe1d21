"""The storage protocol answered by the Rust store in this process: the only module that names `_core.Store`.

It owns the cache of decoded objects. One entry a key, good for exactly one revision, so it never has to be told of a
change: an entry of another revision is replaced when the key is read next. At its bound the entry that was made first
goes; it is made again when asked for.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from kubecore._core import Compacted, CompareFailed, EtcdDoor, FutureRevision, Store, StoreError, TooLarge, Versioned
from kubecore.api.codec import read_shared
from kubecore.api.meta import Object
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
    StorageError,
    StorageUnavailable,
    Stored,
    ValueTooLarge,
)

POLICY_PREFIXES = ("/registry/rbac.authorization.k8s.io/", "/registry/core/serviceaccounts/")
"""Where policy lives: a change there makes cached verdicts stale."""

CACHED_OBJECTS_MAX = 4_096
"""A decoded pod takes some 6 KB: 25 MB when all of them are."""
ABSENT = 0


class EmbeddedObject:
    """A `Stored` over the store's own entry. The value becomes Python's only if asked for, the object likewise."""

    __slots__ = ("_object", "_versioned")

    def __init__(self, versioned: Versioned) -> None:
        self._versioned = versioned
        self._object: Object | None = None

    @property
    def key(self) -> str:
        return self._versioned.key

    @property
    def value(self) -> bytes:
        return self._versioned.value

    @property
    def object(self) -> Object:
        if self._object is None:
            self._object = read_shared(self._versioned.value)
        return self._object

    @property
    def revision(self) -> int:
        return self._versioned.revision

    @property
    def create_revision(self) -> int:
        return self._versioned.create_revision

    @property
    def version(self) -> int:
        return self._versioned.version

    def __repr__(self) -> str:
        return f"EmbeddedObject({self.key!r}, revision={self.revision})"


class EmbeddedStorage:
    """`Storage` over one `_core.Store`, which it owns."""

    def __init__(self, store: Store, *, threadless: bool = False) -> None:
        self.store = store
        """What the wire and the notifiers share."""
        self.threadless = threadless
        """Somebody has to tell it the time: see timekeeper.py."""
        self._cache: dict[str, EmbeddedObject] = {}
        self._cache_lock = threading.Lock()
        """Held while an entry is added and the oldest goes: several threads read."""

    @classmethod
    def open(cls, directory: Path) -> EmbeddedStorage:
        """A data directory, made if it is not there. Raises StorageError: damaged, or in use by another process."""
        try:
            return cls(Store.open(str(directory), policy_prefixes=POLICY_PREFIXES))
        except StoreError as error:
            raise StorageError(str(error)) from error

    @classmethod
    def memory(cls, *, threadless: bool = False) -> EmbeddedStorage:
        """No disk. `threadless`: no thread either, and time passes only with `store.tick`."""
        store = Store.memory(policy_prefixes=POLICY_PREFIXES, threadless=threadless)
        return cls(store, threadless=threadless)

    def serve_etcd(
        self,
        address: str,
        *,
        certificate_pem: bytes | None = None,
        key_pem: bytes | None = None,
        client_ca_pem: bytes | None = None,
    ) -> EtcdDoor:
        """Answers etcd's v3 API at `host:port` until the door is closed. Without certificates only on loopback. Raises OSError,
        ValueError."""
        return EtcdDoor(
            self.store, address, certificate_pem=certificate_pem, key_pem=key_pem, client_ca_pem=client_ca_pem
        )

    def revision(self) -> int:
        return self.store.revision()

    def durable_revision(self) -> int:
        return self.store.durable_revision()

    def compacted_revision(self) -> int:
        return self.store.compacted_revision()

    def policy_epoch(self) -> int:
        return self.store.policy_epoch()

    def get(self, key: str) -> Stored | None:
        versioned = self.store.get(key)
        return None if versioned is None else self._cached(versioned)

    def list(self, prefix: str, *, start_after: str = "", limit: int = 0, revision: int = 0) -> Page:
        try:
            found, read_at, remaining = self.store.range(
                prefix, start_after=start_after, limit=limit, revision=revision
            )
        except StoreError as error:
            raise _translation(error, {}) from error
        return Page([self._cached(versioned) for versioned in found], read_at, remaining)

    def count(self, prefix: str) -> int:
        return self.store.count(prefix)

    def create(self, key: str, value: bytes, *, splice: int, ttl_seconds: int = 0) -> Stored:
        try:
            versioned = self.store.put(key, value, splice=splice, expected=ABSENT, ttl_seconds=ttl_seconds)
        except StoreError as error:
            raise _translation(error, {key: ABSENT}) from error
        return self._cached(versioned)

    def update(
        self, key: str, value: bytes, *, splice: int, expected: int = ANY_REVISION, ttl_seconds: int = 0
    ) -> Stored:
        try:
            versioned = self.store.put(key, value, splice=splice, expected=expected, ttl_seconds=ttl_seconds)
        except StoreError as error:
            raise _translation(error, {key: expected}) from error
        return self._cached(versioned)

    def delete(self, key: str, *, expected: int = ANY_REVISION, value: bytes | None = None, splice: int = -1) -> Stored:
        with _translated({key: expected}):
            versioned = self.store.delete(key, expected=expected, value=value, splice=splice)
        self._forget(key)
        return EmbeddedObject(versioned)

    def transact(self, writes: Sequence[Put | Delete]) -> Sequence[Stored]:
        expected = {write.key: write.expected for write in writes}
        puts = [write for write in writes if isinstance(write, Put)]
        deletes = [write.key for write in writes if isinstance(write, Delete)]
        with _translated(expected):
            left = self.store.transact(
                [(key, revision) for key, revision in expected.items() if revision != ANY_REVISION],
                [(put.key, put.value, put.splice) for put in puts],
                deletes,
            )
        for key in deletes:
            self._forget(key)
        by_key: dict[str, Stored] = {versioned.key: EmbeddedObject(versioned) for versioned in left}
        return [by_key[write.key] for write in writes]

    def compact(self, revision: int) -> None:
        with _translated({}):
            self.store.compact(revision)

    def wait_durable(self, revision: int) -> None:
        with _translated({}):
            self.store.wait_durable(revision)

    def close(self) -> None:
        with _translated({}):
            self.store.close()

    def _forget(self, key: str) -> None:
        with self._cache_lock:
            self._cache.pop(key, None)

    def _cached(self, versioned: Versioned) -> EmbeddedObject:
        key = versioned.key
        cached = self._cache.get(key)
        if cached is not None and cached.revision == versioned.revision:
            return cached
        made = EmbeddedObject(versioned)
        with self._cache_lock:
            self._cache[key] = made
            if len(self._cache) > CACHED_OBJECTS_MAX:
                del self._cache[next(iter(self._cache))]
        return made


_BY_STORE_ERROR: builtins.list[tuple[type[StoreError], type[StorageError]]] = [
    (Compacted, RevisionCompacted),
    (FutureRevision, RevisionInFuture),
    (TooLarge, ValueTooLarge),
    (StoreError, StorageUnavailable),
]


@contextmanager
def _translated(expected: Mapping[str, int]) -> Iterator[None]:
    """Raises the protocol's exceptions for the store's. What every request passes says it with `try` instead, which costs
    nothing as long as nothing is raised."""
    try:
        yield
    except StoreError as error:
        raise _translation(error, expected) from error


def _translation(error: StoreError, expected: Mapping[str, int]) -> StorageError:
    """The protocol's exception for the store's. `expected`: which revision each key was to have."""
    if isinstance(error, CompareFailed):
        return _compare_failed(error, expected.get(error.key, ANY_REVISION))
    translated = next(ours for theirs, ours in _BY_STORE_ERROR if isinstance(error, theirs))
    return translated(str(error))


def _compare_failed(error: CompareFailed, expected: int) -> StorageError:
    if expected == ABSENT:
        return KeyExists(error.key, actual=error.revision)
    if error.revision == ABSENT:
        return KeyAbsent(error.key)
    return RevisionMismatch(error.key, expected=expected, actual=error.revision)
