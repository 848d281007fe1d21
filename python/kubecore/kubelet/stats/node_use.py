"""What a node has used, from its own cgroup: several nodes may share a box."""

from __future__ import annotations

import os

from kubecore.api.clock import Clock
from kubecore.kubelet.cgroups import Cgroups
from kubecore.kubelet.runtimes.protocol import CpuStats, MemoryStats


class CgroupUse:
    """A `NodeUse`: of the cgroup `root`; None where it is the whole machine's, or there are no control groups."""

    def __init__(self, groups: Cgroups | None, root: str, clock: Clock) -> None:
        self._groups = groups
        self._root = root
        self._clock = clock
        self._capacity_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def __call__(self) -> tuple[CpuStats, MemoryStats] | None:
        if self._groups is None or self._root.strip("/") == "":
            return None
        figures, now = self._groups.read(self._root), round(self._clock.now() * 1_000_000_000)
        working_set = figures.memory_working_set_bytes
        memory = MemoryStats(
            timestamp=now,
            usage_bytes=figures.memory_usage_bytes,
            working_set_bytes=working_set,
            rss_bytes=figures.memory_rss_bytes,
            cache_bytes=figures.memory_cache_bytes,
            mapped_file_bytes=figures.memory_mapped_file_bytes,
            swap_bytes=figures.memory_swap_bytes,
            page_faults=figures.page_faults,
            major_page_faults=figures.major_page_faults,
            available_bytes=max(0, self._capacity_bytes - working_set),
        )
        cpu = CpuStats(
            timestamp=now,
            usage_core_nanoseconds=figures.cpu_usage_nanoseconds,
            user_nanoseconds=figures.cpu_user_nanoseconds,
            system_nanoseconds=figures.cpu_system_nanoseconds,
            throttled_nanoseconds=figures.cpu_throttled_nanoseconds,
        )
        return cpu, memory
