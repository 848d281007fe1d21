"""The seam between Rust and Python: what the extension offers. Everything here is typed, bounded and documented.

Owners: Store, Notifier: rust_core/py/src/store.rs; objects: object.rs; Kernel: sched.rs; Door: wire.rs.
"""

from collections.abc import Sequence
from typing import Any, Literal, Self, final

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
    def failure(self) -> str | None:
        """Why nothing more becomes durable: the log failed, or the store was closed. None while all is well."""
    def get(self, key: str) -> Versioned | None:
        """At the applied head."""
    def range(
        self, prefix: str, *, start_after: str = "", limit: int = 0, revision: int = 0
    ) -> tuple[list[Versioned], int, int]:
        """Keys under prefix in order. revision 0: the applied head. Gives (entries, revision read at, how many remain beyond limit)."""
    def count(self, prefix: str) -> int: ...
    def put(self, key: str, value: bytes, *, splice: int = -1, expected: int = -1, ttl_seconds: int = 0) -> Versioned:
        """expected: -1 anything, 0 must be absent, n the key's modification revision. splice: byte offset at which the
        revision's decimal digits are inserted, -1 none. Raises CompareFailed."""
    def delete(self, key: str, *, expected: int = -1, value: bytes | None = None, splice: int = -1) -> Versioned:
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

@final
class EtcdDoor:
    """Answers etcd's v3 API from a store, on threads of its own, until `close`."""

    def __new__(
        cls,
        store: Store,
        address: str,
        *,
        certificate_pem: bytes | None = None,
        key_pem: bytes | None = None,
        client_ca_pem: bytes | None = None,
        threads: int = 2,
    ) -> Self:
        """address: `127.0.0.1:2379`, port 0 takes a free one. With certificates only clients with one from the client CA are let in;
        without, only a loopback address is taken. Raises ValueError, OSError."""
    def address(self) -> tuple[str, int]: ...
    def close(self) -> None: ...

def verify_store(directory: str) -> dict[str, int]:
    """Reads and checks a data directory; changes nothing. Gives revision, snapshot_revision, entries, log_bytes, torn_bytes (of a commit that
    never finished, or that a running store is writing just now). Raises Corrupt with file and offset, StoreError."""

def dump_store(directory: str) -> tuple[list[Versioned], int]:
    """Everything in a data directory, as a start would find it, and its revision; also beside a running store. Changes nothing. Raises as
    verify_store."""

def save_store(directory: str, file: str) -> int:
    """Writes what `dump_store` would give as one checksummed file that `restore_store` takes; a file of that name is replaced once the new
    one is whole. Gives its revision. Raises as verify_store."""

def restore_store(file: str, directory: str) -> int:
    """Makes a data directory of a saved file, where none is yet; revisions go on from the saved one. Gives it. Raises Corrupt, StoreError."""

def repair_store(directory: str) -> tuple[int, list[str]]:
    """Cuts away what is damaged, in a directory that nobody has open, so that the store opens at the newest revision that can be proved. Gives that
    revision and the files that were set aside as NAME.damaged. Raises StoreError, Corrupt if that does not help."""

def defragment_store(directory: str) -> tuple[int, int]:
    """Writes one fresh snapshot and removes everything before it, in a directory that nobody has open. Gives the bytes before and after."""

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
    group: str,
    version: str,
    kind: str,
    current: bytes,
    body: bytes,
    *,
    patch_type: Literal["json", "merge", "strategic"],
    defaults: bool = True,
) -> Decoded:
    """Applies a patch to an encoded object, then prunes and defaults. Raises DecodeError (bad patch), PatchConflict, PatchTooLarge."""

class PatchConflict(Exception):
    """The patch does not fit the object: a JSON test failed, a path is missing. Upstream answers 422 Invalid."""

class PatchTooLarge(Exception):
    """More operations, or more copied bytes, than a patch may have. Upstream answers 413 RequestEntityTooLarge."""

def encode(object: dict[str, Any]) -> tuple[bytes, int]:
    """apiVersion, kind, metadata.resourceVersion first (whatever it was, now empty); gives (bytes, splice)."""

def convert(value: bytes, group: str, version: str) -> bytes:
    """A stored object in another version of its kind (events, HPA)."""

def table(
    group: str,
    version: str,
    resource: str,
    values: Sequence[bytes],
    *,
    now_seconds: float,
    include_object: Literal["None", "Metadata", "Object"] = "Metadata",
    table_version: str = "v1",
    resource_version: str = "",
    continue_token: str = "",
    remaining: int | None = None,
) -> bytes: ...
def partial_metadata(value: bytes, *, version: str = "v1") -> bytes: ...
def label_selector_matches(selector: str, labels: dict[str, str]) -> bool:
    """Raises ValueError with upstream's message if the selector is malformed, as validate_label_selector does."""

