"""The service proxy of one node: watches services, slices and its own node, and keeps a backend up to date.

```
informers ─▶ ServiceTable ──changed──▶ wait for min_sync ─▶ backend.sync(changed services, or all of them)
                                                              │ then: UDP flows forgotten, health checks, metrics
                                                              └ failure: after a pause, everything again
```

Nothing polls. The first sync waits until all that is watched has been seen once, so that a restart removes nothing
that is still wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass

from kubecore.api.clock import Clock
from kubecore.api.meta import Object, parse_timestamp
from kubecore.api.scheme import core, resource
from kubecore.client import Backoff, Client, EventRecorder, Informer
from kubecore.proxy.backend import Backend, BackendError, NoLocalEndpoints, Update
from kubecore.proxy.conntrack import Conntrack, ConntrackError, UdpTargets
from kubecore.proxy.health import ProxyHealth, ServiceHealth
from kubecore.proxy.metrics import ProxyMetrics
from kubecore.proxy.model import FAMILIES, WATCHED, Family, family_of
from kubecore.proxy.table import ServiceTable

log = logging.getLogger(__name__)

IDENTITY = "system:kube-proxy"

MIN_SYNC_SECONDS = 1.0
SYNC_SECONDS = 30.0
RETRY_FIRST_SECONDS = 0.5
FULL_SYNC_SECONDS = 3600.0
"""Everything is written again that often, whoever changed it meanwhile."""
LATE_SYNC_PERIODS = 2
"""A change that waits for longer than that many sync periods makes the proxy unhealthy."""

TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"


@dataclass(frozen=True, slots=True)
class Pace:
    """`min_sync_seconds`: the shortest time from one sync to the next; `sync_seconds`: the longest pause after a failure,
    and what "late" means to the health check."""

    min_sync_seconds: float = MIN_SYNC_SECONDS
    sync_seconds: float = SYNC_SECONDS


class ServiceProxy:
    """`run` works until cancelled; `ready` returns once the node has served all services that there were."""

    def __init__(
        self,
        client: Client,
        node_name: str,
        backend: Backend,
        *,
        clock: Clock,
        randomness: random.Random,
        pace: Pace | None = None,
        families: tuple[Family, ...] = FAMILIES,
        conntrack: Conntrack | None = None,
    ) -> None:
        """`conntrack`: None if the backend leaves no flows in the kernel."""
        self._backend = backend
        self._clock = clock
        self._pace = pace or Pace()
        self._conntrack = conntrack
        self._retry = Backoff(RETRY_FIRST_SECONDS, self._pace.sync_seconds, randomness=randomness)
        self._changed = asyncio.Event()
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._triggered: list[float] = []
        self._full_sync_due = 0.0
        self._targets = UdpTargets()
        self._no_local = NoLocalEndpoints()
        self.metrics = ProxyMetrics(families)
        self.health = ProxyHealth(clock, timeout_seconds=LATE_SYNC_PERIODS * self._pace.sync_seconds)
        self.recorder = EventRecorder(client, component="kube-proxy", clock=clock, host=node_name)
        self.service_health = ServiceHealth(self.health, self._health_check_failed)
        self.table = ServiceTable(node_name, self._wake)

        def informer(of: object, **selectors: str) -> Informer:
            return Informer(client, of, randomness=random.Random(randomness.random()), **selectors)  # type: ignore[arg-type]

        self._services = informer(core("services"), label_selector=WATCHED)
        self._slices = informer(resource("discovery.k8s.io", "v1", "endpointslices"), label_selector=WATCHED)
        self._node = informer(core("nodes"), field_selector=f"metadata.name={node_name}")
        self._networks = informer(resource("networking.k8s.io", "v1", "servicecidrs"))
        self._services.add_handler(self._service_changed)
        self._slices.add_handler(self._slice_changed)
        self._node.add_handler(self._node_changed)
        self._networks.add_handler(lambda old, new: self._wake())

    async def run(self) -> None:
        informers = (self._services, self._slices, self._node, self._networks)
        tasks = [asyncio.create_task(each.run(), name=f"proxy {each.resource.plural}") for each in informers]
        tasks.append(asyncio.create_task(self.recorder.run(), name="proxy events"))
        tasks.append(asyncio.create_task(self._work(informers), name="proxy"))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.service_health.close()
            await self._backend.close()

    async def ready(self) -> None:
        await self._ready.wait()

    async def settled(self) -> None:
        """Until the node serves all that this proxy has heard of so far."""
        await self._idle.wait()

    # ── what changes ──

    def _service_changed(self, old: Object | None, new: Object | None) -> None:
        self.metrics.service_changes.inc()
        self.metrics.services_pending.inc()
        self.table.service_changed(old, new)

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        self.metrics.endpoint_changes.inc()
        self.metrics.endpoints_pending.inc()
        self.table.slice_changed(old, new)
        annotation = ((new or {}).get("metadata", {}).get("annotations") or {}).get(TRIGGERED)
        if annotation and self._ready.is_set():
            self._triggered.append(parse_timestamp(annotation))

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        self.health.node_changed(new)
        self.table.node_updated(new)

    def _wake(self) -> None:
        self._idle.clear()
        if not self._changed.is_set():
            self._changed.set()
            self.health.queued()
            self.metrics.queued(self._clock.now())

    def _service_cidrs(self) -> tuple[str, ...]:
        return tuple(sorted({cidr for each in self._networks.list() for cidr in each["spec"].get("cidrs") or ()}))

    # ── the loop ──

    async def _work(self, informers: Iterable[Informer]) -> None:
        for informer in informers:
            await informer.wait_synced()
        self._wake()
        while True:
            await self._wait()
            started = self._clock.monotonic()
            try:
                await self._sync()
            except BackendError as failure:
                self.metrics.failed()
                pause = self._retry.next()
                log.error("sync failed: %s; everything again in %.1f s", failure, pause)
                self._changed.set()
                await asyncio.sleep(pause)
                continue
            self._retry.reset()
            self._ready.set()
            if not self._changed.is_set():
                self._idle.set()
            rest = self._pace.min_sync_seconds - (self._clock.monotonic() - started)
            if rest > 0:
                await asyncio.sleep(rest)

    async def _wait(self) -> None:
        """Until something has changed or a full sync is due; what is left over is swept when that is."""
        while not self._changed.is_set():
            now = self._clock.monotonic()
            due = self._backend.leftovers_due
            if due is not None and due <= now:
                await self._sweep()
                continue
            if self._full_sync_due <= now:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(due or self._full_sync_due, self._full_sync_due) - now):
                    await self._changed.wait()
        due = self._backend.leftovers_due
        if due is not None and due <= self._clock.monotonic():
            await self._sweep()

    async def _sweep(self) -> None:
        try:
            await self._backend.sweep()
        except BackendError as failure:
            self.metrics.failed(cleanup=True)
            log.error("what is left over could not be removed: %s", failure)
            self._changed.set()

    async def _sync(self) -> None:
        self._changed.clear()
        started = self._clock.monotonic()
        cidrs = self._service_cidrs()
        everything = (
            self.table.all_changed
            or self._backend.needs_everything(self.table.node, cidrs)
            or self._full_sync_due <= started
        )
        services = self.table.take_all() if everything else self.table.take()
        triggered, self._triggered = self._triggered, []
        update = Update(services, self.table.node, cidrs, everything)
        await self._backend.sync(update)
        if everything:
            self._full_sync_due = started + FULL_SYNC_SECONDS
        now = self._clock.now()
        self.metrics.synced(self._clock.monotonic() - started, full=everything, at=now)
        for at in triggered:
            for family in FAMILIES:
                self.metrics.programming.labels(family).observe(max(0.0, now - at))
        if not self._changed.is_set():
            self.health.updated()
        self._no_local.update(services, everything=everything)
        self.metrics.tell_no_local(self._no_local)
        await self._check_health()
        await self._forget_flows(update)

    async def _check_health(self) -> None:
        addresses = [each for each in self.table.node.addresses if family_of(each) in FAMILIES]
        await self.service_health.sync(self.table.health_checks(), self.table.local_ready, addresses)

    async def _forget_flows(self, update: Update) -> None:
        if self._conntrack is None:
            return
        targets = self._targets.update(update.services, everything=update.everything)
        if not targets:
            return
        started = self._clock.monotonic()
        try:
            deleted = await self._conntrack.clean(targets, update.node)
        except ConntrackError as failure:
            log.error("stale UDP flows stay: %s", failure)
            return
        for family, count in deleted.items():
            self.metrics.flows.labels(family).observe(self._clock.monotonic() - started)
            self.metrics.flows_deleted.labels(family).inc(count)

    def _health_check_failed(self, key: str, port: int, failure: OSError) -> None:
        service = self._services.get(key)
        node = self.table.node.place.node
        message = f'node {node} failed to start healthcheck "{key}" on port {port}: {failure}'
        log.error(message)
        if service is not None:
            self.recorder.event(service, "Warning", "FailedToStartServiceHealthcheck", message)
