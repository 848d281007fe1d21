"""What pods keep on disk: their volumes and their logs, measured by walking them, as `du` does.

Walking costs; so each pod is measured once in `MEASURED_EVERY_SECONDS`, as upstream, in a thread. Bound: `ENTRIES_MAX` directory
entries a walk; what lies beyond is not counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kubecore.kubelet.stats.node import filesystem_of
from kubecore.kubelet.stats.samples import DiskUse, PodKey

MEASURED_EVERY_SECONDS = 60.0
ENTRIES_MAX = 100_000
_BLOCK_BYTES = 512
"""`st_blocks` counts these, whatever the filesystem's own are."""

EPHEMERAL_PLUGINS = ("kubernetes.io~empty-dir",)
"""What counts against a pod's ephemeral storage, beside its logs and its containers' layers."""


@dataclass(frozen=True, slots=True)
class PodDisk:
    """One pod's volumes by name, logs by container, and what of both is ephemeral storage."""

    volumes: dict[str, DiskUse] = field(default_factory=dict)
    logs: dict[str, DiskUse] = field(default_factory=dict)
    ephemeral_bytes: int = 0
    ephemeral_inodes: int = 0


class PodDirectories:
    """Where pods keep things: upstream's directories below the kubelet's root and the log directory."""

    def __init__(self, *, root_directory: Path, log_directory: Path) -> None:
        self._root = root_directory
        self._logs = log_directory

    def measure(self, pod: PodKey, now: int) -> PodDisk:
        """Blocks: for a thread."""
        volumes: dict[str, DiskUse] = {}
        ephemeral_bytes = ephemeral_inodes = 0
        for plugin, path in self._volumes(pod):
            use = measure(path, now)
            if use is None:
                continue
            volumes[path.name] = use
            # A volume in memory is a mount of its own, and counts as memory.
            if plugin in EPHEMERAL_PLUGINS and not os.path.ismount(path):
                ephemeral_bytes += use.used_bytes
                ephemeral_inodes += use.inodes_used
        logs: dict[str, DiskUse] = {}
        for path in _directories(self._logs / f"{pod.namespace}_{pod.name}_{pod.uid}"):
            use = measure(path, now)
            if use is not None:
                logs[path.name] = use
                ephemeral_bytes += use.used_bytes
                ephemeral_inodes += use.inodes_used
        return PodDisk(volumes, logs, ephemeral_bytes, ephemeral_inodes)

    def _volumes(self, pod: PodKey) -> Iterator[tuple[str, Path]]:
        for plugin in _directories(self._root / "pods" / pod.uid / "volumes"):
            for volume in _directories(plugin):
                yield plugin.name, volume


def measure(path: Path, now: int) -> DiskUse | None:
    """A directory's own use and its filesystem's room; a mount point's use is its filesystem's. None: it is gone."""
    try:
        whole = filesystem_of(path, now)
        if os.path.ismount(path):
            return whole
        used_bytes, inodes = _walk(path)
    except OSError:
        return None
    return DiskUse(
        timestamp=now,
        used_bytes=used_bytes,
        inodes_used=inodes,
        available_bytes=whole.available_bytes,
        capacity_bytes=whole.capacity_bytes,
        inodes_free=whole.inodes_free,
        inodes=whole.inodes,
    )


def _walk(path: Path) -> tuple[int, int]:
    """(bytes, inodes), what has several names once, other filesystems left out."""
    own = path.lstat()
    used, inodes, seen = own.st_blocks * _BLOCK_BYTES, 1, set[int]()
    waiting = [str(path)]
    while waiting and inodes < ENTRIES_MAX:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:  # removed while we walk, or not ours to read
            continue
        with entries:
            for entry in entries:
                try:
                    stat = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.st_dev != own.st_dev or stat.st_ino in seen:
                    continue
                if stat.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                    seen.add(stat.st_ino)
                used += stat.st_blocks * _BLOCK_BYTES
                inodes += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return used, inodes


def _directories(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
