"""`/stats/summary`: a sample in the shape of upstream's stats API, v1alpha1. Pure.

Source: https://pkg.go.dev/k8s.io/kubelet/pkg/apis/stats/v1alpha1
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubecore.api.meta import timestamp
from kubecore.kubelet.runtimes.protocol import CpuStats, MemoryStats, NetworkInterfaceStats
from kubecore.kubelet.stats.history import Rates
from kubecore.kubelet.stats.sampler import KUBELET_SERIES, NODE_SERIES
from kubecore.kubelet.stats.samples import ContainerSample, DiskUse, NodeSample, PodSample, Sample

Json = dict[str, Any]

DEFAULT_INTERFACE = "eth0"
_NANOSECONDS = 1_000_000_000


def summary(sample: Sample, rates: Rates, *, node_name: str, only_cpu_and_memory: bool) -> Json:
    full = not only_cpu_and_memory
    return {
        "node": _node(sample.node, sample, rates, node_name, full=full),
        "pods": [_pod(pod, rates, full=full) for pod in sample.pods],
    }


def _node(node: NodeSample, sample: Sample, rates: Rates, name: str, *, full: bool) -> Json:
    shown: Json = {
        "nodeName": name,
        "systemContainers": _system_containers(node, sample, rates),
        "startTime": _time(node.started_at),
        "cpu": _cpu(node.cpu, rates, NODE_SERIES, 0),
        "memory": _memory(node.memory),
        "swap": {
            "time": _time(node.swap.timestamp),
            "swapAvailableBytes": node.swap.available_bytes,
            "swapUsageBytes": node.swap.usage_bytes,
        },
    }
    if not full:
        return shown
    shown["network"] = _network(node.timestamp, node.interfaces)
    shown["fs"] = _disk(node.filesystem)
    if node.image_filesystem is not None:
        # Images and what containers write lie on one filesystem.
        images = _disk(node.image_filesystem)
        shown["runtime"] = {"imageFs": images, "containerFs": images}
    shown["rlimit"] = {
        "time": _time(node.processes.timestamp),
        "maxpid": node.processes.maximum,
        "curproc": node.processes.running,
    }
    return shown


def _system_containers(node: NodeSample, sample: Sample, rates: Rates) -> list[Json]:
    """The kubelet itself, and all pods together."""
    kubelet = {
        "name": "kubelet",
        "startTime": _time(node.kubelet_started_at),
        "cpu": _cpu(node.kubelet_cpu, rates, KUBELET_SERIES, node.kubelet_started_at),
        "memory": _memory(node.kubelet_memory),
    }
    cpu = [_cpu(pod.cpu, rates, pod.key.uid, pod.started_at) for pod in sample.pods if pod.cpu is not None]
    memory = [_memory(pod.memory) for pod in sample.pods if pod.memory is not None]
    if not cpu or not memory:
        return [kubelet]
    pods = {
        "name": "pods",
        "startTime": _time(node.started_at),
        "cpu": {"time": _time(node.timestamp), **_sums(cpu)},
        "memory": {"time": _time(node.timestamp), **_sums(memory)},
    }
    return [kubelet, pods]


def _sums(parts: list[Json]) -> Json:
    totals: Json = {}
    for part in parts:
        for name, value in part.items():
            if name not in ("time", "availableBytes"):
                totals[name] = totals.get(name, 0) + value
    return totals


def _pod(pod: PodSample, rates: Rates, *, full: bool) -> Json:
    shown: Json = {
        "podRef": {"name": pod.key.name, "namespace": pod.key.namespace, "uid": pod.key.uid},
        "startTime": _time(pod.started_at),
        "containers": [_container(container, rates, full=full) for container in pod.containers],
    }
    if pod.cpu is not None:
        shown["cpu"] = _cpu(pod.cpu, rates, pod.key.uid, pod.started_at)
    if pod.memory is not None:
        shown["memory"] = _memory(pod.memory)
        shown["swap"] = _swap(pod.memory)
    if not full:
        return shown
    if pod.interfaces:
        shown["network"] = _network(pod.network_timestamp, pod.interfaces)
    if pod.volumes:
        shown["volume"] = [{**_disk(use), "name": name} for name, use in sorted(pod.volumes.items())]
    if pod.ephemeral_storage is not None:
        shown["ephemeral-storage"] = _disk(pod.ephemeral_storage)
    shown["process_stats"] = {"process_count": pod.process_count}
    return shown


def _container(container: ContainerSample, rates: Rates, *, full: bool) -> Json:
    shown: Json = {"name": container.name, "startTime": _time(container.started_at)}
    if container.cpu is not None:
        shown["cpu"] = _cpu(container.cpu, rates, container.id, container.started_at)
    if container.memory is not None:
        shown["memory"] = _memory(container.memory)
        shown["swap"] = _swap(container.memory)
    if full and container.rootfs is not None:
        shown["rootfs"] = _disk(container.rootfs)
    if full and container.logs is not None:
        shown["logs"] = _disk(container.logs)
    return shown


def _cpu(cpu: CpuStats, rates: Rates, counter: str, started_at: int) -> Json:
    shown: Json = {"time": _time(cpu.timestamp)}
    rate = rates.nanocores(counter, started_at=started_at)
    if rate is not None:
        shown["usageNanoCores"] = rate[0]
    shown["usageCoreNanoSeconds"] = cpu.usage_core_nanoseconds
    return shown


def _memory(memory: MemoryStats) -> Json:
    shown: Json = {"time": _time(memory.timestamp)}
    if memory.available_bytes:
        shown["availableBytes"] = memory.available_bytes
    elif memory.limit_bytes:
        shown["availableBytes"] = max(0, memory.limit_bytes - memory.working_set_bytes)
    shown["usageBytes"] = memory.usage_bytes
    shown["workingSetBytes"] = memory.working_set_bytes
    shown["rssBytes"] = memory.rss_bytes
    shown["pageFaults"] = memory.page_faults
    shown["majorPageFaults"] = memory.major_page_faults
    return shown


def _swap(memory: MemoryStats) -> Json:
    """How much more there may be is the node's to say, not the container's."""
    return {"time": _time(memory.timestamp), "swapUsageBytes": memory.swap_bytes}


def _network(at: int, interfaces: Iterable[NetworkInterfaceStats]) -> Json:
    """The default interface's figures beside those of each."""
    rows = [_interface(each) for each in interfaces]
    default = next((row for row in rows if row["name"] == DEFAULT_INTERFACE), {"name": ""})
    return {"time": _time(at), **default, "interfaces": rows}


def _interface(each: NetworkInterfaceStats) -> Json:
    return {
        "name": each.name,
        "rxBytes": each.rx_bytes,
        "rxErrors": each.rx_errors,
        "txBytes": each.tx_bytes,
        "txErrors": each.tx_errors,
    }


def _disk(use: DiskUse) -> Json:
    return {
        "time": _time(use.timestamp),
        "availableBytes": use.available_bytes,
        "capacityBytes": use.capacity_bytes,
        "usedBytes": use.used_bytes,
        "inodesFree": use.inodes_free,
        "inodes": use.inodes,
        "inodesUsed": use.inodes_used,
    }


def _time(nanoseconds: int) -> str:
    return timestamp(nanoseconds / _NANOSECONDS)
