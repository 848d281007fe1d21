"""The conditions of a pod that the kubelet owns. Pure: times of transition are filled in by who writes them.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubecore.api.meta import Object
from kubecore.kubelet import pods
from kubecore.kubelet.pods import Kind

OWNED = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
)
SHARED = ("DisruptionTarget",)
"""Set by the kubelet once, and kept."""


def condition(kind: str, *, status: bool, reason: str = "", message: str = "") -> Object:
    made: Object = {"type": kind, "status": "True" if status else "False"}
    if reason:
        made["reason"] = reason
    if message:
        made["message"] = message
    return made


def find(listed: Iterable[Object] | None, kind: str) -> Object | None:
    return next((each for each in listed or () if each["type"] == kind), None)


def _names(names: Sequence[str]) -> str:
    """As Go prints a list."""
    return f"[{' '.join(names)}]"


def _complaint(*parts: tuple[str, Sequence[str]]) -> str:
    return ", ".join(f"containers with {what} status: {_names(names)}" for what, names in parts if names)


def owned(
    pod: Object, statuses: Sequence[Object], foreign: Sequence[Object], *, phase: str, sandbox: bool
) -> list[Object]:
    """`statuses`: of init and regular containers, with ready and started. `foreign`: conditions that others own, for the
    readiness gates. `sandbox`: there is a usable one."""
    by_name = {status["name"]: status for status in statuses}
    containers_ready = _containers_ready(pod, by_name, phase)
    return [
        condition("PodReadyToStartContainers", status=sandbox),
        _initialized(pod, by_name, phase),
        _ready(pod, containers_ready, foreign),
        containers_ready,
        condition("PodScheduled", status=True),
    ]


def _containers_ready(pod: Object, by_name: dict[str, Object], phase: str) -> Object:
    kind = "ContainersReady"
    counted = [each for each in pods.containers(pod, Kind.INIT) if pods.is_sidecar(each)]
    names = [each["name"] for each in counted + pods.containers(pod, Kind.REGULAR)]
    unknown = [name for name in names if name not in by_name]
    unready = [name for name in names if name in by_name and not by_name[name].get("ready")]
    if phase == "Succeeded" and not unknown:
        return condition(kind, status=False, reason="PodCompleted")
    if phase == "Failed":
        return condition(kind, status=False, reason="PodFailed")
    complaint = _complaint(("unknown", unknown), ("unready", unready))
    if complaint:
        return condition(kind, status=False, reason="ContainersNotReady", message=complaint)
    return condition(kind, status=True)


def _ready(pod: Object, containers_ready: Object, foreign: Sequence[Object]) -> Object:
    if containers_ready["status"] != "True":
        return {**containers_ready, "type": "Ready"}
    complaints = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        found = find(foreign, kind)
        if found is None:
            complaints.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found["status"] != "True":
            complaints.append(f'the status of pod readiness gate "{kind}" is not "True", but {found["status"]}')
    if complaints:
        return condition("Ready", status=False, reason="ReadinessGatesNotReady", message=", ".join(complaints))
    return condition("Ready", status=True)


def _initialized(pod: Object, by_name: dict[str, Object], phase: str) -> Object:
    kind = "Initialized"
    init = pods.containers(pod, Kind.INIT)
    unknown = [each["name"] for each in init if each["name"] not in by_name]
    incomplete = [
        each["name"]
        for each in init
        if each["name"] in by_name and not by_name[each["name"]].get("started" if pods.is_sidecar(each) else "ready")
    ]
    if phase == "Succeeded" and not unknown:
        return condition(kind, status=True, reason="PodCompleted")
    if any(_has_run(by_name.get(each["name"])) for each in pods.containers(pod, Kind.REGULAR)):
        return condition(kind, status=True)
    complaint = _complaint(("unknown", unknown), ("incomplete", incomplete))
    if complaint:
        return condition(kind, status=False, reason="ContainersNotInitialized", message=complaint)
    return condition(kind, status=True)


def _has_run(status: Object | None) -> bool:
    if status is None:
        return False
    state = status.get("state") or {}
    return "running" in state or "terminated" in state or "terminated" in (status.get("lastState") or {})
