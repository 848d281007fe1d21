"""What to do next for a pod: pure, from the pod as wanted and its sandbox and containers as they are.

In: the pod, the runtime's sandboxes and containers (newest first), probe results, the pauses of failing containers, the
time. Out: a `Plan`: kills, a sandbox to make, containers to start in order, when to look again. A worker applies it and
plans again until nothing is left to do; so a new pod, a restart, a changed image and a kubelet that was killed in between
are all the same.
Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from kubecore.api.meta import Object
from kubecore.kubelet import pods, resize
from kubecore.kubelet.pods import Kind
from kubecore.kubelet.runtimes.protocol import Container, ContainerState, LinuxResources, Sandbox, SandboxState
from kubecore.kubelet.seams import ProbeKind

HASH_ANNOTATION = "io.kubernetes.container.hash"

ProbeResult = Callable[[ProbeKind, str], bool | None]
Pause = Callable[[Object, Container], float]
"""(container's spec, its last run) → seconds from its end until it may start again."""


class KillReason(StrEnum):
    """Decides which grace period counts."""

    STARTUP_PROBE = "StartupProbe"
    LIVENESS_PROBE = "LivenessProbe"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Kill:
    container: Container
    message: str
    reason: KillReason = KillReason.UNKNOWN


@dataclass(frozen=True, slots=True)
class Start:
    """`latest`: the last run of that name. One that was created and never ran is removed and made anew with its number."""

    kind: Kind
    container: Object
    latest: Container | None

    @property
    def attempt(self) -> int:
        if self.latest is None:
            return 0
        ran = self.latest.state is not ContainerState.CREATED
        return self.latest.metadata.attempt + (1 if ran else 0)


@dataclass(frozen=True, slots=True)
class Resize:
    """A running container that is to have other resources."""

    container: Container
    resources: LinuxResources


@dataclass(frozen=True, slots=True)
class Delay:
    """A container that waits in CrashLoopBackOff."""

    container: Object
    latest: Container
    pause_seconds: float
    until: float


@dataclass(slots=True)
class Plan:
    """`stop_pod`: everything is stopped first, sandbox included. `sandbox_attempt`: make a sandbox of that number."""

    sandbox: Sandbox | None = None
    sandbox_attempt: int | None = None
    stop_pod: bool = False
    kills: list[Kill] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    resizes: list[Resize] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)
    held_until: list[float] = field(default_factory=list)

    @property
    def is_nothing(self) -> bool:
        return not (self.stop_pod or self.kills or self.starts or self.resizes or self.sandbox_attempt is not None)

    @property
    def look_at(self) -> float | None:
        """When something changes by itself."""
        return min((*(delay.until for delay in self.delays), *self.held_until), default=None)


@dataclass(frozen=True, slots=True)
class Observed:
    """A pod as the runtime has it."""

    sandboxes: Sequence[Sandbox] = ()
    containers: Sequence[Container] = ()

    def latest(self, name: str) -> Container | None:
        return next((each for each in self.containers if each.metadata.name == name), None)

    def running(self) -> list[Container]:
        return [each for each in self.containers if each.state is ContainerState.RUNNING]

    @property
    def sandbox(self) -> Sandbox | None:
        return self.sandboxes[0] if self.sandboxes else None


def newest_first(observed: Iterable[Container]) -> list[Container]:
    return sorted(observed, key=lambda each: (each.created_at, each.metadata.attempt), reverse=True)


def sandbox_change(pod: Object, observed: Observed) -> tuple[bool, int]:
    """(whether a new sandbox is needed, its number)."""
    newest = observed.sandbox
    if newest is None:
        return True, 0
    ready = sum(1 for each in observed.sandboxes if each.state is SandboxState.READY)
    unusable = (
        ready > 1
        or newest.state is not SandboxState.READY
        or (not pods.on_host_network(pod) and not newest.ips)
        or pods.on_host_network(pod) != (newest.namespaces.network.value == "NODE")
    )
    return unusable, newest.metadata.attempt + 1


def plan(
    pod: Object,
    observed: Observed,
    *,
    probe: ProbeResult,
    pause: Pause,
    held: Mapping[str, float],
    resources: Callable[[Object], LinuxResources],
    now: float,
) -> Plan:
    """For a pod that is not being ended. `held`: containers whose start has failed, and when to try again. `resources`:
    what a container is to have."""
    needed, attempt = sandbox_change(pod, observed)
    made = Plan(sandbox=None if needed else observed.sandbox)
    if needed:
        _plan_sandbox(made, pod, observed, attempt)
    else:
        _plan_ephemeral(made, pod, observed)
        if _plan_init(made, pod, observed, probe):
            _plan_regular(made, pod, observed, probe)
    if not made.stop_pod:
        _plan_resizes(made, pod, observed, resources)
    _hold_back(made, pause, held, now)
    return made


