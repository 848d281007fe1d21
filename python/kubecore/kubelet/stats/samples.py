"""The figures of one moment: of the node, of its pods, of their containers, of what they keep on disk.

Times are nanoseconds since the epoch, as the runtime's. What is not known is None, and nobody downstream makes it up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubecore.kubelet.runtimes.protocol import CpuStats, LinuxResources, MemoryStats, NetworkInterfaceStats


@dataclass(frozen=True, slots=True)
class DiskUse:
    """`used_bytes` and `inodes_used` are the measured thing's own; the rest is the filesystem's on which it lies."""

    timestamp: int
    used_bytes: int
    inodes_used: int
    available_bytes: int
    capacity_bytes: int
    inodes_free: int
    inodes: int


@dataclass(frozen=True, slots=True)
class Swap:
    timestamp: int
    usage_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class Processes:
    timestamp: int
    maximum: int
    running: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change while the node runs."""

    cores: int
    memory_bytes: int
    boot_id: str = ""
    machine_id: str = ""
    system_uuid: str = ""
    kernel_version: str = ""
    os_version: str = ""


@dataclass(frozen=True, slots=True)
class NodeSample:
    timestamp: int
    started_at: int
    cpu: CpuStats
    memory: MemoryStats
    interfaces: tuple[NetworkInterfaceStats, ...]
    filesystem: DiskUse
    image_filesystem: DiskUse | None
    swap: Swap
    processes: Processes
    kubelet_cpu: CpuStats
    kubelet_memory: MemoryStats
    kubelet_started_at: int


@dataclass(frozen=True, slots=True)
class PodKey:
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ContainerSample:
    id: str
    name: str
    image: str
    started_at: int
    cgroup: str
    cpu: CpuStats | None
    memory: MemoryStats | None
    process_count: int
    resources: LinuxResources
    rootfs: DiskUse | None = None
    logs: DiskUse | None = None


@dataclass(frozen=True, slots=True)
class PodSample:
    """`cpu` and `memory` are the pod's own, or its containers' together if the runtime does not count pods."""

    key: PodKey
    started_at: int
    cgroup: str
    cpu: CpuStats | None
    memory: MemoryStats | None
    process_count: int
    network_timestamp: int
    interfaces: tuple[NetworkInterfaceStats, ...]
    containers: tuple[ContainerSample, ...]
    volumes: Mapping[str, DiskUse] = field(default_factory=dict)
    ephemeral_storage: DiskUse | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything at one moment. `cost_seconds`: processor time of this process that taking it cost."""

    timestamp: int
    node: NodeSample
    pods: tuple[PodSample, ...]
    cost_seconds: float
    failure: str = ""
    """Why the pods' figures are missing: the runtime did not answer."""
