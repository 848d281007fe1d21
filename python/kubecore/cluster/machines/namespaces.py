"""Network namespaces by their names in /run/netns: made, removed, and sockets in them for who stays outside.

A socket belongs to the namespace in which it was made, whoever uses it later. So one thread moves into a namespace for its
life (`Inside`), makes sockets and listeners there, and hands them out: the process itself stays where it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

DIRECTORY = Path("/run/netns")
"""Where `ip netns` looks too."""

CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MNT_DETACH = 2
BACKLOG = 1024

Result = TypeVar("Result")

_libc = ctypes.CDLL(None, use_errno=True)


def create(name: str) -> Path:
    """A new namespace, held by its name, with a loopback that is down. Raises OSError."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / name
    path.touch(mode=0o444, exist_ok=False)
    try:
        _in_thread(lambda: _unshare_onto(path))
    except BaseException:
        path.unlink()
        raise
    return path


def remove(name: str) -> None:
    """Takes the name away: the namespace goes with its last process. Nothing happens if there is none."""
    path = DIRECTORY / name
    with contextlib.suppress(OSError):
        # Not mounted, if a former removal was killed in between.
        _call(_libc.umount2, os.fsencode(path), MNT_DETACH)
    # Unlinking detaches what is mounted here in other mount namespaces too (mount_namespaces(7)).
    path.unlink(missing_ok=True)


def names() -> list[str]:
    """All there are on this box, in alphabetical order."""
    try:
        return sorted(os.listdir(DIRECTORY))
    except FileNotFoundError:
        return []


class Inside:
    """A thread of this process inside one namespace. Safe to call from any thread; `close` ends it."""

    def __init__(self, path: Path) -> None:
        """Enters at the first call, which raises OSError if there is no such namespace."""
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"netns-{path.name}")
        self._entered = False

    def run(self, work: Callable[[], Result]) -> Result:
        """Does something short in there. What it opens stays of that namespace."""
        return self._thread.submit(self._inside, work).result()

    def make_socket(self, family: int, kind: int) -> socket.socket:
        return self.run(lambda: socket.socket(family, kind))

    def dial(self, host: str, port: int, *, timeout_seconds: float) -> socket.socket:
        """Is a `Dialer` of the API server. Names are resolved outside: there is no resolver in there."""
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = self.make_socket(family, kind)
        try:
            made.settimeout(timeout_seconds)
            made.connect(address)
            made.settimeout(None)
        except BaseException:
            made.close()
            raise
        return made

    def listen(self, address: str, port: int) -> socket.socket:
        """A TCP socket that listens there; port 0 takes a free one."""
        return self._bind(address, port, socket.SOCK_STREAM)

    def datagrams(self, address: str, port: int) -> socket.socket:
        """A UDP socket bound there."""
        return self._bind(address, port, socket.SOCK_DGRAM)

    def sysctl(self, values: Mapping[str, str]) -> None:
        """Sets values below /proc/sys, such as `net/ipv4/ip_forward`: the namespace's own, which is why only net/ is allowed."""
        for name in values:
            if not name.startswith("net/"):
                raise ValueError(f"{name} would change the whole box")
        self.run(lambda: _write_sysctls(values))

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def _bind(self, address: str, port: int, kind: int) -> socket.socket:
        made = self.make_socket(_family(address), kind)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            if kind == socket.SOCK_STREAM:
                made.listen(BACKLOG)
        except BaseException:
            made.close()
            raise
        return made

    def _inside(self, work: Callable[[], Result]) -> Result:
        # Only ever runs in the one thread.
        if not self._entered:
            enter(self.path)
            self._entered = True
        return work()


def enter(path: Path) -> None:
    """Moves the calling thread; it should end there. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call(_libc.setns, descriptor, CLONE_NEWNET)
    finally:
        os.close(descriptor)


def _family(address: str) -> int:
    return socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6


def _unshare_onto(path: Path) -> None:
    _call(_libc.unshare, CLONE_NEWNET)
    own = f"/proc/self/task/{threading.get_native_id()}/ns/net"
    _call(_libc.mount, own.encode(), os.fsencode(path), b"none", MS_BIND, None)


def _write_sysctls(values: Mapping[str, str]) -> None:
    for name, value in values.items():
        path = Path("/proc/sys", name)
        # A kernel without IPv6 has none of its values, and needs none.
        if path.exists() or not name.startswith("net/ipv6/"):
            path.write_text(value)


def _in_thread(work: Callable[[], Result]) -> Result:
    """In a thread that ends with it: what it does to its own namespaces touches nobody else."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def _call(function: Callable[..., int], *arguments: object) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
