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
from kubecore.kubelet.container_config import ContainerSettings
from kubecore.kubelet.environment import Environment
from kubecore.kubelet.objects import PodObjects
from kubecore.kubelet.pod_cgroups import PodCgroups
from kubecore.kubelet.probes import ProbeManager
from kubecore.kubelet.resources import Enforcement
from kubecore.kubelet.seams import Rooms
from kubecore.kubelet.stats import ProbeMetrics
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
        cgroups=_pod_cgroups(kubelet, enforcement),
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
        metrics=ProbeMetrics(),
    )
    return Rooms(volumes=volumes, settings=settings, probes=probes, loops=(services.run,))


def _pod_cgroups(kubelet: Kubelet, enforcement: Enforcement) -> PodCgroups | None:
    try:
        found = cgroups.detect()
    except OSError as failure:
        log.warning("this machine has no control groups that can be used, nothing is limited: %s", failure)
        return None
    return PodCgroups(
        found, root=kubelet.configuration.cgroup_root, enforcement=enforcement, cpus=kubelet.machine.cores
    )
