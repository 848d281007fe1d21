"""Control groups, version 1 and 2, behind one small interface: make, limit, read, kill, remove.

A cgroup is named by its path below every controller's root (`/kubepods/burstable/pod1234`), the same in both versions. In
version 1 each controller has a hierarchy of its own and the path exists in each that we use; in version 2 there is one, and
the controllers are switched on from the root down to the path's parent. Which of the two a machine has is read from its
mounts by `detect`. Calls are synchronous: a cgroup's files are memory, each costs some microseconds.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from kubecore.kubelet.runtimes.protocol import LinuxResources

_NO_LIMIT_FROM = 1 << 62
_TICK_NANOSECONDS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_KILL_ROUNDS_MAX = 100
_KILL_PAUSE_SECONDS = 0.01


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a cgroup and all below it have used. `memory_limit_bytes` 0: none. Times in nanoseconds, counters from its making."""

    cpu_usage_nanoseconds: int = 0
    cpu_user_nanoseconds: int = 0
    cpu_system_nanoseconds: int = 0
    cpu_periods: int = 0
    cpu_throttled_periods: int = 0
    cpu_throttled_nanoseconds: int = 0
    memory_usage_bytes: int = 0
    memory_inactive_file_bytes: int = 0
    memory_rss_bytes: int = 0
    memory_cache_bytes: int = 0
    memory_mapped_file_bytes: int = 0
    memory_swap_bytes: int = 0
    memory_limit_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    process_count: int = 0

    @property
    def memory_working_set_bytes(self) -> int:
        return max(0, self.memory_usage_bytes - self.memory_inactive_file_bytes)


class Cgroups(Protocol):
    """One machine's control groups."""

    version: int

    def make(self, path: str) -> None:
        """Makes it with its parents; it may exist already."""

    def limit(self, path: str, resources: LinuxResources) -> None:
        """Writes what is set in `resources`; the rest stays."""

    def kill_together(self, path: str) -> None:
        """When memory runs out the kernel ends all of it, not one process (version 2 only)."""

    def join_files(self, path: str) -> tuple[str, ...]:
        """The files into which a process writes `0` to be in this cgroup."""

    def directories(self, path: str) -> dict[str, str]:
        """Where the cgroup is seen, by the name of the directory below /sys/fs/cgroup ("" in version 2)."""

    def read(self, path: str) -> Figures: ...

    def oom_kills(self, path: str) -> int:
        """How many processes the kernel killed here because the memory limit was met."""

    def processes(self, path: str) -> list[int]:
        """The processes of this cgroup and of those below it."""

    def kill(self, path: str) -> None:
        """SIGKILL to everything in it and below; returns when nothing is left, or after a second."""

    def remove(self, path: str) -> bool:
        """Removes it and what is below. False: something still runs there."""

    def exists(self, path: str) -> bool: ...


