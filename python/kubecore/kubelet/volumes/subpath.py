"""subPath: a part of a volume, mounted by the kubelet so that nothing a container does to the volume leads out of it.

In: a volume's directory, a relative path in it. Out: a bind mount of what that path was when it was opened. The path is
opened below the volume; links in it may lead elsewhere in the volume, never out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from kubecore.kubelet.volumes.mounts import Mounter, open_beneath


class SubPathFailure(Exception):
    """The path is not there to be had. The message says nothing of the node's files."""


def checked(path: str) -> str:
    """Raises SubPathFailure if the pod's own text is bad; what links do is seen on opening."""
    if path.startswith("/"):
        raise SubPathFailure(f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise SubPathFailure(f"unable to provision SubPath `{path}`: must not contain '..'")
    return path


def prepare(mounter: Mounter, volume: Path, path: str, target: Path) -> None:
    """The part of the volume is mounted at `target`; a directory is made if nothing is there. Raises OSError."""
    root = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        opened = _open_or_make(root, path)
        try:
            _bind(mounter, opened, target)
        finally:
            os.close(opened)
    finally:
        os.close(root)


def read_text(volume: Path, path: str) -> str:
    """A file of the volume, opened as safely. Raises OSError, UnicodeDecodeError."""
    root = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(open_beneath(root, checked(path), os.O_RDONLY), encoding="utf-8") as file:
            return file.read()
    finally:
        os.close(root)


def _open_or_make(root: int, path: str) -> int:
    try:
        return open_beneath(root, path, os.O_PATH)
    except FileNotFoundError:
        pass
    mode = stat.S_IMODE(os.fstat(root).st_mode) & (0o777 | stat.S_ISGID)
    parent, relative = os.dup(root), ""
    try:
        for part in path.split("/"):
            if part in ("", "."):
                continue
            relative = f"{relative}/{part}" if relative else part
            following = _open_or_make_one(root, parent, relative, part, mode)
            os.close(parent)
            parent = following
    except BaseException:
        os.close(parent)
        raise
    return parent


def _open_or_make_one(root: int, parent: int, relative: str, name: str, mode: int) -> int:
    try:
        return open_beneath(root, relative, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    # In the directory that is open, not in what its path says by now. A dangling link in the way is refused.
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    made = open_beneath(parent, name, flags)
    os.fchmod(made, mode)
    return made


def _bind(mounter: Mounter, opened: int, target: Path) -> None:
    source = os.fstat(opened)
    if stat.S_ISLNK(source.st_mode):
        raise OSError(errno.ELOOP, "the subPath is a link that leads nowhere", str(target))
    if target in mounter.below(target):
        mounted = target.stat()
        if (mounted.st_dev, mounted.st_ino) == (source.st_dev, source.st_ino):
            return
        mounter.unmount(target)
    target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if stat.S_ISDIR(source.st_mode):
        if target.exists() and not target.is_dir():
            target.unlink()
        target.mkdir(mode=0o750, exist_ok=True)
    else:
        if target.is_dir():
            target.rmdir()
        target.touch(mode=0o640)
    mounter.bind(opened, target)
