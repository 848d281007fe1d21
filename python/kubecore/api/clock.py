"""Time as the parts see it. Sleeping is `asyncio.sleep`: the loop's clock decides what a second is."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Wall clock, seconds since the epoch: for timestamps."""

    def monotonic(self) -> float:
        """Seconds on the loop's clock: for timeouts."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class LoopClock:
    """Follows an event loop, so that virtual time moves both clocks. `epoch_seconds` is the wall clock at loop time 0."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, epoch_seconds: float) -> None:
        self._loop = loop
        self._epoch_seconds = epoch_seconds

    def now(self) -> float:
        return self._epoch_seconds + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()
