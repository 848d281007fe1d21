"""What volumes ask of the kernel: tmpfs, bind mounts of open files, unmounting, and opening a path that cannot leave a
directory.

Paths that a container may change are never given to the kernel as text: they are opened below a directory with
`openat2(RESOLVE_BENEATH)`, and what was opened is mounted (`open_tree`, `move_mount`), so that a link swapped in
between leads nowhere. Source: openat2(2), open_tree(2), move_mount(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Protocol

_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_OPENAT2 = 437
"""The same on every architecture: all calls from 424 on are."""

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Mounter(Protocol):
    """The kernel, or a test's stand-in."""

    def tmpfs(self, path: Path, *, size_bytes: int) -> None:
        """0: as large as the kernel lets it."""
        ...

    def bind(self, descriptor: int, target: Path) -> None:
        """What the descriptor has open appears at `target` too."""
        ...

    def is_mount(self, path: Path) -> bool:
        """Whether a filesystem of its own is mounted there."""
        ...

    def below(self, directory: Path) -> list[Path]:
        """Mount points at or below the directory, the innermost and newest first."""
        ...

    def unmount(self, path: Path) -> None: ...


class LinuxMounter:
    """The mount namespace of the calling thread."""

    def tmpfs(self, path: Path, *, size_bytes: int) -> None:
        size = f"size={size_bytes}" if size_bytes else ""
        try:
            _mount("tmpfs", path, "tmpfs", ",".join(filter(None, (size, "noswap"))))
        except OSError as failure:
            if failure.errno != errno.EINVAL:
                raise
            # Kernels before 6.4 cannot promise to keep it out of swap.
            _mount("tmpfs", path, "tmpfs", size)

    def bind(self, descriptor: int, target: Path) -> None:
        tree = _check(_libc.syscall(_SYS_OPEN_TREE, descriptor, b"", _OPEN_TREE_CLONE | _AT_EMPTY_PATH), target)
        try:
            text = os.fsencode(target)
            _check(_libc.syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, text, _MOVE_MOUNT_F_EMPTY_PATH), target)
        finally:
            os.close(tree)

    def is_mount(self, path: Path) -> bool:
        return os.path.ismount(path)

    def below(self, directory: Path) -> list[Path]:
        found = []
        with open("/proc/thread-self/mountinfo", "rb") as lines:
            for line in lines:
                point = Path(os.fsdecode(line.split(b" ")[4].decode("unicode_escape").encode("latin-1")))
                if point == directory or directory in point.parents:
                    found.append(point)
        # Later lines are newer; a mount is never older than the one that it is in.
        return list(reversed(found))

    def unmount(self, path: Path) -> None:
        if _libc.umount2(os.fsencode(path), _UMOUNT_NOFOLLOW) == 0:
            return
        failure = ctypes.get_errno()
        if failure == errno.EBUSY and _libc.umount2(os.fsencode(path), _UMOUNT_NOFOLLOW | _MNT_DETACH) == 0:
            # Somebody still has a file open: it goes when they close it.
            return
        if failure != errno.EINVAL:  # EINVAL: nothing is mounted there.
            raise OSError(failure, os.strerror(failure), str(path))


def _mount(source: str, target: Path, kind: str, options: str) -> None:
    result = _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(0), options.encode())
    _check(result, target)


def _check(result: int, path: Path) -> int:
    if result < 0:
        failure = ctypes.get_errno()
        raise OSError(failure, os.strerror(failure), str(path))
    return result


def open_beneath(directory: int, path: str, flags: int, mode: int = 0) -> int:
    """Opens a relative path; links may be followed but not out of the directory (OSError EXDEV)."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    while True:
        opened = _libc.syscall(_SYS_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if opened >= 0:
            return int(opened)
        failure = ctypes.get_errno()
        # EAGAIN: something was renamed meanwhile and the kernel could not be sure.
        if failure not in (errno.EAGAIN, errno.EINTR):
            raise OSError(failure, os.strerror(failure), path)
