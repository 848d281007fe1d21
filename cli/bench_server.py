"""The processes of a bench: started, watched for memory, ended. Only processes started here are ever signalled."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kubecore.client.kubeconfig import ClientConfig

END_SECONDS = 60.0


class Failed(Exception):
    """A process ended that should not have, or did not do in time what it should."""


class Process:
    """One `kubecore` process. Its output goes to a file that a failure quotes."""

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        self.name = name
        self.started = time.monotonic()
        self._log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "kubecore_cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches the bench alone, which then ends what it started.
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises Failed if it has ended."""
        code = self._child.poll()
        if code is not None:
            last = self._log.read_text(errors="replace")[-2000:]
            raise Failed(f"{self.name} ended with code {code}:\n{last}")

    def wait_until(self, holds: Callable[[], bool], *, what: str, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not holds():
            self.check()
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {timeout_seconds:g} s")
            time.sleep(0.02)

    def peak_memory_bytes(self) -> dict[str, int]:
        """The largest resident size so far of it and of what it started, by name."""
        import psutil

        peaks: dict[str, int] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._child.pid)
            peaks[self.name] = _peak(process.pid)
            for index, child in enumerate(process.children(recursive=True)):
                peaks[f"{self.name} child {index + 1}"] = _peak(child.pid)
        return peaks

    def cpu_seconds(self) -> float:
        """Processor time so far of it and of what it started: what a busy machine does not stretch."""
        import psutil

        process = psutil.Process(self._child.pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
        return float(sum(time.user + time.system for time in times))

    def end(self) -> int:
        """SIGTERM, then wait. Gives the exit code."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            raise Failed(f"{self.name} did not end within {END_SECONDS:g} s of SIGTERM") from None


def scheduler_kubeconfig(data_dir: Path, administrator: ClientConfig, path: Path) -> Path:
    """The scheduler's own identity, signed by the cluster's authority: it runs with its least role here, too."""
    from kubecore.apiserver.access import kubeconfig
    from kubecore.apiserver.access.certificates import Certificates
    from kubecore.cluster.apiserver import PKI_DIRECTORY

    certificates = Certificates(data_dir / PKI_DIRECTORY, bind_address="127.0.0.1", service_ip="10.96.0.1")
    client = certificates.client("system:kube-scheduler")
    authority = administrator.certificate_authority_pem
    kubeconfig.write(path, kubeconfig.document(server=administrator.server, ca_pem=authority, client=client))
    return path


def _peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def own_peak_memory_bytes() -> int:
    return _peak(os.getpid())