def validate_label_selector(selector: str) -> None: ...
def field_selector_supported(group: str, version: str, resource: str, selector: str) -> str | None:
    """None if supported, else upstream's message."""

def openapi_v2() -> bytes: ...
def openapi_v2_protobuf() -> bytes: ...
def openapi_v3(group: str, version: str) -> bytes:
    """Raises KeyError if nothing of that group version is served."""

def openapi_v3_paths() -> list[tuple[str, str]]:
    """(path such as "apis/apps/v1", a hash that changes with the document) of every document."""

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
    def __new__(
        cls,
        id: int,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: Sequence[tuple[str, str]] = (),
        revision: int = 0,
    ) -> Self: ...
    id: int
    status: int
    body: bytes
    content_type: str
    headers: list[tuple[str, str]]
    revision: int

@final
class Allow:
    """The verdict on a read: serve it, and remember that for as long as the epoch stands."""
    def __new__(
        cls,
        id: int,
        *,
        epoch: int,
        user: str,
        any_name: bool = False,
        any_namespace: bool = False,
        ttl_seconds: float = 0.0,
    ) -> Self: ...
    id: int
    user: str

@final
class Forward:
    """Somebody else answers: the wire sends this request on the socket `fd`, which becomes its own, and streams the answer back; after a
    101, bytes both ways. Can be settled once. `mount_path`: of ours, below which redirects are kept, `mount_host`: the backend's own.
    `errors_of`: (resource, name) if an answer of failure is text to be made a Status. Raises ValueError for what is no HTTP."""
    def __new__(
        cls,
        id: int,
        fd: int,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        *,
        mount_path: str = "",
        mount_host: str = "",
        errors_of: tuple[str, str] | None = None,
        revision: int = 0,
    ) -> Self: ...
    id: int

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
    def poll(self, limit: int = 1000) -> list[tuple[str, str, bytes]] | Call | None:
        """Released events: (type, key, object JSON); type is ADDED MODIFIED DELETED BOOKMARK ERROR. Empty: none yet. None: ended.
        A Call: policy has moved, `settle` it and poll again."""
    def close(self) -> None: ...

@final
class Notifier:
    """Wakes one event loop: readable when a LocalWatch has events or an awaited revision is durable."""
    def __new__(cls, store: Store) -> Self: ...
    def fileno(self) -> int: ...
    def drain(self) -> tuple[list[int], int]:
        """(ids of watches that have something, the durable revision)."""
    def want_durable(self, revision: int) -> None: ...

@final
class Door:
    def __new__(cls, store: Store) -> Self: ...
    def serve_resources(self, rows: bytes) -> None:
        """The resources whose reads the wire serves by itself: rows as `resources()` gives them."""
    def listen(
        self, address: str, port: int, *, certificate_pem: bytes, key_pem: bytes, client_ca_pem: bytes, threads: int = 1
    ) -> int:
        """Starts serving HTTPS; gives the port."""
    def listen_fd(
        self, fd: int, *, certificate_pem: bytes, key_pem: bytes, client_ca_pem: bytes, threads: int = 1
    ) -> int:
        """Serves HTTPS on a listening TCP socket as well (of another network namespace); it is duplicated, the caller closes
        its own. Gives its port."""
    def listen_plain(self, address: str, port: int, *, identity: str) -> int:
        """Plain HTTP on loopback, for benches only: every request is `identity`."""
    def next(self, answers: Sequence[Answer | Allow | Forward]) -> list[Call] | None:
        """Hands answers over, blocks (GIL released) until calls are there; at most 32. None: the door is closed."""
    def hand_over(self, answer: Answer) -> None:
        """An answer to a call that `next` gave earlier, from any thread, while `next` waits for more."""
    def local(
        self,
        identity: str,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        notifier: Notifier,
    ) -> Reply | LocalWatch | Call:
        """A request from inside the process. A Call must be answered with `settle`."""
    def settle(self, answer: Answer | Allow | Forward) -> Reply | LocalWatch | Call:
        """A Forward is refused with a 500: its bytes need a connection."""
    def drain(self, *, timeout_seconds: float) -> None:
        """SIGTERM: stop accepting, GOAWAY, end watches, answer what is in flight."""
    def close(self) -> None: ...
    def metrics(self) -> dict[str, Any]: ...

# ─────────────────────────────── scheduling ───────────────────────────────

@final
class PodChange:
    """What a pod's event meant for the queue."""
    @property
    def key(self) -> str:
        """`namespace/name`."""
    @property
    def state(self) -> Literal["pending", "gated", "assigned", "gone"]:
        """pending: wants a node. gated: has scheduling gates. assigned: on a node, or assumed there. gone: deleted, finished,
        being deleted before it got a node, or another scheduler's."""
    @property
    def priority(self) -> int: ...
    @property
    def changed(self) -> bool:
        """New, or it asks for something else than before."""

