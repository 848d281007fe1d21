"""An asyncio event loop whose clock jumps to the next timer: an hour takes as long as the work in it.

Made for one thread: whatever runs here waits for timers, for other tasks, or for a file descriptor that this same
thread makes readable (the in-process transport's wake-up). So the order of everything is decided by the program
alone. When nothing is ready and no timer is set, the loop would wait for ever: it raises `Stuck` instead.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Stuck(Exception):
    """Every task waits for something that nobody will ever do."""


class _JumpingSelector(selectors.DefaultSelector):
    """Where a real loop would sleep until its next timer, this one moves the clock."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Stuck("no task is ready and no timer is set")
        self.loop.advance(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at time 0."""

    def __init__(self) -> None:
        self._now_seconds = 0.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now_seconds

    def advance(self, seconds: float) -> None:
        # The sum may round to just before the timer that it is to reach; asyncio's tolerance covers that.
        self._now_seconds += seconds


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
