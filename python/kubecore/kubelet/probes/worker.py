"""One probe of one container of one pod: when it is tried, and when its results settle.

```
no container yet ──▶ (new container id: initial value) ──▶ delay ──▶ probe, period, probe, period ...
                            ▲                                          │ the same result often enough: settled
                            └────────── a new container ◀── on hold ◀──┘ liveness failed, startup decided
```

Initial value: readiness False, liveness True, startup unknown; a container that ran before this kubelet keeps what was
known of it until a probe says something.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kubecore.api.clock import Clock
from kubecore.api.meta import Object
from kubecore.kubelet.probes.prober import FIELDS, Prober
from kubecore.kubelet.runtimes.protocol import Container, ContainerState
from kubecore.kubelet.seams import Pods, ProbeKind

ADOPTED_SECONDS = 10.0
"""A container that started longer before the kubelet than that ran under the one before it."""

INITIAL = {ProbeKind.READINESS: False, ProbeKind.LIVENESS: True, ProbeKind.STARTUP: None}
THRESHOLDS = {True: "successThreshold", False: "failureThreshold"}
THRESHOLD_DEFAULTS = {True: 1, False: 3}
PERIOD_SECONDS = 10.0
TERMINAL = ("Failed", "Succeeded")


class Settle(Protocol):
    def __call__(
        self, uid: str, kind: ProbeKind, container_id: str, result: bool | None, *, quiet: bool = False
    ) -> None:
        """From now on that is the result; None: nothing is known. `quiet`: nobody need look at the pod for it."""
        ...


Settled = Callable[[ProbeKind, str], bool | None]
Note = Callable[[Object, str, ProbeKind, bool, float], None]
"""(pod, container, kind, result, seconds): a probe was carried out."""


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What all workers share. `started_at`: the kubelet's start, wall clock."""

    pods: Pods
    prober: Prober
    clock: Clock
    randomness: random.Random
    started_at: float
    settle: Settle
    settled: Settled
    note: Note


class ProbeWorker:
    """Run `run` as a task."""

    def __init__(self, kind: ProbeKind, uid: str, container: Mapping[str, Any], parts: WorkerParts) -> None:
        self.kind = kind
        self.container = container
        self.uid = uid
        self._parts = parts
        self._spec = container[FIELDS[kind]]
        self._now = asyncio.Event()
        self.container_id = ""
        self._last: bool | None = None
        self._run_length = 0
        self._on_hold = False

    def trigger(self) -> None:
        """Probe at once; the period begins again from there."""
        self._now.set()

    async def run(self) -> None:
        """Until the pod has ended, or the container needs no probe any more."""
        period = float(self._spec.get("periodSeconds") or PERIOD_SECONDS)
        parts = self._parts
        if period > parts.clock.now() - parts.started_at:
            # A kubelet that comes back to many pods does not probe them all in the same moment.
            await asyncio.sleep(parts.randomness.random() * period)
        due = parts.clock.monotonic()
        while await self._look():
            due = max(due + period, parts.clock.monotonic())
            if await self._waited(due):
                due = parts.clock.monotonic()

    async def _waited(self, due: float) -> bool:
        """Whether it was triggered before it was due."""
        try:
            async with asyncio.timeout(max(due - self._parts.clock.monotonic(), 0)):
                await self._now.wait()
        except TimeoutError:
            return False
        self._now.clear()
        return True

    async def _look(self) -> bool:
        """Probes if there is something to probe; whether to go on."""
        parts = self._parts
        pod = parts.pods.get(self.uid)
        status = parts.pods.status(self.uid)
        if pod is None or status is None:
            return True
        if status.get("phase") in TERMINAL:
            return False
        found = parts.pods.container(self.uid, self.container["name"])
        if found is None:
            return True
        self._meet(found, status)
        if self._on_hold:
            return True
        if found.state is not ContainerState.RUNNING:
            if found.state is ContainerState.EXITED:
                parts.settle(self.uid, self.kind, found.id, False)
            return True
        if pod["metadata"].get("deletionTimestamp") and self.kind is not ProbeKind.READINESS:
            # Whoever is on the way out is not restarted.
            parts.settle(self.uid, self.kind, found.id, True)
            return False
        if self._is_due(found):
            await self._probe(pod, status, found)
        return True

    def _meet(self, found: Container, status: Object) -> None:
        """A container not seen before starts from the initial value; one that was adopted from nothing, but what has
        started need not start again."""
        if found.id == self.container_id:
            return
        parts = self._parts
        if self.container_id:
            parts.settle(self.uid, self.kind, self.container_id, None, quiet=True)
        self.container_id = found.id
        self._on_hold = False
        is_adopted = 0 < found.started_at / 1e9 < parts.started_at - ADOPTED_SECONDS
        if not is_adopted:
            parts.settle(self.uid, self.kind, found.id, INITIAL[self.kind], quiet=True)
        elif self.kind is ProbeKind.STARTUP and _has_started(status, found.id):
            parts.settle(self.uid, self.kind, found.id, True, quiet=True)
            self._on_hold = True

    def _is_due(self, found: Container) -> bool:
        parts = self._parts
        if int(parts.clock.now() - found.started_at / 1e9) < (self._spec.get("initialDelaySeconds") or 0):
            return False
        has_startup = FIELDS[ProbeKind.STARTUP] in self.container
        has_started = not has_startup or parts.settled(ProbeKind.STARTUP, found.id) is True
        return has_started is not (self.kind is ProbeKind.STARTUP)

    async def _probe(self, pod: Object, status: Object, found: Container) -> None:
        parts = self._parts
        began = parts.clock.monotonic()
        result = await parts.prober.probe(self.kind, pod, self.container, found.id, self._pod_ip(status))
        if result is None:
            return
        parts.note(pod, self.container["name"], self.kind, result, parts.clock.monotonic() - began)
        self._run_length = self._run_length + 1 if result == self._last else 1
        self._last = result
        threshold = self._spec.get(THRESHOLDS[result]) or THRESHOLD_DEFAULTS[result]
        if self._run_length < threshold:
            return
        parts.settle(self.uid, self.kind, found.id, result)
        if self.kind is ProbeKind.STARTUP or (self.kind is ProbeKind.LIVENESS and not result):
            # It will be restarted, or has started for good: nothing more to learn of this container.
            self._on_hold = True
            self._run_length = 0

    def _pod_ip(self, status: Object) -> str:
        if status.get("podIP"):
            return str(status["podIP"])
        sandbox = self._parts.pods.sandbox(self.uid)
        return sandbox.ips[0] if sandbox is not None and sandbox.ips else str(status.get("hostIP") or "127.0.0.1")


def _has_started(status: Object, container_id: str) -> bool:
    """As the pod's status has it."""
    said = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return any(each.get("started") and str(each.get("containerID", "")).endswith(f"//{container_id}") for each in said)
