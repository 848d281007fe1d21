"""Furnishes a kubelet: volumes, container settings, probes, figures, as its configuration says.

In: a kubelet with its client, pods, recorder and clock. Out: its `Rooms`. Tests bring rooms of their own.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kubecore.api.scheme import core
from kubecore.client import Informer
from kubecore.kubelet import cgroups
from kubecore.kubelet.cgroups import Cgroups
from kubecore.kubelet.container_config import ContainerSettings
from kubecore.kubelet.credentials import PullSecrets
from kubecore.kubelet.environment import Environment
from kubecore.kubelet.guards import guard
from kubecore.kubelet.objects import PodObjects
from kubecore.kubelet.pod_cgroups import PodCgroups
from kubecore.kubelet.probes import ProbeManager
from kubecore.kubelet.resources import Enforcement
from kubecore.kubelet.seams import Rooms
from kubecore.kubelet.server import Host, KubeletServer
from kubecore.kubelet.stats import CgroupUse, NodeReader, PodDirectories, ProbeMetrics, Sampler, StatsPages
from kubecore.kubelet.volumes import LinuxMounter, Tokens, VolumeManager

if TYPE_CHECKING:
    from kubecore.kubelet.kubelet import Kubelet

log = logging.getLogger(__name__)


def furnish(kubelet: Kubelet) -> Rooms:
    """The rooms of a kubelet on Linux."""
    client, clock, configuration = kubelet.client, kubelet.clock, kubelet.configuration

    def chance() -> random.Random:
        return random.Random(kubelet.randomness.random())

    def allocatable() -> Mapping[str, Any] | None:
        node = kubelet.node_status.node
        return (node.get("status") or {}).get("allocatable") if node is not None else None

    groups, probe_metrics = _control_groups(), ProbeMetrics()
    objects = PodObjects(client, randomness=chance(), wake=kubelet.wake)
    services = Informer(client, core("services"), randomness=chance())
    enforcement = Enforcement(
        memory_capacity_bytes=kubelet.machine.memory_bytes,
        cpu_cfs_quota=configuration.cpu_cfs_quota,
        cpu_cfs_quota_period_microseconds=round(configuration.cpu_cfs_quota_period * 1_000_000),
        pod_pids_limit=configuration.pod_pids_limit,
    )
    volumes = VolumeManager(
        client,
        root=kubelet.place.root_directory,
        objects=objects,
        tokens=Tokens(client, clock=clock, randomness=chance()),
        mounter=LinuxMounter(),
        clock=clock,
        recorder=kubelet.recorder,
        allocatable=allocatable,
    )
    settings = ContainerSettings(
        environment=Environment(config_maps=objects.config_maps, secrets=objects.secrets, services=services),
        volumes=volumes,
        cgroups=_pod_cgroups(kubelet, groups, enforcement),
        enforcement=enforcement,
        allocatable=allocatable,
    )
    probes = ProbeManager(
        kubelet.runtime,
        pods=kubelet.pods,
        recorder=kubelet.recorder,
        wake=kubelet.wake,
        clock=clock,
        randomness=chance(),
        metrics=probe_metrics,
    )
    sampler = _sampler(kubelet, groups)
    pages = StatsPages(sampler, probe_metrics, node_name=kubelet.place.node_name)
    serving = (_server(kubelet, pages).run,) if configuration.enable_server else ()
    rooms = Rooms(
        volumes=volumes,
        settings=settings,
        probes=probes,
        credentials=PullSecrets(objects.secrets, kubelet.recorder),
        loops=(services.run, sampler.run, *serving),
    )
    return guard(kubelet, rooms, sample=sampler.take)


def _server(kubelet: Kubelet, pages: StatsPages) -> KubeletServer:
    place = kubelet.place
    return KubeletServer(
        Host(
            node_name=place.node_name,
            names=(place.node_name, *kubelet.node_status.addresses),
            root_directory=place.root_directory,
            log_directory=place.log_directory,
            configuration=kubelet.configuration,
            client=kubelet.client,
            pods=kubelet.pods,
            runtime=kubelet.runtime,
            clock=kubelet.clock,
            pages=(pages,),
        )
    )


def _sampler(kubelet: Kubelet, groups: Cgroups | None) -> Sampler:
    root = kubelet.place.root_directory
    use = CgroupUse(groups, kubelet.configuration.cgroup_root, kubelet.clock)
    return Sampler(
        kubelet.runtime,
        NodeReader(root_directory=root, node_use=use),
        kubelet.pods.all,
        PodDirectories(root_directory=root, log_directory=kubelet.directories.pod_logs),
        clock=kubelet.clock,
    )


def _control_groups() -> Cgroups | None:
    try:
        return cgroups.detect()
    except OSError as failure:
        log.warning("this machine has no control groups that can be used, nothing is limited: %s", failure)
        return None


def _pod_cgroups(kubelet: Kubelet, groups: Cgroups | None, enforcement: Enforcement) -> PodCgroups | None:
    if groups is None or not kubelet.configuration.cgroups_per_qos:
        return None
    root, cpus = kubelet.configuration.cgroup_root, kubelet.machine.cores
    return PodCgroups(groups, root=root, enforcement=enforcement, cpus=cpus)
