"""A node's object as its kubelet says it: labels, capacity, addresses, conditions, images. Pure.

Source: https://kubernetes.io/docs/reference/node/node-status/
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kubecore.api import quantity
from kubecore.api.meta import Object, timestamp
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.runtimes.protocol import Condition, Image
from kubecore.kubelet.seams import NodeCondition
from kubecore.kubelet.stats.samples import Machine

KUBELET_VERSION = "v1.35.0"

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}

EVICTION_HARD_DEFAULT = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}

_FINE = {
    "MemoryPressure": NodeCondition(
        "MemoryPressure", False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"
    ),
    "DiskPressure": NodeCondition("DiskPressure", False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": NodeCondition(
        "PIDPressure", False, "KubeletHasSufficientPID", "kubelet has sufficient PID available"
    ),
}

LEASES = "kube-node-lease"


@dataclass(frozen=True, slots=True)
class NodeInput:
    """Everything that a node's status is made of."""

    name: str
    hostname: str
    addresses: tuple[str, ...]
    configuration: KubeletConfiguration
    machine: Machine
    disk_bytes: int
    runtime_version: str = ""
    runtime_conditions: Sequence[Condition] | None = None
    """None: the runtime does not answer."""
    problems: Sequence[str] = ()
    """More reasons for the node not to be ready."""
    pressure: Sequence[NodeCondition] = ()
    images: Sequence[Image] = ()


def architecture() -> str:
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def labels(name: str, given: Mapping[str, str]) -> dict[str, str]:
    own = {
        "beta.kubernetes.io/arch": architecture(),
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture(),
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    return {**own, **given}


def new_node(given: NodeInput, node_labels: Mapping[str, str], now: float) -> Object:
    """What a kubelet registers."""
    configuration = given.configuration
    spec: Object = {}
    if configuration.provider_id:
        spec["providerID"] = configuration.provider_id
    if configuration.register_with_taints:
        spec["taints"] = [
            {name: text for name, text in (("key", each.key), ("value", each.value), ("effect", each.effect)) if text}
            for each in configuration.register_with_taints
        ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": given.name,
            "labels": labels(given.hostname, node_labels),
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": spec,
        "status": node_status(given, {}, now),
    }


def node_status(given: NodeInput, before: Object, now: float) -> Object:
    """`before`: the status that the API has; conditions of others stay out."""
    total = capacity(given)
    return {
        "addresses": addresses(given),
        "allocatable": allocatable(given, total),
        "capacity": total,
        "conditions": [_condition(each, before, now) for each in _conditions(given)],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": given.configuration.port}},
        "features": {"supplementalGroupsPolicy": True},
        "images": _images(given.images, given.configuration.node_status_max_images),
        "nodeInfo": _node_info(given),
    }


def addresses(given: NodeInput) -> list[Object]:
    internal = [{"type": "InternalIP", "address": each} for each in given.addresses]
    return [*internal, {"type": "Hostname", "address": given.hostname}]


def capacity(given: NodeInput) -> dict[str, str]:
    configuration, machine = given.configuration, given.machine
    count = configuration.max_pods
    if configuration.pods_per_core:
        count = min(count, configuration.pods_per_core * machine.cores)
    return {
        "cpu": str(machine.cores),
        "ephemeral-storage": f"{given.disk_bytes // 1024}Ki",
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "pods": str(count),
    }


def allocatable(given: NodeInput, total: Mapping[str, str]) -> dict[str, str]:
    """What is left for pods: without what is reserved, and without what eviction keeps free."""
    configuration = given.configuration
    kept = configuration.eviction_hard
    thresholds = EVICTION_HARD_DEFAULT if kept is None else kept
    signals = {"memory": "memory.available", "ephemeral-storage": "nodefs.available"}
    left: dict[str, str] = {}
    for name, amount in total.items():
        value = quantity.of(amount)
        for reserved in (configuration.system_reserved, configuration.kube_reserved):
            value -= quantity.of(reserved.get(name, "0"))
        if name in signals:
            value -= _threshold(thresholds.get(signals[name], "0"), quantity.of(amount))
        left[name] = _text(name, max(value, Decimal(0)))
    return left


def _threshold(text: str, whole: Decimal) -> Decimal:
    if text.endswith("%"):
        return (whole * Decimal(text[:-1]) / 100).to_integral_value()
    return quantity.of(text)


def _text(name: str, value: Decimal) -> str:
    if name == "memory" and value % 1024 == 0:
        return f"{int(value) // 1024}Ki"
    return quantity.text_of(value) if name == "cpu" else str(int(value))


def _conditions(given: NodeInput) -> Iterable[NodeCondition]:
    said = {each.type: each for each in given.pressure}
    for kind, fine in _FINE.items():
        yield said.get(kind, fine)
    problems = not_ready(given)
    if problems:
        message = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        yield NodeCondition("Ready", False, "KubeletNotReady", message)
    else:
        yield NodeCondition("Ready", True, "KubeletReady", "kubelet is posting ready status")


def not_ready(given: NodeInput) -> list[str]:
    if given.runtime_conditions is None:
        return ["container runtime is down", *given.problems]
    problems = []
    for condition in given.runtime_conditions:
        if condition.status:
            continue
        told = f"{condition.type}=false reason:{condition.reason} message:{condition.message}"
        what = "container runtime network" if condition.type == "NetworkReady" else "container runtime"
        problems.append(f"{what} not ready: {told}")
    return [*problems, *given.problems]


def _condition(said: NodeCondition, before: Object, now: float) -> Object:
    known = next((each for each in before.get("conditions") or () if each["type"] == said.type), None)
    status = "True" if said.status else "False"
    kept = known is not None and known["status"] == status
    since = known.get("lastTransitionTime") if kept and known is not None else None
    return {
        "type": said.type,
        "status": status,
        "lastHeartbeatTime": timestamp(now),
        "lastTransitionTime": since or timestamp(now),
        "reason": said.reason,
        "message": said.message,
    }


def _images(found: Sequence[Image], limit: int) -> list[Object]:
    largest = sorted(found, key=lambda each: (-each.size_bytes, each.id))
    kept = largest if limit < 0 else largest[:limit]
    return [{"names": [*each.repo_digests, *each.repo_tags][:5], "sizeBytes": each.size_bytes} for each in kept]


def _node_info(given: NodeInput) -> Object:
    machine = given.machine
    return {
        "machineID": machine.machine_id,
        "systemUUID": machine.system_uuid,
        "bootID": machine.boot_id,
        "kernelVersion": machine.kernel_version,
        "osImage": machine.os_version,
        "containerRuntimeVersion": given.runtime_version,
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture(),
    }


def without_heartbeats(status: Object) -> Object:
    """For comparing: the time of a heartbeat is no change."""
    kept = [
        {name: value for name, value in each.items() if name != "lastHeartbeatTime"}
        for each in status.get("conditions") or ()
    ]
    return {**status, "conditions": kept}


def changes(status: Object, before: Object) -> dict[str, Any]:
    """The parts that differ, whole; conditions are merged by type."""
    return {name: value for name, value in status.items() if before.get(name) != value}
