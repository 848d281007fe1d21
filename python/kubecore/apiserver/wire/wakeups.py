"""How Rust wakes one asyncio loop: a file descriptor that the loop reads, and who sleeps behind it.

One `Wakeups` a loop, shared by all its local transports. It works in virtual time as it is: the thread that writes is then the
loop's own.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools

from kubecore.apiserver.wire.door import LocalWatch, Notifier, Store


class Wakeups:
    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self.notifier = Notifier(store)
        self._store = store
        self._loop = loop
        self._watches: dict[int, tuple[LocalWatch, asyncio.Event]] = {}
        self._durable: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._closed = False
        loop.add_reader(self.notifier.fileno(), self._drain)

    async def durable(self, revision: int) -> None:
        """Returns once `revision` is on disk. Raises ConnectionError if it never will be."""
        if self._store.durable_revision() >= revision:
            return
        waiter = self._loop.create_future()
        heapq.heappush(self._durable, (revision, next(self._order), waiter))
        self.notifier.want_durable(revision)
        await waiter

    def watch(self, watch: LocalWatch) -> asyncio.Event:
        """Set whenever the watch has something to poll, and when everything ends."""
        event = asyncio.Event()
        self._watches[watch.id] = (watch, event)
        return event

    def forget(self, watch: LocalWatch) -> None:
        self._watches.pop(watch.id, None)

    def close(self) -> None:
        """Ends all watches. On the loop's own thread."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self.notifier.fileno())
        for watch, event in self._watches.values():
            watch.close()
            event.set()
        self._give_up("the API server has stopped")

    def close_from_elsewhere(self) -> None:
        """As `close`, from any thread; a loop that has ended needs no closing."""
        if self._loop.is_closed():
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop or not self._loop.is_running():
            self.close()
        else:
            self._loop.call_soon_threadsafe(self.close)

    def _drain(self) -> None:
        ready, durable = self.notifier.drain()
        for watch_id in ready:
            if (watched := self._watches.get(watch_id)) is not None:
                watched[1].set()
        while self._durable and self._durable[0][0] <= durable:
            waiter = heapq.heappop(self._durable)[2]
            # Its request may have been cancelled.
            if not waiter.done():
                waiter.set_result(None)
        if self._durable and (why := self._store.failure()) is not None:
            self._give_up(why)

    def _give_up(self, why: str) -> None:
        """What is not durable by now never will be."""
        for _, _, waiter in self._durable:
            if not waiter.done():
                waiter.set_exception(ConnectionError(why))
        self._durable.clear()
