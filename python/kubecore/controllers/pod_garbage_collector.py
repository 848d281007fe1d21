"""Pod garbage collection: removes pods that no kubelet will ever remove.

In: pods, nodes. Out: forced deletions of pods whose node does not exist any more (after a quarantine, and a look at
the server itself), and of pods that were deleted before they had a node.
"""

from __future__ import annotations

from kubecore.api import errors
from kubecore.api.meta import Object, key_of, namespace_of, timestamp, uid_of
from kubecore.api.scheme import core
from kubecore.controllers import pods
from kubecore.controllers.base import Context, Controller

QUARANTINE_SECONDS = 40.0
"""A node is believed to be gone after that."""


class PodGarbageCollector(Controller):
    name = "pod-garbage-collector-controller"
    identity = component = "pod-garbage-collector"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pods = self.informer(core("pods"))
        self._pods.add_index(pods.BY_NODE, pods.by_node)
        self._nodes = self.informer(core("nodes"))
        self._suspected: dict[str, float] = {}
        """Absent nodes that pods are bound to, and since when that is known; forgotten with their last pod."""
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._suspected.pop(new["metadata"]["name"], None)
            return
        assert old is not None
        for pod in self._pods.by_index(pods.BY_NODE, old["metadata"]["name"]):
            self.queue.add(key_of(pod))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            node = old["spec"].get("nodeName", "")
            if not self._pods.by_index(pods.BY_NODE, node):
                self._suspected.pop(node, None)
            return
        node = new["spec"].get("nodeName")
        if (node and self._nodes.get(node) is None) or (not node and new["metadata"].get("deletionTimestamp")):
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None:
            return
        node = pod["spec"].get("nodeName")
        if not node:
            if pod["metadata"].get("deletionTimestamp"):
                await self._remove(pod)
            return
        if self._nodes.get(node) is not None:
            return
        since = self._suspected.setdefault(node, self.clock.monotonic())
        left = since + QUARANTINE_SECONDS - self.clock.monotonic()
        if left > 0:
            self.queue.add_after(key, left)
        elif await self._is_gone(node):
            await self._announce(pod)
            await self._remove(pod)

    async def _is_gone(self, node: str) -> bool:
        try:
            await self.client.get(core("nodes"), "", node)
        except errors.NotFound:
            return True
        return False

    async def _announce(self, pod: Object) -> None:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": timestamp(self.clock.now()),
        }
        status: Object = {"conditions": [condition]}
        if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            status["phase"] = "Failed"
        try:
            await self.client.patch(
                core("pods"),
                namespace_of(pod),
                pod["metadata"]["name"],
                {"metadata": {"uid": uid_of(pod)}, "status": status},
                patch_type="strategic",
                subresource="status",
            )
        except errors.NotFound:
            return

    async def _remove(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        try:
            await self.client.delete(core("pods"), namespace_of(pod), name, grace_period_seconds=0, uid=uid_of(pod))
        except errors.NotFound:
            return
