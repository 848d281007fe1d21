"""What guards a node: eviction while something is scarce, graceful shutdown, sysctls that it does not allow.

In: a kubelet and its figures. Out: its `Rooms` with a say in admission, in the node's conditions and in who must go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from kubecore.api.meta import Object
from kubecore.kubelet.eviction import EvictionManager
from kubecore.kubelet.eviction_thresholds import thresholds_of
from kubecore.kubelet.seams import Rejection, Rooms
from kubecore.kubelet.security import SYSCTL_FORBIDDEN, forbidden_sysctl
from kubecore.kubelet.shutdown import NodeShutdown
from kubecore.kubelet.stats.samples import Sample

if TYPE_CHECKING:
    from kubecore.kubelet.kubelet import Kubelet


def guard(kubelet: Kubelet, rooms: Rooms, *, sample: Callable[[], Awaitable[Sample]]) -> Rooms:
    """The rooms, guarded. Raises ThresholdFailure if the configuration's thresholds cannot be understood."""
    configuration = kubelet.configuration
    name = kubelet.place.node_name
    node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}}
    eviction = EvictionManager(
        thresholds_of(configuration),
        sample=sample,
        pods=kubelet.pods.active,
        evict=kubelet.evict,
        free_images=lambda: kubelet.images_collected.free(),
        recorder=kubelet.recorder,
        node=node,
        clock=kubelet.clock,
        transition_seconds=float(configuration.eviction_pressure_transition_period),
        soft_grace_seconds_max=configuration.eviction_max_pod_grace_period,
    )
    shutdown = NodeShutdown(
        configuration, pods=kubelet.pods.active, evict=kubelet.evict, recorder=kubelet.recorder, node=node
    )

    def admit_sysctls(pod: Object, others: Sequence[Object]) -> Rejection | None:
        why = forbidden_sysctl(pod, allowed_unsafe=configuration.allowed_unsafe_sysctls)
        return Rejection(SYSCTL_FORBIDDEN, why) if why else None

    return dataclasses.replace(
        rooms,
        admissions=(*rooms.admissions, eviction.admit, admit_sysctls, shutdown.admit),
        pressure=eviction.conditions,
        problems=shutdown.problems,
        shut_down=shutdown.shut_down if shutdown.is_configured else None,
        loops=(*rooms.loops, eviction.run),
    )
