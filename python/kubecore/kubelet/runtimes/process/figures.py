"""What containers and sandboxes use: cgroups, and the counters of the pods' network interfaces.

A container costs about seven reads of small files, a sandbox one more (its /proc/net/dev, read within its network namespace).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from kubecore.kubelet.cgroups import Cgroups, Figures
from kubecore.kubelet.runtimes.process import namespaces
from kubecore.kubelet.runtimes.process.images import tree_size
from kubecore.kubelet.runtimes.process.records import ContainerRecord, SandboxRecord
from kubecore.kubelet.runtimes.protocol import (
    ContainerState,
    ContainerStats,
    CpuStats,
    FilesystemUsage,
    MemoryStats,
    NetworkInterfaceStats,
    SandboxState,
    SandboxStats,
)

_WRITABLE_LAYER_FRESH_SECONDS = 10.0


_NEVER: tuple[float, FilesystemUsage | None] = (float("-inf"), None)


class WritableLayers:
    """How much each container has written, counted by walking its layer; a count is good for ten seconds."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._counted: dict[str, tuple[float, FilesystemUsage | None]] = {}

    def stale(self, container_ids: Sequence[str]) -> list[str]:
        """Those whose count is too old."""
        fresh_from = time.monotonic() - _WRITABLE_LAYER_FRESH_SECONDS
        return [each for each in container_ids if self._counted.get(each, _NEVER)[0] < fresh_from]

    def count(self, container_ids: Sequence[str]) -> None:
        """Walks their layers; may take long, so it is called on a thread."""
        for container_id in container_ids:
            used, inodes = tree_size(self._directory / "containers" / container_id / "upper")
            usage = FilesystemUsage(
                mountpoint=str(self._directory), used_bytes=used, inodes_used=inodes, timestamp=time.time_ns()
            )
            self._counted[container_id] = (time.monotonic(), usage)

    def usage(self, container_id: str) -> FilesystemUsage | None:
        """None before it was counted."""
        return self._counted.get(container_id, _NEVER)[1]

    def forget(self, container_id: str) -> None:
        self._counted.pop(container_id, None)


def container_stats(record: ContainerRecord, cgroups: Cgroups, layers: WritableLayers) -> ContainerStats:
    container = record.container
    running = container.state is ContainerState.RUNNING
    figures = cgroups.read(record.cgroup) if running else None
    now = time.time_ns()
    return ContainerStats(
        id=container.id,
        sandbox_id=container.sandbox_id,
        metadata=container.metadata,
        labels=container.labels,
        cpu=_cpu(figures, now) if figures else None,
        memory=_memory(figures, now) if figures else None,
        process_count=figures.process_count if figures else 0,
        writable_layer=layers.usage(container.id),
    )


def sandbox_stats(
    record: SandboxRecord, folder: Path, cgroups: Cgroups, containers: tuple[ContainerStats, ...]
) -> SandboxStats:
    """The pod's cgroup counts what its containers do; without a cgroup of the pod's own, their sum does."""
    sandbox = record.sandbox
    ready = sandbox.state is SandboxState.READY
    figures = cgroups.read(record.cgroup) if ready else None
    now = time.time_ns()
    interfaces = _interfaces(str(folder / "net")) if ready and sandbox.network_namespace else ()
    return SandboxStats(
        id=sandbox.id,
        metadata=sandbox.metadata,
        labels=sandbox.labels,
        cpu=_cpu(figures, now) if figures else None,
        memory=_memory(figures, now) if figures else None,
        process_count=figures.process_count if figures else 0,
        network_timestamp=now if interfaces else 0,
        interfaces=interfaces,
        containers=containers,
    )


def _cpu(figures: Figures, now: int) -> CpuStats:
    return CpuStats(
        timestamp=now,
        usage_core_nanoseconds=figures.cpu_usage_nanoseconds,
        user_nanoseconds=figures.cpu_user_nanoseconds,
        system_nanoseconds=figures.cpu_system_nanoseconds,
        periods=figures.cpu_periods,
        throttled_periods=figures.cpu_throttled_periods,
        throttled_nanoseconds=figures.cpu_throttled_nanoseconds,
    )


def _memory(figures: Figures, now: int) -> MemoryStats:
    limit, working_set = figures.memory_limit_bytes, figures.memory_working_set_bytes
    return MemoryStats(
        timestamp=now,
        usage_bytes=figures.memory_usage_bytes,
        working_set_bytes=working_set,
        rss_bytes=figures.memory_rss_bytes,
        cache_bytes=figures.memory_cache_bytes,
        mapped_file_bytes=figures.memory_mapped_file_bytes,
        swap_bytes=figures.memory_swap_bytes,
        page_faults=figures.page_faults,
        major_page_faults=figures.major_page_faults,
        available_bytes=max(0, limit - working_set) if limit else 0,
        limit_bytes=limit,
    )


def _interfaces(namespace: str) -> tuple[NetworkInterfaceStats, ...]:
    # /proc/net is the network of whoever asks: of this thread, in there.
    with namespaces.inside_network(namespace), open("/proc/thread-self/net/dev", encoding="ascii") as file:
        lines = file.read().splitlines()[2:]
    found: list[NetworkInterfaceStats] = []
    for line in lines:
        name, _, rest = line.partition(":")
        values = [int(value) for value in rest.split()]
        if name.strip() != "lo":
            found.append(
                NetworkInterfaceStats(
                    name=name.strip(),
                    rx_bytes=values[0],
                    rx_packets=values[1],
                    rx_errors=values[2],
                    rx_dropped=values[3],
                    tx_bytes=values[8],
                    tx_packets=values[9],
                    tx_errors=values[10],
                    tx_dropped=values[11],
                )
            )
    return tuple(found)
