"""What decisions depend on besides pods and nodes: namespaces' labels, who belongs together (services, controllers),
who may be evicted (disruption budgets), and where volumes are (claims, volumes, their classes, what nodes take).

In: watches of those resources. Out: their encoded events, into the kernel.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from kubecore.api.scheme import Resource, core, resource
from kubecore.client import Client, RawInformer, WatchEvent
from kubecore.scheduler.kernel import Kernel

log = logging.getLogger(__name__)

RESOURCES: tuple[Resource, ...] = (
    core("namespaces"),
    core("services"),
    core("replicationcontrollers"),
    resource("apps", "v1", "replicasets"),
    resource("apps", "v1", "statefulsets"),
    resource("policy", "v1", "poddisruptionbudgets"),
    core("persistentvolumeclaims"),
    core("persistentvolumes"),
    resource("storage.k8s.io", "v1", "storageclasses"),
    resource("storage.k8s.io", "v1", "csinodes"),
)


class RelatedObjects:
    """Keeps the kernel told; calls `told` when it was. Run it until it is cancelled."""

    def __init__(self, client: Client, kernel: Kernel, *, randomness: random.Random, told: Callable[[], None]) -> None:
        self._kernel = kernel
        self._told = told
        self._informers = [
            RawInformer(client, each, self._teller(each.plural), randomness=randomness) for each in RESOURCES
        ]

    def _teller(self, plural: str) -> Callable[[list[WatchEvent]], None]:
        def tell(events: list[WatchEvent]) -> None:
            for event_type, body in events:
                try:
                    self._kernel.related_event(plural, event_type, body)
                except ValueError as unreadable:
                    log.error("one of the %s is left as it was known: %s", plural, unreadable)
            self._told()

        return tell

    @property
    def has_synced(self) -> bool:
        return all(informer.has_synced for informer in self._informers)

    async def wait_synced(self) -> None:
        for informer in self._informers:
            await informer.wait_synced()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers:
                tasks.create_task(informer.run())
