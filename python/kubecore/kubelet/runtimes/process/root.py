"""A container's root: the image's layers under an overlay, /proc, /sys and /dev of its own, and the pod's mounts.

In: a `Root`, in the forked child, which is still in the node's mount namespace. Out: a mount namespace in which `/` is the
container's. Sources are opened as detached mounts before the namespace changes, and put in place after the root has: so a
link inside an image cannot point a mount outside of it, and a source is what it was when it was opened.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios
from dataclasses import dataclass

from kubecore.kubelet.runtimes.process import syscalls
from kubecore.kubelet.runtimes.process.syscalls import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
)
from kubecore.kubelet.runtimes.protocol import Mount, MountPropagation

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_PROPAGATION = {
    MountPropagation.PRIVATE: MS_PRIVATE,
    MountPropagation.HOST_TO_CONTAINER: MS_SLAVE,
    MountPropagation.BIDIRECTIONAL: MS_SHARED,
}
_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430


@dataclass(frozen=True, kw_only=True)
class Root:
    """`layers`: the image's directories, top first, relative to `directory` or absolute. `upper` and `work`: what the container writes.
    `mountpoint`: an empty directory. `cgroups`: directory on the node by its name below /sys/fs/cgroup."""

    directory: str
    mountpoint: str
    layers: tuple[str, ...]
    upper: str
    work: str
    readonly: bool = False
    privileged: bool = False
    shm: str = ""
    mounts: tuple[Mount, ...] = ()
    cgroups: tuple[tuple[str, str], ...] = ()
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()


def enter(root: Root) -> None:
    opened = [(each, _open(each, root)) for each in _parents_first(root.mounts)]
    devices = (
        [] if root.privileged else [(name, syscalls.open_tree(f"/dev/{name}", recursive=False)) for name in DEVICES]
    )
    node_devices = syscalls.open_tree("/dev") if root.privileged else -1
    shm = syscalls.open_tree(root.shm, recursive=False)
    cgroups = [(name, _open_cgroup(path, root)) for name, path in root.cgroups]
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWCGROUP)
    syscalls.mount("", "/", "", MS_REC | MS_PRIVATE)
    _mount_layers(root)
    os.chdir(root.mountpoint)
    syscalls.pivot_root_here()
    os.chdir("/")
    _mount_kernel_files(root)
    _mount_devices(devices, node_devices, shm)
    _mount_cgroups(cgroups)
    for mount, handle in opened:
        _place(handle, mount.container_path, is_directory=stat.S_ISDIR(os.fstat(handle).st_mode))
    if not root.privileged:
        _restrict(root)
    if root.readonly:
        _set_on("/", MOUNT_ATTR_RDONLY)


def unlock_terminal(controller: int) -> int:
    """The number of the terminal that belongs to this end."""
    fcntl.ioctl(controller, _TIOCSPTLCK, struct.pack("i", 0))
    number: int = struct.unpack("i", fcntl.ioctl(controller, _TIOCGPTN, struct.pack("i", 0)))[0]
    return number


def take_controlling_terminal(terminal: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def _parents_first(mounts: tuple[Mount, ...]) -> list[Mount]:
    """/data before /data/cache, else the first would hide the second."""
    return sorted(mounts, key=lambda each: os.path.normpath(each.container_path).count("/"))


def _open(mount: Mount, root: Root) -> int:
    try:
        handle = syscalls.open_tree(mount.host_path)
    except FileNotFoundError as missing:
        message = f'failed to stat "{mount.host_path}": no such file or directory'
        raise FileNotFoundError(errno.ENOENT, message) from missing
    if mount.propagation is not MountPropagation.BIDIRECTIONAL:
        syscalls.set_mount_attributes(handle, propagation=_PROPAGATION[mount.propagation], recursive=True)
    if not root.privileged:
        syscalls.set_mount_attributes(handle, set_flags=MOUNT_ATTR_NODEV, recursive=False)
    if mount.readonly:
        syscalls.set_mount_attributes(handle, set_flags=MOUNT_ATTR_RDONLY, recursive=mount.recursive_read_only)
    return handle


def _open_cgroup(path: str, root: Root) -> int:
    handle = syscalls.open_tree(path, recursive=False)
    flags = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC
    syscalls.set_mount_attributes(
        handle, set_flags=flags | (0 if root.privileged else MOUNT_ATTR_RDONLY), propagation=MS_PRIVATE
    )
    return handle


def _mount_layers(root: Root) -> None:
    """The working directory shortens the layers' names: mount options end at a page."""
    os.chdir(root.directory)
    layers = ":".join(layer.replace("\\", "\\\\").replace(":", "\\:") for layer in root.layers)
    options = f"lowerdir={layers},upperdir={root.upper},workdir={root.work}"
    syscalls.mount("overlay", root.mountpoint, "overlay", 0 if root.privileged else MS_NODEV, options)


