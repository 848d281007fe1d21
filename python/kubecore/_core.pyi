"""The seam between Rust and Python: what the extension offers. Everything here is typed, bounded and documented.

Owners: Store, Notifier: rust_core/py/src/store.rs; objects: object.rs; Kernel: sched.rs; Door: wire.rs.
"""

from collections.abc import Sequence
from typing import Any, Literal, final

# ─────────────────────────────── store ───────────────────────────────

class StoreError(Exception): ...
class CompareFailed(StoreError):
    """A compare did not hold. `revision`: the key's modification revision now, 0 if absent."""
    key: str
    revision: int
class Compacted(StoreError): ...
class FutureRevision(StoreError): ...
class TooLarge(StoreError): ...
class NoSpace(StoreError): ...
class Corrupt(StoreError): ...
class Closed(StoreError): ...

@final
class Versioned:
    """One key at one revision. `value` is complete JSON, its resourceVersion equal to `revision`."""
    key: str
    value: bytes
    revision: int
    create_revision: int
    version: int

@final
class Store:
    @staticmethod
    def open(directory: str, *, policy_prefixes: Sequence[str] = ()) -> Store:
        """Opens or creates a data directory, recovers it, starts the log writer thread. Raises Corrupt (file and offset), StoreError."""
    @staticmethod
    def memory(*, policy_prefixes: Sequence[str] = (), threadless: bool = False) -> Store:
        """No disk. `threadless`: durable at once and no thread, for virtual time."""
    def revision(self) -> int: ...
    def durable_revision(self) -> int: ...
    def compacted_revision(self) -> int: ...
    def policy_epoch(self) -> int: ...
    def get(self, key: str) -> Versioned | None:
        """At the applied head."""
    def range(
        self, prefix: str, *, start_after: str = "", limit: int = 0, revision: int = 0
    ) -> tuple[list[Versioned], int, int]:
        """Keys under prefix in order. revision 0: the applied head. Gives (entries, revision read at, how many remain beyond limit)."""
    def count(self, prefix: str) -> int: ...
    def put(
        self, key: str, value: bytes, *, splice: int = -1, expected: int = -1, ttl_seconds: int = 0
    ) -> Versioned:
        """expected: -1 anything, 0 must be absent, n the key's modification revision. splice: byte offset at which the
        revision's decimal digits are inserted, -1 none. Raises CompareFailed."""
    def delete(
        self, key: str, *, expected: int = -1, value: bytes | None = None, splice: int = -1
    ) -> Versioned:
        """The key must be there (else CompareFailed). `value`: the last state to show to watchers (default: the stored one with its resourceVersion replaced). Gives that state."""
    def transact(
        self,
        compares: Sequence[tuple[str, int]],
        puts: Sequence[tuple[str, bytes, int]],
        deletes: Sequence[str] = (),
    ) -> list[Versioned]:
        """All or nothing, one revision. compares: (key, expected); puts: (key, value, splice); a key at most once. Gives
        what the puts left, then the last states of the deletes."""
    def compact(self, revision: int) -> None: ...
    def wait_durable(self, revision: int) -> None:
        """Blocks with the GIL released."""
    def tick(self, now_seconds: float) -> float | None:
        """Time has passed (seconds since the epoch): keys expire, old history goes. Only a threadless store needs to be told.
        Gives the time of the next call that could matter."""
    def close(self) -> None:
        """Writes what is pending, syncs, stops the thread."""
    def stats(self) -> dict[str, int]: ...

# ─────────────────────────────── objects ───────────────────────────────

def resources() -> bytes:
    """The fact table's resources as JSON: [{group, version, plural, singular, kind, namespaced, verbs, shortNames, categories, subresources: [{name, group, version, kind, verbs}], storage: [group, version, plural], served: bool}]."""

class DecodeError(Exception):
    """The body is not an object of that kind. str() is upstream's message."""

@final
class Decoded:
    object: dict[str, Any]
    """Pruned, and defaulted if asked."""
    strict_errors: list[str]
    """`unknown field "spec.foo"`, `duplicate field "spec.bar"`: what fieldValidation judges."""

def decode(
    group: str, version: str, kind: str, body: bytes, *, media_type: str = "application/json", defaults: bool = True
) -> Decoded:
    """JSON or protobuf (application/vnd.kubernetes.protobuf) to a dict. An empty kind takes it from the body. Raises DecodeError."""

def default(group: str, version: str, kind: str, object: dict[str, Any]) -> dict[str, Any]: ...

def patch(
    group: str, version: str, kind: str, current: bytes, body: bytes, *,
    patch_type: Literal["json", "merge", "strategic"], defaults: bool = True,
) -> Decoded:
    """Applies a patch to an encoded object, then prunes and defaults. Raises DecodeError (bad patch), PatchConflict (json test failed)."""

