"""Taint eviction: deletes pods from nodes with NoExecute taints that they do not tolerate, or not for so long.

In: nodes' taints, pods and their tolerations. Out: deletions, each announced by the pod's DisruptionTarget condition.
Keys are pods; a node whose taints change wakes all its pods.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubecore.api import errors
from kubecore.api.meta import Object, key_of, namespace_of, parse_timestamp, timestamp, uid_of
from kubecore.api.scheme import core
from kubecore.controllers import pods
from kubecore.controllers.base import Context, Controller

FOREVER = float("inf")


def no_execute(node: Object) -> list[Object]:
    return [taint for taint in node.get("spec", {}).get("taints") or () if taint.get("effect") == "NoExecute"]


def tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def seconds_left(pod: Object, taints: Sequence[Object], *, now: float) -> float:
    """How long the pod may stay: 0 not at all, FOREVER as long as it likes.

    A toleration's seconds run from when the taint was added; of several the shortest counts.
    """
    shortest = FOREVER
    for taint in taints:
        fitting = [each for each in pod["spec"].get("tolerations") or () if tolerates(each, taint)]
        if not fitting:
            return 0.0
        added = parse_timestamp(taint["timeAdded"]) if taint.get("timeAdded") else now
        limits = [each["tolerationSeconds"] for each in fitting if each.get("tolerationSeconds") is not None]
        if limits:
            shortest = min(shortest, max(0.0, added + min(limits) - now))
    return shortest


class TaintEviction(Controller):
    name = component = "taint-eviction-controller"
    identity = "node-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pods = self.informer(core("pods"))
        self._pods.add_index(pods.BY_NODE, pods.by_node)
        self._nodes = self.informer(core("nodes"))
        self._waiting: dict[str, str] = {}
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or no_execute(old or {}) == no_execute(new):
            return
        for pod in self._pods.by_index(pods.BY_NODE, new["metadata"]["name"]):
            self.queue.add(key_of(pod))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._waiting.pop(key_of(old), None)
            return
        moved = old is None or old["spec"].get("nodeName") != new["spec"].get("nodeName")
        if moved or (old is not None and old["spec"].get("tolerations") != new["spec"].get("tolerations")):
            node = self._nodes.get(new["spec"].get("nodeName", ""))
            if node is not None and no_execute(node):
                self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return
        node = self._nodes.get(pod["spec"].get("nodeName", ""))
        left = seconds_left(pod, no_execute(node) if node else (), now=self.clock.now())
        if left == FOREVER:
            if self._waiting.pop(key, None) == uid_of(pod):
                self.recorder.event(pod, "Normal", "TaintManagerEviction", f"Cancelling deletion of Pod {key}")
            return
        if left > 0:
            self._waiting[key] = uid_of(pod)
            self.queue.add_after(key, left)
            return
        self._waiting.pop(key, None)
        await self._evict(key, pod)

    async def _evict(self, key: str, pod: Object) -> None:
        self.recorder.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": timestamp(self.clock.now()),
        }
        namespace, name = namespace_of(pod), pod["metadata"]["name"]
        try:
            await self.client.patch(
                core("pods"),
                namespace,
                name,
                {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [condition]}},
                patch_type="strategic",
                subresource="status",
            )
            await self.client.delete(core("pods"), namespace, name, uid=uid_of(pod))
        except errors.NotFound:
            return