def _mount_kernel_files(root: Root) -> None:
    for path in ("/proc", "/sys", "/dev"):
        os.makedirs(path, exist_ok=True)
    hardened = MS_NOSUID | MS_NODEV | MS_NOEXEC
    syscalls.mount("proc", "/proc", "proc", hardened)
    syscalls.mount("sysfs", "/sys", "sysfs", hardened)
    if not root.privileged:
        # On the mount, not on the file system, which the pod's containers share.
        _set_on("/sys", MOUNT_ATTR_RDONLY)


def _mount_devices(devices: list[tuple[str, int]], node_devices: int, shm: int) -> None:
    if node_devices >= 0:
        syscalls.set_mount_attributes(node_devices, propagation=MS_PRIVATE, recursive=True)
        syscalls.move_mount(node_devices, "/dev")
    else:
        # Nothing can be made in here that works: the devices that do are mounts of the node's.
        syscalls.mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=65536k")
        for name, handle in devices:
            _place(handle, f"/dev/{name}", is_directory=False)
        for name, target in _LINKS.items():
            os.symlink(target, f"/dev/{name}")
    for path in ("/dev/pts", "/dev/shm", "/dev/mqueue"):
        os.makedirs(path, exist_ok=True)
    syscalls.mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    if node_devices >= 0 and not os.path.islink("/dev/ptmx"):
        _place(syscalls.open_tree("/dev/pts/ptmx", recursive=False), "/dev/ptmx", is_directory=False)
    syscalls.move_mount(shm, "/dev/shm")
    syscalls.mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _mount_cgroups(cgroups: list[tuple[str, int]]) -> None:
    if not cgroups or not os.path.isdir("/sys/fs/cgroup"):
        return
    names = [name for name, _ in cgroups]
    if names != [""]:
        syscalls.mount("tmpfs", "/sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=64k")
    for name, handle in cgroups:
        target = f"/sys/fs/cgroup/{name}".rstrip("/")
        os.makedirs(target, exist_ok=True)
        syscalls.move_mount(handle, target)
    if names != [""]:
        _set_on("/sys/fs/cgroup", MOUNT_ATTR_RDONLY)


def _place(handle: int, path: str, *, is_directory: bool) -> None:
    """The mount point is made if it is missing, in what the container writes."""
    path = os.path.realpath(path)
    if is_directory:
        os.makedirs(path, exist_ok=True)
    elif not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o644))
    syscalls.move_mount(handle, path)
    os.close(handle)


def _restrict(root: Root) -> None:
    """Masked: an empty directory or /dev/null in its place. Read-only: a mount of itself. What is not there needs neither."""
    for path in root.masked_paths:
        if os.path.isdir(path):
            syscalls.mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0,nr_inodes=2")
        elif os.path.exists(path):
            syscalls.move_mount(syscalls.open_tree("/dev/null", recursive=False), path)
    for path in root.readonly_paths:
        if os.path.exists(path):
            handle = syscalls.open_tree(path)
            syscalls.set_mount_attributes(handle, set_flags=MOUNT_ATTR_RDONLY, recursive=True)
            syscalls.move_mount(handle, path)
            os.close(handle)


def _set_on(path: str, flags: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    syscalls.set_mount_attributes(handle, set_flags=flags)
    os.close(handle)
