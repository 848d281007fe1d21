"""A cluster's name on this box: whose namespaces, cgroups and sockets are whose, and the sweeping of those whose owner is dead.

A name is owned by holding a lock on /run/kubecore/NAME.lock: the kernel lets go of it however its owner ends, so that
"is it alive" is never a guess. The first name is `kubecore`, the next living cluster's `kubecore-2`, and so on.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from kubecore.cluster.machines import namespaces

FIRST = "kubecore"
NAMES_MAX = 64
DIRECTORY = Path("/run/kubecore")
CGROUPS = "kubecore"
"""Below every controller's root: /kubecore/NAME/NODE."""
KILL_SECONDS = 5.0


class Claim:
    """Held until `release`. `directory` is for sockets: short, and gone with the cluster."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor

    @property
    def directory(self) -> Path:
        return DIRECTORY / self.name

    def cgroup(self, node: str) -> str:
        """As a path below every controller's root."""
        return f"/{CGROUPS}/{self.name}/{node}"

    def release(self) -> None:
        """Removes what bears the name, then gives it back."""
        sweep_name(self.name)
        _lock_path(self.name).unlink(missing_ok=True)
        os.close(self._descriptor)
        remove_if_empty(DIRECTORY)


def claim(wanted: str = FIRST) -> Claim:
    """The first name that no living cluster has, its leftovers swept; and those of every other dead one. Raises OSError."""
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep()
    for number in range(1, NAMES_MAX + 1):
        name = wanted if number == 1 else f"{wanted}-{number}"
        descriptor = _lock(name)
        if descriptor is not None:
            made = Claim(name, descriptor)
            made.directory.mkdir(mode=0o700, exist_ok=True)
            return made
    raise OSError(f"{NAMES_MAX} clusters with real nodes already run on this machine")


def sweep() -> list[str]:
    """Removes what clusters left behind whose owner is dead; gives their names."""
    swept = []
    for path in sorted(DIRECTORY.glob("*.lock")):
        name = path.stem
        descriptor = _lock(name)
        if descriptor is not None:
            sweep_name(name)
            path.unlink(missing_ok=True)
            os.close(descriptor)
            swept.append(name)
    return swept


def sweep_name(name: str) -> None:
    """Everything that bears a name that we hold: processes, cgroups, namespaces (with their links, routes, rules), sockets."""
    cgroup_paths = [root / CGROUPS / name for root in hierarchies()]
    _kill(cgroup_paths)
    for path in cgroup_paths:
        remove_cgroup(path)
        remove_if_empty(path.parent)
    mine = re.compile(rf"{re.escape(name)}-(fabric|outside|node-\d+)")
    for namespace in namespaces.names():
        if mine.fullmatch(namespace):
            namespaces.remove(namespace)
    shutil.rmtree(DIRECTORY / name, ignore_errors=True)


def hierarchies() -> list[Path]:
    """Where each cgroup hierarchy of this box is mounted: one (v2), or one for each v1 controller."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split()[0] in ("cgroup", "cgroup2"):
            found.append(Path(fields.split()[4]))
    return found


def join_cgroup(cgroup: str, pid: int) -> None:
    """Makes a cgroup in every hierarchy and moves a process there, so that its children begin there."""
    for root in hierarchies():
        path = root / cgroup.lstrip("/")
        _make(root, path)
        (path / "cgroup.procs").write_text(str(pid))


def remove_cgroup(path: Path) -> None:
    """With all below it; its processes have ended. What is busy all the same stays, for the next sweep."""
    if not path.is_dir():
        return
    for directory, _, _ in os.walk(path, topdown=False):
        deadline = time.monotonic() + KILL_SECONDS
        # A cgroup is busy for a moment after its last process has been waited for.
        while not remove_if_empty(Path(directory)) and time.monotonic() < deadline:
            time.sleep(0.01)


def remove_if_empty(path: Path) -> bool:
    """False if it is not empty (or busy)."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _make(root: Path, path: Path) -> None:
    """A new cpuset takes nobody in before it has processors and memory: they are its parent's."""
    parts = path.relative_to(root).parts
    for depth in range(1, len(parts) + 1):
        made = root.joinpath(*parts[:depth])
        made.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (made / name).exists() and not (made / name).read_text().strip():
                (made / name).write_text((made.parent / name).read_text())


def _kill(cgroup_paths: list[Path]) -> None:
    """Every process in them. There is none, unless the kernel has not yet come to the end of a dead cluster."""
    deadline = time.monotonic() + KILL_SECONDS
    while (pids := set(_members(cgroup_paths))) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


def _members(cgroup_paths: list[Path]) -> Iterator[int]:
    for path in cgroup_paths:
        for directory, _, _ in os.walk(path):
            try:
                yield from map(int, Path(directory, "cgroup.procs").read_text().split())
            except FileNotFoundError:
                continue


def _lock_path(name: str) -> Path:
    return DIRECTORY / f"{name}.lock"


def _lock(name: str) -> int | None:
    """An open file that holds the lock; None if a living cluster has it."""
    path = _lock_path(name)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        try:
            same = os.stat(path).st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            same = False
        if same:
            return descriptor
        # Its former owner took the file away while we opened it.
        os.close(descriptor)
