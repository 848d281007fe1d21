"""Reads the node's own figures from /proc, and from its cgroup if the node is one of several on a box.

Flows in: text of the kernel. Flows out: a `NodeSample`. About fifteen small reads.
Source: proc(5), https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from kubecore.kubelet.runtimes.protocol import CpuStats, FilesystemUsage, MemoryStats, NetworkInterfaceStats
from kubecore.kubelet.stats.samples import DiskUse, Machine, NodeSample, Processes, Swap

NANOSECONDS = 1_000_000_000
_TICK_NANOSECONDS = NANOSECONDS // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BUSY_COLUMNS = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq, steal of /proc/stat; idle and iowait are no work, guest is in user already."""

_NO_INTERFACES_OF_A_NODE = ("lo", "veth", "docker", "nerdctl")

NodeUse = Callable[[], tuple[CpuStats, MemoryStats] | None]
"""What the node's own cgroup has used; None: it has none, and the whole machine is the node."""


def _whole_machine() -> None:
    return None


class NodeReader:
    def __init__(
        self,
        *,
        root_directory: Path,
        node_use: NodeUse = _whole_machine,
        proc: Path = Path("/proc"),
        etc: Path = Path("/etc"),
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """root_directory: the kubelet's, whose filesystem is the node's."""
        self._root = root_directory
        self._node_use = node_use
        self._proc = proc
        self._now_ns = now_ns
        self.machine = self._read_machine(etc)

    def read(self, image_filesystem: FilesystemUsage | None) -> NodeSample:
        now = self._now_ns()
        stat = self._lines("stat")
        fields = dict(line.split(None, 1) for line in stat if " " in line)
        booted = int(fields["btime"]) * NANOSECONDS
        meminfo = self._meminfo()
        cpu, memory = self._node_use() or (
            _processor(now, fields["cpu"]),
            self._memory(now, meminfo),
        )
        swap_free = meminfo.get("SwapFree", 0)
        kubelet_cpu, kubelet_memory, kubelet_started = self._own_process(now, booted)
        return NodeSample(
            timestamp=now,
            started_at=booted,
            cpu=cpu,
            memory=memory,
            interfaces=tuple(read_interfaces(self._lines("self/net/dev"))),
            filesystem=filesystem_of(self._root, now),
            image_filesystem=None if image_filesystem is None else on_its_filesystem(image_filesystem),
            swap=Swap(now, meminfo.get("SwapTotal", 0) - swap_free, swap_free),
            processes=self._processes(now),
            kubelet_cpu=kubelet_cpu,
            kubelet_memory=kubelet_memory,
            kubelet_started_at=kubelet_started,
        )

    def _memory(self, now: int, meminfo: dict[str, int]) -> MemoryStats:
        """As upstream for the root: what is not free is used; what could be dropped at once is not in the working set."""
        faults = dict(line.split() for line in self._lines("vmstat") if line.startswith("pg"))
        used = meminfo["MemTotal"] - meminfo["MemFree"]
        working_set = max(0, used - meminfo["Inactive(file)"])
        return MemoryStats(
            timestamp=now,
            usage_bytes=used,
            working_set_bytes=working_set,
            rss_bytes=meminfo["AnonPages"],
            cache_bytes=meminfo.get("Cached", 0),
            mapped_file_bytes=meminfo.get("Mapped", 0),
            swap_bytes=meminfo.get("SwapTotal", 0) - meminfo.get("SwapFree", 0),
            page_faults=int(faults.get("pgfault", 0)),
            major_page_faults=int(faults.get("pgmajfault", 0)),
            available_bytes=max(0, self.machine.memory_bytes - working_set),
        )

    def _own_process(self, now: int, booted: int) -> tuple[CpuStats, MemoryStats, int]:
        # The command's name, in parentheses, may hold spaces.
        columns = self._text("self/stat").rpartition(")")[2].split()
        resident = int(self._text("self/statm").split()[1]) * _PAGE_BYTES
        cpu = CpuStats(timestamp=now, usage_core_nanoseconds=(int(columns[11]) + int(columns[12])) * _TICK_NANOSECONDS)
        memory = MemoryStats(
            timestamp=now,
            usage_bytes=resident,
            working_set_bytes=resident,
            rss_bytes=resident,
            page_faults=int(columns[7]),
            major_page_faults=int(columns[9]),
        )
        return cpu, memory, booted + int(columns[19]) * _TICK_NANOSECONDS

    def _processes(self, now: int) -> Processes:
        running = int(self._text("loadavg").split()[3].partition("/")[2])
        return Processes(now, maximum=int(self._text("sys/kernel/pid_max")), running=running)

    def _meminfo(self) -> dict[str, int]:
        """Bytes by name."""
        found: dict[str, int] = {}
        for line in self._lines("meminfo"):
            name, _, value = line.partition(":")
            found[name] = int(value.split()[0]) * 1024
        return found

    def _read_machine(self, etc: Path) -> Machine:
        release = _text_if_there(etc / "os-release")
        pretty = [line.partition("=")[2].strip('"') for line in release.splitlines() if line.startswith("PRETTY_NAME=")]
        return Machine(
            cores=len(os.sched_getaffinity(0)),
            memory_bytes=self._meminfo()["MemTotal"],
            boot_id=_text_if_there(self._proc / "sys/kernel/random/boot_id").strip(),
            machine_id=_text_if_there(etc / "machine-id").strip(),
            system_uuid=_text_if_there(Path("/sys/class/dmi/id/product_uuid")).strip(),
            kernel_version=platform.release(),
            os_version=pretty[0] if pretty else "",
        )

    def _text(self, name: str) -> str:
        return (self._proc / name).read_text()

    def _lines(self, name: str) -> list[str]:
        return self._text(name).splitlines()


def _processor(now: int, columns: str) -> CpuStats:
    ticks = [int(column) for column in columns.split()]
    user, nice, system = ticks[:3]
    return CpuStats(
        timestamp=now,
        usage_core_nanoseconds=sum(ticks[column] for column in _BUSY_COLUMNS) * _TICK_NANOSECONDS,
        user_nanoseconds=(user + nice) * _TICK_NANOSECONDS,
        system_nanoseconds=system * _TICK_NANOSECONDS,
    )


def read_interfaces(lines: list[str]) -> list[NetworkInterfaceStats]:
    """/proc/net/dev without loopback and the pods' ends of their cables, as cAdvisor."""
    found: list[NetworkInterfaceStats] = []
    for line in lines[2:]:
        name, _, counters = line.partition(":")
        if name.strip().startswith(_NO_INTERFACES_OF_A_NODE):
            continue
        values = [int(value) for value in counters.split()]
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
    return found


def filesystem_of(path: Path, now: int) -> DiskUse:
    """A whole filesystem: what is used is what is not free."""
    room = os.statvfs(path)
    return DiskUse(
        timestamp=now,
        used_bytes=(room.f_blocks - room.f_bfree) * room.f_frsize,
        inodes_used=room.f_files - room.f_ffree,
        available_bytes=room.f_bavail * room.f_frsize,
        capacity_bytes=room.f_blocks * room.f_frsize,
        inodes_free=room.f_ffree,
        inodes=room.f_files,
    )


def on_its_filesystem(usage: FilesystemUsage) -> DiskUse | None:
    """What the runtime measured, with the room there is. None: the place is gone."""
    try:
        room = os.statvfs(usage.mountpoint)
    except OSError:
        return None
    return DiskUse(
        timestamp=usage.timestamp,
        used_bytes=usage.used_bytes,
        inodes_used=usage.inodes_used,
        available_bytes=room.f_bavail * room.f_frsize,
        capacity_bytes=room.f_blocks * room.f_frsize,
        inodes_free=room.f_ffree,
        inodes=room.f_files,
    )


def _text_if_there(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
