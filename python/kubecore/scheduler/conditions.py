"""What a pod's status says of decisions about it: the PodScheduled condition, the node that is kept for it, its eviction.

In: a pod as it is and what was decided. Out: a patch of its status, or nothing if it says so already.
"""

from __future__ import annotations

from kubecore.api.meta import Object, name_of, namespace_of, split_key, timestamp, uid_of
from kubecore.api.scheme import core
from kubecore.client import Request, requests

UNSCHEDULABLE = "Unschedulable"
SCHEDULER_ERROR = "SchedulerError"
SCHEDULING_GATED = "SchedulingGated"
GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"


def _condition(pod: Object, kind: str, *, status: str, reason: str, message: str, now_seconds: float) -> Object | None:
    """None: it is there already."""
    conditions = pod.get("status", {}).get("conditions") or []
    known: Object = next((each for each in conditions if each.get("type") == kind), {})
    wanted = {"status": status, "reason": reason, "message": message}
    if all(known.get(name) == value for name, value in wanted.items()):
        return None
    since = known.get("lastTransitionTime") if known.get("status") == status else None
    condition: Object = {
        "type": kind,
        "lastProbeTime": None,
        "lastTransitionTime": since or timestamp(now_seconds),
        **wanted,
    }
    if generation := pod["metadata"].get("generation"):
        condition["observedGeneration"] = generation
    return condition


def _patch(pod: Object, status: Object) -> Request:
    body = {"metadata": {"uid": uid_of(pod)}, "status": status}
    return requests.patch(
        core("pods"), namespace_of(pod), name_of(pod), body, patch_type="strategic", subresource="status"
    )


def not_scheduled(
    pod: Object, *, reason: str, message: str, now_seconds: float, nominated_node: str | None = None
) -> Request | None:
    """The patch that says why the pod has no node, and which one is kept for it: "" for none any more, None for no
    change. None: it is said already."""
    status: Object = {}
    condition = _condition(pod, "PodScheduled", status="False", reason=reason, message=message, now_seconds=now_seconds)
    if condition is not None:
        status["conditions"] = [condition]
    known = pod.get("status", {}).get("nominatedNodeName", "")
    if nominated_node is not None and nominated_node != known:
        status["nominatedNodeName"] = nominated_node or None
    return _patch(pod, status) if status else None


def preempted(pod: Object, *, scheduler_name: str, now_seconds: float) -> Request | None:
    """The patch that says that the pod is evicted for a more important one. None: it is said already."""
    condition = _condition(
        pod,
        "DisruptionTarget",
        status="True",
        reason="PreemptionByScheduler",
        message=f"{scheduler_name}: preempting to accommodate a higher priority pod",
        now_seconds=now_seconds,
    )
    return None if condition is None else _patch(pod, {"conditions": [condition]})


def not_nominated(key: str) -> Request:
    """The patch that says that no node is kept for the pod any more."""
    namespace, name = split_key(key)
    body = {"status": {"nominatedNodeName": None}}
    return requests.patch(core("pods"), namespace, name, body, patch_type="strategic", subresource="status")
