"""Keys waiting to be worked on: each at most once in the queue and never twice at a time.

```
add ──▶ dirty + queue ──get──▶ processing ──done──▶ out
            ▲                      │ added again meanwhile: dirty only
            └──────────────────────┘ done puts it back into the queue
```

Memory is bounded by KEYS_MAX distinct keys. Beyond it a key is not taken, and `overflowed` says so: the owner, who is
level-triggered, adds all keys again once it has drained the queue.
"""

from __future__ import annotations

import asyncio
from collections import deque

KEYS_MAX = 2_000_000
RETRY_FIRST_SECONDS = 0.005
RETRY_LONGEST_SECONDS = 1000.0
"""The pauses between tries of one key, as client-go's default limiter has them."""


class Shutdown(Exception):
    """The queue is closed and empty."""


class WorkQueue:
    """Used from one event loop."""

    def __init__(
        self,
        *,
        keys_max: int = KEYS_MAX,
        retry_first_seconds: float = RETRY_FIRST_SECONDS,
        retry_longest_seconds: float = RETRY_LONGEST_SECONDS,
    ) -> None:
        self._keys_max = keys_max
        self._retry_first_seconds = retry_first_seconds
        self._retry_longest_seconds = retry_longest_seconds
        self._queue: deque[str] = deque()
        self._dirty: set[str] = set()
        self._processing: set[str] = set()
        self._getters: deque[asyncio.Future[None]] = deque()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._closed = False
        self.overflowed = False

    def __len__(self) -> int:
        """Keys ready to be taken."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is worked on (delayed keys aside)."""
        return not self._queue and not self._processing

    def add(self, key: str) -> None:
        if self._closed or key in self._dirty:
            return
        if len(self._dirty) >= self._keys_max:
            self.overflowed = True
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._queue.append(key)
            self._wake()

    async def get(self) -> str:
        """The next key; call `done` with it afterwards. Raises Shutdown."""
        while not self._queue:
            if self._closed:
                raise Shutdown
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter in self._getters:
                    self._getters.remove(getter)
                elif self._queue:
                    self._wake()
                raise
        key = self._queue.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: str) -> None:
        self._processing.discard(key)
        if key in self._dirty:
            self._queue.append(key)
            self._wake()

    def add_after(self, key: str, delay_seconds: float) -> None:
        """Adds the key later; of several delays the shortest stands."""
        if delay_seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        elif len(self._timers) >= self._keys_max:
            self.overflowed = True
            return
        self._timers[key] = loop.call_at(due, self._due, key)

    def add_rate_limited(self, key: str) -> None:
        """Adds the key after a pause that doubles with each failure since `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = min(self._retry_first_seconds * 2 ** min(failures, 30), self._retry_longest_seconds)
        self.add_after(key, pause)

    def failures(self, key: str) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: str) -> None:
        """The key was worked on with success: its next failure is its first."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """No more keys are taken; what is queued is still given out, then `get` raises Shutdown."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        while self._getters:
            self._wake()

    def _due(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
