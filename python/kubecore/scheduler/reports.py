"""Says what was decided: an event for each decision, and the pod's status.

In: decisions. Out: events (through the recorder) and patches of pods' statuses, many at a time. Only the newest patch of a
pod is written; one that fails is made again at the pod's next attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from kubecore.api.clock import Clock
from kubecore.api.errors import NotFound
from kubecore.api.meta import Object, split_key
from kubecore.client import Client, EventRecorder, Request, TransportError
from kubecore.client.codec import metadata_of
from kubecore.scheduler import conditions, messages
from kubecore.scheduler.kernel import Failure

log = logging.getLogger(__name__)

PATCHES_MAX = 256
"""Statuses written in one batch."""


class Reports:
    """`pod_of` gives a pod's newest encoded state. Run it until it is cancelled."""

    def __init__(
        self, client: Client, events: EventRecorder, *, clock: Clock, pod_of: Callable[[str], bytes | None]
    ) -> None:
        self._client = client
        self._events = events
        self._clock = clock
        self._pod_of = pod_of
        self._patches: dict[str, Request] = {}
        self._waiting = asyncio.Event()

    def bound(self, key: str, uid: str, node: str) -> None:
        namespace, name = split_key(key)
        message = messages.assigned(namespace, name, node)
        self._events.event(self.reference(key, uid), "Normal", "Scheduled", message, action="Binding")

    def failed(self, key: str, pod: Object, failure: Failure) -> None:
        nominated = failure.nominated_node
        if nominated is None and failure.preemption != "not eligible":
            nominated = ""
        self._say_not_scheduled(key, pod, conditions.UNSCHEDULABLE, messages.failed(failure), nominated)

    def error(self, key: str, pod: Object, error: Exception) -> None:
        message = f'running Bind plugin "DefaultBinder": {error}'
        self._say_not_scheduled(key, pod, conditions.SCHEDULER_ERROR, message, "")

    def gated(self, key: str, pod: Object) -> None:
        gates = [gate.get("name", "") for gate in pod["spec"].get("schedulingGates") or ()]
        self._say_failed_scheduling(key, pod, messages.gated(gates))
        self._put_condition(key, pod, conditions.SCHEDULING_GATED, conditions.GATED_MESSAGE, None)

    def not_nominated(self, key: str) -> None:
        """The node that was kept for it goes to a more important pod."""
        self._write(key, conditions.not_nominated(key))

    def reference(self, key: str, uid: str) -> Object:
        namespace, name = split_key(key)
        metadata = {"namespace": namespace, "name": name, "uid": uid}
        body = self._pod_of(key)
        if body is not None:
            metadata["resourceVersion"] = metadata_of(body).resource_version
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}

    def _say_not_scheduled(self, key: str, pod: Object, reason: str, message: str, nominated_node: str | None) -> None:
        self._say_failed_scheduling(key, pod, message)
        self._put_condition(key, pod, reason, message, nominated_node)

    def _say_failed_scheduling(self, key: str, pod: Object, message: str) -> None:
        reference = self.reference(key, pod["metadata"].get("uid", ""))
        self._events.event(reference, "Warning", "FailedScheduling", messages.note(message), action="Scheduling")

    def _put_condition(self, key: str, pod: Object, reason: str, message: str, nominated_node: str | None) -> None:
        patch = conditions.not_scheduled(
            pod, reason=reason, message=message, now_seconds=self._clock.now(), nominated_node=nominated_node
        )
        if patch is not None:
            self._write(key, patch)

    def _write(self, key: str, patch: Request) -> None:
        self._patches[key] = patch
        self._waiting.set()

    async def run(self) -> None:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            while self._patches:
                keys = list(self._patches)[:PATCHES_MAX]
                batch = [self._patches.pop(key) for key in keys]
                try:
                    outcomes = await self._client.try_all(batch)
                except TransportError as failure:
                    log.warning("%d statuses: no answer (%s)", len(batch), failure)
                    continue
                for key, outcome in zip(keys, outcomes, strict=True):
                    if outcome is not None and not isinstance(outcome, NotFound):
                        log.info("the status of pod %s was refused: %s", key, outcome)
