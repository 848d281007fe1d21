"""The system calls that Python has no function for: namespaces, mounts, capabilities. Linux on x86-64 and aarch64.

Each wrapper raises OSError with the errno and the path that it was about. Nothing here imports more than ctypes, and all
symbols are looked up when the module is loaded: a forked child may call any of them.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC = 4096, 16384
MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 18, 1 << 19, 1 << 20
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8

_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOVE_MOUNT_T_SYMLINKS = 0x10

_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

# The same numbers on both machines since 5.0; pivot_root is older and differs.
_SYS_OPEN_TREE = 428
_SYS_CLOSE_RANGE = 436
_SYS_MOVE_MOUNT = 429
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine, 155)

_libc = ctypes.CDLL(None, use_errno=True)
_mount = _libc.mount
_mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_umount2 = _libc.umount2
_umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_unshare = _libc.unshare
_unshare.argtypes = [ctypes.c_int]
_setns = _libc.setns
_setns.argtypes = [ctypes.c_int, ctypes.c_int]
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
_capset = _libc.capset
_capset.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def _check(result: int, *about: object) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *(str(each) for each in about[:1]))
    return result


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    result = _mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() or None,
        flags,
        os.fsencode(options) if options else None,
    )
    _check(result, target)


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    _check(_umount2(os.fsencode(target), flags), target)


def unshare(flags: int) -> None:
    _check(_unshare(flags), "unshare")


def setns(handle: int, flags: int) -> None:
    """`handle` of a namespace's file, or a pidfd with any set of flags."""
    _check(_setns(handle, flags), "setns")


def pivot_root_here() -> None:
    """The working directory becomes the root; what was the root is taken off."""
    _check(_syscall(_SYS_PIVOT_ROOT, b".", b"."), "pivot_root")
    unmount(".")


def open_tree(path: str, *, recursive: bool = True) -> int:
    """A detached copy of the mounts at `path`, as a file handle."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return _check(_syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags), path)


def set_mount_attributes(handle: int, *, set_flags: int = 0, propagation: int = 0, recursive: bool = False) -> None:
    """On the mount that `handle` came from (`open_tree`, or an open directory at its root)."""
    attributes = struct.pack("=QQQQ", set_flags, 0, propagation, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    _check(_syscall(_SYS_MOUNT_SETATTR, handle, b"", flags, attributes, len(attributes)), "mount_setattr")


def move_mount(handle: int, target: str) -> None:
    """Puts a detached mount in place; symlinks of `target` are followed below the caller's root."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_SYMLINKS
    _check(_syscall(_SYS_MOVE_MOUNT, handle, b"", _AT_FDCWD, os.fsencode(target), flags), target)


def close_handles(first: int, last: int = 0xFFFFFFFF) -> None:
    """All from the first to the last that are open."""
    if first <= last:
        _check(_syscall(_SYS_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), 0), "close_range")


def set_process_name(name: str) -> None:
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _check(_prctl(_PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0), "prctl")


def set_undumpable() -> None:
    """Nobody looks into this process through /proc (its executable is the node's) until it executes another."""
    _check(_prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def set_no_new_privileges() -> None:
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def drop_from_bounding_set(numbers: Iterable[int]) -> None:
    for number in numbers:
        _check(_prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "prctl")


def set_capabilities(mask: int) -> None:
    """Effective and permitted; nothing is inheritable or ambient."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_capset(header, struct.pack("=IIIIII", low, low, 0, high, high, 0)), "capset")