@final
class Failure:
    """Why a pod fits nowhere, counted over the nodes."""
    @property
    def nodes(self) -> int:
        """Nodes in the cluster."""
    @property
    def before_nodes(self) -> str | None:
        """The pod was refused before any node was looked at, for this reason."""
    @property
    def reasons(self) -> list[tuple[str, int]]:
        """(upstream's reason, how many nodes gave it), by reason. A node may give several."""
    @property
    def plugins(self) -> list[str]:
        """The filters that refused a node, in the order in which they run."""
    @property
    def undecided(self) -> list[str]:
        """Field paths of hard constraints that no filter here decides. The pod was not tried."""
    @property
    def preemption(self) -> Literal["not considered", "not eligible", "useless", "nominated"]:
        """What came of looking for less important pods to evict."""
    @property
    def not_eligible(self) -> str | None:
        """For not eligible: why, in upstream's words."""
    @property
    def preemption_reasons(self) -> list[tuple[str, int]]:
        """For useless: (reason, nodes)."""
    @property
    def nominated_node(self) -> str | None:
        """For nominated: the node that the kernel keeps for the pod until it is placed."""
    @property
    def victims(self) -> list[tuple[str, str, bool]]:
        """For nominated: (key, uid, being deleted already), the most important first. The caller evicts them."""
    @property
    def outranked(self) -> list[str]:
        """For nominated: less important pods (keys) that the node was kept for. The kernel has taken that back."""

@final
class Kernel:
    """Decides which node each pod goes to, over a snapshot that watch events keep up. Every node is considered for every pod.

    Filters, in order: NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit,
    VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone, PodTopologySpread, InterPodAffinity. Scores and weights: TaintToleration 3, NodeAffinity 2, PodTopologySpread 2, InterPodAffinity 2, NodeResourcesFit
    (LeastAllocated) 1, NodeResourcesBalancedAllocation 1, ImageLocality 1; upstream's 1.35 arithmetic. Between equal
    scores the larger of (FNV-1a(name) xor seed, moved on by each pod placed there, through splitmix64) wins. The same seed, events and calls give the same decisions. Methods may be called from any thread; they take turns,
    long ones with the GIL released. Memory: what pods and nodes ask and offer, plus at most a million (class of equal pods × node) cells.
    """
    def __new__(cls, *, seed: int = 0, profiles: Sequence[bytes] = ...) -> Self:
        """`seed`: 0 to 2**64-1. `profiles`: settings in JSON (`rust_core/sched/src/profile.rs`), one a scheduler name; none: upstream's
        default profile. Raises ValueError (unreadable settings)."""
    def node_event(self, type: str, body: bytes) -> bool:
        """A node's watch event (ADDED, MODIFIED, DELETED; encoded object). True if it says something new. Raises ValueError (not a Node,
        another type)."""
    def take_woken(self) -> list[str]:
        """The pods that failed and that something may have helped since: events, and `forget`. In order; each once."""
    def pod_events(self, events: Sequence[tuple[str, bytes]]) -> list[PodChange | ValueError]:
        """Pods' watch events, in order; one that cannot be read is a ValueError in its place, not raised. An event without a node
        leaves an assumption standing; the same name with another uid is another pod. Raises ValueError for another type of event."""
    def related_event(self, resource: str, type: str, body: bytes) -> None:
        """A watch event of another object that decisions depend on: namespaces, services, replicationcontrollers, replicasets,
        statefulsets, poddisruptionbudgets, persistentvolumeclaims, persistentvolumes, storageclasses, csinodes. Raises ValueError (not such an object, another resource or type)."""
    def schedule(self, keys: list[str]) -> list[tuple[str, str | None, Failure | None]]:
        """Decides in the order given, each pod seeing those before it: (key, node, None), now assumed there; (key, None, failure);
        (key, None, None) if it is not pending any more. The same as one call for each key."""
    def forget(self, key: str) -> bool:
        """Takes an assumption back: the binding failed. The pod is pending again. False if none stood."""
    def spare(self, key: str) -> None:
        """A victim could not be evicted."""
    def node_of(self, key: str) -> str | None:
        """The node a pod is on or assumed on."""
    def explain(
        self, pod: bytes
    ) -> tuple[str | None, Failure, list[tuple[str, str | None, list[str], list[tuple[str, int, int]]]]]:
        """Where an encoded pod, known or not, would go now; why not elsewhere (all that refused nodes, even if one is found); and for each
        node (name, plugin that refused it, its reasons, [(plugin, score 0 to 100, weight)] if none did). Changes nothing; looks at every
        node afresh."""
    def stats(self) -> dict[str, int]:
        """nodes, pods, assumed, classes: now; decisions, nodes_considered (summed over the decisions): since the start."""