def _plan_sandbox(made: Plan, pod: Object, observed: Observed, attempt: int) -> None:
    """Everything is stopped, a sandbox is made, and the pod starts from its first container; unless all is done."""
    made.stop_pod = _is_up(observed)
    regular = pods.containers(pod, Kind.REGULAR)
    if attempt != 0 and observed.containers and not any(pods.restarts_when_killed(pod, each) for each in regular):
        return
    wanted = [each for each in regular if pods.should_start(pod, each, _ended(observed.latest(each["name"])))]
    created = any(observed.latest(each["name"]) is not None for each in regular)
    if not wanted and created:
        return
    made.sandbox_attempt = attempt
    init = pods.containers(pod, Kind.INIT)
    if init:
        made.starts.append(Start(Kind.INIT, init[0], observed.latest(init[0]["name"])))
    else:
        made.starts.extend(Start(Kind.REGULAR, each, observed.latest(each["name"])) for each in wanted)


def _is_up(observed: Observed) -> bool:
    return bool(observed.running()) or any(each.state is SandboxState.READY for each in observed.sandboxes)


def _ended(latest: Container | None) -> Container | None:
    """A container that still runs ends with its sandbox, by a signal: a failure."""
    if latest is None or latest.state is not ContainerState.RUNNING:
        return latest
    return Container(
        id=latest.id,
        sandbox_id=latest.sandbox_id,
        metadata=latest.metadata,
        state=ContainerState.EXITED,
        created_at=latest.created_at,
        exit_code=137,
        image=latest.image,
        image_ref=latest.image_ref,
        image_id=latest.image_id,
    )


def _plan_ephemeral(made: Plan, pod: Object, observed: Observed) -> None:
    """Started once, whatever else the pod does; never restarted."""
    for container in pods.containers(pod, Kind.EPHEMERAL):
        latest = observed.latest(container["name"])
        if latest is None or latest.state is ContainerState.CREATED:
            made.starts.append(Start(Kind.EPHEMERAL, container, latest))


def _is_initialized(pod: Object, observed: Observed) -> bool:
    """A regular container of this sandbox has been made, so every init container has done its work, even if the runtime
    has forgotten it. Those of an earlier sandbox do not count: a new one starts from the beginning."""
    current = observed.sandbox
    latest = (observed.latest(each["name"]) for each in pods.containers(pod, Kind.REGULAR))
    return any(each is not None and current is not None and each.sandbox_id == current.id for each in latest)


def _plan_init(made: Plan, pod: Object, observed: Observed, probe: ProbeResult) -> bool:
    """Gives whether the regular containers' turn has come.

    From the last init container backwards: the last one that the runtime knows says how far the pod has come, because
    earlier ones may have been collected. All before it are done, but sidecars among them are kept running.
    """
    init = pods.containers(pod, Kind.INIT)
    if not init:
        return True
    initialized = past = _is_initialized(pod, observed)
    to_start: list[int] = []
    for index in range(len(init) - 1, -1, -1):
        container = init[index]
        latest = observed.latest(container["name"])
        sidecar = pods.is_sidecar(container)
        if latest is None:
            if past and sidecar:
                to_start.append(index)
            continue
        if past and not sidecar:
            continue
        done = _plan_sidecar if sidecar else _plan_one_init
        outcome = done(made, pod, container, latest, probe)
        if outcome is _Outcome.FAILED:
            made.starts.clear()
            made.stop_pod = True
            return False
        if outcome is _Outcome.START:
            to_start.append(index)
        elif outcome is _Outcome.DONE:
            if index == len(init) - 1:
                initialized = True
            elif not past:
                to_start.append(index + 1)
        elif outcome is _Outcome.RESTART:
            # It was up before it failed: what comes after it may start.
            if index == len(init) - 1:
                initialized = True
            elif not past:
                to_start.append(index + 1)
            to_start.append(index)
        past = True
    if not past:
        to_start.append(0)
    for index in sorted(set(to_start)):
        made.starts.append(Start(Kind.INIT, init[index], observed.latest(init[index]["name"])))
    return initialized


class _Outcome(StrEnum):
    WAIT = "wait"
    START = "start"
    DONE = "done"
    RESTART = "restart"
    FAILED = "failed"


def _plan_one_init(made: Plan, pod: Object, container: Object, latest: Container, probe: ProbeResult) -> _Outcome:
    if latest.state is ContainerState.CREATED:
        return _Outcome.START
    if latest.state is ContainerState.RUNNING:
        return _Outcome.WAIT
    if not pods.is_failed_init(latest):
        return _Outcome.DONE
    if not pods.restarts_after(pod, container, latest.exit_code or 1):
        return _Outcome.FAILED
    if latest.state is ContainerState.UNKNOWN:
        made.kills.append(Kill(latest, _unknown_message("Init container", latest)))
    return _Outcome.START


