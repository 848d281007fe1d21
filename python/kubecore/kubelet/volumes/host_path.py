"""hostPath: a path of the node, checked to be what the pod expects.

Source: https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from kubecore.kubelet.volumes.payload import VolumeFailure

_CHECKS: Mapping[str, tuple[Callable[[int], bool], str]] = {
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "Directory": (stat.S_ISDIR, "a directory"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "File": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def prepare(path: Path, kind: str) -> None:
    """Makes what may be made, refuses what is something else. Raises VolumeFailure, OSError."""
    exists = path.exists()
    if not exists and kind in ("", "DirectoryOrCreate"):
        # Without a type nothing is checked; the runtime needs something to mount.
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        return
    if not exists and kind == "FileOrCreate":
        path.touch(mode=0o644)
        return
    if not kind:
        return
    if kind not in _CHECKS:
        raise VolumeFailure(f"{kind} is an invalid volume type")
    is_kind, words = _CHECKS[kind]
    if not exists or not is_kind(path.stat().st_mode):
        raise VolumeFailure(f"hostPath type check failed: {path} is not {words}")
