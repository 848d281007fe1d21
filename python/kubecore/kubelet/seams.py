"""What the kubelet's rooms ask of one another: the shapes only, each built in its own file.

The worker (sandboxes, containers) asks volumes, container settings and probes. The server, the figures, probes and
eviction ask `Pods`. All calls run on the kubelet's event loop. Pods are API objects; a pod is known by its uid, which for
a static pod is the uid of the file's pod, not of its mirror.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from kubecore.api.meta import Object
from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerConfig,
    Image,
    LinuxResources,
    Mount,
    RegistryAuth,
    Sandbox,
    SandboxConfig,
)

Wake = Callable[[str], None]
"""Called with a pod's uid: look at this pod again, something about it changed. From the event loop only."""


# ── who reads pods ──


class Pods(Protocol):
    """The pods of this node, as the kubelet knows them now. Objects are shared: never change one."""

    def all(self) -> Sequence[Object]:
        """Pods that it was told of and has not finished with: static pods as in their files, no mirror pods."""
        ...

    def get(self, uid: str) -> Object | None: ...
    def by_name(self, namespace: str, name: str) -> Object | None:
        """For a static pod that of the file, whose uid its containers carry."""
        ...

    def mirror_of(self, pod: Object) -> Object | None:
        """The API's pod that stands for a static pod."""
        ...

    def status(self, uid: str) -> Object | None:
        """The pod's status as the kubelet last made it, maybe not yet written."""
        ...

    def sandbox(self, uid: str) -> Sandbox | None:
        """The newest."""
        ...

    def containers(self, uid: str) -> Sequence[Container]:
        """All of the pod that the runtime still has, newest first."""
        ...

    def container(self, uid: str, name: str, *, previous: bool = False) -> Container | None:
        """The newest of that name (init and ephemeral containers too); `previous`: the one before it."""
        ...


# ── what the worker asks when it makes containers ──


class MountFailure(Exception):
    """The pod's volumes are not all there."""


class ConfigurationFailure(Exception):
    """The container cannot be made from what the API holds: it waits with `reason` and this text as message."""

    def __init__(self, message: str, *, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Volumes(Protocol):
    """`kubelet/volumes`: VolumeManager."""

    async def mount(self, pod: Object) -> None:
        """Returns when every volume of the pod is on disk; again and again cheap. Raises MountFailure when it cannot be
        now, having said so in FailedMount events: the worker asks again with back-off or when woken."""
        ...

    async def unmount(self, uid: str) -> None:
        """Takes the pod's volumes and its directory away. Its containers are gone. May be repeated."""
        ...

    def known(self) -> Collection[str]:
        """Uids of pods that have a directory on disk: what an earlier kubelet left is unmounted."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerContext:
    """What the worker knows about a container that is to be made. `mounts`, `labels`, `annotations` and `log_path`
    belong into the configuration as they are."""

    attempt: int
    image: Image
    image_ref: str
    pod_ips: tuple[str, ...]
    host_ips: tuple[str, ...]
    log_path: str
    labels: dict[str, str]
    annotations: dict[str, str]
    mounts: tuple[Mount, ...] = ()
    """/etc/hosts and the termination log."""
    target_id: str = ""
    """The container whose pid namespace an ephemeral container shares."""


class ContainerSettings(Protocol):
    """Container configuration: environment, volume mounts, security context, resources, the pod's cgroup."""

    async def prepare(self, pod: Object, sandbox: SandboxConfig) -> SandboxConfig:
        """Makes the pod's cgroup and completes the sandbox's configuration: security, cgroup_parent, sysctls. Raises
        ConfigurationFailure."""
        ...

    async def container(self, pod: Object, container: Object, context: ContainerContext) -> ContainerConfig:
        """The whole configuration of one container (of any kind). Raises ConfigurationFailure."""
        ...

    def resources(self, pod: Object, container: Object) -> LinuxResources:
        """What a container is given and held to."""
        ...

    async def resize(self, pod: Object) -> None:
        """Gives the pod's cgroup what its containers have now. Raises OSError: less than what is in use."""
        ...

    async def container_stopped(self, uid: str, container_id: str) -> None:
        """What `container` made for this one (subPath mounts) may go."""
        ...

    async def release(self, uid: str) -> None:
        """Removes the pod's cgroup. Its containers are gone. May be repeated."""
        ...


# ── probes ──


class ProbeKind(StrEnum):
    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"


class Probes(Protocol):
    """`kubelet/probes`: ProbeManager. It is given `Pods`, the runtime and a `Wake`, which it calls when a result changed."""

    def add(self, pod: Object) -> None:
        """Probe this pod's containers whenever they run. Repeated with each newer pod."""
        ...

    def stop_liveness_and_startup(self, uid: str) -> None:
        """The pod terminates: only readiness goes on."""
        ...

    def remove(self, uid: str) -> None:
        """The pod's containers have stopped."""
        ...

    def result(self, kind: ProbeKind, container_id: str) -> bool | None:
        """The settled result (thresholds counted) for a runtime container; None: not yet known. Whether a container
        has such a probe at all, the caller reads in the pod. A lost readiness is False, an unknown liveness None."""
        ...


# ── eviction, shutdown ──


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a pod is not admitted: phase Failed with these."""

    reason: str
    message: str


Admission = Callable[[Object, Sequence[Object]], Rejection | None]
"""(pod, the other admitted pods that are not terminal): asked once for each new pod, before it is started."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """The kubelet ends a pod: its phase becomes Failed with these. `grace_seconds` None: the pod's own."""

    reason: str
    message: str
    grace_seconds: int | None = None
    conditions: tuple[Object, ...] = ()
    """E.g. DisruptionTarget; type, status, reason, message (times are filled in)."""


Evict = Callable[[str, Eviction], Awaitable[None]]
"""(uid, why): returns when the pod's containers have stopped. Unknown and finished pods are left alone."""


@dataclass(frozen=True, slots=True)
class NodeCondition:
    """One pressure as the node's status says it: type MemoryPressure, DiskPressure or PIDPressure."""

    type: str
    status: bool
    reason: str
    message: str


# ── all of it ──


Credentials = Callable[[Object, str], Awaitable[RegistryAuth | None]]
"""(pod, image) → what its imagePullSecrets say for that registry."""

Loop = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Rooms:
    """What a kubelet's neighbours bring. `loops` run beside the kubelet's own, from when it has listed the runtime."""

    volumes: Volumes
    settings: ContainerSettings
    probes: Probes
    admissions: Sequence[Admission] = ()
    pressure: Callable[[], Sequence[NodeCondition]] = tuple
    """Eviction's: the conditions that are not as they should be."""
    problems: Callable[[], Sequence[str]] = tuple
    """Why the node is not ready, beside its runtime: `node is shutting down`."""
    shut_down: Callable[[], Awaitable[None]] | None = None
    """Ends the node's pods with grace before it goes down; None: they are left as they are."""
    credentials: Credentials | None = None
    """For pulling images; None: nobody."""
    loops: Sequence[Loop] = ()
