"""The node's own root as an image: what containers may see of it, under an overlay of their own.

An overlay cannot have its writable side below one of its layers, and the node's root holds ours. So the root is mounted once,
read-only, as an overlay of its own with a mask on top; containers stack theirs on that. The mask hides what is the node's
alone: homes, temporary files, sockets, logs, keys, and the state of the runtime and the kubelet.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat
from pathlib import Path

from kubecore.kubelet.runtimes.process import syscalls

OVERLAY = "overlay"
_logger = logging.getLogger(__name__)

HIDDEN = (
    "/root",
    "/home",
    "/tmp",
    "/run",
    "/mnt",
    "/media",
    "/var/tmp",
    "/var/log",
    "/var/lib/kubelet",
    "/var/lib/kubecore",
    "/etc/kubernetes",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/ssh",
    "/etc/ssl/private",
)
"""What every host image hides. Directories are empty in their place, files are not there."""


def base_layers(root: Path, hidden: tuple[str, ...]) -> tuple[str, ...]:
    """The layers, relative to `root` (the runtime's directory) or absolute, of the node's root without `hidden`."""
    wanted = sorted({*HIDDEN, *hidden, str(root)})
    key = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:12]
    folder = root / "host" / key
    mask, merged = folder / "mask", folder / "merged"
    if not os.path.ismount(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # In memory: the mask must not be below the root that it masks either.
        syscalls.mount("mask", str(folder), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755")
        _draw_mask(mask, wanted)
        merged.mkdir()
        if file_system_of("/") != OVERLAY:
            syscalls.mount("overlay", str(merged), "overlay", syscalls.MS_RDONLY, f"lowerdir={mask}:/")

    if os.path.ismount(merged):
        return (str(merged.relative_to(root)),)
    # The node itself is a container: another overlay in between would be one more than the kernel stacks.
    return (str(mask.relative_to(root)), "/")


def keep_off_overlay(directory: Path) -> None:
    """What containers write cannot be in an overlay; a runtime whose directory is in one keeps it in memory."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o711)
    if file_system_of(str(directory)) == OVERLAY:
        _logger.warning("%s is in an overlay: what is below it is kept in memory", directory)
        syscalls.mount("kubecore", str(directory), "tmpfs", syscalls.MS_NODEV, "mode=711")


def file_system_of(path: str, mountinfo: str | None = None) -> str:
    """The kind of file system that a path is in."""
    wanted = os.path.realpath(path)
    found = ("", "")
    for line in (mountinfo or Path("/proc/self/mountinfo").read_text()).splitlines():
        before, _, after = line.partition(" - ")
        mount_point = before.split()[4]
        inside = mount_point == "/" or wanted == mount_point or wanted.startswith(mount_point + "/")
        if inside and len(mount_point) >= len(found[0]):
            # Of two at one place the later is on top.
            found = (mount_point, after.split()[0])
    return found[1]


def unmount_bases(root: Path) -> None:
    """When the runtime gives its directory up."""
    for folder in (root / "host").glob("*"):
        for mounted in (folder / "merged", folder):
            with contextlib.suppress(OSError):
                syscalls.unmount(str(mounted))


def _draw_mask(mask: Path, hidden: list[str]) -> None:
    mask.mkdir()
    _like("/", mask)
    for path in hidden:
        real = os.path.realpath(path)
        if real == "/" or not os.path.isdir(os.path.dirname(real)) or _is_hidden(real, mask):
            continue
        target = mask
        ancestors = Path(real).relative_to("/").parts[:-1]
        for depth, name in enumerate(ancestors):
            target = target / name
            if not target.exists():
                target.mkdir()
                _like("/" + "/".join(ancestors[: depth + 1]), target)
        _hide(real, target / Path(real).name)


def _is_hidden(real: str, mask: Path) -> bool:
    """By a directory above it."""
    above = (mask / str(parent).lstrip("/") for parent in Path(real).parents[:-1])
    return any(each.is_dir() and "trusted.overlay.opaque" in os.listxattr(each) for each in above)


def _hide(real: str, target: Path) -> None:
    # What is not there yet is hidden as a file is: the mask stays while the runtime runs.
    if os.path.isdir(real):
        target.mkdir(exist_ok=True)
        _like(real, target)
        os.setxattr(target, "trusted.overlay.opaque", b"y")
        return
    try:
        os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
    except OSError as failed:
        if failed.errno != errno.EEXIST:
            raise


def _like(source: str, target: Path) -> None:
    """Mode and owner as the node's own: the mask's directory is the one that is seen."""
    found = os.stat(source)
    os.chmod(target, stat.S_IMODE(found.st_mode))
    os.chown(target, found.st_uid, found.st_gid)
