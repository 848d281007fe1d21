"""A node's pid 1: keeps its units running, reaps what they leave, and ends with whoever started it.

Runs as `python -I supervisor.py NODE UNITS`, knowing the standard library only, in a pid, mount, uts and network namespace
of its own; UNITS is a JSON file, a list of `Unit`s. Standard input is the leash: `stop`, or its end, asks for a good end.
When this process ends, however it does, the kernel ends every other one of the node.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESTART_SECONDS_FIRST = 0.2
RESTART_SECONDS_MAX = 10.0
"""A unit that ends is started again after a pause that doubles from the first to the second while it keeps ending soon."""
STOP_SECONDS = 3.0
"""How long each unit may take to end when all are asked to; then it is killed with the node."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A command that is kept running. `log`: the file that its output goes to."""

    name: str
    command: Sequence[str]
    log: str


@dataclass(slots=True)
class Running:
    """A unit's present: its process (0: none), when it began, when it may begin again, after which pause."""

    unit: Unit
    pid: int = 0
    started: float = 0.0
    start_at: float = 0.0
    pause_seconds: float = field(default=RESTART_SECONDS_FIRST)

    def ended(self, now: float) -> None:
        """Plans the next start."""
        if now - self.started > RESTART_SECONDS_MAX:
            self.pause_seconds = RESTART_SECONDS_FIRST
        self.pid = 0
        self.start_at = now + self.pause_seconds
        self.pause_seconds = min(self.pause_seconds * 2, RESTART_SECONDS_MAX)


class Supervisor:
    """`start` gives a process for a unit. The rest is decided here and waited for in `serve`."""

    def __init__(self, units: Sequence[Unit], *, start: Callable[[Unit], int], tell: Callable[[str], None]) -> None:
        self.running = [Running(unit) for unit in units]
        self._start = start
        self._tell = tell

    def start_due(self, now: float) -> float | None:
        """Starts what is due; gives the time of the next start, None if all run."""
        waiting = []
        for each in self.running:
            if each.pid:
                continue
            if each.start_at <= now:
                self._start_one(each, now)
            if not each.pid:
                waiting.append(each.start_at)
        return min(waiting, default=None)

    def _start_one(self, each: Running, now: float) -> None:
        try:
            each.pid, each.started = self._start(each.unit), now
        except OSError as failure:
            # Too many processes, a full disk: it may pass, and the node is not to end of it.
            self._tell(f"{each.unit.name} cannot be started: {failure}")
            each.started = now
            each.ended(now)

    def ended(self, pid: int, status: int, now: float) -> None:
        """A process was reaped: one of ours is planned anew, any other was an orphan."""
        for each in self.running:
            if each.pid == pid:
                self._tell(f"{each.unit.name} ended with {os.waitstatus_to_exitcode(status)}, see {each.unit.log}")
                each.ended(now)


def spawn(unit: Unit) -> int:
    """With its output in its log and a group of its own."""
    log = os.open(unit.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        return os.posix_spawn(
            unit.command[0],
            list(unit.command),
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setpgroup=0,
            setsigmask=[],
        )
    finally:
        os.close(log)


def serve(supervisor: Supervisor, leash: int) -> None:
    """Until the leash says stop, or SIGTERM comes."""
    children, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGTERM, stop)
    # Ctrl-C is for whoever holds the leash.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while not stopped:
        next_start = supervisor.start_due(time.monotonic())
        wait_seconds = None if next_start is None else max(0.0, next_start - time.monotonic())
        readable, _, _ = select.select([leash, children], [], [], wait_seconds)
        if children in readable:
            os.read(children, 4096)
        if leash in readable and os.read(leash, 4096) in (b"", b"stop\n"):
            stopped = True
        _reap(supervisor)


def stop_all(supervisor: Supervisor) -> None:
    """In the reverse of their order, each after the former has ended: the kubelet still speaks with the runtime."""
    for each in reversed(supervisor.running):
        if not each.pid:
            continue
        os.kill(each.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and os.waitpid(each.pid, os.WNOHANG) == (0, 0):
            time.sleep(0.01)


def _reap(supervisor: Supervisor) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        supervisor.ended(pid, status, time.monotonic())


def main(arguments: Sequence[str]) -> int:
    node, units_file = arguments
    socket.sethostname(node)
    units = [Unit(**row) for row in json.loads(Path(units_file).read_text())]

    def tell(line: str) -> None:
        print(f"{node}: {line}", file=sys.stderr, flush=True)

    supervisor = Supervisor(units, start=spawn, tell=tell)
    supervisor.start_due(time.monotonic())
    print("ready", flush=True)
    serve(supervisor, sys.stdin.fileno())
    stop_all(supervisor)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
