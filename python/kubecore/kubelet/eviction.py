"""Keeps the node from running out: sees what is scarce, frees what can be freed, and else ends one pod at a time.

In: samples of the node and its pods, thresholds. Out: the node's pressure conditions, a veto on new pods while there is
pressure, evictions with upstream's reason and words. A condition, once seen, stays for the transition period.

```
sample → thresholds met → (grace over?) → images freed → still met? → the first of the ranked pods is evicted
             └─▶ node conditions, admission
```
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from kubecore.api.clock import Clock
from kubecore.api.meta import Object, uid_of
from kubecore.kubelet import eviction_ranking, eviction_thresholds
from kubecore.kubelet.eviction_thresholds import DISK, INODES, Observations, Threshold
from kubecore.kubelet.resources import is_critical, qos_class
from kubecore.kubelet.runtimes.protocol import RuntimeFailure
from kubecore.kubelet.seams import Evict, Eviction, NodeCondition, Rejection
from kubecore.kubelet.stats.samples import PodSample, Sample

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
SOON_SECONDS = 1.0
"""After an eviction: one pod may not have been enough."""
EVICTED = "Evicted"
HARD_GRACE_SECONDS = 1
"""What a pod is given when a hard threshold is met, or its own local limit."""
MEMORY_PRESSURE_TAINT = "node.kubernetes.io/memory-pressure"

_WORDS = {
    "MemoryPressure": {
        True: ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        False: ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    },
    "DiskPressure": {
        True: ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        False: ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    },
    "PIDPressure": {
        True: ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        False: ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    },
}


class Recorder(Protocol):
    """An `EventRecorder`."""

    def event(self, regarding: Object, event_type: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class EvictionManager:
    """Run `run` as a task. `conditions` and `admit` are asked by the node's status and by admission."""

    def __init__(
        self,
        thresholds: Sequence[Threshold],
        *,
        sample: Callable[[], Awaitable[Sample]],
        pods: Callable[[], Sequence[Object]],
        evict: Evict,
        free_images: Callable[[], Awaitable[object]],
        recorder: Recorder,
        node: Object,
        clock: Clock,
        transition_seconds: float,
        soft_grace_seconds_max: int = 0,
    ) -> None:
        """`sample` takes a new one. `pods`: those that are admitted and not ended. `node`: whom events are about.
        `soft_grace_seconds_max`: what a pod is given at most when a soft threshold is met."""
        self._thresholds = tuple(thresholds)
        self._sample = sample
        self._pods = pods
        self._evict = evict
        self._free_images = free_images
        self._recorder = recorder
        self._node = node
        self._clock = clock
        self._transition_seconds = transition_seconds
        self._soft_grace_seconds_max = soft_grace_seconds_max
        self._first_seen: dict[Threshold, float] = {}
        self._last_seen: dict[str, float] = {}
        self._met: tuple[Threshold, ...] = ()
        self._acted_on: Observations = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                evicted = await self.look()
            except RuntimeFailure as failure:
                log.warning("eviction: no figures: %s", failure.message)
                evicted = False
            await asyncio.sleep(SOON_SECONDS if evicted else INTERVAL_SECONDS)

    # ── what others ask ──

    @property
    def pressures(self) -> list[str]:
        """The conditions that hold now: seen within the transition period."""
        now = self._clock.monotonic()
        return [each for each in _WORDS if now - self._last_seen.get(each, float("-inf")) < self._transition_seconds]

    def conditions(self) -> Sequence[NodeCondition]:
        pressures = self.pressures
        return [NodeCondition(each, each in pressures, *_WORDS[each][each in pressures]) for each in _WORDS]

    def admit(self, pod: Object, others: Sequence[Object]) -> Rejection | None:
        """Under memory pressure best effort pods are refused, under any other all but critical ones."""
        pressures = self.pressures
        if not pressures or is_critical(pod):
            return None
        if pressures == ["MemoryPressure"] and (qos_class(pod) != "BestEffort" or _tolerates_memory_pressure(pod)):
            return None
        return Rejection(EVICTED, f"The node had condition: [{' '.join(pressures)}]. ")

    # ── looking ──

    async def look(self) -> bool:
        """Whether a pod was evicted."""
        sample = await self._sample()
        observations = eviction_thresholds.observe(sample)
        figures = {pod.key.uid: pod for pod in sample.pods}
        due = self._due(observations)
        if await self._enforce_local_limits(figures):
            return True
        if not due:
            return False
        # Memory first: it is what runs out fastest.
        threshold = min(due, key=lambda each: (each.signal != "memory.available", due.index(each)))
        resource = threshold.resource
        self._recorder.event(self._node, "Warning", "EvictionThresholdMet", f"Attempting to reclaim {resource}")
        if resource in (DISK, INODES) and await self._freed():
            return False
        for pod in eviction_ranking.ranked(self._pods(), resource, figures):
            text = eviction_ranking.message(pod, resource, figures.get(uid_of(pod)), due, observations)
            if await self._end(pod, text, grace_seconds=self._grace(pod, threshold), is_disruption=True):
                return True
        log.warning("eviction: %s is scarce and there is no pod to evict", resource)
        return False

    def _due(self, observations: Observations) -> tuple[Threshold, ...]:
        """Thresholds to act on now; notes what was seen."""
        now = self._clock.monotonic()
        found = list(eviction_thresholds.met(self._thresholds, observations, with_minimum_reclaim=False))
        still = eviction_thresholds.met(self._met, observations, with_minimum_reclaim=True)
        found += [each for each in still if each not in found]
        self._first_seen = {each: self._first_seen.get(each, now) for each in found}
        self._last_seen.update({each.condition: now for each in found})
        self._met = tuple(each for each in found if now - self._first_seen[each] >= each.grace_seconds)
        due = eviction_thresholds.newly_observed(self._met, observations, self._acted_on)
        self._acted_on = observations
        return due

    async def _freed(self) -> bool:
        """Whether removing unused images was enough."""
        await self._free_images()
        after = eviction_thresholds.observe(await self._sample())
        return not eviction_thresholds.met(self._thresholds, after, with_minimum_reclaim=True)

    def _grace(self, pod: Object, threshold: Threshold) -> int:
        if threshold.is_hard:
            return HARD_GRACE_SECONDS
        own = pod["spec"].get("terminationGracePeriodSeconds")
        longest = self._soft_grace_seconds_max
        return longest if own is None else min(longest, own)

    async def _enforce_local_limits(self, figures: dict[str, PodSample]) -> bool:
        evicted = False
        for pod in self._pods():
            sample = figures.get(uid_of(pod))
            text = eviction_ranking.over_local_limit(pod, sample) if sample is not None else ""
            if text:
                evicted |= await self._end(pod, text, grace_seconds=HARD_GRACE_SECONDS, is_disruption=False)
        return evicted

    async def _end(self, pod: Object, text: str, *, grace_seconds: int, is_disruption: bool) -> bool:
        if is_critical(pod):
            return False
        self._recorder.event(pod, "Warning", EVICTED, text)
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "message": text,
        }
        conditions = (condition,) if is_disruption else ()
        await self._evict(uid_of(pod), Eviction(EVICTED, text, grace_seconds, conditions))
        return True


def _tolerates_memory_pressure(pod: Object) -> bool:
    return any(
        toleration.get("effect") in (None, "", "NoSchedule")
        and toleration.get("key") in (None, "", MEMORY_PRESSURE_TAINT)
        and (toleration.get("operator") == "Exists" or not toleration.get("value"))
        and (toleration.get("key") or toleration.get("operator") == "Exists")
        for toleration in pod["spec"].get("tolerations") or ()
    )