class CgroupsV1:
    """`roots`: the mount point of each controller, by the controller's name; co-mounted ones (cpu,cpuacct) share it."""

    version = 1
    USED = ("cpu", "cpuacct", "memory", "pids")

    def __init__(self, roots: dict[str, str]) -> None:
        self._roots = roots
        self._hierarchies = list(dict.fromkeys(roots[name] for name in self.USED if name in roots))

    def make(self, path: str) -> None:
        for root in self._hierarchies:
            os.makedirs(_below(root, path), exist_ok=True)

    def limit(self, path: str, resources: LinuxResources) -> None:
        if resources.cpu_shares:
            self._write("cpu", path, "cpu.shares", resources.cpu_shares)
        if resources.cpu_period:
            self._write("cpu", path, "cpu.cfs_period_us", resources.cpu_period)
        if resources.cpu_quota:
            self._write("cpu", path, "cpu.cfs_quota_us", resources.cpu_quota)
        if resources.memory_limit_bytes:
            self._write("memory", path, "memory.limit_in_bytes", resources.memory_limit_bytes)
        if resources.pids_limit:
            self._write("pids", path, "pids.max", "max" if resources.pids_limit < 0 else resources.pids_limit)
        if resources.cpuset_cpus or resources.cpuset_mems:
            self._limit_cpuset(path, resources)

    def kill_together(self, path: str) -> None:
        """The kernel's version 1 has no such thing."""

    def join_files(self, path: str) -> tuple[str, ...]:
        cpuset = self._roots.get("cpuset", "")
        in_cpuset = cpuset and os.path.isdir(_below(cpuset, path))
        hierarchies = [*self._hierarchies, *([cpuset] if in_cpuset else [])]
        return tuple(_below(root, path, "cgroup.procs") for root in hierarchies)

    def directories(self, path: str) -> dict[str, str]:
        return {os.path.basename(root): _below(root, path) for root in self._hierarchies}

    def read(self, path: str) -> Figures:
        memory = _table(self._file("memory", path, "memory.stat"))
        limit = memory.get("hierarchical_memory_limit", 0)
        cpu, ticks = _table(self._file("cpu", path, "cpu.stat")), _table(self._file("cpuacct", path, "cpuacct.stat"))
        return Figures(
            cpu_usage_nanoseconds=_number(self._file("cpuacct", path, "cpuacct.usage")),
            cpu_user_nanoseconds=ticks.get("user", 0) * _TICK_NANOSECONDS,
            cpu_system_nanoseconds=ticks.get("system", 0) * _TICK_NANOSECONDS,
            cpu_periods=cpu.get("nr_periods", 0),
            cpu_throttled_periods=cpu.get("nr_throttled", 0),
            cpu_throttled_nanoseconds=cpu.get("throttled_time", 0),
            memory_usage_bytes=_number(self._file("memory", path, "memory.usage_in_bytes")),
            memory_inactive_file_bytes=memory.get("total_inactive_file", 0),
            memory_rss_bytes=memory.get("total_rss", 0),
            memory_cache_bytes=memory.get("total_cache", 0),
            memory_mapped_file_bytes=memory.get("total_mapped_file", 0),
            memory_swap_bytes=memory.get("total_swap", 0),
            memory_limit_bytes=limit if limit < _NO_LIMIT_FROM else 0,
            page_faults=memory.get("total_pgfault", 0),
            major_page_faults=memory.get("total_pgmajfault", 0),
            process_count=_number(self._file("pids", path, "pids.current")),
        )

    def oom_kills(self, path: str) -> int:
        return _table(self._file("memory", path, "memory.oom_control")).get("oom_kill", 0)

    def processes(self, path: str) -> list[int]:
        return _processes(_below(self._hierarchies[-1], path)) if self._hierarchies else []

    def kill(self, path: str) -> None:
        _kill_until_gone(lambda: self.processes(path))

    def remove(self, path: str) -> bool:
        cpuset = self._roots.get("cpuset", "")
        hierarchies = [*self._hierarchies, *([cpuset] if cpuset else [])]
        return all([_remove(_below(root, path)) for root in hierarchies])

    def exists(self, path: str) -> bool:
        return any(os.path.isdir(_below(root, path)) for root in self._hierarchies)

    def _limit_cpuset(self, path: str, resources: LinuxResources) -> None:
        """A new cpuset is empty, and nothing can join an empty one: each level gets its parent's first."""
        root = self._roots["cpuset"]
        directory = Path(root)
        for part in Path(path.strip("/")).parts:
            parent, directory = directory, directory / part
            directory.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not (directory / name).read_text().strip():
                    (directory / name).write_text((parent / name).read_text())
        for name, value in (("cpuset.cpus", resources.cpuset_cpus), ("cpuset.mems", resources.cpuset_mems)):
            if value:
                (directory / name).write_text(value)

    def _file(self, controller: str, path: str, name: str) -> str:
        return _below(self._roots[controller], path, name) if controller in self._roots else ""

    def _write(self, controller: str, path: str, name: str, value: int | str) -> None:
        if controller in self._roots:
            _write(self._file(controller, path, name), value)


