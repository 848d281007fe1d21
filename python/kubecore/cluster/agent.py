"""A process that works until a signal: what every part of a cluster and every agent of a node begins with."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from kubecore.cluster import collector

FAILED = 1

Announce = Callable[[str], None]
"""Says a line to whoever started the process."""

log = logging.getLogger(__name__)


def configure_logging(*, verbose: bool) -> None:
    """Lines on standard error; without `verbose` only warnings and worse. Our own parts' lines are kept for `/logs` either way."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.setLevel(level)
    logging.getLogger("kubecore").setLevel(logging.INFO)


def on_signals() -> asyncio.Event:
    """Set once SIGINT or SIGTERM has come."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def run_agent(work: Callable[[], Coroutine[Any, Any, None]], *, name: str, announce: Announce) -> int:
    """A node's agent, until a signal; what it fails with is told and logged."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_signalled(work, name=name, announce=announce))


async def _until_signalled(work: Callable[[], Awaitable[None]], *, name: str, announce: Announce) -> int:
    stopped = on_signals()
    working = asyncio.ensure_future(work())
    stopping = asyncio.create_task(stopped.wait())
    collector.settle()
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    failure = working.exception() if working.done() and not working.cancelled() else None
    for task in (working, stopping):
        task.cancel()
    await asyncio.gather(working, stopping, return_exceptions=True)
    if failure is not None:
        log.error("%s failed", name, exc_info=failure)
        announce(f"error: {failure!r}")
        return FAILED
    return 0
