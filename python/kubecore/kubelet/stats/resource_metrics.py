"""`/metrics/resource`: processor and memory of node, pods and containers, under upstream's names.

Source: https://kubernetes.io/docs/reference/instrumentation/node-metrics/
"""

from __future__ import annotations

from kubecore.kubelet.stats.exposition import Family, text_of
from kubecore.kubelet.stats.samples import Sample

_NANOSECONDS = 1_000_000_000
_POD = ("namespace", "pod")
_CONTAINER = ("container", *_POD)


def resource_metrics(sample: Sample) -> bytes:
    container_cpu = Family(
        "container_cpu_usage_seconds_total",
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
        "counter",
        _CONTAINER,
    )
    container_memory = Family(
        "container_memory_working_set_bytes",
        "[STABLE] Current working set of the container in bytes",
        "gauge",
        _CONTAINER,
    )
    container_start = Family(
        "container_start_time_seconds",
        "[STABLE] Start time of the container since unix epoch in seconds",
        "gauge",
        _CONTAINER,
    )
    pod_cpu = Family(
        "pod_cpu_usage_seconds_total",
        "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
        "counter",
        _POD,
    )
    pod_memory = Family(
        "pod_memory_working_set_bytes", "[STABLE] Current working set of the pod in bytes", "gauge", _POD
    )
    container_swap = Family(
        "container_swap_usage_bytes",
        "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems",
        "gauge",
        _CONTAINER,
    )
    pod_swap = Family(
        "pod_swap_usage_bytes",
        "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems",
        "gauge",
        _POD,
    )
    for pod in sample.pods:
        named = {"namespace": pod.key.namespace, "pod": pod.key.name}
        for each in pod.containers:
            labels = {"container": each.name, **named}
            container_start.add(each.started_at / _NANOSECONDS, labels)
            if each.cpu is not None:
                used = each.cpu.usage_core_nanoseconds / _NANOSECONDS
                container_cpu.add(used, labels, timestamp=each.cpu.timestamp)
            if each.memory is not None:
                container_memory.add(each.memory.working_set_bytes, labels, timestamp=each.memory.timestamp)
                container_swap.add(each.memory.swap_bytes, labels, timestamp=each.memory.timestamp)
        if pod.cpu is not None:
            pod_cpu.add(pod.cpu.usage_core_nanoseconds / _NANOSECONDS, named, timestamp=pod.cpu.timestamp)
        if pod.memory is not None:
            pod_memory.add(pod.memory.working_set_bytes, named, timestamp=pod.memory.timestamp)
            pod_swap.add(pod.memory.swap_bytes, named, timestamp=pod.memory.timestamp)
    families = [container_cpu, container_memory, container_start, container_swap]
    families += [*_node_families(sample), pod_cpu, pod_memory, pod_swap]
    error = Family(
        "resource_scrape_error",
        "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
        "gauge",
    )
    error.add(1 if sample.failure else 0)
    return text_of(family.finished() for family in [*families, error])


def _node_families(sample: Sample) -> list[Family]:
    node = sample.node
    cpu = Family(
        "node_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the node in core-seconds", "counter"
    )
    cpu.add(node.cpu.usage_core_nanoseconds / _NANOSECONDS, timestamp=node.cpu.timestamp)
    memory = Family("node_memory_working_set_bytes", "[STABLE] Current working set of the node in bytes", "gauge")
    memory.add(node.memory.working_set_bytes, timestamp=node.memory.timestamp)
    swap = Family(
        "node_swap_usage_bytes",
        "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems",
        "gauge",
    )
    swap.add(node.swap.usage_bytes, timestamp=node.swap.timestamp)
    return [cpu, memory, swap]
