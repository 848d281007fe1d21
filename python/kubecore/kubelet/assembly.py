"""Puts a kubelet together: which rooms there are, and what each is given of the others.

In: a client, a runtime, the configuration, where the kubelet lives. Out: a `Kubelet` with volumes, container settings, probes and
figures. Nothing here decides anything.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any

from kubecore.api.clock import Clock
from kubecore.api.scheme import core
from kubecore.client import Client, Informer
from kubecore.kubelet import cgroups
from kubecore.kubelet.cgroups import Cgroups
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.container_config import ContainerSettings
from kubecore.kubelet.environment import Environment
from kubecore.kubelet.kubelet import Kubelet, Place, Rooms
from kubecore.kubelet.objects import PodObjects
from kubecore.kubelet.pod_cgroups import PodCgroups
from kubecore.kubelet.probes import ProbeManager
from kubecore.kubelet.resources import Enforcement
from kubecore.kubelet.runtimes.protocol import CpuStats, MemoryStats, Runtime
from kubecore.kubelet.server import Host, KubeletServer
from kubecore.kubelet.stats import NodeReader, PodDirectories, ProbeMetrics, Sampler, StatsPages
from kubecore.kubelet.volumes import LinuxMounter, Tokens, VolumeManager

MICROSECONDS = 1_000_000


def assemble(
    client: Client,
    runtime: Runtime,
    configuration: KubeletConfiguration,
    clock: Clock,
    *,
    place: Place,
    randomness: random.Random,
) -> Kubelet:
    """Raises OSError if this machine has no control groups and the configuration wants them."""
    place.root_directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    groups = cgroups.detect() if configuration.cgroups_per_qos else None
    reader = NodeReader(
        root_directory=place.root_directory, node_use=_NodeUse(groups, configuration.cgroup_root, clock)
    )
    probe_metrics = ProbeMetrics()

    def rooms(kubelet: Kubelet) -> Rooms:
        services = Informer(client, core("services"), randomness=random.Random(randomness.random()))
        objects = PodObjects(client, randomness=random.Random(randomness.random()), wake=kubelet.wake)

        def allocatable() -> Mapping[str, Any] | None:
            found: Mapping[str, Any] | None = (kubelet.node_status.node or {}).get("status", {}).get("allocatable")
            return found

        volumes = VolumeManager(
            client,
            root=place.root_directory,
            objects=objects,
            tokens=Tokens(client, clock=clock, randomness=randomness),
            mounter=LinuxMounter(),
            clock=clock,
            recorder=kubelet.recorder,
            allocatable=allocatable,
        )
        enforcement = Enforcement(
            memory_capacity_bytes=reader.machine.memory_bytes,
            cpu_cfs_quota=configuration.cpu_cfs_quota,
            cpu_cfs_quota_period_microseconds=round(configuration.cpu_cfs_quota_period * MICROSECONDS),
            pod_pids_limit=configuration.pod_pids_limit,
        )
        settings = ContainerSettings(
            environment=Environment(config_maps=objects.config_maps, secrets=objects.secrets, services=services),
            volumes=volumes,
            cgroups=_pod_cgroups(groups, configuration, enforcement, cpus=reader.machine.cores),
            enforcement=enforcement,
            allocatable=allocatable,
        )
        probes = ProbeManager(
            runtime,
            pods=kubelet.pods,
            recorder=kubelet.recorder,
            wake=kubelet.wake,
            clock=clock,
            randomness=randomness,
            metrics=probe_metrics,
        )
        sampler = Sampler(
            runtime,
            reader,
            kubelet.pods.all,
            PodDirectories(root_directory=place.root_directory, log_directory=kubelet.directories.pod_logs),
            clock=clock,
        )
        server = KubeletServer(
            Host(
                node_name=place.node_name,
                names=(place.node_name, *kubelet.node_status.addresses),
                root_directory=place.root_directory,
                log_directory=place.log_directory,
                configuration=configuration,
                client=client,
                pods=kubelet.pods,
                runtime=runtime,
                clock=clock,
                pages=(StatsPages(sampler, probe_metrics, node_name=place.node_name),),
            )
        )
        serving = (server.run,) if configuration.enable_server else ()
        return Rooms(volumes=volumes, settings=settings, probes=probes, loops=(services.run, sampler.run, *serving))

    return Kubelet(
        client,
        runtime,
        configuration,
        clock,
        place=place,
        randomness=randomness,
        machine=reader.machine,
        rooms=rooms,
    )


def _pod_cgroups(
    groups: Cgroups | None, configuration: KubeletConfiguration, enforcement: Enforcement, *, cpus: int
) -> PodCgroups | None:
    if groups is None:
        return None
    return PodCgroups(groups, root=configuration.cgroup_root, enforcement=enforcement, cpus=cpus)


class _NodeUse:
    """What the node's own cgroup has used, where it has one: several nodes share a box."""

    def __init__(self, groups: Cgroups | None, root: str, clock: Clock) -> None:
        self._groups = groups
        self._root = root
        self._clock = clock
        self._capacity_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def __call__(self) -> tuple[CpuStats, MemoryStats] | None:
        if self._groups is None or self._root.strip("/") == "":
            return None
        figures, now = self._groups.read(self._root), round(self._clock.now() * 1_000_000_000)
        working_set = figures.memory_working_set_bytes
        memory = MemoryStats(
            timestamp=now,
            usage_bytes=figures.memory_usage_bytes,
            working_set_bytes=working_set,
            rss_bytes=figures.memory_rss_bytes,
            page_faults=figures.page_faults,
            major_page_faults=figures.major_page_faults,
            available_bytes=max(0, self._capacity_bytes - working_set),
        )
        cpu = CpuStats(
            timestamp=now,
            usage_core_nanoseconds=figures.cpu_usage_nanoseconds,
            throttled_nanoseconds=figures.cpu_throttled_nanoseconds,
        )
        return cpu, memory
