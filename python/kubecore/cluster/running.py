"""`kubecore up`: a control plane in the foreground until a signal. It leaves nothing behind but its data."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from kubecore.apiserver.storage.protocol import StorageError
from kubecore.cluster.controlplane import ControlPlane
from kubecore.cluster.options import ClusterOptions
from kubecore.cluster.runfile import RunFile

FAILED = 1

Announce = Callable[[str], None]


class Runnable(Protocol):
    """A cluster, whichever shape its parts have."""

    options: ClusterOptions

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    @property
    def server(self) -> str: ...


def configure_logging(*, verbose: bool) -> None:
    """Key and value lines on standard error; without `verbose` only warnings and worse."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(),
        ],
    )


def run_until_signalled(options: ClusterOptions, *, announce: Announce, started: float) -> int:
    """Starts, says where it listens, waits for SIGINT or SIGTERM, ends clean. `started`: time.monotonic() at the process's start."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(options, announce=announce, started=started))


async def _run(options: ClusterOptions, *, announce: Announce, started: float) -> int:
    with contextlib.ExitStack() as ends:
        try:
            cluster = _cluster(options, ends)
            stopped = _on_signals()
            await cluster.start()
        except (StorageError, ValueError) as error:
            announce(f"error: {_already_running(options.data_dir) or error}")
            return FAILED
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                announce(f"error: port {options.port} is taken: choose another with --port, or --port 0 for a free one")
            else:
                announce(f"error: {error}")
            return FAILED
        try:
            _announce_ready(cluster, announce, started)
            if options.data_dir is not None:
                RunFile.write(options.data_dir, server=cluster.server, kubeconfig=str(options.kubeconfig or ""))
                ends.callback(RunFile.remove, options.data_dir)
            await stopped.wait()
            announce("stopping")
        finally:
            await cluster.stop()
    return 0


def _cluster(options: ClusterOptions, ends: contextlib.ExitStack) -> Runnable:
    if options.parts == "tasks":
        return ControlPlane(options)
    from kubecore.cluster.processes import Processes

    if options.data_dir is None:
        import tempfile

        directory = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="kubecore-")))
        options = replace(options, data_dir=directory)
    return Processes(options)


def _on_signals() -> asyncio.Event:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def _announce_ready(cluster: Runnable, announce: Announce, started: float) -> None:
    options = cluster.options
    announce(f"listening on {cluster.server}")
    if options.kubeconfig is not None:
        announce(f"kubeconfig {options.kubeconfig}")
    elif options.merge_kubeconfig:
        announce("kubeconfig: context kubecore is now the current one")
    nodes = f"{options.nodes} simulated node{'' if options.nodes == 1 else 's'}"
    announce(f"ready in {time.monotonic() - started:.2f} s: {nodes}, Ctrl-C to stop")


def _already_running(directory: Path | None) -> str:
    running = RunFile.read(directory) if directory is not None else None
    return f"a cluster already runs in {directory} (process {running.pid}, {running.server})" if running else ""
