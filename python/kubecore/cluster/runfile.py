"""The file by which `kubecore down` finds the cluster that `kubecore up` started: DATA/kubecore.run, JSON, removed at a clean end."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "kubecore.run"
OWN_ENTRIES = frozenset({NAME, "pki", "store", "tokens.csv", "kubeconfigs", "logs", "nodes"})
"""What may lie in a data directory: anything else keeps it from being deleted."""


class StillRunning(Exception):
    """The cluster did not end in time, or its data directory holds what is not ours."""


@dataclass(frozen=True, slots=True)
class RunFile:
    """`pid` and `start_ticks` (clock ticks after boot, from /proc) name one process for certain, whatever became of its number."""

    pid: int
    start_ticks: int
    server: str
    kubeconfig: str

    @classmethod
    def write(cls, directory: Path, *, server: str, kubeconfig: str) -> RunFile:
        """For this process; replaces what a killed one left."""
        pid = os.getpid()
        running = cls(pid, _start_ticks(pid) or 0, server, kubeconfig)
        path = directory / NAME
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(running)))
        fresh.replace(path)
        return running

    @classmethod
    def read(cls, directory: Path) -> RunFile | None:
        """The cluster that runs in a directory; None if there is none (a killed one's file does not count)."""
        try:
            running = cls(**json.loads((directory / NAME).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return running if _start_ticks(running.pid) == running.start_ticks else None

    @staticmethod
    def remove(directory: Path) -> None:
        (directory / NAME).unlink(missing_ok=True)

    def stop(self, *, timeout_seconds: float) -> None:
        """SIGTERM, then waits for the end. Raises StillRunning."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            ended, _, _ = select.select([handle], [], [], timeout_seconds)
        finally:
            os.close(handle)
        if not ended:
            raise StillRunning(f"process {self.pid} did not end within {timeout_seconds:g} s")

    @staticmethod
    def delete_data(directory: Path) -> None:
        """Removes a data directory that holds nothing but a cluster's state. Raises StillRunning otherwise."""
        foreign = sorted(entry.name for entry in directory.iterdir() if entry.name not in OWN_ENTRIES)
        if foreign:
            raise StillRunning(f"{directory} also holds {', '.join(foreign)}; not deleted")
        shutil.rmtree(directory)


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name, in parentheses, may hold spaces: count fields after it. Field 22 is starttime (proc(5)).
    return int(stat.rpartition(")")[2].split()[19])
