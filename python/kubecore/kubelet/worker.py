"""One worker for each pod: looks, plans, acts, until nothing is left to do; then waits to be woken.

```
SYNCING ──deleted, evicted, done for good──▶ TERMINATING ──nothing runs──▶ TERMINATED ──the API forgot it──▶ FINISHED
plan, apply                                  containers stopped with grace  volumes, cgroup,   what the runtime kept
                                                                            sandbox gone       of it is gone
```

In: the newest pod (`update`), wakes, the wish to end it (`evict`, `remove`). Out: calls of the runtime through `Containers`,
the pod's status to the status manager. A worker knows only what is in the API and in the runtime; so it does not matter
which kubelet made what is there.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kubecore.api import errors
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, parse_timestamp
from kubecore.client import TransportError
from kubecore.kubelet import pods, resize, resources
from kubecore.kubelet.container_status import attempts_told
from kubecore.kubelet.containers import Containers
from kubecore.kubelet.crash_backoff import CrashBackoff
from kubecore.kubelet.directories import Directories
from kubecore.kubelet.images import Images, StartFailure
from kubecore.kubelet.plan import Observed, Plan, Start, plan
from kubecore.kubelet.pods import Kind
from kubecore.kubelet.runtime_view import RuntimeView
from kubecore.kubelet.runtimes.protocol import ContainerState, RuntimeFailure, SandboxState
from kubecore.kubelet.seams import (
    ConfigurationFailure,
    ContainerSettings,
    Eviction,
    MountFailure,
    Probes,
    Rejection,
    Volumes,
)
from kubecore.kubelet.status import TERMINAL, StatusInput, ended_status, pod_status, rejected_status
from kubecore.kubelet.status_manager import StatusManager
from kubecore.kubelet.termination import TerminationMessages
from kubecore.kubelet.turns import Turns
from kubecore.kubelet.waits import Waits

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0
"""Until something that failed is tried again; stretched by up to half, so that pods do not all come at once."""
PASSES_MAX = 50
"""Plans applied in one go; beyond it the worker takes its breath as after a failure."""


class Stage(Enum):
    SYNCING = 1
    TERMINATING = 2
    TERMINATED = 3
    FINISHED = 4


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What all workers share."""

    view: RuntimeView
    containers: Containers
    images: Images
    settings: ContainerSettings
    volumes: Volumes
    probes: Probes
    statuses: StatusManager
    directories: Directories
    backoff: CrashBackoff
    messages: TerminationMessages
    turns: Turns
    clock: Clock
    randomness: random.Random
    runtime_name: Callable[[], str]
    host_ips: Callable[[], tuple[str, ...]]
    network_problem: Callable[[], str]
    """Why the pod network is not ready, or ""."""
    admit: Callable[[Object], Rejection | None]
    refuse_resize: Callable[[Object], Object | None]
    """The condition of a pod whose new resources the node does not have."""
    reconcile_mirror: Callable[[Object], Awaitable[None]]
    sync_seconds: float


