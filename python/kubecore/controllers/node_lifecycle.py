"""Node lifecycle: notices nodes that fall silent, says so in their conditions and taints, and marks their pods not
ready.

In: nodes, their Leases (kube-node-lease), pods. Out: conditions Unknown after the grace period, taints that follow
the conditions, pods' Ready condition False. A node is alive as long as its Lease or its status changes; the time of a
change is taken from this process's clock, never from the node's.

Nothing polls: each node has one timer, set to when it would be too long ago. Options:
`node_monitor_grace_period_seconds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubecore.api import errors
from kubecore.api.meta import Object, namespace_of, timestamp
from kubecore.api.scheme import core, resource
from kubecore.client import requests
from kubecore.controllers import conditions, node_plan, pods
from kubecore.controllers.base import Context, Controller

GRACE_SECONDS = 50.0
"""`--node-monitor-grace-period`."""

EVICTION_PAUSE_SECONDS = 10.0
"""Between two nodes that get a NoExecute taint: upstream's `--node-eviction-rate` of 0.1 a second. The first gets it
at once."""

DISRUPTED_SHARE = 0.55
DISRUPTED_MIN = 3
LARGE_CLUSTER_NODES = 50
DISRUPTED_PAUSE_SECONDS = 100.0
"""If so large a share of the nodes is not ready (and that many at least), the fault is rather ours: large clusters
evict ten times slower, small ones not at all. If no node is ready, evictions that were asked for are taken back."""

LEASE_NAMESPACE = "kube-node-lease"


@dataclass(slots=True)
class _Health:
    """When something was last heard of a node, on this process's clock, and what."""

    heard_at: float
    uid: str
    renew_time: str = ""
    heartbeat: str = ""