def _plan_sidecar(made: Plan, pod: Object, container: Object, latest: Container, probe: ProbeResult) -> _Outcome:
    name = container["name"]
    if latest.state in (ContainerState.CREATED, ContainerState.EXITED):
        return _Outcome.START
    if latest.state is ContainerState.UNKNOWN:
        made.kills.append(Kill(latest, _unknown_message("Init container", latest)))
        return _Outcome.START
    if container.get("startupProbe"):
        started = probe(ProbeKind.STARTUP, latest.id)
        if started is None:
            return _Outcome.WAIT
        if not started:
            message = f"Init container {name} failed startup probe"
            made.kills.append(Kill(latest, message, KillReason.STARTUP_PROBE))
            return _Outcome.START
    if _changed(container, latest):
        made.kills.append(Kill(latest, f"Init container {name} definition changed"))
        return _Outcome.RESTART
    if container.get("livenessProbe") and probe(ProbeKind.LIVENESS, latest.id) is False:
        made.kills.append(Kill(latest, f"Init container {name} failed liveness probe", KillReason.LIVENESS_PROBE))
        return _Outcome.RESTART
    return _Outcome.DONE


def _plan_regular(made: Plan, pod: Object, observed: Observed, probe: ProbeResult) -> None:
    kept = 0
    starts: list[Start] = []
    for container in pods.containers(pod, Kind.REGULAR):
        latest = observed.latest(container["name"])
        if latest is None or latest.state is not ContainerState.RUNNING:
            if pods.should_start(pod, container, latest):
                starts.append(Start(Kind.REGULAR, container, latest))
                if latest is not None and latest.state is ContainerState.UNKNOWN:
                    made.kills.append(Kill(latest, _unknown_message("Container", latest)))
            continue
        why = _why_kill(container, latest, probe)
        if why is None:
            kept += 1
            continue
        message, reason = why
        if _changed(container, latest) or pods.restarts_when_killed(pod, container):
            message += ", will be restarted"
            starts.append(Start(Kind.REGULAR, container, latest))
        made.kills.append(Kill(latest, message, reason))
    if kept == 0 and not starts:
        # All is done: what is left is sidecars and ephemeral containers, which do not keep a pod alive.
        made.stop_pod = _is_up(observed)
        made.starts.clear()
        return
    made.starts.extend(starts)


def _plan_resizes(made: Plan, pod: Object, observed: Observed, resources: Callable[[Object], LinuxResources]) -> None:
    """In place, or by a new run where the container's resizePolicy wants one."""
    killed = {each.container.id for each in made.kills}
    for kind in (Kind.INIT, Kind.REGULAR):
        for container in pods.containers(pod, kind):
            latest = observed.latest(container["name"])
            if latest is None or latest.state is not ContainerState.RUNNING or latest.id in killed:
                continue
            if kind is Kind.INIT and not pods.is_sidecar(container):
                continue
            wanted = resources(container)
            names = resize.changed(container, latest, wanted)
            if not names:
                continue
            if resize.needs_restart(container, names):
                made.kills.append(Kill(latest, f"Container {container['name']} resize requires restart"))
                made.starts.append(Start(kind, container, latest))
            else:
                made.resizes.append(Resize(latest, wanted))


def _why_kill(container: Object, latest: Container, probe: ProbeResult) -> tuple[str, KillReason] | None:
    name = container["name"]
    if _changed(container, latest):
        return f"Container {name} definition changed", KillReason.UNKNOWN
    if container.get("livenessProbe") and probe(ProbeKind.LIVENESS, latest.id) is False:
        return f"Container {name} failed liveness probe", KillReason.LIVENESS_PROBE
    if container.get("startupProbe") and probe(ProbeKind.STARTUP, latest.id) is False:
        return f"Container {name} failed startup probe", KillReason.STARTUP_PROBE
    return None


def _changed(container: Object, latest: Container) -> bool:
    return latest.annotations.get(HASH_ANNOTATION) != pods.container_hash(container)


def _unknown_message(what: str, latest: Container) -> str:
    return f'{what} is in "{latest.state.value.lower()}" state, try killing it before restart'


def _hold_back(made: Plan, pause: Pause, held: Mapping[str, float], now: float) -> None:
    """Takes those out of the starts that ended or failed too recently. A held init container holds those after it."""
    allowed: list[Start] = []
    for start in made.starts:
        if _is_held(made, start, pause, held, now):
            if start.kind is Kind.INIT and not pods.is_sidecar(start.container):
                break
            continue
        allowed.append(start)
    made.starts = allowed


def _is_held(made: Plan, start: Start, pause: Pause, held: Mapping[str, float], now: float) -> bool:
    until = held.get(start.container["name"], 0.0)
    if now < until:
        made.held_until.append(until)
        return True
    latest = start.latest
    if latest is None or latest.state is not ContainerState.EXITED:
        return False
    seconds = pause(start.container, latest)
    until = latest.finished_at / 1e9 + seconds
    if not seconds or now >= until:
        return False
    made.delays.append(Delay(start.container, latest, seconds, until))
    return True
