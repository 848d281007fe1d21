"""The probes of this node's pods: one worker for each, and what they settled.

In: pods as the worker sees them. Out: settled results by container id; a wake of the pod when one changed; counts for
/metrics/probes. Bound: three workers a container; results go with their container, all of a pod's with it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

from kubecore.api.clock import Clock
from kubecore.api.meta import Object, name_of, namespace_of, uid_of
from kubecore.kubelet.probes.prober import FIELDS, Executor, Prober
from kubecore.kubelet.probes.worker import ProbeWorker, WorkerParts
from kubecore.kubelet.seams import Pods, ProbeKind, Wake
from kubecore.kubelet.stats.probe_metrics import ProbeMetrics
from kubecore.kubelet.stats.samples import PodKey

_METRIC_KINDS: dict[ProbeKind, Literal["Startup", "Liveness", "Readiness"]] = {
    ProbeKind.STARTUP: "Startup",
    ProbeKind.LIVENESS: "Liveness",
    ProbeKind.READINESS: "Readiness",
}


class Recorder(Protocol):
    """An `EventRecorder`."""

    def event(
        self,
        regarding: Object,
        event_type: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        field_path: str = "",
    ) -> None: ...


def probed_containers(pod: Object) -> Iterator[Mapping[str, Any]]:
    yield from pod["spec"]["containers"]
    yield from (each for each in pod["spec"].get("initContainers") or () if each.get("restartPolicy") == "Always")


def field_path(pod: Object, container: Mapping[str, Any]) -> str:
    """Where in the pod the container is, as events say it."""
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        if any(each["name"] == container["name"] for each in pod["spec"].get(kind) or ()):
            return f"spec.{kind}{{{container['name']}}}"
    return ""


class ProbeManager:
    """The `Probes` of the kubelet's seams. Made when the kubelet starts."""

    def __init__(
        self,
        runtime: Executor,
        *,
        pods: Pods,
        recorder: Recorder,
        wake: Wake,
        clock: Clock,
        randomness: random.Random,
        metrics: ProbeMetrics,
    ) -> None:
        self._pods = pods
        self._recorder = recorder
        self._wake = wake
        self._metrics = metrics
        self._results: dict[tuple[ProbeKind, str], bool] = {}
        self._workers: dict[str, dict[tuple[str, ProbeKind], tuple[ProbeWorker, asyncio.Task[None]]]] = {}
        self._parts = WorkerParts(
            pods=pods,
            prober=Prober(runtime, self._say),
            clock=clock,
            randomness=randomness,
            started_at=clock.now(),
            settle=self._settle,
            settled=lambda kind, container_id: self._results.get((kind, container_id)),
            note=self._note,
        )

    def add(self, pod: Object) -> None:
        uid = uid_of(pod)
        workers = self._workers.setdefault(uid, {})
        for container in probed_containers(pod):
            for kind, field in FIELDS.items():
                key = (container["name"], kind)
                if container.get(field) is None or key in workers:
                    continue
                worker = ProbeWorker(kind, uid, container, self._parts)
                task = asyncio.create_task(worker.run(), name=f"{kind} probe of {uid}/{container['name']}")
                workers[key] = (worker, task)

    def stop_liveness_and_startup(self, uid: str) -> None:
        for (_, kind), (_, task) in self._workers.get(uid, {}).items():
            if kind is not ProbeKind.READINESS:
                task.cancel()

    def remove(self, uid: str) -> None:
        for (_, kind), (worker, task) in self._workers.pop(uid, {}).items():
            task.cancel()
            self._results.pop((kind, worker.container_id), None)
        self._metrics.forget(uid)

    def result(self, kind: ProbeKind, container_id: str) -> bool | None:
        """Asking for a readiness that is not there makes the probe look at once: whoever asks makes the pod's status."""
        found = self._results.get((kind, container_id))
        if kind is ProbeKind.READINESS and found is not True:
            self._look_at_once(container_id)
        return found

    async def close(self) -> None:
        tasks = [task for workers in self._workers.values() for _, task in workers.values()]
        self._workers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look_at_once(self, container_id: str) -> None:
        for uid, workers in self._workers.items():
            for (name, kind), (worker, _) in workers.items():
                if kind is ProbeKind.READINESS and self._is(uid, name, worker, container_id):
                    worker.trigger()
                    return

    def _is(self, uid: str, name: str, worker: ProbeWorker, container_id: str) -> bool:
        if worker.container_id == container_id:
            return True
        newest = self._pods.container(uid, name)
        return newest is not None and newest.id == container_id

    # ── what workers say ──

    def _settle(
        self, uid: str, kind: ProbeKind, container_id: str, result: bool | None, *, quiet: bool = False
    ) -> None:
        before = self._results.get((kind, container_id))
        if result is None:
            self._results.pop((kind, container_id), None)
            return
        self._results[kind, container_id] = result
        # A container that lives on changes nothing.
        if result != before and not quiet and not (kind is ProbeKind.LIVENESS and result):
            self._wake(uid)

    def _say(self, pod: Object, container: Mapping[str, Any], reason: str, message: str) -> None:
        self._recorder.event(pod, "Warning", reason, message, field_path=field_path(pod, container))

    def _note(self, pod: Object, container: str, kind: ProbeKind, result: bool, seconds: float) -> None:
        key = PodKey(namespace_of(pod), name_of(pod), uid_of(pod))
        self._metrics.note(
            key, container, _METRIC_KINDS[kind], "successful" if result else "failed", duration_seconds=seconds
        )
