"""Time for a storage that has no thread of its own: under virtual time, or in a program that embeds a cluster.

A storage with a log writer needs none of this. Without it, nothing would expire and no history would be forgotten.
"""

from __future__ import annotations

import asyncio

from kubecore.api.clock import Clock
from kubecore.apiserver.storage.embedded import EmbeddedStorage

SLEEP_SECONDS_MAX = 60.0
"""What is written during a sleep may expire before its end: then it expires this much late at most."""
SLEEP_SECONDS_MIN = 1.0


async def keep_time(storage: EmbeddedStorage, clock: Clock) -> None:
    """Tells the storage the time, now and whenever it could matter, until cancelled."""
    while True:
        now = clock.now()
        due = storage.store.tick(now)
        sleep_seconds = SLEEP_SECONDS_MAX if due is None else due - now
        await asyncio.sleep(min(max(sleep_seconds, SLEEP_SECONDS_MIN), SLEEP_SECONDS_MAX))
