"""What a pod asks for and may use, in the kernel's terms: QoS class, pod cgroup, CPU shares and quota, memory limit, OOM score.

In: a pod as the API has it. Out: values for cgroups (`LinuxResources`) and the path of the pod's cgroup. Pure.
Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/ and the kubelet's cgroup hierarchy of upstream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kubecore.api import quantity
from kubecore.api.amounts import pod_amounts
from kubecore.api.meta import Object
from kubecore.kubelet.runtimes.protocol import LinuxResources

QoSClass = Literal["Guaranteed", "Burstable", "BestEffort"]

SHARES_MIN = 2
SHARES_MAX = 262_144
SHARES_PER_CPU = 1024
"""The kernel's bounds of cpu.shares, and what one CPU is worth."""

QUOTA_PERIOD_MICROSECONDS = 100_000
QUOTA_MIN_MICROSECONDS = 1000

GUARANTEED_OOM_SCORE_ADJUST = -997
BEST_EFFORT_OOM_SCORE_ADJUST = 1000

SYSTEM_CRITICAL_PRIORITY = 2_000_000_000
SYSTEM_NODE_CRITICAL = "system-node-critical"

CONFIG_SOURCE_ANNOTATION = "kubernetes.io/config.source"
CONFIG_MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

_COMPUTE = ("cpu", "memory")
_CGROUP_OF_CLASS: dict[QoSClass, str] = {"Guaranteed": "", "Burstable": "/burstable", "BestEffort": "/besteffort"}


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What of the node's configuration bears on resources. `memory_capacity_bytes` is the node's."""

    memory_capacity_bytes: int
    cpu_cfs_quota: bool = True
    cpu_cfs_quota_period_microseconds: int = QUOTA_PERIOD_MICROSECONDS
    pod_pids_limit: int = -1


# ── reading amounts ──


def milli(amount: Any) -> int:
    """Thousandths, rounded up: CPU."""
    return quantity.value(str(quantity.of(amount) * 1000)) if amount is not None else 0


def whole(amount: Any) -> int:
    """Whole units, rounded up: bytes."""
    return quantity.value(amount) if amount is not None else 0


def amounts_of(holder: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """`requests` or `limits` of a container, or of a pod's spec."""
    return (holder.get("resources") or {}).get(kind) or {}


def all_containers(pod: Object) -> Iterator[Mapping[str, Any]]:
    """Containers, then init containers."""
    yield from pod["spec"].get("containers") or ()
    yield from pod["spec"].get("initContainers") or ()


def is_sidecar(pod: Object, container: Mapping[str, Any]) -> bool:
    return container.get("restartPolicy") == "Always" and any(
        each["name"] == container["name"] for each in pod["spec"].get("initContainers") or ()
    )


# ── QoS ──


def qos_class(pod: Object) -> QoSClass:
    """What the API has decided; for a pod that the API does not know yet, what it would."""
    known: QoSClass | None = (pod.get("status") or {}).get("qosClass")
    return known or compute_qos_class(pod)


def compute_qos_class(pod: Object) -> QoSClass:
    """Guaranteed: cpu and memory limited everywhere, requests equal to limits. BestEffort: nothing said. Else Burstable.

    Amounts of the pod as a whole, where given, count alone."""
    spec = pod["spec"]
    holders = [spec] if spec.get("resources") is not None else list(all_containers(pod))
    totals: dict[str, dict[str, Any]] = {"requests": {}, "limits": {}}
    all_limited = True
    for holder in holders:
        for kind, total in totals.items():
            given = amounts_of(holder, kind)
            positive = {name: quantity.of(given[name]) for name in _COMPUTE if name in given}
            positive = {name: amount for name, amount in positive.items() if amount > 0}
            for name, amount in positive.items():
                total[name] = total.get(name, 0) + amount
            if kind == "limits" and set(positive) != set(_COMPUTE):
                all_limited = False
    requests, limits = totals["requests"], totals["limits"]
    if not requests and not limits:
        return "BestEffort"
    if all_limited and all(limits[name] == requests[name] for name in requests) and len(requests) == len(limits):
        return "Guaranteed"
    return "Burstable"


def is_static(pod: Object) -> bool:
    source = (pod["metadata"].get("annotations") or {}).get(CONFIG_SOURCE_ANNOTATION, "api")
    return bool(source != "api")


def is_critical(pod: Object) -> bool:
    """Static pods, mirrors, and those of system priority: never evicted for want of resources."""
    annotations = pod["metadata"].get("annotations") or {}
    priority = pod["spec"].get("priority")
    return (
        is_static(pod)
        or CONFIG_MIRROR_ANNOTATION in annotations
        or (priority is not None and priority >= SYSTEM_CRITICAL_PRIORITY)
    )


# ── cgroups ──


def pod_cgroup(pod: Object, *, root: str = "") -> str:
    """The pod's cgroup below every controller's root: `/kubepods/burstable/pod<uid>`. `root`: the node's cgroup root."""
    return f"{qos_cgroup(qos_class(pod), root=root)}/pod{pod['metadata']['uid']}"


