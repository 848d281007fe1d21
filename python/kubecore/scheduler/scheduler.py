"""The scheduler: watches nodes and pods, lets the kernel decide, binds, and says what it did.

```
nodes, pods ──watch──▶ kernel (snapshot)          events, conditions
                 └───▶ queue ──keys──▶ kernel.schedule ──▶ bind (batches) ──▶ API
                          ▲                   │ no node        │ refused
                          └───────────────────┴────────────────┘
                                       evict victims, if that makes room
```

It acts as `system:kube-scheduler` through whatever client it is given, in process or over HTTPS. After a lost watch
everything is listed again; an assumption stands until its pod's event confirms it or the binding fails, so nothing is
placed twice.
"""

from __future__ import annotations

import asyncio
import logging
import random

from kubecore.api.clock import Clock
from kubecore.api.errors import NotFound
from kubecore.api.scheme import core
from kubecore.client import Client, EventRecorder, RawInformer, WatchEvent
from kubecore.client.codec import decode, metadata_of
from kubecore.scheduler.bind import BATCH_MAX as BIND_BATCH_MAX
from kubecore.scheduler.bind import Binding, bind
from kubecore.scheduler.configuration import Configuration
from kubecore.scheduler.evict import Eviction, Evictor
from kubecore.scheduler.kernel import Decision, Failure, Kernel
from kubecore.scheduler.metrics import SchedulerMetrics
from kubecore.scheduler.queue import SchedulingQueue
from kubecore.scheduler.related import RelatedObjects
from kubecore.scheduler.reports import Reports

log = logging.getLogger(__name__)

DECISIONS_MAX = BIND_BATCH_MAX
"""Pods decided at a turn: the loop stays free for events in between."""

BINDING_BATCHES_MAX = 8
"""Batches of bindings under way at once; at the bound no further pod is decided until one is done."""