class Worker:
    """Run `run` as a task; cancelled, it leaves the pod as it is."""

    def __init__(self, pod: Object, parts: WorkerParts, *, admitted: bool = False) -> None:
        """`admitted`: the pod is on this node already, no matter whether it would be let in today."""
        self._given = resize.given_by_status(pod) if admitted else resize.given_by_spec(pod)
        self._source = pod
        self._more_conditions: list[Object] = []
        self.pod = resize.with_given(pod, self._given)
        """As the source has it, with the resources that it has been given."""
        self.uid: str = pod["metadata"]["uid"]
        self.stage = Stage.SYNCING
        self._parts = parts
        self._admitted = admitted
        self._removed = False
        self._eviction: Eviction | None = None
        self._woken = asyncio.Event()
        self._interrupt = asyncio.Event()
        self._stopped = asyncio.Event()
        self._waits = Waits(self.uid, parts.backoff, parts.clock, self._retry_at)
        self._prepared = False
        self._is_rejected = False
        self._is_clean = False
        self.finished = asyncio.Event()

    @property
    def is_admitted(self) -> bool:
        return self._admitted

    # ── what others say ──

    def wake(self) -> None:
        self._woken.set()

    def update(self, pod: Object) -> None:
        """The source has a newer pod."""
        before = self._grace_seconds()
        if _wanted(pod) != _wanted(self.pod):
            self._prepared = False
        self._source = pod
        self.pod = resize.with_given(pod, self._given)
        if pod["metadata"].get("deletionTimestamp"):
            self._begin_ending()
            if self._grace_seconds() < before:
                self._interrupt.set()
        self._woken.set()

    def remove(self) -> None:
        """The source has no such pod any more."""
        self._removed = True
        self._begin_ending()
        self._woken.set()

    def evict(self, eviction: Eviction) -> Awaitable[object]:
        if self.stage is Stage.SYNCING and self._eviction is None:
            self._eviction = eviction
            self._begin_ending()
        return self._stopped.wait()

    def _begin_ending(self) -> None:
        if self.stage is Stage.SYNCING:
            self.stage = Stage.TERMINATING
            self._interrupt.set()
            self._woken.set()

    def _grace_seconds(self) -> float:
        if self._eviction is not None and self._eviction.grace_seconds is not None:
            return float(self._eviction.grace_seconds)
        return float(pods.grace_seconds(self.pod))

    # ── running ──

    async def run(self) -> None:
        """Until the pod is finished."""
        steps = {
            Stage.SYNCING: self._sync,
            Stage.TERMINATING: self._terminate,
            Stage.TERMINATED: self._clean_up,
        }
        while self.stage is not Stage.FINISHED:
            self._woken.clear()
            self._interrupt.clear()
            again_at = await self._interruptible(steps[self.stage])
            if again_at is not None:
                await self._wait_until(again_at)
        self.finished.set()

    async def _interruptible(self, step: Callable[[], Awaitable[float | None]]) -> float | None:
        """Runs a step; gives it up when the pod is to end, or to end sooner. Gives when to look again, None: at once."""
        task = asyncio.ensure_future(self._guarded(step))
        interrupt = asyncio.ensure_future(self._interrupt.wait())
        try:
            while self.stage is Stage.TERMINATING and not (task.done() or interrupt.done()):
                await self._tell_while(task, interrupt)
            await asyncio.wait((task, interrupt), return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupt.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        return None if task.cancelled() else task.result()

    async def _tell_while(self, *running: asyncio.Future[Any]) -> None:
        """Containers end one after the other, which may take long: the status says so each time."""
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait((*running, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        if self._woken.is_set():
            self._woken.clear()
            await self._guarded(self._tell)

    async def _tell(self) -> None:
        self._publish()

    async def _guarded(self, step: Callable[[], Awaitable[float | None]]) -> float | None:
        try:
            return await step()
        except* (
            RuntimeFailure,
            errors.StatusError,
            TransportError,
            MountFailure,
            ConfigurationFailure,
            OSError,
        ) as group:
            for failure in _leaves(group):
                log.info("pod %s: %s; again later", pods.title(self.pod), failure)
        except* Exception:
            # A defect met one pod: it must not stop the work on all others. It is reported whole, and tried again.
            log.exception("pod %s: defect", pods.title(self.pod))
        return self._retry_at()

    def _retry_at(self) -> float:
        return self._parts.clock.now() + RETRY_SECONDS * (1 + 0.5 * self._parts.randomness.random())

    async def _wait_until(self, when: float) -> None:
        pause = when - self._parts.clock.now()
        if pause <= 0:
            return
        try:
            async with asyncio.timeout(pause):
                await self._woken.wait()
        except TimeoutError:
            return
        self._waits.woken()

    # ── SYNCING ──

    async def _sync(self) -> float | None:
        for _ in range(PASSES_MAX):
            if not self._admit():
                return None
            self._consider_resize()
            made = self._plan()
            status = self._publish()
            if status["phase"] in TERMINAL:
                self.stage = Stage.TERMINATING
                return None
            deadline = self._deadline(status)
            if deadline is not None and deadline <= self._parts.clock.now():
                self._past_deadline()
                return None
            await self._parts.reconcile_mirror(self.pod)
            if made.is_nothing and self._prepared:
                await self._collect()
                return self._next_look(made, deadline)
            async with self._parts.turns.turn():
                await self._prepare()
                # Waiting for a turn and for volumes takes time: what is to be done may be something else by now.
                await self._apply(self._plan())
        log.warning("pod %s does not come to rest", pods.title(self.pod))
        return self._retry_at()

    def _next_look(self, made: Plan, deadline: float | None) -> float:
        resync = self._parts.clock.now() + self._parts.sync_seconds * (1 + 0.5 * self._parts.randomness.random())
        return min(when for when in (made.look_at, deadline, resync) if when is not None)

    def _admit(self) -> bool:
        if self._admitted:
            return True
        rejection = self._parts.admit(self.pod)
        if rejection is None:
            self._admitted = True
            return True
        self._parts.containers.say(self.pod, None, "Warning", rejection.reason, rejection.message)
        self._parts.statuses.set(self.pod, rejected_status(self.pod, rejection))
        self._is_rejected = True
        self.stage = Stage.TERMINATED
        self._stopped.set()
        return False

    def _consider_resize(self) -> None:
        """What the pod wants is what it gets, if the node has it."""
        before = list(self._more_conditions)
        self._more_conditions.clear()
        if self.pod is self._source:
            return
        refused = self._parts.refuse_resize(self._source)
        if refused is not None:
            self._more_conditions.append(refused)
            if before != self._more_conditions:
                reason, why = refused["reason"], refused["message"]
                text = resize.message(self._source, reason, error=why)
                self._parts.containers.say(self._source, None, "Warning", f"Resize{reason}", text)
            return
        self._given = resize.given_by_spec(self._source)
        self.pod = self._source
        self._parts.containers.say(self.pod, None, "Normal", "ResizeStarted", resize.message(self.pod, "started"))

    def _plan(self) -> Plan:
        parts = self._parts
        made = plan(
            self.pod,
            parts.view.pod(self.uid),
            probe=parts.probes.result,
            pause=self._waits.pause,
            held=self._waits.held,
            resources=lambda container: parts.settings.resources(self.pod, container),
            now=parts.clock.now(),
        )
        for delay in made.delays:
            if self._waits.delayed(self.pod, delay):
                name = delay.container["name"]
                message = f"Back-off restarting failed container {name} in pod {pods.title(self.pod)}"
                parts.containers.say(self.pod, delay.container, "Warning", "BackOff", message)
        return made

    def _deadline(self, status: Object) -> float | None:
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        known = self._parts.statuses.get(self.uid) or status
        since = known.get("startTime")
        return parse_timestamp(since) + limit if limit is not None and since else None

    def _past_deadline(self) -> None:
        message = "Pod was active on the node longer than the specified deadline"
        self._parts.containers.say(self.pod, None, "Normal", "DeadlineExceeded", message)
        self._eviction = Eviction("DeadlineExceeded", message)
        self.stage = Stage.TERMINATING

    async def _prepare(self) -> None:
        """Directories, volumes, probes; cheap once done."""
        parts = self._parts
        problem = parts.network_problem()
        if problem and not pods.on_host_network(self.pod):
            message = f"network is not ready: {problem}"
            parts.containers.say(self.pod, None, "Warning", "NetworkNotReady", message)
            raise MountFailure(message)
        parts.directories.make_pod(self.pod)
        await parts.volumes.mount(self.pod)
        parts.probes.add(self.pod)
        self._prepared = True

    # ── a plan, applied ──

    async def _apply(self, made: Plan) -> None:
        parts = self._parts
        if made.sandbox_attempt:
            message = "Pod sandbox changed, it will be killed and re-created."
            parts.containers.say(self.pod, None, "Normal", "SandboxChanged", message)
        if made.stop_pod:
            await parts.containers.stop_pod(self.pod, self._grace_seconds())
        if made.sandbox_attempt is not None:
            if made.sandbox_attempt:
                await self._forget_init()
            await self._make_sandbox(made.sandbox_attempt)
        for kill in made.kills:
            found = pods.find_container(self.pod, kill.container.metadata.name)
            grace = parts.containers.grace(self.pod, found[1] if found else None, kill.reason)
            await parts.containers.stop(self.pod, kill.container, message=kill.message, grace=grace)
        await parts.containers.resize(self.pod, made.resizes)
        if made.resizes:
            parts.containers.say(self.pod, None, "Normal", "ResizeCompleted", resize.message(self.pod, "completed"))
        killed = {kill.container.id for kill in made.kills}
        for start in made.starts:
            if not await self._start(start, killed):
                break

    async def _make_sandbox(self, attempt: int) -> None:
        try:
            await self._parts.containers.make_sandbox(self.pod, attempt)
        except (RuntimeFailure, ConfigurationFailure) as failure:
            why = failure.message
            message = f"Failed to create pod sandbox: {why}"
            self._parts.containers.say(self.pod, None, "Warning", "FailedCreatePodSandBox", message)
            raise

    async def _forget_init(self) -> None:
        """A new sandbox starts from the first init container: earlier runs must not count."""
        observed = self._parts.view.pod(self.uid)
        init = {each["name"] for each in pods.containers(self.pod, Kind.INIT)}
        for container in observed.containers:
            if container.metadata.name in init:
                await self._parts.containers.remove(container)

    async def _start(self, start: Start, killed: set[str]) -> bool:
        """Whether those after it may start."""
        parts, name = self._parts, start.container["name"]
        is_killed = start.latest is not None and start.latest.id in killed
        if (
            is_killed
            and pods.restarts_when_killed(self.pod, start.container)
            and self._waits.must_wait(start.container)
        ):
            # It ended only now: how long it must wait shows in the next plan.
            return True
        self._waits.starting(start)
        try:
            await parts.containers.start(
                self.pod, start, parts.view.pod(self.uid), attempt_min=attempts_told(self._before(), name)
            )
        except StartFailure as failure:
            self._waits.failed(name, failure)
            return start.kind is not Kind.INIT or pods.is_sidecar(start.container)
        self._waits.started(name)
        return True

    async def _collect(self) -> None:
        """Of each container the newest run and the one before it are kept, and no sandbox but the newest."""
        observed = self._parts.view.pod(self.uid)
        seen: dict[str, int] = {}
        kept_sandboxes = {sandbox.id for sandbox in observed.sandboxes[:1]}
        for container in observed.containers:
            name = container.metadata.name
            seen[name] = seen.get(name, 0) + 1
            if container.state is not ContainerState.RUNNING and seen[name] > 2:
                await self._parts.containers.remove(container)
            else:
                kept_sandboxes.add(container.sandbox_id)
        for sandbox in observed.sandboxes:
            if sandbox.state is SandboxState.NOTREADY and sandbox.id not in kept_sandboxes:
                await self._parts.containers.remove_sandbox(sandbox)

    # ── status ──

    def _before(self) -> Object:
        return self._parts.statuses.get(self.uid) or self.pod.get("status") or {}

    def _status(self, *, is_ended: bool = False) -> Object:
        parts = self._parts
        return pod_status(
            StatusInput(
                pod=self.pod,
                observed=parts.view.pod(self.uid),
                before=self._before(),
                runtime=parts.runtime_name(),
                probe=parts.probes.result,
                qos_class=str(resources.qos_class(self.pod)),
                host_ips=parts.host_ips(),
                waiting=self._waits.reasons,
                messages=parts.messages,
                eviction=self._eviction,
                more_conditions=self._more_conditions,
                is_ended=is_ended,
            )
        )

    def _publish(self, *, is_ended: bool = False) -> Object:
        status = self._status(is_ended=is_ended)
        self._parts.statuses.set(self.pod, status)
        return status

    # ── TERMINATING ──

    async def _terminate(self) -> float | None:
        parts = self._parts
        await parts.view.refresh_pod(self.uid)
        self._publish()
        parts.probes.stop_liveness_and_startup(self.uid)
        await parts.containers.stop_pod(self.pod, self._grace_seconds())
        observed = await parts.view.refresh_pod(self.uid)
        if _is_up(observed):
            return self._retry_at()
        parts.probes.remove(self.uid)
        self._publish(is_ended=True)
        self.stage = Stage.TERMINATED
        self._stopped.set()
        return None

    # ── TERMINATED ──

    async def _clean_up(self) -> float | None:
        parts = self._parts
        deleted = bool(self.pod["metadata"].get("deletionTimestamp"))
        if not self._is_clean:
            await self._release()
            if deleted or self._removed:
                await parts.containers.remove_pod(self.uid)
                parts.directories.remove_logs(self.pod)
                parts.images.forget(self.uid)
                self._waits.forget()
                self._is_clean = True
                if not self._removed and not pods.is_static(self.pod):
                    parts.statuses.finish(self.pod)
        if self._removed:
            parts.statuses.forget(self.uid)
            self.stage = Stage.FINISHED
            return None
        # A pod that nobody deletes keeps its containers, for their logs.
        return parts.clock.now() + parts.sync_seconds * 10

    async def _release(self) -> None:
        """Volumes, cgroup; the last status."""
        parts = self._parts
        for container in parts.view.pod(self.uid).containers:
            await parts.settings.container_stopped(self.uid, container.id)
        # The directory goes last: while it is there, whoever comes after a crash knows that there is something left.
        await parts.settings.release(self.uid)
        await parts.volumes.unmount(self.uid)
        if not self._removed and not self._is_rejected:
            parts.statuses.set(self.pod, ended_status(self.pod, self._status(is_ended=True)))


def _wanted(pod: Object) -> tuple[object, ...]:
    """What volumes and probes are made from."""
    metadata = pod["metadata"]
    return pod["spec"], metadata.get("labels"), metadata.get("annotations")


def _is_up(observed: Observed) -> bool:
    states = (ContainerState.RUNNING, ContainerState.UNKNOWN)
    running = any(each.state in states for each in observed.containers)
    return running or any(each.state is SandboxState.READY for each in observed.sandboxes)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found.extend(_leaves(each) if isinstance(each, BaseExceptionGroup) else [each])
    return found
