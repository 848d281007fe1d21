"""`/metrics/cadvisor`: what cAdvisor tells of the node, its pods and their containers, under its names and labels.

Rows as cAdvisor's: the node is `id="/"`, a pod has no container name, its network is told of the pod. What the runtime does not count is
not told.
Source: https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kubecore.kubelet.runtimes.protocol import CpuStats, LinuxResources, MemoryStats, NetworkInterfaceStats
from kubecore.kubelet.stats.exposition import Family, text_of
from kubecore.kubelet.stats.samples import DiskUse, Machine, Sample

_NANOSECONDS = 1_000_000_000
_LABELS = ("container", "id", "image", "name", "namespace", "pod")
_PERIOD_MICROSECONDS = 100_000
_SHARES_LEAST = 2
"""What the kernel has where nothing was asked for."""
_MACHINE = ("boot_id", "machine_id", "system_uuid")


class _Row(NamedTuple):
    """One cgroup's figures, with cAdvisor's labels."""

    labels: dict[str, str]
    started_at: int
    timestamp: int
    cpu: CpuStats | None
    memory: MemoryStats | None
    interfaces: tuple[NetworkInterfaceStats, ...]
    processes: int | None
    disk: DiskUse | None
    resources: LinuxResources | None = None


def cadvisor_metrics(sample: Sample, machine: Machine) -> bytes:
    rows = list(_rows(sample))
    families = [
        *_machine(machine),
        *_basics(rows),
        *_processor(rows),
        *_memory(rows),
        *_specified(rows),
        *_network(rows),
        *_disk(rows),
        _error(sample),
    ]
    return text_of(family.finished() for family in families)


def _rows(sample: Sample) -> Iterator[_Row]:
    node = sample.node
    yield _Row(
        {**dict.fromkeys(_LABELS, ""), "id": "/"},
        node.started_at,
        node.timestamp,
        node.cpu,
        node.memory,
        node.interfaces,
        node.processes.running,
        node.filesystem,
    )
    for pod in sample.pods:
        named = {**dict.fromkeys(_LABELS, ""), "namespace": pod.key.namespace, "pod": pod.key.name}
        yield _Row(
            {**named, "id": pod.cgroup},
            pod.started_at,
            sample.timestamp,
            pod.cpu,
            pod.memory,
            pod.interfaces,
            pod.process_count,
            None,
        )
        for each in pod.containers:
            labels = {**named, "container": each.name, "id": each.cgroup, "image": each.image, "name": each.id}
            yield _Row(
                labels,
                each.started_at,
                sample.timestamp,
                each.cpu,
                each.memory,
                (),
                each.process_count,
                each.rootfs,
                each.resources,
            )


def _machine(machine: Machine) -> Iterator[Family]:
    labels = {
        "boot_id": machine.boot_id,
        "machine_id": machine.machine_id,
        "system_uuid": machine.system_uuid,
    }
    version = Family(
        "cadvisor_version_info",
        "A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor version & "
        "cadvisor revision.",
        "gauge",
        ("cadvisorRevision", "cadvisorVersion", "dockerVersion", "kernelVersion", "osVersion"),
    )
    version.add(
        1,
        {
            "cadvisorRevision": "",
            "cadvisorVersion": "",
            "dockerVersion": "",
            "kernelVersion": machine.kernel_version,
            "osVersion": machine.os_version,
        },
    )
    yield version
    cores = Family("machine_cpu_cores", "Number of logical CPU cores.", "gauge", _MACHINE)
    cores.add(machine.cores, labels)
    yield cores
    memory = Family("machine_memory_bytes", "Amount of memory installed on the machine.", "gauge", _MACHINE)
    memory.add(machine.memory_bytes, labels)
    yield memory


def _basics(rows: list[_Row]) -> Iterator[Family]:
    seen = Family("container_last_seen", "Last time a container was seen by the exporter", "gauge", _LABELS)
    start = Family(
        "container_start_time_seconds", "Start time of the container since unix epoch in seconds.", "gauge", _LABELS
    )
    processes = Family("container_processes", "Number of processes running inside the container.", "gauge", _LABELS)
    for row in rows:
        seen.add(row.timestamp // _NANOSECONDS, row.labels, timestamp=row.timestamp)
        start.add(row.started_at // _NANOSECONDS, row.labels)
        if row.processes is not None:
            processes.add(row.processes, row.labels, timestamp=row.timestamp)
    yield from (seen, start, processes)


_PROCESSOR_SECONDS = {
    "usage_core_nanoseconds": ("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds."),
    "user_nanoseconds": ("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds."),
    "system_nanoseconds": ("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds."),
}
_PROCESSOR_PERIODS = {
    "periods": (1, "container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals."),
    "throttled_periods": (1, "container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals."),
    "throttled_nanoseconds": (
        _NANOSECONDS,
        "container_cpu_cfs_throttled_seconds_total",
        "Total time duration the container has been throttled.",
    ),
}


def _processor(rows: list[_Row]) -> Iterator[Family]:
    for field, (name, text) in _PROCESSOR_SECONDS.items():
        whole = field == "usage_core_nanoseconds"
        family = Family(name, text, "counter", (*_LABELS, "cpu") if whole else _LABELS)
        for row in rows:
            if row.cpu is not None:
                labels = {**row.labels, "cpu": "total"} if whole else row.labels
                family.add(getattr(row.cpu, field) / _NANOSECONDS, labels, timestamp=row.cpu.timestamp)
        yield family
    for field, (unit, name, text) in _PROCESSOR_PERIODS.items():
        family = Family(name, text, "counter", _LABELS)
        for row in rows:
            # Without a quota there are no periods to tell of, as cAdvisor.
            if row.cpu is not None and row.cpu.periods:
                family.add(getattr(row.cpu, field) / unit, row.labels, timestamp=row.cpu.timestamp)
        yield family


_MEMORY = {
    "usage_bytes": (
        "container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
    ),
    "working_set_bytes": ("container_memory_working_set_bytes", "Current working set in bytes."),
    "rss_bytes": ("container_memory_rss", "Size of RSS in bytes."),
    "cache_bytes": ("container_memory_cache", "Number of bytes of page cache memory."),
    "mapped_file_bytes": ("container_memory_mapped_file", "Size of memory mapped files in bytes."),
    "swap_bytes": ("container_memory_swap", "Container swap usage in bytes."),
}
_FAULTS = {"pgfault": "page_faults", "pgmajfault": "major_page_faults"}


def _memory(rows: list[_Row]) -> Iterator[Family]:
    for field, (name, text) in _MEMORY.items():
        family = Family(name, text, "gauge", _LABELS)
        for row in rows:
            if row.memory is not None:
                family.add(getattr(row.memory, field), row.labels, timestamp=row.memory.timestamp)
        yield family
    failures = Family(
        "container_memory_failures_total",
        "Cumulative count of memory allocation failures.",
        "counter",
        (*_LABELS, "failure_type", "scope"),
    )
    for row in rows:
        for kind, field in _FAULTS.items():
            if row.memory is not None:
                labels = {**row.labels, "failure_type": kind, "scope": "container"}
                failures.add(getattr(row.memory, field), labels, timestamp=row.memory.timestamp)
    yield failures


def _specified(rows: list[_Row]) -> Iterator[Family]:
    """What containers were given. A memory limit of 0 is none."""
    limit = Family("container_spec_memory_limit_bytes", "Memory limit for the container.", "gauge", _LABELS)
    period = Family("container_spec_cpu_period", "CPU period of the container.", "gauge", _LABELS)
    quota = Family("container_spec_cpu_quota", "CPU quota of the container.", "gauge", _LABELS)
    shares = Family("container_spec_cpu_shares", "CPU share of the container.", "gauge", _LABELS)
    for row in rows:
        if row.memory is not None:
            limit.add(row.memory.limit_bytes, row.labels)
        if row.resources is not None:
            period.add(row.resources.cpu_period or _PERIOD_MICROSECONDS, row.labels)
            shares.add(row.resources.cpu_shares or _SHARES_LEAST, row.labels)
            if row.resources.cpu_quota > 0:
                quota.add(row.resources.cpu_quota, row.labels)
    yield from (limit, period, quota, shares)


_DIRECTIONS = {
    "receive": {"bytes": "rx_bytes", "errors": "rx_errors", "packets": "rx_packets", "packets_dropped": "rx_dropped"},
    "transmit": {"bytes": "tx_bytes", "errors": "tx_errors", "packets": "tx_packets", "packets_dropped": "tx_dropped"},
}
_COUNTED = {
    "bytes": "Cumulative count of bytes {}",
    "errors": "Cumulative count of errors encountered while {}",
    "packets": "Cumulative count of packets {}",
    "packets_dropped": "Cumulative count of packets dropped while {}",
}
_PARTICIPLES = {
    ("receive", "errors"): "receiving",
    ("receive", "packets_dropped"): "receiving",
    ("transmit", "errors"): "transmitting",
    ("transmit", "packets_dropped"): "transmitting",
    ("receive", "bytes"): "received",
    ("receive", "packets"): "received",
    ("transmit", "bytes"): "transmitted",
    ("transmit", "packets"): "transmitted",
}


def _network(rows: list[_Row]) -> Iterator[Family]:
    for direction, fields in _DIRECTIONS.items():
        for counted, field in fields.items():
            family = Family(
                f"container_network_{direction}_{counted}_total",
                _COUNTED[counted].format(_PARTICIPLES[direction, counted]),
                "counter",
                (*_LABELS, "interface"),
            )
            for row in rows:
                for each in row.interfaces:
                    value = getattr(each, field)
                    family.add(value, {**row.labels, "interface": each.name}, timestamp=row.timestamp)
            yield family


def _disk(rows: list[_Row]) -> Iterator[Family]:
    labels = (*_LABELS, "device")
    fields = {
        "used_bytes": Family(
            "container_fs_usage_bytes",
            "Number of bytes that are consumed by the container on this filesystem.",
            "gauge",
            labels,
        ),
        "capacity_bytes": Family(
            "container_fs_limit_bytes",
            "Number of bytes that can be consumed by the container on this filesystem.",
            "gauge",
            labels,
        ),
        "inodes_free": Family("container_fs_inodes_free", "Number of available Inodes", "gauge", labels),
        "inodes": Family("container_fs_inodes_total", "Number of Inodes", "gauge", labels),
    }
    for row in rows:
        if row.disk is None:
            continue
        for field, family in fields.items():
            family.add(getattr(row.disk, field), {**row.labels, "device": ""}, timestamp=row.disk.timestamp)
    yield from fields.values()


def _error(sample: Sample) -> Family:
    family = Family(
        "container_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise", "gauge"
    )
    family.add(1 if sample.failure else 0)
    return family
