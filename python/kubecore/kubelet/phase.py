"""A pod's phase, from its containers' statuses. Pure.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kubecore.api.meta import Object
from kubecore.kubelet import pods
from kubecore.kubelet.pods import Kind


def ended_state(status: Object) -> Object | None:
    """How a container that does not run has ended last; None if it runs or never ran."""
    state = status.get("state") or {}
    if "running" in state:
        return None
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    return dict(ended) if ended else None


def phase_of(pod: Object, statuses: Iterable[Object], *, is_ended: bool, was_initialized: bool) -> str:
    """`statuses`: of init and regular containers. `is_ended`: none of them will be started again. `was_initialized`: a
    regular container has run."""
    by_name = {status["name"]: status for status in statuses}
    init = _count_init(pod, by_name)
    tally = _count_sidecars(pod, by_name) + _count_regular(pod, by_name)
    if init["failed for good"]:
        return "Failed"
    if init["pending"] or (tally["pending sidecar"] and not was_initialized) or tally["waiting"]:
        return "Pending"
    if tally["unknown"]:
        return "Pending"
    if tally["running"]:
        return "Running"
    if not tally["stopped"]:
        return "Pending"
    if is_ended and not pods.is_static(pod):
        return "Succeeded" if tally["stopped"] == tally["succeeded"] else "Failed"
    if tally["stopped"] != tally["stopped for good"]:
        return "Running"
    return "Succeeded" if tally["stopped"] == tally["succeeded"] else "Failed"


def _count_init(pod: Object, by_name: dict[str, Object]) -> Counter[str]:
    tally: Counter[str] = Counter()
    for container in pods.containers(pod, Kind.INIT):
        if pods.is_sidecar(container):
            continue
        status = by_name.get(container["name"])
        ended = ended_state(status) if status is not None else None
        if ended is None:
            tally["pending"] += 1
        elif ended["exitCode"] != 0 and not pods.restarts_after(pod, container, ended["exitCode"]):
            tally["failed for good"] += 1
    return tally


def _count_sidecars(pod: Object, by_name: dict[str, Object]) -> Counter[str]:
    """Those that ended do not count: they never decide a phase."""
    tally: Counter[str] = Counter()
    for container in pods.containers(pod, Kind.INIT):
        if not pods.is_sidecar(container):
            continue
        status = by_name.get(container["name"])
        if status is None:
            tally["unknown"] += 1
        elif "running" in status["state"]:
            tally["running"] += 1
            tally["pending sidecar"] += 0 if status.get("started") else 1
        elif ended_state(status) is None:
            tally["pending sidecar"] += 1
            tally["waiting"] += 1
    return tally


def _count_regular(pod: Object, by_name: dict[str, Object]) -> Counter[str]:
    tally: Counter[str] = Counter()
    for container in pods.containers(pod, Kind.REGULAR):
        status = by_name.get(container["name"])
        if status is None:
            tally["unknown"] += 1
        elif "running" in status["state"]:
            tally["running"] += 1
        elif (ended := ended_state(status)) is not None:
            tally["stopped"] += 1
            tally["succeeded"] += ended["exitCode"] == 0
            tally["stopped for good"] += not pods.restarts_after(pod, container, ended["exitCode"])
        else:
            tally["waiting"] += 1
    return tally
