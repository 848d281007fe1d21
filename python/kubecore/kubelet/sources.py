"""Where a node's pods come from: the API server's pods bound to this node, and the node's own object.

In: two informers (pods of this node, this node). Out: calls of the pod manager. Pods that arrive together are started the
oldest first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from kubecore.api.meta import Object
from kubecore.api.scheme import core
from kubecore.client import Client, Informer
from kubecore.kubelet.pod_manager import PodManager


class ApiSource:
    """Run `run` as a task."""

    def __init__(
        self,
        client: Client,
        node_name: str,
        manager: PodManager,
        *,
        randomness: random.Random,
        node_changed: Callable[[Object | None], None],
    ) -> None:
        self._manager = manager
        self._node_changed = node_changed
        self._starting = False
        self._pods = Informer(
            client,
            core("pods"),
            randomness=random.Random(randomness.random()),
            field_selector=f"spec.nodeName={node_name}",
        )
        self._nodes = Informer(
            client,
            core("nodes"),
            randomness=random.Random(randomness.random()),
            field_selector=f"metadata.name={node_name}",
        )
        self._pods.add_handler(self._pod_changed)
        self._nodes.add_handler(lambda old, new: node_changed(new))

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._nodes.run(), name="the node's object")
            # Whether a pod is let in depends on the node's labels and taints.
            await self._nodes.wait_synced()
            tasks.create_task(self._pods.run(), name="the node's pods")

    async def wait_synced(self) -> None:
        await self._nodes.wait_synced()
        await self._pods.wait_synced()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._manager.drop(old)
            return
        if old is not None and old["metadata"]["uid"] != new["metadata"]["uid"]:
            # Deleted and made again under the same name between two looks.
            self._manager.drop(old)
        self._manager.put(new)
        if not self._starting:
            self._starting = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._starting = False
        self._manager.start_waiting()
