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


def run_agent(
    work: Callable[[], Coroutine[Any, Any, None]],
    *,
    name: str,
    announce: Announce,
    wind_down: Callable[[], Awaitable[None]] | None = None,
) -> int:
    """A node's agent, until a signal; what it fails with is told and logged. `wind_down` is done after the signal while
    the work still goes on; a second signal cuts it short."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_signalled(work, name=name, announce=announce, wind_down=wind_down))


async def _until_signalled(
    work: Callable[[], Awaitable[None]],
    *,
    name: str,
    announce: Announce,
    wind_down: Callable[[], Awaitable[None]] | None,
) -> int:
    stopped = on_signals()
    working = asyncio.ensure_future(work())
    stopping = asyncio.create_task(stopped.wait())
    collector.settle()
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    if wind_down is not None and not working.done():
        await _wind_down(wind_down, working, stopped)
    failure = working.exception() if working.done() and not working.cancelled() else None
    for task in (working, stopping):
        task.cancel()
    await asyncio.gather(working, stopping, return_exceptions=True)
    if failure is not None:
        log.error("%s failed", name, exc_info=failure)
        announce(f"error: {failure!r}")
        return FAILED
    return 0


async def _wind_down(
    wind_down: Callable[[], Awaitable[None]], working: asyncio.Future[None], stopped: asyncio.Event
) -> None:
    stopped.clear()
    winding = asyncio.ensure_future(wind_down())
    again = asyncio.create_task(stopped.wait())
    await asyncio.wait((winding, working, again), return_when=asyncio.FIRST_COMPLETED)
    for task in (winding, again):
        task.cancel()
    await asyncio.gather(winding, again, return_exceptions=True)
