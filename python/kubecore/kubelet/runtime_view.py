"""What the runtime has, at hand: sandboxes and containers of every pod.

In: the runtime's events, each answered by asking for that one container or sandbox; a full list at the start, after a
broken connection and now and then. Out: `Observed` for a pod's uid; a wake for each pod in which something changed.
Nothing polls: upstream lists everything each second, this lists once a minute in case an event was lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from kubecore.api.clock import Clock
from kubecore.kubelet.plan import Observed, newest_first
from kubecore.kubelet.runtimes.protocol import (
    LABEL_POD_UID,
    Container,
    ContainerEvent,
    ContainerState,
    EventKind,
    Runtime,
    RuntimeCode,
    RuntimeFailure,
    Sandbox,
)
from kubecore.kubelet.seams import Wake

log = logging.getLogger(__name__)

RELIST_SECONDS = 60.0
RECONNECT_SECONDS = 1.0
HEALTHY_SECONDS = 180.0

_ORDER = {state: number for number, state in enumerate((ContainerState.CREATED, ContainerState.RUNNING))}
"""A container never goes back: an answer that was overtaken by a newer one is dropped."""


class RuntimeView:
    """Run `run` as a task after `relist` has succeeded once."""

    def __init__(self, runtime: Runtime, wake: Wake, clock: Clock, *, relist_seconds: float = RELIST_SECONDS) -> None:
        self._runtime = runtime
        self._wake = wake
        self._clock = clock
        self._listed_at = clock.monotonic()
        self._relist_seconds = relist_seconds
        self._containers: dict[str, dict[str, Container]] = {}
        self._sandboxes: dict[str, dict[str, Sandbox]] = {}
        self._owners: dict[str, str] = {}
        self._orders: dict[str, Observed] = {}

    def pod(self, uid: str) -> Observed:
        found = self._orders.get(uid)
        if found is None:
            sandboxes = sorted(
                self._sandboxes.get(uid, {}).values(),
                key=lambda each: (each.created_at, each.metadata.attempt),
                reverse=True,
            )
            found = Observed(tuple(sandboxes), tuple(newest_first(self._containers.get(uid, {}).values())))
            self._orders[uid] = found
        return found

    def uids(self) -> set[str]:
        """Pods of which the runtime has anything."""
        return {uid for held in (self._containers, self._sandboxes) for uid, found in held.items() if found}

    def problems(self, now: float) -> list[str]:
        """Why the node is not ready: what runs on it has not been seen for too long."""
        ago = now - self._listed_at
        if ago < HEALTHY_SECONDS:
            return []
        return [f"PLEG is not healthy: pleg was last seen active {ago:.0f}s ago; threshold is 3m0s"]

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="runtime events")
            tasks.create_task(self._relist_regularly(), name="runtime relist")

    async def relist(self) -> None:
        """Asks for everything; wakes the pods in which something is not as it was known. Raises RuntimeFailure."""
        sandboxes = await self._runtime.list_pod_sandboxes()
        containers = await self._runtime.list_containers()
        self._listed_at = self._clock.monotonic()
        before = {uid: self.pod(uid) for uid in self.uids()}
        self._containers.clear()
        self._sandboxes.clear()
        self._owners.clear()
        self._orders.clear()
        for sandbox in sandboxes:
            self._put_sandbox(sandbox)
        for container in containers:
            self._put_container(container)
        for uid in sorted(self.uids() | set(before)):
            if self.pod(uid) != before.get(uid, Observed()):
                self._wake(uid)

    async def refresh(self, *ids: str) -> None:
        """Asks for these containers or sandboxes, which the caller has just changed. Raises RuntimeFailure."""
        for each in ids:
            uid = self._owners.get(each, "")
            if each in self._sandboxes.get(uid, {}):
                await self._ask_sandbox(each)
            else:
                await self._ask_container(each)

    async def refresh_new_sandbox(self, sandbox_id: str) -> None:
        await self._ask_sandbox(sandbox_id)

    async def refresh_pod(self, uid: str) -> Observed:
        """Everything of one pod, from full lists: also what no event has told of yet. Raises RuntimeFailure."""
        sandboxes = [each for each in await self._runtime.list_pod_sandboxes() if each.metadata.uid == uid]
        containers = [each for each in await self._runtime.list_containers() if each.labels.get(LABEL_POD_UID) == uid]
        self._drop(uid, [each.id for each in sandboxes] + [each.id for each in containers])
        for sandbox in sandboxes:
            self._put_sandbox(sandbox)
        for container in containers:
            self._put_container(container)
        return self.pod(uid)

    def forget(self, *ids: str) -> None:
        """Containers or sandboxes that the caller has removed."""
        for each in ids:
            uid = self._owners.pop(each, None)
            if uid is None:
                continue
            self._orders.pop(uid, None)
            for held in (self._containers, self._sandboxes):
                found = held.get(uid, {})
                found.pop(each, None)
                if not found:
                    held.pop(uid, None)

    # ── keeping ──

    def _drop(self, uid: str, kept: Iterable[str]) -> None:
        keep = set(kept)
        known = [*self._containers.get(uid, {}), *self._sandboxes.get(uid, {})]
        self.forget(*(each for each in known if each not in keep))

    def _put_sandbox(self, sandbox: Sandbox) -> None:
        uid = sandbox.metadata.uid
        self._sandboxes.setdefault(uid, {})[sandbox.id] = sandbox
        self._owners[sandbox.id] = uid
        self._orders.pop(uid, None)

    def _put_container(self, container: Container) -> None:
        uid = container.labels.get(LABEL_POD_UID, "")
        if not uid:
            return
        known = self._containers.get(uid, {}).get(container.id)
        if known is not None and _ORDER.get(container.state, 2) < _ORDER.get(known.state, 2):
            return
        self._containers.setdefault(uid, {})[container.id] = container
        self._owners[container.id] = uid
        self._orders.pop(uid, None)

    async def _ask_container(self, container_id: str) -> None:
        try:
            self._put_container(await self._runtime.container_status(container_id))
        except RuntimeFailure as failure:
            if failure.code is not RuntimeCode.NOT_FOUND:
                raise
            self.forget(container_id)

    async def _ask_sandbox(self, sandbox_id: str) -> None:
        try:
            self._put_sandbox(await self._runtime.pod_sandbox_status(sandbox_id))
        except RuntimeFailure as failure:
            if failure.code is not RuntimeCode.NOT_FOUND:
                raise
            self.forget(sandbox_id)

    # ── following ──

    async def _follow(self) -> None:
        while True:
            try:
                events = self._runtime.events()
                # What happened before the stream began is in no event.
                relist = asyncio.ensure_future(self._relist_soon())
                try:
                    async for event in events:
                        await self._apply(event)
                finally:
                    relist.cancel()
            except RuntimeFailure as failure:
                log.warning("the runtime's events ended: %s; again in %g s", failure.message, RECONNECT_SECONDS)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _relist_soon(self) -> None:
        await asyncio.sleep(RECONNECT_SECONDS)
        await self._try_relist()

    async def _apply(self, event: ContainerEvent) -> None:
        if event.kind is EventKind.DELETED:
            self.forget(event.container_id)
        elif event.container_id == event.sandbox_id:
            await self._ask_sandbox(event.container_id)
        else:
            await self._ask_container(event.container_id)
        self._wake(event.pod_uid)

    async def _relist_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._relist_seconds)
            await self._try_relist()

    async def _try_relist(self) -> None:
        try:
            await self.relist()
        except RuntimeFailure as failure:
            log.warning("listing the runtime's containers: %s", failure.message)