class PatchConflict(Exception): ...

def encode(object: dict[str, Any]) -> tuple[bytes, int]:
    """apiVersion, kind, metadata.resourceVersion first (whatever it was, now empty); gives (bytes, splice)."""

def convert(value: bytes, group: str, version: str) -> bytes:
    """A stored object in another version of its kind (events, HPA)."""

def table(
    group: str, version: str, resource: str, values: Sequence[bytes], *, now_seconds: float,
    include_object: Literal["None", "Metadata", "Object"] = "Metadata", table_version: str = "v1",
    resource_version: str = "", continue_token: str = "", remaining: int | None = None,
) -> bytes: ...

def partial_metadata(value: bytes, *, version: str = "v1") -> bytes: ...

def label_selector_matches(selector: str, labels: dict[str, str]) -> bool: ...
def validate_label_selector(selector: str) -> None: ...
def field_selector_supported(group: str, version: str, resource: str, selector: str) -> str | None:
    """None if supported, else upstream's message."""

def openapi_v2() -> bytes: ...
def openapi_v2_protobuf() -> bytes: ...
def openapi_v3(group: str, version: str) -> bytes: ...
def openapi_v3_paths() -> list[tuple[str, str]]: ...

# ─────────────────────────────── the door ───────────────────────────────

@final
class Call:
    """One request that the wire could not answer alone."""
    id: int
    wants: Literal["verdict", "answer"]
    """verdict: a read that the wire serves itself once it knows it may. answer: Python answers."""
    method: str
    path: str
    query: list[tuple[str, str]]
    verb: str
    """get list watch create update patch delete deletecollection; the lower-case method if not a resource request."""
    is_resource: bool
    group: str
    version: str
    resource: str
    subresource: str
    namespace: str
    name: str
    headers: list[tuple[str, str]]
    """Lower-case names."""
    body: bytes
    credential_kind: Literal["certificate", "token", "local", "none"]
    credential: bytes
    """certificate: DER of the verified client certificate; token: the bearer token; local: the in-process identity."""
    remote_address: str

@final
class Answer:
    def __init__(
        self, id: int, status: int, body: bytes, *, content_type: str = "application/json",
        headers: Sequence[tuple[str, str]] = (), revision: int = 0,
    ) -> None: ...

@final
class Allow:
    """The verdict on a read: serve it, and remember that for as long as the epoch stands."""
    def __init__(
        self, id: int, *, epoch: int, user: str, any_name: bool = False, any_namespace: bool = False, ttl_seconds: float = 0.0,
    ) -> None: ...

@final
class Reply:
    """A local (in-process) answer. Usable once durable_revision ≥ revision."""
    status: int
    content_type: str
    headers: list[tuple[str, str]]
    body: bytes
    revision: int

@final
class LocalWatch:
    """A local watch stream."""
    id: int
    def poll(self, limit: int = 1000) -> list[tuple[str, str, bytes]] | None:
        """Released events: (type, key, object JSON); type is ADDED MODIFIED DELETED BOOKMARK ERROR. Empty: none yet. None: ended."""
    def close(self) -> None: ...

@final
class Notifier:
    """Wakes one event loop: readable when a LocalWatch has events or an awaited revision is durable."""
    def __init__(self, store: Store) -> None: ...
    def fileno(self) -> int: ...
    def drain(self) -> tuple[list[int], int]:
        """(ids of watches that have something, the durable revision)."""
    def want_durable(self, revision: int) -> None: ...

@final
class Door:
    def __init__(self, store: Store) -> None: ...
    def listen(
        self, address: str, port: int, *, certificate_pem: bytes, key_pem: bytes, client_ca_pem: bytes, threads: int = 1
    ) -> int:
        """Starts serving HTTPS; gives the port."""
    def listen_plain(self, address: str, port: int, *, identity: str) -> int:
        """Plain HTTP on loopback, for benches only: every request is `identity`."""
    def next(self, answers: Sequence[Answer | Allow]) -> list[Call] | None:
        """Hands answers over, blocks (GIL released) until calls are there; at most 32. None: the door is closed."""
    def local(
        self, identity: str, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes, notifier: Notifier
    ) -> Reply | LocalWatch | Call:
        """A request from inside the process. A Call must be answered with `settle`."""
    def settle(self, answer: Answer | Allow) -> Reply | LocalWatch | Call: ...
    def drain(self, *, timeout_seconds: float) -> None:
        """SIGTERM: stop accepting, GOAWAY, end watches, answer what is in flight."""
    def close(self) -> None: ...
    def metrics(self) -> dict[str, Any]: ...

# ─────────────────────────────── scheduling ───────────────────────────────

@final
class Kernel:
    """See rust_core/sched. Its stub is written by its owner."""
