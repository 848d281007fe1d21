"""What the kubelet asks of a container runtime: CRI's services and messages, as Python types.

The names and meanings are those of the Container Runtime Interface v1 (`runtime.v1.RuntimeService`, `ImageService`); a
CRI client plugs in by translating each. One thing differs: `exec`, `attach` and `port_forward` answer with a live
`Streams` instead of the URL of a streaming server, because ours needs none; a CRI client dials the URL and gives the same.

Ids are opaque. Times are wall clock in nanoseconds since the epoch, 0 for never. Paths are on the node. Every call may be
repeated: stopping what is stopped and removing what is gone succeed. `RuntimeFailure` is the one error; its `code` says
which.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec


class RuntimeCode(StrEnum):
    """gRPC's codes, those that runtimes use."""

    NOT_FOUND = "NotFound"
    ALREADY_EXISTS = "AlreadyExists"
    INVALID_ARGUMENT = "InvalidArgument"
    FAILED_PRECONDITION = "FailedPrecondition"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    UNAVAILABLE = "Unavailable"
    UNKNOWN = "Unknown"


class RuntimeFailure(Exception):
    """The runtime could not. `code` for programs, the message for the pod's status and events."""

    def __init__(self, code: RuntimeCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all messages: immutable, by keyword, defaults not encoded."""


# ── configuration of sandboxes and containers ──


class NamespaceMode(StrEnum):
    POD = "POD"
    CONTAINER = "CONTAINER"
    NODE = "NODE"
    TARGET = "TARGET"


class NamespaceOptions(Message, frozen=True, kw_only=True):
    """network and ipc: POD or NODE. pid: POD (shared by the pod), CONTAINER, NODE, or TARGET (of `target_id`)."""

    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""


class SandboxMetadata(Message, frozen=True, kw_only=True):
    name: str
    uid: str
    namespace: str
    attempt: int = 0


class DNSConfig(Message, frozen=True, kw_only=True):
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class PortMapping(Message, frozen=True, kw_only=True):
    protocol: str = "TCP"
    container_port: int
    host_port: int
    host_ip: str = ""


class LinuxResources(Message, frozen=True, kw_only=True):
    """0 and "" mean: not set."""

    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0


class Capabilities(Message, frozen=True, kw_only=True):
    """Names without `CAP_`; "ALL" stands for all."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SandboxSecurity(Message, frozen=True, kw_only=True):
    namespaces: NamespaceOptions = NamespaceOptions()
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False


class SandboxConfig(Message, frozen=True, kw_only=True):
    """`cgroup_parent`: the pod's cgroup, made by the kubelet, as a path below every controller's root ("" : the runtime's own).
    `log_directory`: where the containers' `log_path` begins. `dns` None: the node's resolv.conf as it is."""

    metadata: SandboxMetadata
    hostname: str = ""
    log_directory: str = ""
    dns: DNSConfig | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    cgroup_parent: str = ""
    sysctls: dict[str, str] = {}
    security: SandboxSecurity = SandboxSecurity()


class MountPropagation(StrEnum):
    PRIVATE = "PRIVATE"
    HOST_TO_CONTAINER = "HOST_TO_CONTAINER"
    BIDIRECTIONAL = "BIDIRECTIONAL"


class Mount(Message, frozen=True, kw_only=True):
    """`host_path` exists when the container is made; a file or a directory. It is mounted as it is: whoever gives the path has
    resolved it safely (a subPath is a bind mount that the kubelet made, never a path that a container can change)."""

    container_path: str
    host_path: str
    readonly: bool = False
    recursive_read_only: bool = False
    propagation: MountPropagation = MountPropagation.PRIVATE


class ContainerMetadata(Message, frozen=True, kw_only=True):
    """`attempt` counts the restarts of this name in this pod."""

    name: str
    attempt: int = 0


class ContainerSecurity(Message, frozen=True, kw_only=True):
    """`run_as_user` None: the image's user. `run_as_username` is looked up in the container's /etc/passwd.
    `supplemental_groups_policy`: Merge adds the groups that the image's /etc/group gives the user; Strict does not."""

    capabilities: Capabilities = Capabilities()
    privileged: bool = False
    namespaces: NamespaceOptions = NamespaceOptions()
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    readonly_rootfs: bool = False
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: str = "Merge"
    no_new_privs: bool = False
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()


class ContainerConfig(Message, frozen=True, kw_only=True):
    """`command` and `args` as CRI's: empty ones are the image's. `log_path` is relative to the sandbox's log directory; the
    log is in CRI's text format (`<RFC3339Nano> stdout|stderr F|P <line>`). `stop_signal` "": the image's, or SIGTERM."""

    metadata: ContainerMetadata
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    envs: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: LinuxResources = LinuxResources()
    security: ContainerSecurity = ContainerSecurity()
    stop_signal: str = ""


# ── what is there ──


class SandboxState(StrEnum):
    READY = "READY"
    NOTREADY = "NOTREADY"


class Sandbox(Message, frozen=True, kw_only=True):
    """A sandbox and its status. `ips` is empty on the node's network. `network_namespace`: a path that holds it, "" on the node's."""

    id: str
    metadata: SandboxMetadata
    state: SandboxState
    created_at: int
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    ips: tuple[str, ...] = ()
    network_namespace: str = ""
    namespaces: NamespaceOptions = NamespaceOptions()


class ContainerState(StrEnum):
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    EXITED = "EXITED"
    UNKNOWN = "UNKNOWN"


class ContainerUser(Message, frozen=True, kw_only=True):
    uid: int
    gid: int
    supplemental_groups: tuple[int, ...] = ()


class Container(Message, frozen=True, kw_only=True):
    """A container and its status. `image` as asked for, `image_ref` what it resolved to (with digest or id). `reason`: Completed, Error,
    OOMKilled, ContainerCannotRun, StartError. `log_path` absolute. `pid` on the node, 0 unless running."""

    id: str
    sandbox_id: str
    metadata: ContainerMetadata
    state: ContainerState
    created_at: int
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    image: str
    image_ref: str
    image_id: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    mounts: tuple[Mount, ...] = ()
    log_path: str = ""
    resources: LinuxResources = LinuxResources()
    user: ContainerUser | None = None
    stop_signal: str = "SIGTERM"
    pid: int = 0


class Image(Message, frozen=True, kw_only=True):
    """`uid` or `username` is the user that the image names, both unset for root."""

    id: str
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    size_bytes: int = 0
    uid: int | None = None
    username: str = ""
    pinned: bool = False


class FilesystemUsage(Message, frozen=True, kw_only=True):
    mountpoint: str
    used_bytes: int
    inodes_used: int
    timestamp: int


class RegistryAuth(Message, frozen=True, kw_only=True):
    username: str = ""
    password: str = ""
    server_address: str = ""


# ── figures ──


class CpuStats(Message, frozen=True, kw_only=True):
    """`periods`: of the quota, all that passed and those in which it was used up; 0 without a quota."""

    timestamp: int
    usage_core_nanoseconds: int
    user_nanoseconds: int = 0
    system_nanoseconds: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_nanoseconds: int = 0


class MemoryStats(Message, frozen=True, kw_only=True):
    """As cAdvisor counts: working set is usage without inactive file pages."""

    timestamp: int
    usage_bytes: int
    working_set_bytes: int
    rss_bytes: int
    cache_bytes: int = 0
    mapped_file_bytes: int = 0
    swap_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    available_bytes: int = 0
    limit_bytes: int = 0


class NetworkInterfaceStats(Message, frozen=True, kw_only=True):
    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


class ContainerStats(Message, frozen=True, kw_only=True):
    """`writable_layer` None if the runtime does not count it."""

    id: str
    sandbox_id: str
    metadata: ContainerMetadata
    labels: dict[str, str] = {}
    cpu: CpuStats | None = None
    memory: MemoryStats | None = None
    process_count: int = 0
    writable_layer: FilesystemUsage | None = None


class SandboxStats(Message, frozen=True, kw_only=True):
    id: str
    metadata: SandboxMetadata
    labels: dict[str, str] = {}
    cpu: CpuStats | None = None
    memory: MemoryStats | None = None
    process_count: int = 0
    network_timestamp: int = 0
    interfaces: tuple[NetworkInterfaceStats, ...] = ()
    containers: tuple[ContainerStats, ...] = ()


# ── calls ──


class EventKind(StrEnum):
    CREATED = "CONTAINER_CREATED_EVENT"
    STARTED = "CONTAINER_STARTED_EVENT"
    STOPPED = "CONTAINER_STOPPED_EVENT"
    DELETED = "CONTAINER_DELETED_EVENT"


class ContainerEvent(Message, frozen=True, kw_only=True):
    """`container_id` is the sandbox's own id for a sandbox that came, stopped or went."""

    kind: EventKind
    container_id: str
    sandbox_id: str
    pod_uid: str
    created_at: int


class ExecResult(Message, frozen=True, kw_only=True):
    stdout: bytes
    stderr: bytes
    exit_code: int


class Condition(Message, frozen=True, kw_only=True):
    """`type`: RuntimeReady or NetworkReady."""

    type: str
    status: bool
    reason: str = ""
    message: str = ""


class Version(Message, frozen=True, kw_only=True):
    runtime_name: str
    runtime_version: str
    runtime_api_version: str = "v1"


class Streams(Protocol):
    """A running exec, attach or port forward. Reading gives b"" at the end; with a terminal all output is stdout."""

    async def read_stdout(self) -> bytes: ...
    async def read_stderr(self) -> bytes: ...
    async def write_stdin(self, data: bytes) -> None:
        """Waits while the process does not read (back-pressure)."""
        ...

    async def close_stdin(self) -> None: ...
    async def resize(self, width: int, height: int) -> None: ...
    async def wait(self) -> int:
        """The exit code of an exec (128 + n after signal n); 0 for attach and port forward."""
        ...

    async def close(self) -> None:
        """Ends the streams. An exec's process is killed, an attached container goes on."""
        ...


class RuntimeService(Protocol):
    """CRI's RuntimeService. Durations in seconds."""

    async def version(self) -> Version: ...
    async def status(self) -> tuple[Condition, ...]: ...
    async def update_runtime_config(self, pod_cidr: str) -> None: ...

    async def run_pod_sandbox(self, config: SandboxConfig) -> str:
        """Makes the pod's namespaces and network; gives the sandbox's id."""
        ...

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """Kills what still runs in it and takes its network down."""
        ...

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Removes it with all its containers."""
        ...

    async def list_pod_sandboxes(self) -> list[Sandbox]: ...
    async def pod_sandbox_status(self, sandbox_id: str) -> Sandbox: ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str: ...
    async def start_container(self, container_id: str) -> None: ...
    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        """The stop signal, then SIGKILL after `timeout_seconds` (0: at once); returns when it has exited."""
        ...

    async def remove_container(self, container_id: str) -> None: ...
    async def list_containers(self) -> list[Container]: ...
    async def container_status(self, container_id: str) -> Container: ...
    async def update_container_resources(self, container_id: str, resources: LinuxResources) -> None: ...
    async def reopen_container_log(self, container_id: str) -> None: ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        """0 waits for ever. Fails with DEADLINE_EXCEEDED; the process is killed then. Output beyond 16 MiB is dropped."""
        ...

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> Streams: ...
    async def attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> Streams: ...
    async def port_forward(self, sandbox_id: str, port: int) -> Streams:
        """One connection to `port` on loopback in the pod's network: stdin to it, stdout from it."""
        ...

    async def container_stats(self, container_id: str) -> ContainerStats: ...
    async def list_container_stats(self) -> list[ContainerStats]: ...
    async def list_pod_sandbox_stats(self) -> list[SandboxStats]: ...

    def events(self) -> AsyncIterator[ContainerEvent]:
        """From now on, until the connection breaks (then RuntimeFailure UNAVAILABLE); the kubelet lists again after it."""
        ...


class ImageService(Protocol):
    """CRI's ImageService."""

    async def list_images(self) -> list[Image]: ...
    async def image_status(self, image: str) -> Image | None: ...
    async def pull_image(self, image: str, auth: RegistryAuth | None) -> str:
        """Gives the image's reference. Fails with NOT_FOUND if there is no such image."""
        ...

    async def remove_image(self, image: str) -> None: ...
    async def image_filesystem(self) -> FilesystemUsage: ...


class Runtime(RuntimeService, ImageService, Protocol):
    """Both services, as one connection offers them."""

    async def close(self) -> None: ...


LABEL_POD_NAME = "io.kubernetes.pod.name"
LABEL_POD_NAMESPACE = "io.kubernetes.pod.namespace"
LABEL_POD_UID = "io.kubernetes.pod.uid"
LABEL_CONTAINER_NAME = "io.kubernetes.container.name"
"""Labels by which a kubelet finds its own again after a restart, as upstream's."""


def labels_of(pod: Mapping[str, str], container: str = "") -> dict[str, str]:
    """The labels for a pod (its metadata: name, namespace, uid), and for one of its containers."""
    labels = {LABEL_POD_NAME: pod["name"], LABEL_POD_NAMESPACE: pod["namespace"], LABEL_POD_UID: pod["uid"]}
    return {**labels, LABEL_CONTAINER_NAME: container} if container else labels
