"""Containers resized while they run: which resources a pod has been given, whether the node has more for it. Pure.

A pod's spec says what it wants; what it was given stays until the node has room. A new kubelet reads what was given in the
pod's status. Source: https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from kubecore.api import amounts, quantity
from kubecore.api.meta import Object
from kubecore.kubelet import conditions, pods
from kubecore.kubelet.admission import fits, number_of
from kubecore.kubelet.pods import Kind
from kubecore.kubelet.runtimes.protocol import Container, LinuxResources

PENDING = "PodResizePending"
RESIZABLE = ("cpu", "memory")

Given = Mapping[str, Object]
"""Container's name → its resources."""


def _resizable(pod: Object) -> Iterator[Object]:
    yield from pods.containers(pod, Kind.REGULAR)
    yield from (each for each in pods.containers(pod, Kind.INIT) if pods.is_sidecar(each))


def given_by_spec(pod: Object) -> Given:
    return {each["name"]: each.get("resources") or {} for each in _resizable(pod)}


def given_by_status(pod: Object) -> Given:
    """What an earlier kubelet gave; what the spec says where it tells nothing."""
    status = pod.get("status") or {}
    told: dict[str, Object] = {}
    for field in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(field) or ():
            if each.get("resources") and "running" in (each.get("state") or {}):
                told[each["name"]] = each["resources"]
    return {name: {**resources, **told.get(name, {})} for name, resources in given_by_spec(pod).items()}


def with_given(pod: Object, given: Given) -> Object:
    """The pod with the resources that it has been given instead of those that it wants."""
    if all(_same(each.get("resources") or {}, given.get(each["name"], {})) for each in _resizable(pod)):
        return pod
    spec = dict(pod["spec"])
    for kind in (Kind.REGULAR, Kind.INIT):
        if spec.get(kind.value):
            spec[kind.value] = [
                {**each, "resources": given[each["name"]]} if each["name"] in given else each
                for each in spec[kind.value]
            ]
    return {**pod, "spec": spec}


def _same(one: Mapping[str, Mapping[str, str]], other: Mapping[str, Mapping[str, str]]) -> bool:
    for kind in ("requests", "limits"):
        for name in RESIZABLE:
            texts = (one.get(kind) or {}).get(name), (other.get(kind) or {}).get(name)
            if texts[0] != texts[1] and (None in texts or quantity.of(str(texts[0])) != quantity.of(str(texts[1]))):
                return False
    return True


def refusal(pod: Object, others: Sequence[Object], node: Object | None) -> Object | None:
    """The condition of a pod that cannot have what it wants: never on this node, or not now."""
    if node is None:
        return None
    allocatable = node.get("status", {}).get("allocatable") or {}
    wanted = amounts.pod_amounts(pod, "requests")
    for name in RESIZABLE:
        asked = number_of(name, wanted.get(name, "0"))
        if name in allocatable and asked > (capacity := number_of(name, allocatable[name])):
            message = f"Node didn't have enough capacity: {name}, requested: {asked}, capacity: {capacity}"
            return conditions.condition(PENDING, status=True, reason="Infeasible", message=message)
    rejection = fits(pod, others, node)
    if rejection is not None:
        return conditions.condition(PENDING, status=True, reason="Deferred", message=rejection.message)
    return None


def message(pod: Object, what: str, *, error: str = "") -> str:
    """What an event about a resize says: `Pod resize started: {...}`."""
    summary: Object = {}
    for kind in (Kind.INIT, Kind.REGULAR):
        listed = [
            {"name": each["name"], "resources": each.get("resources") or {}} for each in pods.containers(pod, kind)
        ]
        if listed:
            summary[kind.value] = listed
    summary["generation"] = pod["metadata"].get("generation", 0)
    if error:
        summary["error"] = error
    return f"Pod resize {what}: {json.dumps(summary, separators=(',', ':'))}"


def changed(container: Object, running: Container, wanted: LinuxResources) -> tuple[str, ...]:
    """Which resources of a running container are not as they should be: cpu, memory."""
    has = running.resources
    cpu = (has.cpu_shares, has.cpu_quota) != (wanted.cpu_shares, wanted.cpu_quota)
    memory = has.memory_limit_bytes != wanted.memory_limit_bytes
    return tuple(name for name, differs in zip(RESIZABLE, (cpu, memory), strict=True) if differs)


def needs_restart(container: Object, names: Sequence[str]) -> bool:
    policies = {each["resourceName"]: each.get("restartPolicy") for each in container.get("resizePolicy") or ()}
    return any(policies.get(name) == "RestartContainer" for name in names)
