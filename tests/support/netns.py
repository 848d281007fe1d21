"""Network namespaces for tests: hosts of their own, joined by cables. Needs root.

`inside(name)` moves the calling thread: sockets made there belong to the namespace for ever, and so do threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import secrets
import subprocess
from collections.abc import Iterator

CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def ip(*words: str, inside_of: str = "") -> None:
    where = ["-n", inside_of] if inside_of else []
    subprocess.run(["ip", *where, *words], check=True, capture_output=True)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(fd: int) -> None:
    if _LIBC.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def namespaces(*names: str) -> Iterator[list[str]]:
    """Each with its loopback up, forwarding, and no duplicate address detection; their real names in the same order."""
    made = [f"kct-{secrets.token_hex(3)}-{name}" for name in names]
    try:
        for name in made:
            ip("netns", "add", name)
            ip("link", "set", "lo", "up", inside_of=name)
            with inside(name):
                _write("ipv4/ip_forward", "1")
                _write("ipv6/conf/all/forwarding", "1")
                _write("ipv6/conf/default/accept_dad", "0")
        yield made
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _write(sysctl: str, value: str) -> None:
    """/proc/sys/net is the calling thread's namespace's."""
    with open(f"/proc/sys/net/{sysctl}", "w") as file:
        file.write(value)


def cable(one: str, one_end: str, other: str, other_end: str) -> None:
    """A pair of interfaces, up at both ends."""
    spare = f"k{secrets.token_hex(4)}"
    ip("link", "add", one_end, "type", "veth", "peer", "name", spare, "netns", other, inside_of=one)
    ip("link", "set", spare, "name", other_end, "up", inside_of=other)
    ip("link", "set", one_end, "up", inside_of=one)


def address(name: str, interface: str, cidr: str) -> None:
    words = ["addr", "add", cidr, "dev", interface]
    ip(*words, *(["nodad"] if ":" in cidr else []), inside_of=name)


def route(name: str, to: str, via: str) -> None:
    ip(*(["-6"] if ":" in via else []), "route", "add", to, "via", via, inside_of=name)
