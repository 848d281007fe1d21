"""A cluster's name on this box: whose namespaces, cgroups and sockets are whose, and the sweeping of those whose owner is dead.

A name is owned by holding a lock on /run/kubecore/NAME.lock: the kernel lets go of it however its owner ends, so that
"is it alive" is never a guess. The first name is `kubecore`, the next living cluster's `kubecore-2`, and so on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
from pathlib import Path

from kubecore.cluster.machines import namespaces
from kubecore.kubelet import cgroups

FIRST = "kubecore"
NAMES_MAX = 64
DIRECTORY = Path("/run/kubecore")
DISKS = Path("/var/lib/kubecore")
"""Nodes' disks of clusters that keep nothing: on a real file system, as overlays need it."""
CGROUPS = "kubecore"
"""Below every controller's root: /kubecore/NAME/NODE."""
REMOVE_SECONDS = 5.0
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


class Claim:
    """Held until `release`. `directory` is for sockets: short, and gone with the cluster."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor

    @property
    def directory(self) -> Path:
        return DIRECTORY / self.name

    @property
    def disks(self) -> Path:
        """For a cluster that keeps nothing: gone with it."""
        return DISKS / self.name

    def cgroup(self, node: str) -> str:
        """As a path below every controller's root."""
        return f"/{CGROUPS}/{self.name}/{node}"

    def release(self) -> None:
        """Removes what bears the name, then gives it back."""
        sweep_name(self.name)
        _lock_path(self.name).unlink(missing_ok=True)
        os.close(self._descriptor)
        _remove_if_empty(DIRECTORY)


def claim(wanted: str = FIRST) -> Claim:
    """The first name that no living cluster has, its leftovers swept; and those of every other dead one. Raises OSError."""
    if not _NAME.fullmatch(wanted):
        # It becomes a part of paths, below which everything is removed.
        raise OSError(f"{wanted!r} is no name for a cluster: small letters, digits and '-', at most 40")
    sweep()
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(1, NAMES_MAX + 1):
        name = wanted if number == 1 else f"{wanted}-{number}"
        descriptor = _lock(name)
        if descriptor is not None:
            sweep_name(name)
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
    _remove_if_empty(DIRECTORY)
    return swept


def sweep_name(name: str) -> None:
    """Everything that bears a name that we hold: processes, cgroups, namespaces (with links, routes, rules), sockets, disks."""
    remove_cgroup(f"/{CGROUPS}/{name}")
    for directory in cgroups.detect().directories(f"/{CGROUPS}").values():
        # The last cluster's; others keep theirs.
        _remove_if_empty(Path(directory))
    mine = re.compile(rf"{re.escape(name)}-(fabric|outside|node-\d+)")
    for namespace in namespaces.names():
        if mine.fullmatch(namespace):
            namespaces.remove(namespace)
    for place in (DIRECTORY, DISKS):
        shutil.rmtree(place / name, ignore_errors=True)
    _remove_if_empty(DISKS)


def remove_cgroup(path: str) -> None:
    """With all below it, and what runs there. What is busy all the same stays for the next sweep."""
    groups = cgroups.detect()
    groups.kill(path)
    deadline = time.monotonic() + REMOVE_SECONDS
    # A cgroup is busy for a moment after its last process has been waited for.
    while not groups.remove(path) and time.monotonic() < deadline:
        time.sleep(0.01)


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()


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