class Scheduler:
    """Run `run` as a task; cancel it to stop. `randomness` spreads the watches' timeouts; between equally good nodes
    the configuration's seed decides. Events and metrics carry the first profile's name."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        randomness: random.Random,
        configuration: Configuration | None = None,
        host: str = "",
    ) -> None:
        self.configuration = configuration or Configuration()
        name = self.configuration.profiles[0].scheduler_name
        self._client = client
        self._clock = clock
        self.kernel = Kernel(
            seed=self.configuration.seed, profiles=[profile.settings() for profile in self.configuration.profiles]
        )
        self.queue = SchedulingQueue(
            clock,
            backoff_first_seconds=self.configuration.backoff_first_seconds,
            backoff_longest_seconds=self.configuration.backoff_longest_seconds,
        )
        self.metrics = SchedulerMetrics(name, self.queue.counts)
        self.events = EventRecorder(client, component=name, clock=clock, form="events.k8s.io/v1", host=host)
        self._nodes = RawInformer(client, core("nodes"), self._on_nodes, randomness=randomness)
        self._pods = RawInformer(client, core("pods"), self._on_pods, randomness=randomness)
        self._related = RelatedObjects(client, self.kernel, randomness=randomness, told=self._wake)
        self._work = asyncio.Event()
        self._binding: dict[str, str] = {}
        """The uid of each pod whose binding is under way, by key."""
        self._binding_slots = asyncio.Semaphore(BINDING_BATCHES_MAX)
        self._reports = Reports(client, self.events, clock=clock, pod_of=self._pods.get)
        self._evictor = Evictor(
            client,
            self.events,
            clock=clock,
            scheduler_name=name,
            failed=self._on_eviction_failed,
        )

    @property
    def has_synced(self) -> bool:
        """All that decisions depend on has been listed once."""
        return self._nodes.has_synced and self._pods.has_synced and self._related.has_synced

    async def wait_synced(self) -> None:
        await self._nodes.wait_synced()
        await self._pods.wait_synced()
        await self._related.wait_synced()

    async def run(self) -> None:
        """Until cancelled. May be run again after it failed: it goes on with what it knew."""
        self._take_up()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._nodes.run())
            tasks.create_task(self._pods.run())
            tasks.create_task(self._related.run())
            tasks.create_task(self.events.run())
            tasks.create_task(self._reports.run())
            tasks.create_task(self._evictor.run())
            # Nodes first: a pod decided before they are known would be told that there are none.
            await self.wait_synced()
            await self._decide(tasks)

    def _take_up(self) -> None:
        """What a run before this one left half done is done again: nobody waits for its bindings' answers any more."""
        self._binding_slots = asyncio.Semaphore(BINDING_BATCHES_MAX)
        self._binding.clear()
        for key in self.queue.in_flight():
            self.kernel.forget(key)
            if self.kernel.node_of(key) is None:
                self.queue.error(key)
            else:
                self.queue.remove(key)

    # ── what happens ──

    def _on_nodes(self, events: list[WatchEvent]) -> None:
        for event_type, body in events:
            try:
                self.kernel.node_event(event_type, body)
            except ValueError as unreadable:
                log.error("a node is left as it was known: %s", unreadable)
        self._wake()

    def _on_pods(self, events: list[WatchEvent]) -> None:
        for change, (_, body) in zip(self.kernel.pod_events(events), events, strict=True):
            if isinstance(change, ValueError):
                # One object that no server should have stored must not keep all others from their nodes.
                log.error("a pod is left alone: %s", change)
                continue
            key = change.key
            is_binding = key in self._binding
            if is_binding and self._binding[key] != metadata_of(body).uid:
                # Another pod has the name by now: what comes of the binding does not concern it.
                del self._binding[key]
                self.queue.remove(key)
                is_binding = False
            match change.state:
                case "pending":
                    self.queue.put(key, change.priority, changed=change.changed)
                case "gated":
                    if self.queue.gate(key, change.priority):
                        self._reports.gated(key, decode(body))
                case "assigned" if is_binding:
                    pass  # The binding's answer will take it out of the queue.
                case _:
                    self._binding.pop(key, None)
                    self.queue.remove(key)
        self._wake()

    def _wake(self) -> None:
        """Pods that something helped get another turn."""
        self.queue.wake(self.kernel.take_woken())
        self._work.set()

    # ── decisions ──

    async def _decide(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            wait_seconds = self.queue.next_seconds()
            if wait_seconds != 0:
                self._work.clear()
                try:
                    async with asyncio.timeout(wait_seconds):
                        await self._work.wait()
                except TimeoutError:
                    pass
                continue
            await self._binding_slots.acquire()
            keys = self.queue.pop(DECISIONS_MAX)
            started = self._clock.monotonic()
            decisions = self.kernel.schedule(keys)
            self.metrics.chose(self._clock.monotonic() - started)
            bindings = self._sort_out(decisions)
            if bindings:
                tasks.create_task(self._bind(bindings))
            else:
                self._binding_slots.release()
            # Events and answers get their turn, also under a clock that does not move by itself.
            await asyncio.sleep(0)

    def _sort_out(self, decisions: list[Decision]) -> list[Binding]:
        """Failures are told at once, victims evicted; what is left is to be bound."""
        bindings = []
        refused = 0
        for key, node, failure in decisions:
            body = self._pods.get(key)
            if failure is not None:
                refused += 1
                self._fail(key, body, failure)
            elif node is None or body is None:
                self.queue.remove(key)
            else:
                uid = self._binding[key] = metadata_of(body).uid
                bindings.append(Binding(key, node, uid))
        self.metrics.attempted("unschedulable", refused)
        return bindings

    async def _bind(self, bindings: list[Binding]) -> None:
        try:
            outcomes = await bind(self._client, bindings)
        finally:
            self._binding_slots.release()
        bound = 0
        for binding, outcome in zip(bindings, outcomes, strict=True):
            is_current = self._binding.get(binding.key) == binding.uid
            if is_current:
                del self._binding[binding.key]
            if outcome is None:
                bound += 1
                self._bound(binding, is_current=is_current)
            elif is_current:
                self._take_back(binding, outcome)
        self.metrics.attempted("scheduled", bound)
        self.metrics.attempted("error", len(bindings) - bound)
        self._work.set()

    def _take_back(self, binding: Binding, failure: Exception) -> None:
        """A binding failed: the room is free again and the pod gets another turn, unless its node is known by now."""
        if not self.kernel.forget(binding.key):
            self.queue.remove(binding.key)
            return
        self.queue.error(binding.key)
        self._wake()
        body = self._pods.get(binding.key)
        if body is not None and not isinstance(failure, NotFound):
            self._reports.error(binding.key, decode(body), failure)

    def _bound(self, binding: Binding, *, is_current: bool) -> None:
        entry = self.queue.remove(binding.key) if is_current else None
        if entry is not None:
            self.metrics.bound(entry.attempts, self._clock.monotonic() - entry.first_queued)
        self._reports.bound(binding.key, binding.uid, binding.node)

    # ── failures, and room made for the more important ──

    def _fail(self, key: str, body: bytes | None, failure: Failure) -> None:
        self.queue.failed(key)
        if body is None:
            self.queue.remove(key)
            return
        self._reports.failed(key, decode(body), failure)
        if failure.preemption == "not considered":
            return
        self.metrics.tried_to_preempt(len(failure.victims))
        for outranked in failure.outranked:
            self._reports.not_nominated(outranked)
        preemptor = self._reports.reference(key, metadata_of(body).uid)
        for victim_key, uid, leaves in failure.victims:
            victim = self._pods.get(victim_key)
            if not leaves and victim is not None and failure.nominated_node is not None:
                self._evictor.evict(Eviction(victim_key, uid, victim, failure.nominated_node, key, preemptor))

    def _on_eviction_failed(self, eviction: Eviction) -> None:
        """The preemptor looks for victims again."""
        self.kernel.spare(eviction.key)
        self.queue.wake([eviction.preemptor_key])
        self._work.set()
