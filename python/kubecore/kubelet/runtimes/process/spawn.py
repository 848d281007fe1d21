"""Forks a child into a pid namespace, waits until it executes, and tells when it ends.

The fork happens in the daemon itself, so that a container is its direct child and its exit code is read by waitpid. A pid
namespace holds for children only: the daemon enters the container's for the moment of the fork and comes back, so the child
is process 1 of a new namespace, or one more in a running one, without a second fork.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import ioctl
from typing import Any

from kubecore.kubelet.runtimes.process import namespaces, syscalls
from kubecore.kubelet.runtimes.process.launch import STATUS_BYTES_MAX, Launch, run_in_child

NEW_NAMESPACE = -1
NODE_NAMESPACE = -2
EXIT_CODE_UNKNOWN = 255
_STATE, _START_TICKS, _EXIT_STATUS = 0, 19, 49
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_INFO_BYTES = 64
_PIDFD_INFO_EXIT_AT = 60
_REAPED_WITHIN_ROUNDS_MAX = 100
_REAPED_PAUSE_SECONDS = 0.01

OPEN_FILES_MAX = 65_536
"""Handles of the daemon: some four for a container. Containers have the limit that the daemon was started with."""

# Opened when the daemon starts, before it ever entered another.
_own_namespace = -1


class StartFailed(Exception):
    """The child could not become the process. The message is for the container's status."""


@dataclass(frozen=True)
class Exit:
    """`code` as a shell gives it: 128 + signal for a killed process."""

    code: int
    signal: int = 0
    known: bool = True


class Child:
    """A process that this daemon started, or found again after its own restart. `ended` is set with its exit."""

    def __init__(self, pid: int, handle: int, *, own: bool) -> None:
        self.pid = pid
        self.handle = handle
        self.ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._own = own
        asyncio.get_running_loop().add_reader(handle, self._reap)

    def signal(self, number: int) -> None:
        if not self.ended.done():
            try:
                signal.pidfd_send_signal(self.handle, number)
            except ProcessLookupError:
                return

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self.handle)
        if self._own:
            _, status = os.waitpid(self.pid, 0)
            self._end(_exit_of(status))
        else:
            self._ask_kernel(_REAPED_WITHIN_ROUNDS_MAX)

    def _ask_kernel(self, rounds: int) -> None:
        """The exit code is there once the process's parent has reaped it, which is a moment after it ended."""
        found = _exit_of_a_strangers_child(self.handle, self.pid)
        if found.known or rounds == 0:
            self._end(found)
        else:
            asyncio.get_running_loop().call_later(_REAPED_PAUSE_SECONDS, self._ask_kernel, rounds - 1)

    def _end(self, found: Exit) -> None:
        os.close(self.handle)
        if not self.ended.done():
            self.ended.set_result(found)


@dataclass(frozen=True)
class Started:
    """`terminal`: the daemon's end of the child's terminal, -1 without. `report`: who the child is."""

    child: Child
    terminal: int
    report: dict[str, Any]


def prepare() -> None:
    """Once, at the daemon's start: what a fork copies is kept from being touched by the garbage collector."""
    global _own_namespace
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(OPEN_FILES_MAX, hard)), hard))
    if _own_namespace < 0:
        _own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        gc.collect()
        gc.freeze()


def fork_into(pid_namespace: int, run: Callable[[], None]) -> int:
    """Forks; the child runs `run`, which never returns. `pid_namespace`: a handle, NEW_NAMESPACE or NODE_NAMESPACE."""
    if pid_namespace == NEW_NAMESPACE:
        syscalls.unshare(syscalls.CLONE_NEWPID)
    elif pid_namespace >= 0:
        syscalls.setns(pid_namespace, syscalls.CLONE_NEWPID)
    pid = -1
    try:
        pid = os.fork()
        if pid == 0:
            gc.disable()
            run()
    finally:
        if pid == 0:
            os._exit(EXIT_CODE_UNKNOWN)
        if pid_namespace != NODE_NAMESPACE:
            namespaces.go_back(_own_namespace, syscalls.CLONE_NEWPID)
    return pid


async def start(launch: Launch, *, pid_namespace: int) -> Started:
    """Returns when the process runs. Fails with StartFailed when it cannot; then nothing of it is left."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        try:
            pid = fork_into(pid_namespace, lambda: run_in_child(launch, theirs))
        except OSError as failed:
            raise StartFailed(f"unable to start container process: fork: {failed.strerror}") from failed
        finally:
            theirs.close()
        child = Child(pid, os.pidfd_open(pid), own=True)
        ours.setblocking(False)
        report, terminal = await _report(ours)
    if "error" in report:
        if terminal >= 0:
            os.close(terminal)
        ended = await child.ended
        if ended.signal == signal.SIGKILL:
            # Nobody else kills a process that has no name yet.
            raise StartFailed("container init was OOM-killed (memory limit too low?)")
        raise StartFailed(str(report["message"]))
    return Started(child, terminal, report)


async def _report(status: socket.socket) -> tuple[dict[str, Any], int]:
    """What the child says until it executes or ends: the last message wins."""
    report: dict[str, Any] = {"error": "StartError", "message": "container init ended before it could execute"}
    terminal = -1
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(status, readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            try:
                data, handles, _, _ = socket.recv_fds(status, STATUS_BYTES_MAX, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                continue
            if handles:
                terminal = handles[0]
            if not data:
                return report, terminal
            report = json.loads(data)
            readable.set()
    finally:
        loop.remove_reader(status)


def adopt(pid: int, started_ticks: int) -> Child | None:
    """The process of an earlier daemon's container, if it still runs: pid and start time together name it for certain."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return None
    if start_ticks(pid) != started_ticks:
        os.close(handle)
        return None
    return Child(pid, handle, own=False)


def start_ticks(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 if there is none."""
    fields = _stat(pid)
    return int(fields[_START_TICKS]) if fields else 0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may have anything in it. Empty without such a process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _exit_of(status: int) -> Exit:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return Exit(128 + number, number)
    return Exit(os.WEXITSTATUS(status))


def _exit_of_a_strangers_child(handle: int, pid: int) -> Exit:
    """Until its parent reaps it /proc has the exit code; then newer kernels (6.15) have it with the pidfd."""
    fields = _stat(pid)
    if fields and fields[_STATE] == "Z":
        return _exit_of(int(fields[_EXIT_STATUS]))
    request = bytearray(struct.pack("=Q", _PIDFD_INFO_EXIT).ljust(_PIDFD_INFO_BYTES, b"\0"))
    try:
        ioctl(handle, _PIDFD_GET_INFO, request)
    except OSError:
        return Exit(EXIT_CODE_UNKNOWN, known=False)
    if not struct.unpack_from("=Q", request)[0] & _PIDFD_INFO_EXIT:
        return Exit(EXIT_CODE_UNKNOWN, known=False)
    return _exit_of(struct.unpack_from("=i", request, _PIDFD_INFO_EXIT_AT)[0])
