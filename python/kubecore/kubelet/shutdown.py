"""Node shutdown: pods are ended with grace, the less important first, before the node goes down.

In: the word that the node goes down (SIGTERM, where the configuration gives a grace period). Out: each group of pods
ended with its share of the time, upstream's status for them; the node not ready, no new pod admitted.
Source: https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from kubecore.api.meta import Object, uid_of
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.resources import SYSTEM_CRITICAL_PRIORITY
from kubecore.kubelet.seams import Evict, Eviction, Rejection

log = logging.getLogger(__name__)

REASON = "Terminated"
MESSAGE = "Pod was terminated in response to imminent node shutdown."
NOT_ADMITTED = Rejection("NodeShutdown", "Pod was rejected as the node is shutting down.")
PROBLEM = "node is shutting down"
"""What the node's Ready condition says."""


class Recorder(Protocol):
    """An `EventRecorder`."""

    def event(self, regarding: Object, event_type: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


@dataclass(slots=True)
class Group:
    """Pods from this priority up to the next group's, and the time they are given."""

    priority: int
    grace_seconds: int
    pods: list[Object] = field(default_factory=list)


def groups_of(configuration: KubeletConfiguration) -> list[Group]:
    """From the lowest priority to the highest; empty: there is no graceful shutdown."""
    given = configuration.shutdown_grace_period_by_pod_priority
    if given:
        rows = [(row.priority, row.shutdown_grace_period_seconds) for row in given]
        return [Group(priority, seconds) for priority, seconds in sorted(rows)]
    total, critical = configuration.shutdown_grace_period, configuration.shutdown_grace_period_critical_pods
    if total <= 0 or critical > total:
        return []
    return [Group(0, int(total - critical)), Group(SYSTEM_CRITICAL_PRIORITY, int(critical))]


def assign(groups: Sequence[Group], pods: Sequence[Object]) -> None:
    """Each pod to the group with the highest priority that is not above its own; the lowest takes what is below."""
    bounds = [group.priority for group in groups]
    for pod in pods:
        priority = pod["spec"].get("priority") or 0
        index = bisect_left(bounds, priority)
        if index == len(bounds) or (index > 0 and bounds[index] > priority):
            index -= 1
        groups[index].pods.append(pod)


class NodeShutdown:
    def __init__(
        self,
        configuration: KubeletConfiguration,
        *,
        pods: Callable[[], Sequence[Object]],
        evict: Evict,
        recorder: Recorder,
        node: Object,
    ) -> None:
        """`pods`: those that are admitted and not ended. `node`: whom events are about."""
        self._configuration = configuration
        self._pods = pods
        self._evict = evict
        self._recorder = recorder
        self._node = node
        self._is_shutting_down = False

    @property
    def is_configured(self) -> bool:
        return bool(groups_of(self._configuration))

    def problems(self) -> Sequence[str]:
        """Why the node is not ready."""
        return [PROBLEM] if self._is_shutting_down else []

    def admit(self, pod: Object, others: Sequence[Object]) -> Rejection | None:
        return NOT_ADMITTED if self._is_shutting_down else None

    async def shut_down(self) -> None:
        """Ends all pods; returns when they have ended or their time is over. The kubelet's loops must run meanwhile."""
        if self._is_shutting_down:
            return
        self._is_shutting_down = True
        self._recorder.event(self._node, "Normal", "NodeShutdown", "Shutdown manager detected shutdown event")
        groups = groups_of(self._configuration)
        assign(groups, self._pods())
        for group in groups:
            if group.pods:
                await self._end(group)

    async def _end(self, group: Group) -> None:
        ending = [asyncio.ensure_future(self._end_one(pod, group.grace_seconds)) for pod in group.pods]
        try:
            async with asyncio.timeout(group.grace_seconds):
                await asyncio.gather(*ending)
        except TimeoutError:
            log.warning("pods of priority %d did not end within %d s", group.priority, group.grace_seconds)

    async def _end_one(self, pod: Object, grace_seconds: int) -> None:
        own = pod["spec"].get("terminationGracePeriodSeconds")
        grace = grace_seconds if own is None else min(own, grace_seconds)
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "message": MESSAGE,
        }
        await self._evict(uid_of(pod), Eviction(REASON, MESSAGE, grace, (condition,)))
