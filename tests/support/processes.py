"""`kubecore` as a process of its own: started, waited for, killed, restarted, and ended with the test by its pid."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"^ready ")
READY_SECONDS = 30.0


def environment(**more: str) -> dict[str, str]:
    """For a child that runs this tree and knows no kubeconfig but the one it is given."""
    inherited = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    return inherited | {"PYTHONPATH": str(ROOT / "python"), "PYTHONUNBUFFERED": "1"} | more


def kubecore(*arguments: str, kubeconfig: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    more = {"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}
    return subprocess.run(
        [sys.executable, "-m", "kubecore_cli", *arguments],
        env=environment(**more),
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def children(pid: int) -> dict[str, int]:
    """The parts that a `kubecore up --parts processes` has started, by their verb."""
    found = {}
    for child in _processes():
        if child.parent == pid and len(child.command) > 3 and child.command[1:3] == ["-m", "kubecore_cli"]:
            found[child.command[3]] = child.pid
    return found


def session_members(session: int) -> list[int]:
    """Every process of a session, zombies aside."""
    return [process.pid for process in _processes() if process.session == session and process.state != "Z"]


@dataclass(frozen=True, slots=True)
class _ProcessState:
    pid: int
    state: str
    parent: int
    session: int
    command: list[str]


def _processes() -> Iterator[_ProcessState]:
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The fields after the command's name in parentheses: state, parent, group, session (proc(5)).
            state, parent, _, session = (directory / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
            yield _ProcessState(int(directory.name), state, int(parent), int(session), command)


class Process:
    """One `kubecore` process whose lines of output can be awaited."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "kubecore_cli", *arguments],
            env=env or environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A group of its own: what it starts ends with it.
            start_new_session=True,
        )
        self.output: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.output.append(line.rstrip("\n"))
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for_line(self, pattern: re.Pattern[str], *, timeout_seconds: float = READY_SECONDS) -> re.Match[str]:
        """The first new line that matches. Raises AssertionError with all output if the process ends or time runs out."""
        while True:
            try:
                line = self._lines.get(timeout=timeout_seconds)
            except queue.Empty:
                line = None
            assert line is not None, "no line matched " + pattern.pattern + ":\n" + "\n".join(self.output)
            if match := pattern.search(line):
                return match

    def kill(self) -> None:
        """kill -9, at once."""
        self._child.kill()
        self._child.wait()

    def stop(self, *, by: signal.Signals = signal.SIGINT, timeout_seconds: float = 30.0) -> int:
        """Ctrl-C, or another signal; gives the exit code."""
        if self._child.poll() is None:
            self._child.send_signal(by)
        return self.wait(timeout_seconds=timeout_seconds)

    def wait(self, *, timeout_seconds: float = 30.0) -> int:
        """Until it ends by itself, its output read to the end; gives the exit code."""
        code = self._child.wait(timeout_seconds)
        self._reader.join(timeout_seconds)
        return code

    def end(self) -> None:
        """Whatever state it is in."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._reader.join(5)


class Up:
    """A cluster in a process, in one data directory, restartable."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self._arguments = arguments
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        assert self._process is not None, "the cluster is not started"
        return self._process

    def start(self) -> Process:
        """Starts it and waits for its ready line."""
        self._process = Process(
            "up",
            "--data-dir",
            str(self.directory / "data"),
            "--port",
            "0",
            "--kubeconfig",
            str(self.kubeconfig),
            *self._arguments,
        )
        self._process.wait_for_line(READY)
        return self._process

    def end(self) -> None:
        if self._process is not None:
            self._process.end()


@contextlib.contextmanager
def up(directory: Path, *arguments: str) -> Iterator[Up]:
    """A started cluster that ends with the block."""
    cluster = Up(directory, *arguments)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
