"""Which pod goes first when the node is short of something, and what it is told. Pure.

Memory and disk: who uses more than was requested, then the lower priority, then who is further above its request. Process
ids: the lower priority, then who has more processes. A pod without figures goes before all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from kubecore.api import quantity
from kubecore.api.amounts import pod_amounts
from kubecore.api.meta import Object, name_of, uid_of
from kubecore.kubelet.eviction_thresholds import BYTES, DISK, INODES, MEMORY, Observations, Threshold
from kubecore.kubelet.resources import all_containers, amounts_of, whole
from kubecore.kubelet.stats.samples import ContainerSample, DiskUse, PodSample

Figures = Mapping[str, PodSample]
"""By the pods' uids."""


def ranked(pods: Iterable[Object], resource: str, figures: Figures) -> list[Object]:
    """The first goes first."""
    return sorted(pods, key=lambda pod: _rank(pod, resource, figures.get(uid_of(pod))))


def _rank(pod: Object, resource: str, sample: PodSample | None) -> tuple[bool, bool, int, int]:
    priority = pod["spec"].get("priority") or 0
    if sample is None:
        return (False, False, priority, 0)
    used = used_by(pod, resource, sample)
    if resource not in (*BYTES, INODES):
        return (True, False, priority, -used)
    requests = pod_amounts(pod, "requests")
    requested = whole(requests.get(resource))
    above = used - (requested if resource in BYTES else whole(requests.get(DISK)))
    return (True, used <= requested, priority, -above)


def used_by(pod: Object, resource: str, sample: PodSample) -> int:
    if resource == MEMORY:
        return sample.memory.working_set_bytes if sample.memory is not None else 0
    if resource == DISK:
        return _of_disk(pod, sample, lambda use: use.used_bytes)
    if resource == INODES:
        return _of_disk(pod, sample, lambda use: use.inodes_used)
    return sample.process_count


def _of_disk(pod: Object, sample: PodSample, read: Callable[[DiskUse], int]) -> int:
    """What containers wrote, their logs, and local volumes."""
    parts = [use for container in sample.containers for use in (container.rootfs, container.logs) if use is not None]
    parts += [use for name, use in sample.volumes.items() if name in local_volumes(pod)]
    return sum(read(use) for use in parts)


def local_volumes(pod: Object) -> set[str]:
    """Volumes that take the node's disk."""
    volumes = pod["spec"].get("volumes") or ()
    return {volume["name"] for volume in volumes if _is_local(volume)}


def _is_local(volume: Mapping[str, Any]) -> bool:
    if "emptyDir" in volume:
        return (volume["emptyDir"] or {}).get("medium") != "Memory"
    return "hostPath" in volume or "configMap" in volume


# ── what is said ──


def amount_text(resource: str, number: int) -> str:
    return quantity.text_of(Decimal(number), binary=resource in BYTES)


def message(
    pod: Object,
    resource: str,
    sample: PodSample | None,
    thresholds: Iterable[Threshold],
    observations: Observations,
) -> str:
    """The pod's status.message. Upstream's, with its blank at the end of each sentence."""
    text = f"The node was low on resource: {resource}. "
    for threshold in thresholds:
        if threshold.resource == resource and threshold.signal in observations:
            observed = observations[threshold.signal]
            wanted = amount_text(resource, threshold.amount.of(observed.capacity))
            text += f"Threshold quantity: {wanted}, available: {amount_text(resource, observed.available)}. "
            break
    if sample is None:
        return text
    own = amounts_of(pod["spec"], "requests").get(resource)
    if resource == MEMORY and own is not None and sample.memory is not None:
        text += _larger("Pod", name_of(pod), resource, sample.memory.working_set_bytes, own)
    containers = {each["name"]: each for each in all_containers(pod)}
    for container in sample.containers:
        used = _used_by_container(container, resource)
        if container.name not in containers or used is None:
            continue
        requested = amounts_of(containers[container.name], "requests").get(resource, "0")
        if used > whole(requested):
            text += _larger("Container", container.name, resource, used, requested)
    return text


def _used_by_container(container: ContainerSample, resource: str) -> int | None:
    if resource == MEMORY and container.memory is not None:
        return container.memory.working_set_bytes
    if resource == DISK and container.rootfs is not None and container.logs is not None:
        return container.rootfs.used_bytes + container.logs.used_bytes
    return None


def _larger(kind: str, name: str, resource: str, used: int, requested: Any) -> str:
    request = quantity.canonical(str(requested))
    return (
        f"{kind} {name} was using {amount_text(resource, used)}, request is {request}, "
        f"has larger consumption of {resource}. "
    )


def over_local_limit(pod: Object, sample: PodSample) -> str:
    """Why the pod is evicted whether or not the node is short: it keeps more than it said it would. Or nothing."""
    for volume in pod["spec"].get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        use = sample.volumes.get(volume["name"])
        if limit is not None and use is not None and use.used_bytes > whole(limit) > 0:
            size = quantity.canonical(str(limit))
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{size}". '
    total = pod_amounts(pod, "limits").get(DISK)
    if (
        total is not None
        and sample.ephemeral_storage is not None
        and sample.ephemeral_storage.used_bytes > whole(total)
    ):
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {total}. "
    containers = {each["name"]: each for each in pod["spec"]["containers"]}
    for container in sample.containers:
        limit = amounts_of(containers.get(container.name, {}), "limits").get(DISK)
        used = sum(use.used_bytes for use in (container.rootfs, container.logs) if use is not None)
        if limit is not None and used > whole(limit) > 0:
            size = quantity.canonical(str(limit))
            return f'Container {container.name} exceeded its local ephemeral storage limit "{size}". '
    return ""
