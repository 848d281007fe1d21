"""A sandbox's namespaces: made by the daemon stepping into new ones and back, held by bind mounts, joined by handles.

No process holds them: a mount of /proc/self/ns/X keeps X alive until it is unmounted. The daemon is in the new namespaces for
some hundred microseconds in which nothing else of it runs (the log writer's thread stays where it is: namespaces are a
thread's). If the way back fails it stops being the daemon of this node, so it ends.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from kubecore.kubelet.runtimes.process import syscalls
from kubecore.kubelet.runtimes.protocol import RuntimeCode, RuntimeFailure

FLAGS = {"net": syscalls.CLONE_NEWNET, "ipc": syscalls.CLONE_NEWIPC, "uts": syscalls.CLONE_NEWUTS}
_EXIT_LOST = 70
_logger = logging.getLogger(__name__)
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def make(
    folder: Path, kinds: tuple[str, ...], *, hostname: str, sysctls: Mapping[str, str], inside: Callable[[], None]
) -> None:
    """New namespaces of these kinds, each held by a file of its name in `folder`. `inside` runs within them."""
    if not kinds:
        return
    own = {kind: os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds}
    flags = 0
    for kind in kinds:
        flags |= FLAGS[kind]
    syscalls.unshare(flags)
    try:
        for kind in kinds:
            held = folder / kind
            held.touch()
            syscalls.mount(f"/proc/self/ns/{kind}", str(held), "", syscalls.MS_BIND)
        if "uts" in kinds and hostname:
            socket.sethostname(hostname)
        _write_sysctls(sysctls, kinds)
        inside()
    finally:
        for kind, handle in own.items():
            go_back(handle, FLAGS[kind])
            os.close(handle)


def release(folder: Path) -> None:
    """Lets go of what `make` holds; what is gone is gone."""
    for kind in FLAGS:
        held = folder / kind
        if held.exists():
            _unmount(str(held))
            held.unlink(missing_ok=True)


def unmount(path: Path) -> None:
    _unmount(str(path))


@contextlib.contextmanager
def handles(folder: Path) -> Iterator[tuple[tuple[int, int], ...]]:
    """Handles of a sandbox's namespaces and the flags to join them by, closed at the end."""
    opened: list[tuple[int, int]] = []
    try:
        for kind, flag in FLAGS.items():
            with contextlib.suppress(FileNotFoundError):
                opened.append((os.open(folder / kind, os.O_RDONLY | os.O_CLOEXEC), flag))
        yield tuple(opened)
    finally:
        for handle, _ in opened:
            os.close(handle)


@contextlib.contextmanager
def inside_network(path: str) -> Iterator[None]:
    """The calling thread is in that network namespace ("": stays). Nothing may be awaited within."""
    if not path:
        yield
        return
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    other = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(other, syscalls.CLONE_NEWNET)
        try:
            yield
        finally:
            go_back(own, syscalls.CLONE_NEWNET)
    finally:
        os.close(own)
        os.close(other)


def go_back(handle: int, flags: int) -> None:
    """To the node's own. A daemon that cannot is no longer this node's: it ends, and the next one finds the containers."""
    try:
        syscalls.setns(handle, flags)
    except OSError:
        _logger.critical("cannot return to the node's namespace", exc_info=True)
        os._exit(_EXIT_LOST)


def _write_sysctls(sysctls: Mapping[str, str], kinds: tuple[str, ...]) -> None:
    """Those of a namespace that is the sandbox's own: another would be the node's."""
    for name, value in sysctls.items():
        of_kind = "net" if name.startswith("net.") else "ipc" if name.startswith(_IPC_SYSCTLS) else ""
        if of_kind not in kinds:
            raise RuntimeFailure(
                RuntimeCode.UNKNOWN, f'failed to set sysctl: sysctl "{name}" is not in a separate kernel namespace'
            )
        try:
            with open("/proc/sys/" + name.replace(".", "/"), "w", encoding="ascii") as file:
                file.write(value)
        except OSError as failed:
            raise RuntimeFailure(
                RuntimeCode.UNKNOWN, f"failed to write sysctl {name}={value}: {failed.strerror}"
            ) from failed


def _unmount(path: str) -> None:
    try:
        syscalls.unmount(path)
    except OSError as failed:
        if failed.errno not in (errno.EINVAL, errno.ENOENT):
            raise
