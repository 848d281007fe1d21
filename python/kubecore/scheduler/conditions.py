"""The pod's PodScheduled condition: what a person sees of a decision against it.

In: a pod as it is and the reason. Out: a patch of its status, or nothing if it says so already. `nominatedNodeName`
is never touched.
"""

from __future__ import annotations

from kubecore.api.meta import Object, name_of, namespace_of, timestamp, uid_of
from kubecore.api.scheme import core
from kubecore.client import Request, requests

UNSCHEDULABLE = "Unschedulable"
SCHEDULER_ERROR = "SchedulerError"
SCHEDULING_GATED = "SchedulingGated"
GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"


def not_scheduled(pod: Object, *, reason: str, message: str, now_seconds: float) -> Request | None:
    """The patch that says why the pod has no node. None: it is said already."""
    conditions = pod.get("status", {}).get("conditions") or []
    known: Object = next((each for each in conditions if each.get("type") == "PodScheduled"), {})
    wanted = {"status": "False", "reason": reason, "message": message}
    if all(known.get(name) == value for name, value in wanted.items()):
        return None
    since = known.get("lastTransitionTime") if known.get("status") == "False" else None
    condition: Object = {
        "type": "PodScheduled",
        "lastProbeTime": None,
        "lastTransitionTime": since or timestamp(now_seconds),
        **wanted,
    }
    if generation := pod["metadata"].get("generation"):
        condition["observedGeneration"] = generation
    body = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [condition]}}
    return requests.patch(
        core("pods"), namespace_of(pod), name_of(pod), body, patch_type="strategic", subresource="status"
    )
