"""Evicts the victims of preemption: a condition that says why, a deletion, an event.

In: victims, and for whom they go. Out: through the API, many at a time; what could not be evicted is told to the owner,
who lets the preemptor try again. A victim that is gone by then is fine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from kubecore.api.clock import Clock
from kubecore.api.errors import NotFound, StatusError
from kubecore.api.meta import Object, split_key
from kubecore.api.scheme import core
from kubecore.client import Client, EventRecorder, Request, TransportError, requests
from kubecore.client.codec import decode
from kubecore.scheduler import conditions, messages

log = logging.getLogger(__name__)

BATCH_MAX = 256
"""Victims in one batch."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """`victim`: its encoded state. `preemptor`: a reference."""

    key: str
    uid: str
    victim: bytes
    node: str
    preemptor_key: str
    preemptor: Object


class Evictor:
    """Run it until it is cancelled. `failed` is told of each eviction that the server refused or did not answer."""

    def __init__(
        self,
        client: Client,
        events: EventRecorder,
        *,
        clock: Clock,
        scheduler_name: str,
        failed: Callable[[Eviction], None],
    ) -> None:
        self._client = client
        self._events = events
        self._clock = clock
        self._scheduler_name = scheduler_name
        self._failed = failed
        self._waiting: dict[str, Eviction] = {}
        self._work = asyncio.Event()

    def evict(self, eviction: Eviction) -> None:
        self._waiting[eviction.key] = eviction
        self._work.set()

    async def run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                batch = [self._waiting.pop(key) for key in list(self._waiting)[:BATCH_MAX]]
                await self._evict(await self._mark(batch))

    async def _mark(self, batch: list[Eviction]) -> list[Eviction]:
        """The condition first: a victim that does not know why it goes is not evicted."""
        marks: dict[str, Request] = {}
        for each in batch:
            pod = decode(each.victim)
            mark = conditions.preempted(pod, scheduler_name=self._scheduler_name, now_seconds=self._clock.now())
            if mark is not None:
                marks[each.key] = mark
        outcomes = dict(zip(marks, await self._try(list(marks.values())), strict=True))
        return self._sort_out(batch, [outcomes.get(each.key) for each in batch])

    async def _evict(self, batch: list[Eviction]) -> None:
        deletions = []
        for each in batch:
            namespace, name = split_key(each.key)
            deletions.append(requests.delete(core("pods"), namespace, name, uid=each.uid))
        for each in self._sort_out(batch, await self._try(deletions)):
            namespace, name = split_key(each.key)
            victim = {"apiVersion": "v1", "kind": "Pod", "metadata": decode(each.victim)["metadata"]}
            note = messages.preempted(each.preemptor["metadata"]["uid"], each.node)
            self._events.event(victim, "Normal", "Preempted", note, action="Preempting", related=each.preemptor)

    async def _try(self, batch: list[Request]) -> list[StatusError | TransportError | None]:
        if not batch:
            return []
        try:
            return list(await self._client.try_all(batch))
        except TransportError as failure:
            return [failure] * len(batch)

    def _sort_out(self, batch: list[Eviction], outcomes: list[StatusError | TransportError | None]) -> list[Eviction]:
        """Those that went well."""
        well = []
        for each, outcome in zip(batch, outcomes, strict=True):
            if outcome is None:
                well.append(each)
            elif not isinstance(outcome, NotFound):
                log.warning("pod %s is not evicted: %s", each.key, outcome)
                self._failed(each)
        return well
