"""How many pods are started at a time: a few get done soon, instead of all of them late.

A turn is lent for a short while only: who pulls an image or waits for a volume goes on without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AT_A_TIME = 8
LENT_SECONDS = 2.0


class Turns:
    def __init__(self, *, at_a_time: int = AT_A_TIME, lent_seconds: float = LENT_SECONDS) -> None:
        self._free = asyncio.Semaphore(at_a_time)
        self._lent_seconds = lent_seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        await self._free.acquire()
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            if not given_back:
                given_back = True
                self._free.release()

        timer = asyncio.get_running_loop().call_later(self._lent_seconds, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
