"""What every controller is: keys come in from informers, are worked on one at a time each, and come back if that
failed.

```
informer ──handler──▶ queue ──▶ reconcile(key): observed state ──▶ plan (pure) ──▶ apply (requests, events)
                        ▲                                                             │
                        └── add_rate_limited: Conflict or another failure ◀──────────┘
```

A controller reads from informers only and writes through its own client; it never keeps state that it could not
compute again, expectations aside.
"""

from __future__ import annotations

import abc
import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from kubecore.api import errors
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, key_of
from kubecore.api.scheme import Resource
from kubecore.client import Client, EventRecorder, Informer, Shutdown, TransportError, WorkQueue

log = logging.getLogger(__name__)

WORKERS = 5
"""Keys of one controller worked on at a time (`--concurrent-...-syncs`)."""


class Informers:
    """One informer for each resource, shared by all controllers of a manager, and what they derive from it."""

    def __init__(self, client: Client, *, randomness: random.Random) -> None:
        self._client = client
        self._random = randomness
        self._informers: dict[Resource, Informer] = {}
        self._derived: dict[str, Any] = {}
        self._tasks: dict[Resource, asyncio.Task[None]] = {}
        self._started = False
        self._failed: asyncio.Future[None] | None = None

    def of(self, resource: Resource) -> Informer:
        informer = self._informers.get(resource)
        if informer is None:
            seed = random.Random(self._random.random())
            informer = self._informers[resource] = Informer(self._client, resource, randomness=seed)
            if self._started:
                self._start(informer)
        return informer

    def derived(self, name: str, make: Callable[[], Any]) -> Any:
        """Something that several controllers compute from the same informers: made once."""
        if name not in self._derived:
            self._derived[name] = make()
        return self._derived[name]

    def start(self) -> None:
        """Informers asked for later start when they are asked for."""
        self._started = True
        self._failed = asyncio.get_running_loop().create_future()
        for informer in list(self._informers.values()):
            self._start(informer)

    def _start(self, informer: Informer) -> None:
        if informer.resource not in self._tasks:
            name = f"informer {informer.resource.qualified}"
            task = self._tasks[informer.resource] = asyncio.create_task(informer.run(), name=name)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        assert self._failed is not None, "set before the first task"
        if not task.cancelled() and (failure := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(failure)

    async def failure(self) -> None:
        """Once started: raises what one of the informers failed with. Its readers would wait for ever and never know."""
        assert self._failed is not None, "started"
        await self._failed

    async def wait_synced(self, resources: Iterable[Resource]) -> None:
        for resource in resources:
            await self.of(resource).wait_synced()

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()


@dataclass(frozen=True, slots=True)
class Context:
    """What a controller is given: its own identity's client, the shared informers, time, chance and the options of
    the command line."""

    client: Client
    informers: Informers
    clock: Clock
    randomness: random.Random
    recorder: EventRecorder
    options: dict[str, Any] = field(default_factory=dict)


class Controller(abc.ABC):
    """Subclasses name themselves, register handlers in `__init__` and define `reconcile`."""

    name: ClassVar[str]
    """As `--controllers` has it: `replicaset-controller`."""
    identity: ClassVar[str]
    """The service account in kube-system that it acts as; empty: the manager's own identity."""
    component: ClassVar[str]
    """How its events call it."""

    def __init__(self, context: Context, *, workers: int = WORKERS) -> None:
        self.context = context
        self.client = context.client
        self.clock = context.clock
        self.recorder = context.recorder
        self.queue = WorkQueue()
        self._workers = workers
        self._reads: dict[Resource, None] = {}

    def informer(self, resource: Resource) -> Informer:
        """A shared informer; the controller starts working once it has synced."""
        self._reads[resource] = None
        return self.context.informers.of(resource)

    def enqueue_changes_of(self, resource: Resource) -> Informer:
        """Every change of an object enqueues its key."""
        informer = self.informer(resource)
        informer.add_handler(self._enqueue)
        return informer

    def _enqueue(self, old: Object | None, new: Object | None) -> None:
        changed = new if new is not None else old
        if changed is not None:
            self.queue.add(key_of(changed))

    @abc.abstractmethod
    async def reconcile(self, key: str) -> None:
        """Brings the world nearer to what the object of that key wants. A raised StatusError or TransportError: again
        later."""

    def all_keys(self) -> Iterable[str]:
        """What to enqueue after the queue has overflowed: the keys of the first resource read."""
        return list(self.context.informers.of(next(iter(self._reads))).store)

    async def start(self) -> None:  # noqa: B027  # most have nothing to do here
        """Hook: runs when the informers have synced, before the first key."""

    def background(self) -> list[Callable[[], Awaitable[None]]]:
        """Hook: further loops beside the workers, each until cancelled."""
        return []

    async def wait_synced(self) -> None:
        """What it reads is there."""
        await self.context.informers.wait_synced(self._reads)

    async def run(self) -> None:
        """Works until cancelled. On cancellation, keys being worked on are given up: whoever comes next plans again."""
        await self.wait_synced()
        await self.start()
        tasks = [asyncio.create_task(self._work(), name=f"{self.name} {number}") for number in range(self._workers)]
        tasks += [asyncio.create_task(_run(loop), name=f"{self.name} {loop.__name__}") for loop in self.background()]
        try:
            await asyncio.gather(*tasks)
        finally:
            self.queue.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except Shutdown:
                return
            try:
                await self._reconcile(key)
            finally:
                self.queue.done(key)
            if self.queue.overflowed and not len(self.queue):
                self.queue.overflowed = False
                for known in self.all_keys():
                    self.queue.add(known)

    async def _reconcile(self, key: str) -> None:
        try:
            await self.reconcile(key)
        except errors.Conflict as conflict:
            log.debug("%s: %s: %s", self.name, key, conflict)
            self.queue.add_rate_limited(key)
        except (errors.StatusError, TransportError) as failure:
            log.warning("%s: %s: %s; again later", self.name, key, failure)
            self.queue.add_rate_limited(key)
        except Exception:
            # A defect met one object: it must not stop the work on all others. It is reported whole, and tried again
            # ever more rarely.
            log.exception("%s: %s: defect", self.name, key)
            self.queue.add_rate_limited(key)
        else:
            self.queue.forget(key)


async def _run(loop: Callable[[], Awaitable[None]]) -> None:
    await loop()