def qos_cgroup(qos: QoSClass, *, root: str = "") -> str:
    """The parent of the pods of a class. Guaranteed pods have none of their own."""
    return f"{root.rstrip('/')}/kubepods{_CGROUP_OF_CLASS[qos]}"


def shares_of(millicores: int) -> int:
    return min(max(millicores * SHARES_PER_CPU // 1000, SHARES_MIN), SHARES_MAX)


def quota_of(millicores: int, period_microseconds: int = QUOTA_PERIOD_MICROSECONDS) -> int:
    """Microseconds of CPU per period; 0 without a limit."""
    return max(millicores * period_microseconds // 1000, QUOTA_MIN_MICROSECONDS) if millicores else 0


def pod_resources(pod: Object, enforcement: Enforcement) -> LinuxResources:
    """The limits of a pod's own cgroup. What not every container limits is not limited for the pod, unless the pod itself says so."""
    requests, limits = pod_amounts(pod, "requests"), pod_amounts(pod, "limits")
    qos = qos_class(pod)
    pids = max(enforcement.pod_pids_limit, 0)
    if qos == "BestEffort":
        return LinuxResources(cpu_shares=SHARES_MIN, pids_limit=pids)
    declared = {name: qos == "Guaranteed" or _is_limited(pod, name) for name in _COMPUTE}
    quota, period = 0, 0
    if declared["cpu"] and enforcement.cpu_cfs_quota:
        period = enforcement.cpu_cfs_quota_period_microseconds
        quota = quota_of(milli(limits.get("cpu")), period)
    return LinuxResources(
        cpu_shares=shares_of(milli(requests.get("cpu"))),
        cpu_quota=quota,
        cpu_period=period if quota else 0,
        memory_limit_bytes=whole(limits.get("memory")) if declared["memory"] else 0,
        pids_limit=pids,
    )


def _is_limited(pod: Object, name: str) -> bool:
    if whole(amounts_of(pod["spec"], "limits").get(name)):
        return True
    return all(milli(amounts_of(container, "limits").get(name)) for container in all_containers(pod))


def container_resources(pod: Object, container: Mapping[str, Any], enforcement: Enforcement) -> LinuxResources:
    """A container's own limits; those of the pod stand in where it has none."""
    requests = amounts_of(container, "requests")
    cpu_limit, memory_limit = (_limit(pod, container, name) for name in _COMPUTE)
    cpu_request = requests.get("cpu", cpu_limit)
    quota, period = 0, 0
    if enforcement.cpu_cfs_quota:
        period = enforcement.cpu_cfs_quota_period_microseconds
        quota = quota_of(milli(cpu_limit), period)
    return LinuxResources(
        cpu_shares=shares_of(milli(cpu_request)),
        cpu_quota=quota,
        cpu_period=period,
        memory_limit_bytes=whole(memory_limit),
        oom_score_adj=oom_score_adjust(pod, container, enforcement.memory_capacity_bytes),
    )


def _limit(pod: Object, container: Mapping[str, Any], name: str) -> Any:
    own = amounts_of(container, "limits").get(name)
    if own is not None and quantity.of(own) > 0:
        return own
    return amounts_of(pod["spec"], "limits").get(name)


# ── the OOM killer's order ──


def oom_score_adjust(pod: Object, container: Mapping[str, Any], memory_capacity_bytes: int) -> int:
    """-997 for what must live longest, 1000 for best effort, between them the less the more memory was requested."""
    qos = qos_class(pod)
    if qos == "Guaranteed" or (is_critical(pod) and pod["spec"].get("priorityClassName") == SYSTEM_NODE_CRITICAL):
        return GUARANTEED_OOM_SCORE_ADJUST
    if qos == "BestEffort":
        return BEST_EFFORT_OOM_SCORE_ADJUST
    extra = _unassigned_memory_per_container(pod)
    score = _score(whole(amounts_of(container, "requests").get("memory")) + extra, memory_capacity_bytes)
    if is_sidecar(pod, container):
        # A sidecar outlives what it serves: it is never a better target than the least of the main containers.
        least = min(whole(amounts_of(each, "requests").get("memory")) for each in pod["spec"]["containers"])
        score = min(score, _score(least + extra, memory_capacity_bytes))
    return min(max(score, 1000 + GUARANTEED_OOM_SCORE_ADJUST), BEST_EFFORT_OOM_SCORE_ADJUST - 1)


def _score(requested_bytes: int, capacity_bytes: int) -> int:
    return 1000 - 1000 * requested_bytes // max(capacity_bytes, 1)


def _unassigned_memory_per_container(pod: Object) -> int:
    """What the pod as a whole requests beyond its containers, in equal parts."""
    own = amounts_of(pod["spec"], "requests").get("memory")
    if own is None:
        return 0
    of_containers = {name: value for name, value in pod["spec"].items() if name not in ("resources", "overhead")}
    assigned = whole(pod_amounts({"spec": of_containers}, "requests").get("memory"))
    return (whole(own) - assigned) // sum(1 for _ in all_containers(pod))