class CgroupsV2:
    """The unified hierarchy, mounted at `root`."""

    version = 2
    CONTROLLERS = ("cpu", "memory", "pids", "cpuset")

    def __init__(self, root: str) -> None:
        self._root = root

    def make(self, path: str) -> None:
        """Controllers reach a cgroup only if every one above it hands them down."""
        directory = Path(self._root)
        for part in Path(path.strip("/")).parts:
            self._hand_down(directory)
            directory = directory / part
            directory.mkdir(exist_ok=True)

    def limit(self, path: str, resources: LinuxResources) -> None:
        if resources.cpu_shares:
            self._write(path, "cpu.weight", weight_of(resources.cpu_shares))
        if resources.cpu_quota or resources.cpu_period:
            quota = resources.cpu_quota if resources.cpu_quota > 0 else "max"
            self._write(path, "cpu.max", f"{quota} {resources.cpu_period or 100_000}")
        if resources.memory_limit_bytes:
            limit = resources.memory_limit_bytes
            self._write(path, "memory.max", "max" if limit < 0 else limit)
        if resources.pids_limit:
            self._write(path, "pids.max", "max" if resources.pids_limit < 0 else resources.pids_limit)
        if resources.cpuset_cpus:
            self._write(path, "cpuset.cpus", resources.cpuset_cpus)
        if resources.cpuset_mems:
            self._write(path, "cpuset.mems", resources.cpuset_mems)

    def kill_together(self, path: str) -> None:
        self._write(path, "memory.oom.group", 1)

    def join_files(self, path: str) -> tuple[str, ...]:
        return (_below(self._root, path, "cgroup.procs"),)

    def directories(self, path: str) -> dict[str, str]:
        return {"": _below(self._root, path)}

    def read(self, path: str) -> Figures:
        cpu = _table(_below(self._root, path, "cpu.stat"))
        memory = _table(_below(self._root, path, "memory.stat"))
        return Figures(
            cpu_usage_nanoseconds=cpu.get("usage_usec", 0) * 1000,
            cpu_user_nanoseconds=cpu.get("user_usec", 0) * 1000,
            cpu_system_nanoseconds=cpu.get("system_usec", 0) * 1000,
            cpu_periods=cpu.get("nr_periods", 0),
            cpu_throttled_periods=cpu.get("nr_throttled", 0),
            cpu_throttled_nanoseconds=cpu.get("throttled_usec", 0) * 1000,
            memory_usage_bytes=_number(_below(self._root, path, "memory.current")),
            memory_inactive_file_bytes=memory.get("inactive_file", 0),
            memory_rss_bytes=memory.get("anon", 0),
            memory_cache_bytes=memory.get("file", 0),
            memory_mapped_file_bytes=memory.get("file_mapped", 0),
            memory_swap_bytes=_number(_below(self._root, path, "memory.swap.current")),
            memory_limit_bytes=_number(_below(self._root, path, "memory.max")),
            page_faults=memory.get("pgfault", 0),
            major_page_faults=memory.get("pgmajfault", 0),
            process_count=_number(_below(self._root, path, "pids.current")),
        )

    def oom_kills(self, path: str) -> int:
        return _table(_below(self._root, path, "memory.events")).get("oom_kill", 0)

    def processes(self, path: str) -> list[int]:
        return _processes(_below(self._root, path))

    def kill(self, path: str) -> None:
        _write_if_there(_below(self._root, path, "cgroup.kill"), "1")
        _kill_until_gone(lambda: self.processes(path))

    def remove(self, path: str) -> bool:
        return _remove(_below(self._root, path))

    def exists(self, path: str) -> bool:
        return os.path.isdir(_below(self._root, path))

    def _hand_down(self, directory: Path) -> None:
        offered = (directory / "cgroup.controllers").read_text().split()
        handed = (directory / "cgroup.subtree_control").read_text().split()
        for name in self.CONTROLLERS:
            if name in offered and name not in handed:
                _write(str(directory / "cgroup.subtree_control"), f"+{name}")

    def _write(self, path: str, name: str, value: int | str) -> None:
        _write_if_there(_below(self._root, path, name), value)


def weight_of(shares: int) -> int:
    """Version 2's weight (1 to 10,000) for version 1's shares (2 to 262,144)."""
    return 1 + (max(2, min(shares, 262_144)) - 2) * 9_999 // 262_142


def detect(mountinfo: str | None = None) -> Cgroups:
    """This machine's control groups. `mountinfo`: the text of /proc/self/mountinfo, for tests."""
    roots: dict[str, str] = {}
    unified = ""
    for mount_point, kind, options in _cgroup_mounts(mountinfo or Path("/proc/self/mountinfo").read_text()):
        if kind == "cgroup2":
            unified = mount_point
        else:
            roots.update(dict.fromkeys((name for name in options if "=" not in name), mount_point))
    if "memory" in roots or "cpu" in roots:
        return CgroupsV1(roots)
    if unified:
        return CgroupsV2(unified)
    raise OSError(errno.ENOSYS, "no control groups are mounted below /sys/fs/cgroup")


def _cgroup_mounts(mountinfo: str) -> Iterator[tuple[str, str, list[str]]]:
    """(mount point, cgroup or cgroup2, the superblock's options)"""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        if kind in ("cgroup", "cgroup2"):
            yield before.split()[4], kind, rest.split()[-1].split(",")


def _below(root: str, path: str, *names: str) -> str:
    return os.path.join(root, path.strip("/"), *names)


def _write(file: str, value: int | str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(handle, str(value).encode())
    finally:
        os.close(handle)


def _write_if_there(file: str, value: int | str) -> None:
    try:
        _write(file, value)
    except FileNotFoundError:
        return


def _text(file: str) -> str:
    """What is in it; "" for a cgroup that has gone meanwhile, or a controller that this machine has not."""
    if not file:
        return ""
    try:
        handle = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return ""
    try:
        return os.read(handle, 1 << 16).decode()
    except OSError as failed:
        if failed.errno == errno.ENODEV:
            return ""
        raise
    finally:
        os.close(handle)


def _number(file: str) -> int:
    text = _text(file).strip()
    return int(text) if text.isdigit() else 0


def _table(file: str) -> dict[str, int]:
    rows = (line.split() for line in _text(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _processes(directory: str) -> list[int]:
    found: list[int] = []
    for folder, _, _ in os.walk(directory):
        found += [int(line) for line in _text(os.path.join(folder, "cgroup.procs")).split()]
    return found


def _kill_until_gone(processes: Callable[[], list[int]]) -> None:
    """A process may fork while its siblings are killed: again until none is seen."""
    for _ in range(_KILL_ROUNDS_MAX):
        found = processes()
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(_KILL_PAUSE_SECONDS)


def _remove(directory: str) -> bool:
    for folder, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError as failed:
            if failed.errno == errno.EBUSY:
                return False
            raise
    return True
