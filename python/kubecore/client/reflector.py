"""Keeps a sink equal to a collection: list, watch from there, and start again when the server has forgotten where we
were.

In: one collection (resource, namespace, selectors). Out, to the sink: `replace` with everything, then `apply` with
each batch of changes. Objects stay encoded here.

```
list ──▶ sink.replace ──▶ watch ──▶ sink.apply … ──(stream ends)──▶ watch from the last revision seen
  ▲                                    └──(410 Gone)──┐
  └────────────────────────────────────────────────────┘
```

With `initial_events` (the default), the list is the beginning of the watch (`sendInitialEvents`): one request, no
pages, no second copy of the list in memory.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Protocol

from kubecore.api import errors
from kubecore.api.scheme import Resource
from kubecore.client import codec
from kubecore.client.backoff import Backoff
from kubecore.client.client import Client, error_of
from kubecore.client.transport import StreamRefused, TransportError, WatchEvent

log = logging.getLogger(__name__)

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
WATCH_SECONDS_MIN = 300
"""A watch asks to be ended after this time and up to twice that, so that many clients spread over the servers."""

BACKOFF_SECONDS = (0.8, 30.0)
"""First and longest pause after a failure, as client-go has them."""


SHORT_WATCH_SECONDS = 1.0
"""A watch that ends so soon without an event counts as a failure: trying again at once would never end."""


class Sink(Protocol):
    """Where a reflector puts what it sees. Calls are synchronous and never overlap."""

    def replace(self, items: list[bytes]) -> None:
        """The whole collection: what the sink holds beyond it is gone."""

    def apply(self, events: list[WatchEvent]) -> None:
        """Changes in order: ADDED, MODIFIED and DELETED only."""


class _Gone(Exception):
    """The state to watch from is no longer held by the server."""


class Reflector:
    """Run `run` as a task; cancel it to stop."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        sink: Sink,
        *,
        randomness: random.Random,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        initial_events: bool = True,
    ) -> None:
        self._client = client
        self.resource = resource
        self._sink = sink
        self._random = randomness
        self._namespace = namespace
        self._selectors = {"label_selector": label_selector, "field_selector": field_selector}
        self._initial_events = initial_events
        self.resource_version = ""
        self._backoff = Backoff(*BACKOFF_SECONDS, randomness=randomness)

    async def run(self) -> None:
        """Until cancelled. Failures are logged once each and tried again, with longer and longer pauses."""
        while True:
            try:
                if not self.resource_version:
                    await self._list()
                await self._watch(initial_events=False)
            except _Gone:
                self.resource_version = ""
            except (errors.StatusError, TransportError) as failure:
                if isinstance(failure, errors.Expired):
                    self.resource_version = ""
                pause = self._backoff.next()
                log.warning("watching %s: %s; again in %.1f s", self.resource.qualified, failure, pause)
                await asyncio.sleep(pause)

    async def _list(self) -> None:
        if self._initial_events:
            try:
                await self._watch(initial_events=True)
                return
            except (errors.Invalid, errors.BadRequest, errors.Forbidden) as refusal:
                # A server without streaming lists refuses the parameter; one that forbids the watch will refuse the
                # list, too.
                log.info("listing %s page by page: %s", self.resource.qualified, refusal)
                self._initial_events = False
        listed = await self._client.list_raw(self.resource, self._namespace, **self._selectors)
        self._sink.replace(listed.items)
        self.resource_version = listed.resource_version

    async def _watch(self, *, initial_events: bool) -> None:
        """One stream. With `initial_events` it starts with the whole collection."""
        gathered: list[bytes] | None = [] if initial_events else None
        batches = self._client.stream(
            self.resource,
            self._namespace,
            resource_version=self.resource_version,
            send_initial_events=initial_events,
            timeout_seconds=WATCH_SECONDS_MIN + int(self._random.random() * WATCH_SECONDS_MIN),
            **self._selectors,
        )
        loop = asyncio.get_running_loop()
        began, was_silent = loop.time(), True
        try:
            async for batch in batches:
                was_silent = False
                if gathered is None:
                    self._deliver(batch)
                    continue
                changes = self._gather(gathered, batch)
                if changes is not None:
                    gathered = None
                    self._deliver(changes)
        except StreamRefused as refused:
            raise error_of(refused.response) from refused
        finally:
            await batches.aclose()
        if gathered is not None:
            raise TransportError("the watch ended before the initial events did")
        if was_silent and loop.time() - began < SHORT_WATCH_SECONDS:
            raise TransportError("the watch ended at once")

    def _gather(self, gathered: list[bytes], batch: list[WatchEvent]) -> list[WatchEvent] | None:
        """Collects the initial events; at the bookmark that ends them, hands them over and gives the rest of the
        batch."""
        for index, (event_type, body) in enumerate(batch):
            if event_type == "ERROR":
                return batch[index:]
            if event_type != "BOOKMARK":
                gathered.append(body)
                continue
            metadata = codec.metadata_of(body)
            if (metadata.annotations or {}).get(INITIAL_EVENTS_END) == "true":
                self._sink.replace(gathered)
                self.resource_version = metadata.resource_version
                return batch[index + 1 :]
        return None

    def _deliver(self, batch: list[WatchEvent]) -> None:
        if not batch:
            return
        self._backoff.reset()
        last_type, last = batch[-1]
        if any(event_type in ("BOOKMARK", "ERROR") for event_type, _ in batch):
            changes = [event for event in batch if event[0] not in ("BOOKMARK", "ERROR")]
        else:
            changes = batch
        if changes:
            self._sink.apply(changes)
        if last_type != "ERROR":
            self.resource_version = codec.metadata_of(last).resource_version
            return
        failure = errors.from_status(codec.decode(last))
        if isinstance(failure, errors.Expired) or failure.status_code == 410:
            raise _Gone from failure
        raise failure
