"""What a node's conditions mean for its taints: pure.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

from collections.abc import Sequence

from kubecore.api.meta import Object, timestamp
from kubecore.controllers import conditions

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

NO_SCHEDULE_BY_CONDITION: dict[tuple[str, str], str] = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
}

EVICTING_BY_READY = {"False": NOT_READY, "Unknown": UNREACHABLE}

_NO_SCHEDULE_KEYS = (*NO_SCHEDULE_BY_CONDITION.values(), UNSCHEDULABLE)

STALE_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
"""Of which nothing is known any more once a node is silent."""


def ready_status(node: Object) -> str:
    """`True`, `False` or `Unknown`; a node that never said anything counts as Unknown."""
    return conditions.status_of(node.get("status", {}).get("conditions"), "Ready") or "Unknown"


def plan_taints(node: Object, *, evicting: bool, now: float, withdrawn: bool = False) -> list[Object] | None:
    """The taints to write, or None if the present ones are right.

    `evicting`: whether a NoExecute taint may be added now. `withdrawn`: those that are there are taken back.
    """
    present: Sequence[Object] = node.get("spec", {}).get("taints") or ()
    kept = [taint for taint in present if not _is_ours(taint)]
    evictions = [] if withdrawn else _no_execute(node, present, evicting=evicting, now=now)
    wanted = [*kept, *_no_schedule(node), *evictions]
    if sorted(map(_identity, wanted)) == sorted(map(_identity, present)):
        return None
    return wanted


def _is_ours(taint: Object) -> bool:
    if taint.get("effect") == "NoSchedule":
        return taint["key"] in _NO_SCHEDULE_KEYS
    return taint.get("effect") == "NoExecute" and taint["key"] in EVICTING_BY_READY.values()


def _identity(taint: Object) -> tuple[str, str, str]:
    return taint["key"], taint.get("effect", ""), taint.get("value", "")


def _no_schedule(node: Object) -> list[Object]:
    keys = [
        NO_SCHEDULE_BY_CONDITION[condition["type"], condition["status"]]
        for condition in node.get("status", {}).get("conditions") or ()
        if (condition["type"], condition["status"]) in NO_SCHEDULE_BY_CONDITION
    ]
    if node.get("spec", {}).get("unschedulable"):
        keys.append(UNSCHEDULABLE)
    return [{"key": key, "effect": "NoSchedule"} for key in keys]


def _no_execute(node: Object, present: Sequence[Object], *, evicting: bool, now: float) -> list[Object]:
    key = EVICTING_BY_READY.get(conditions.status_of(node.get("status", {}).get("conditions"), "Ready"))
    if key is None:
        return []
    same = [taint for taint in present if taint["key"] == key and taint.get("effect") == "NoExecute"]
    if same:
        return same
    return [{"key": key, "effect": "NoExecute", "timeAdded": timestamp(now)}] if evicting else []


def silent_conditions(node: Object, *, now: float) -> list[Object]:
    """The conditions of a node of which nothing was heard for too long."""
    at = timestamp(now)
    listed = list(node.get("status", {}).get("conditions") or ())
    for kind in STALE_CONDITIONS:
        current = conditions.find(listed, kind)
        if current is None:
            listed.append(
                {
                    "type": kind,
                    "status": "Unknown",
                    "reason": "NodeStatusNeverUpdated",
                    "message": "Kubelet never posted node status.",
                    "lastHeartbeatTime": node["metadata"].get("creationTimestamp"),
                    "lastTransitionTime": at,
                }
            )
        elif current["status"] != "Unknown":
            listed[listed.index(current)] = {
                **current,
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": at,
            }
    return listed