class NodeLifecycle(Controller):
    name = "node-lifecycle-controller"
    identity = component = "node-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._grace_seconds = float(context.options.get("node_monitor_grace_period_seconds", GRACE_SECONDS))
        self._nodes = self.informer(core("nodes"))
        self._leases = self.informer(resource("coordination.k8s.io", "v1", "leases"))
        self._pods = self.informer(core("pods"))
        self._pods.add_index(pods.BY_NODE, pods.by_node)
        self._health: dict[str, _Health] = {}
        self._not_ready: dict[str, None] = {}
        self._next_eviction_at = 0.0
        self._disrupted = False
        self._nodes.add_handler(self._node_changed)
        self._leases.add_handler(self._lease_changed)
        self._pods.add_handler(self._pod_changed)

    # ── what wakes a node ──

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            name = old["metadata"]["name"]
            if self._health.pop(name, None) is not None:
                self._say(old, "RemovingNode", f"Node {name} event: Removing Node {name} from Controller")
            self._not_ready.pop(name, None)
            return
        name, now = new["metadata"]["name"], self.clock.monotonic()
        ready = conditions.find(new.get("status", {}).get("conditions"), "Ready") or {}
        heartbeat = f"{ready.get('lastHeartbeatTime')}/{ready.get('status')}"
        health = self._health.get(name)
        if health is None or health.uid != new["metadata"].get("uid", ""):
            self._health[name] = _Health(now, new["metadata"].get("uid", ""), self._renew_time(name), heartbeat)
            self._say(new, "RegisteredNode", f"Node {name} event: Registered Node {name} in Controller")
        elif heartbeat != health.heartbeat:
            health.heartbeat = heartbeat
            if ready.get("status") != "Unknown":
                health.heard_at = now
        self.queue.add(name)

    def _lease_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or namespace_of(new) != LEASE_NAMESPACE:
            return
        health = self._health.get(new["metadata"]["name"])
        renew_time = new["spec"].get("renewTime") or ""
        if health is not None and renew_time != health.renew_time:
            health.renew_time, health.heard_at = renew_time, self.clock.monotonic()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A pod that turns ready on a node that is not, is no such thing."""
        node = (new or {}).get("spec", {}).get("nodeName", "")
        if node in self._not_ready and new is not None and pods.is_ready(new):
            self.queue.add(node)

    def _renew_time(self, name: str) -> str:
        lease = self._leases.get(f"{LEASE_NAMESPACE}/{name}")
        return str(lease["spec"].get("renewTime") or "") if lease else ""

    # ── one node ──

    async def reconcile(self, key: str) -> None:
        node, health = self._nodes.get(key), self._health.get(key)
        if node is None or health is None:
            return
        silent_seconds = self.clock.monotonic() - health.heard_at
        if silent_seconds >= self._grace_seconds:
            node = await self._note_silence(node)
        else:
            self.queue.add_after(key, self._grace_seconds - silent_seconds)
        ready = node_plan.ready_status(node)
        self._note_readiness(node, ready)
        if ready != "True":
            await self._mark_pods(key)
        await self._write_taints(node, ready)

    async def _note_silence(self, node: Object) -> Object:
        planned = node_plan.silent_conditions(node, now=self.clock.now())
        if planned == list(node.get("status", {}).get("conditions") or ()):
            return node
        status = {**node.get("status", {}), "conditions": planned}
        return await self.client.update_status(core("nodes"), {**node, "status": status})

    def _note_readiness(self, node: Object, ready: str) -> None:
        name = node["metadata"]["name"]
        if ready == "True":
            self._not_ready.pop(name, None)
        elif name not in self._not_ready:
            self._not_ready[name] = None
            self._say(node, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        disrupted = self._eviction_pause() is None
        if disrupted != self._disrupted:
            self._disrupted = disrupted
            for other in self._not_ready:
                self.queue.add(other)

    def _eviction_pause(self) -> float | None:
        """Seconds between two nodes' evictions; None: there are none."""
        not_ready, total = len(self._not_ready), len(self._nodes.store)
        if not_ready and not_ready >= total:
            return None
        if not_ready >= DISRUPTED_MIN and not_ready / total >= DISRUPTED_SHARE:
            return DISRUPTED_PAUSE_SECONDS if total > LARGE_CLUSTER_NODES else None
        return EVICTION_PAUSE_SECONDS

    async def _write_taints(self, node: Object, ready: str) -> None:
        name, now = node["metadata"]["name"], self.clock.monotonic()
        pause = self._eviction_pause()
        evicting = pause is not None and now >= self._next_eviction_at
        withdrawn = ready != "True" and len(self._not_ready) >= len(self._nodes.store)
        planned = node_plan.plan_taints(node, evicting=evicting, now=self.clock.now(), withdrawn=withdrawn)
        has_evicting = any(_evicts(taint) for taint in node.get("spec", {}).get("taints") or ())
        if planned is not None:
            metadata = {"resourceVersion": node["metadata"]["resourceVersion"]}
            change = {"metadata": metadata, "spec": {"taints": planned or None}}
            await self.client.patch(core("nodes"), "", name, change)
            if not has_evicting and any(_evicts(taint) for taint in planned):
                assert pause is not None, "a NoExecute taint is planned only while there are evictions"
                self._next_eviction_at = now + pause
        if ready != "True" and not has_evicting and not evicting and pause is not None:
            self.queue.add_after(name, max(self._next_eviction_at - now, 0.01))

    async def _mark_pods(self, name: str) -> None:
        """Their containers may well run, but nobody can say so any more."""
        at = timestamp(self.clock.now())
        marked = [pod for pod in self._pods.by_index(pods.BY_NODE, name) if pods.is_ready(pod)]
        if not marked:
            return
        change = {"status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": at}]}}
        batch = [
            requests.patch(
                core("pods"),
                namespace_of(pod),
                pod["metadata"]["name"],
                change,
                patch_type="strategic",
                subresource="status",
            )
            for pod in marked
        ]
        for pod, outcome in zip(marked, await self.client.try_all(batch), strict=True):
            if outcome is None:
                self.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")
            elif not isinstance(outcome, errors.NotFound):
                raise outcome

    def _say(self, node: Mapping[str, Any], reason: str, message: str) -> None:
        self.recorder.event(dict(node), "Normal", reason, message)


def _evicts(taint: Object) -> bool:
    return taint.get("effect") == "NoExecute" and taint["key"] in node_plan.EVICTING_BY_READY.values()
