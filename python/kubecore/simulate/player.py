"""Plays stages: looks at each changed object of a living node, picks the stage that is for it, and after its delay
writes what comes next.

In: objects, by `consider`. Out: one request for each transition, many to a batch. A failed transition is considered
again after a pause; one that somebody else overtook is dropped, because the change that overtook it is considered by
itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from kubecore.api import errors
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, key_of, namespace_of
from kubecore.api.scheme import Resource
from kubecore.client import Client, EventRecorder, Request, TransportError, requests
from kubecore.simulate.nodes import AddressesExhausted
from kubecore.simulate.stages import Stage, choose

log = logging.getLogger(__name__)

BATCH_MAX = 500
RETRY_SECONDS = 1.0

Item = tuple[Resource, str]


class Player:
    """Objects wait in `_due` (at most one entry each) and behind timers (at most one each)."""

    def __init__(
        self,
        client: Client,
        recorder: EventRecorder,
        stages: Sequence[Stage],
        *,
        find: Callable[[Item], Object | None],
        plays: Callable[[Object], bool],
        clock: Clock,
        randomness: random.Random,
    ) -> None:
        """`find`: the object as the informer has it now. `plays`: whether its node is simulated and alive."""
        self._client = client
        self._recorder = recorder
        self._stages: dict[str, list[Stage]] = {}
        for stage in stages:
            self._stages.setdefault(stage.kind, []).append(stage)
        self._find = find
        self._plays = plays
        self._clock = clock
        self._random = randomness
        self._due: dict[Item, Stage] = {}
        self._timers: dict[Item, asyncio.TimerHandle] = {}
        self._playing: dict[Item, None] = {}
        self._waiting = asyncio.Event()

    def consider(self, resource: Resource, obj: Object) -> None:
        item = (resource, key_of(obj))
        self._forget(item)
        if item in self._playing or not self._plays(obj):
            return
        stage = choose(self._stages.get(resource.kind, ()), obj, randomness=self._random)
        if stage is None:
            return
        delay = stage.delay(obj, now=self._clock.now(), randomness=self._random)
        if delay > 0:
            self._timers[item] = asyncio.get_running_loop().call_later(delay, self._ripe, item, stage)
        else:
            self._ripe(item, stage)

    def forget(self, resource: Resource, key: str) -> None:
        """The object is gone, or its node is dead."""
        self._forget((resource, key))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._waiting.wait()
            while self._due:
                await self._play(list(self._due)[:BATCH_MAX])
            self._waiting.clear()

    def _forget(self, item: Item) -> None:
        self._due.pop(item, None)
        timer = self._timers.pop(item, None)
        if timer is not None:
            timer.cancel()

    def _ripe(self, item: Item, stage: Stage) -> None:
        self._timers.pop(item, None)
        self._due[item] = stage
        self._waiting.set()

    async def _play(self, items: list[Item]) -> None:
        played: list[tuple[Item, Object]] = []
        batch: list[Request] = []
        for item in items:
            stage, obj = self._due.pop(item), self._find(item)
            if obj is None or not self._plays(obj):
                continue
            try:
                request = self._transition(item[0], obj, stage)
            except AddressesExhausted as failure:
                log.warning("%s: %s", item[1], failure)
                self._later(item)
                continue
            if request is not None:
                batch.append(request)
                played.append((item, obj))
                self._playing[item] = None
        if not batch:
            return
        try:
            outcomes: Sequence[errors.StatusError | TransportError | None] = await self._client.try_all(batch)
        except TransportError as failure:
            outcomes = [failure] * len(batch)
        for (item, obj), outcome in zip(played, outcomes, strict=True):
            del self._playing[item]
            self._after(item, obj, outcome)

    def _after(self, item: Item, before: Object, outcome: errors.StatusError | TransportError | None) -> None:
        if outcome is not None and not isinstance(outcome, errors.NotFound | errors.Conflict):
            log.warning("%s %s: %s; again in %.0f s", item[0].kind, item[1], outcome, RETRY_SECONDS)
            self._later(item)
            return
        # What changed while the answer was under way was not considered.
        now = self._find(item)
        if now is not None and now["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]:
            self.consider(item[0], now)

    def _later(self, item: Item) -> None:
        self._timers[item] = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._again, item)

    def _again(self, item: Item) -> None:
        self._timers.pop(item, None)
        obj = self._find(item)
        if obj is not None:
            self.consider(item[0], obj)

    def _transition(self, resource: Resource, obj: Object, stage: Stage) -> Request | None:
        """The one write that leads on: finalizers, else the status, else the deletion. The change that it makes leads
        to the next."""
        if stage.event:
            event = stage.event
            event_type = "Warning" if event.event_type == "Warning" else "Normal"
            self._recorder.event(obj, event_type, event.reason, event.message)  # type: ignore[arg-type]
        namespace, metadata = namespace_of(obj), obj["metadata"]
        name = metadata["name"]
        if stage.finalizers:
            before = metadata.get("finalizers") or []
            after = stage.finalizers.after(before)
            if after != before:
                return requests.patch(resource, namespace, name, {"metadata": {"finalizers": after}})
        if stage.status:
            body = b'{"status":' + stage.status.render(obj) + b"}"
            return Request("PATCH", resource.path(namespace, name, "status"), (), STATUS_HEADERS, body)
        if stage.delete:
            grace = 0 if resource.kind == "Pod" else None
            return requests.delete(resource, namespace, name, grace_period_seconds=grace, uid=metadata.get("uid", ""))
        return None


STATUS_HEADERS: Sequence[tuple[str, str]] = (
    requests.JSON_ACCEPT,
    ("content-type", requests.PATCH_MEDIA_TYPES["strategic"]),
)
