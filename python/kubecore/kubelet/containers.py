"""Makes sandboxes, starts and stops containers: the steps, in order, with their events.

In: what a plan wants. Out: runtime calls, and events in upstream's words. A container's start is image, configuration,
create, start, postStart hook; its stop is preStop hook, the sidecars' turn, stop signal, kill. What cannot be done raises
`StartFailure` (why the container waits) or RuntimeFailure.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kubecore.api.clock import Clock
from kubecore.api.meta import Object
from kubecore.client import EventRecorder
from kubecore.client.events import EventType
from kubecore.kubelet import hosts, pods, termination
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.container_status import IMAGE_ANNOTATION
from kubecore.kubelet.directories import Directories
from kubecore.kubelet.images import Images, StartFailure
from kubecore.kubelet.lifecycle import HookFailure, Hooks
from kubecore.kubelet.plan import HASH_ANNOTATION, KillReason, Observed, Resize, Start
from kubecore.kubelet.pods import Kind
from kubecore.kubelet.runtime_view import RuntimeView
from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerState,
    Image,
    Mount,
    PortMapping,
    Runtime,
    RuntimeFailure,
    Sandbox,
    SandboxConfig,
    SandboxMetadata,
    SandboxState,
    labels_of,
)
from kubecore.kubelet.seams import ConfigurationFailure, ContainerContext, ContainerSettings

log = logging.getLogger(__name__)

GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod"
PRE_STOP_ANNOTATION = "io.kubernetes.container.preStopHandler"
RESTARTS_ANNOTATION = "io.kubernetes.container.restartCount"

FINISH_SECONDS = 10.0
"""How long a change that is under way may still take when its worker is stopped."""

Result = TypeVar("Result")


async def whole(call: Awaitable[Result]) -> Result:
    """A change in the runtime that is not given up half-way: when the caller is cancelled it is waited for first, but
    not for ever."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,), timeout=FINISH_SECONDS)
        task.cancel()
        raise


@dataclass(frozen=True, slots=True)
class NodeNames:
    """What pods get to know of their node."""

    hostname: str
    host_ips: tuple[str, ...]
    hosts_path: Path = Path("/etc/hosts")


class Containers:
    """One for a kubelet."""

    def __init__(
        self,
        runtime: Runtime,
        view: RuntimeView,
        images: Images,
        settings: ContainerSettings,
        hooks: Hooks,
        recorder: EventRecorder,
        directories: Directories,
        configuration: KubeletConfiguration,
        clock: Clock,
        node: Callable[[], NodeNames],
    ) -> None:
        self._runtime = runtime
        self._view = view
        self._images = images
        self._settings = settings
        self._hooks = hooks
        self._recorder = recorder
        self._directories = directories
        self._configuration = configuration
        self._clock = clock
        self._node = node
        self._pre_stopped: set[str] = set()
        """Containers whose preStop hook has begun: a grace period made shorter does not run it twice."""

    def say(self, pod: Object, container: Object | None, kind: EventType, reason: str, message: str) -> None:
        """An event about a pod, or about one of its containers."""
        path = pods.field_path(pod, container) if container is not None else ""
        self._recorder.event(pod, kind, reason, message, field_path=path)

    # ── the sandbox ──

    async def make_sandbox(self, pod: Object, attempt: int) -> None:
        """Raises RuntimeFailure, ConfigurationFailure."""
        config = await self._settings.prepare(pod, self._sandbox_config(pod, attempt))
        sandbox_id = await whole(self._runtime.run_pod_sandbox(config))
        await self._view.refresh_new_sandbox(sandbox_id)

    def _sandbox_config(self, pod: Object, attempt: int) -> SandboxConfig:
        metadata = pod["metadata"]
        configuration, node = self._configuration, self._node()
        # Read each time: it is small, and the node's resolver may have changed.
        resolver = Path(configuration.resolv_conf)
        text = resolver.read_text(errors="replace") if configuration.resolv_conf and resolver.exists() else ""
        return SandboxConfig(
            metadata=SandboxMetadata(
                name=metadata["name"], uid=metadata["uid"], namespace=metadata["namespace"], attempt=attempt
            ),
            hostname=hosts.kernel_hostname(pod, configuration.cluster_domain, node.hostname),
            log_directory=str(self._directories.pod_log(pod)),
            dns=hosts.dns_config(
                pod, hosts.parse_resolver(text), configuration.cluster_dns, configuration.cluster_domain
            ),
            port_mappings=tuple(_port_mappings(pod)),
            labels={**(metadata.get("labels") or {}), **labels_of(metadata)},
            annotations={**(metadata.get("annotations") or {}), GRACE_ANNOTATION: str(pods.grace_seconds(pod))},
        )

    # ── start ──

    async def start(self, pod: Object, start: Start, observed: Observed, *, attempt_min: int = 0) -> None:
        """Returns when the container runs and its postStart hook is done. `attempt_min`: what the pod's status tells of
        runs that the runtime has forgotten. Raises StartFailure."""
        container = start.container

        def say(kind: str, reason: str, message: str) -> None:
            self.say(pod, container, "Warning" if kind == "Warning" else "Normal", reason, message)

        if start.latest is not None and start.latest.state is ContainerState.CREATED:
            # Made by a kubelet that was ended before it could start it.
            await self.remove(start.latest)
        try:
            image, reference = await self._images.ensure(pod, container, say)
        except StartFailure as failure:
            say("Warning", "Failed", f"Error: {failure.reason}")
            raise
        attempt = start.attempt
        if start.latest is None:
            attempt = max(attempt_min, self._directories.next_attempt(pod, container["name"]))
        try:
            context = self._context(pod, start, observed, attempt, image, reference)
            config = await self._settings.container(pod, container, context)
        except ConfigurationFailure as failure:
            say("Warning", "Failed", f"Error: {failure.message}")
            raise StartFailure(failure.reason, failure.message) from failure
        sandbox = observed.sandbox
        if sandbox is None:
            raise StartFailure("CreateContainerError", "the pod has no sandbox")
        try:
            container_id = await whole(self._runtime.create_container(sandbox.id, config))
            await self._view.refresh(container_id)
        except RuntimeFailure as failure:
            say("Warning", "Failed", f"Error: {failure.message}")
            raise StartFailure("CreateContainerError", failure.message) from failure
        say("Normal", "Created", "Container created")
        try:
            await whole(self._runtime.start_container(container_id))
        except RuntimeFailure as failure:
            say("Warning", "Failed", f"Error: {failure.message}")
            raise StartFailure("RunContainerError", failure.message) from failure
        finally:
            await self._view.refresh(container_id)
        say("Normal", "Started", "Container started")
        await self._post_start(pod, container, container_id, context.pod_ips)

    async def _post_start(self, pod: Object, container: Object, container_id: str, ips: Sequence[str]) -> None:
        handler = (container.get("lifecycle") or {}).get("postStart")
        if not handler:
            return
        try:
            await self._hooks.run(container, handler, container_id, ips[0] if ips else "")
        except HookFailure as failure:
            log.info("postStart hook of %s in %s: %s", container["name"], pods.title(pod), failure)
            # The hook's own words stay out of the API: they may hold secrets.
            self.say(pod, container, "Warning", "FailedPostStartHook", "PostStartHook failed")
            running = self._view.pod(pod["metadata"]["uid"]).latest(container["name"])
            if running is not None:
                await self.stop(pod, running, message="FailedPostStartHook", grace=float(pods.grace_seconds(pod)))
            raise StartFailure("PostStartHookError", str(failure)) from failure

    def _context(
        self, pod: Object, start: Start, observed: Observed, attempt: int, image: Image, reference: str
    ) -> ContainerContext:
        container, name, uid = start.container, start.container["name"], pod["metadata"]["uid"]
        node = self._node()
        sandbox = observed.sandbox
        ips = node.host_ips if pods.on_host_network(pod) or sandbox is None else sandbox.ips
        self._directories.make_container(pod, name)
        return ContainerContext(
            attempt=attempt,
            image=image,
            image_ref=reference,
            pod_ips=tuple(ips),
            host_ips=node.host_ips,
            log_path=self._directories.container_log(pod, name, attempt),
            labels=labels_of(pod["metadata"], name),
            annotations=_annotations(pod, container, attempt),
            mounts=tuple(self._own_mounts(pod, container, ips)),
            target_id=_target(uid, container, observed),
        )

    def _own_mounts(self, pod: Object, container: Object, ips: Sequence[str]) -> Iterator[Mount]:
        """/etc/hosts, unless the pod brings its own, and the file for the termination message."""
        taken = {mount["mountPath"].rstrip("/") for mount in container.get("volumeMounts") or ()}
        if "/etc/hosts" not in taken:
            path = self._directories.etc_hosts(pod["metadata"]["uid"])
            node_hosts = self._node().hosts_path
            text = node_hosts.read_text(errors="replace") if node_hosts.exists() else ""
            made = hosts.hosts_file(pod, ips, self._configuration.cluster_domain, text)
            if not path.exists() or path.read_text() != made:
                # In place: containers that run have this very file mounted.
                path.write_text(made)
                path.chmod(0o644)
            yield Mount(container_path="/etc/hosts", host_path=str(path))
        message_path = container.get("terminationMessagePath") or "/dev/termination-log"
        kept = self._directories.new_termination_log(pod, container["name"])
        yield Mount(container_path=message_path, host_path=str(kept))

    # ── resize ──

    async def resize(self, pod: Object, resizes: Sequence[Resize]) -> None:
        """The pod's cgroup first: it must hold its containers'. Raises RuntimeFailure, OSError."""
        if not resizes:
            return
        await self._settings.resize(pod)
        for each in resizes:
            await whole(self._runtime.update_container_resources(each.container.id, each.resources))
            await self._view.refresh(each.container.id)

    # ── stop ──

    async def stop(
        self, pod: Object, container: Container, *, message: str, grace: float, turn: _Turns | None = None
    ) -> None:
        """Runs the preStop hook, waits for the container's turn, stops it. Raises RuntimeFailure."""
        name = container.metadata.name
        found = pods.find_container(pod, name)
        self.say(pod, found[1] if found else None, "Normal", "Killing", message)
        deadline = self._clock.monotonic() + grace
        handler = _pre_stop(found[1] if found else None, container)
        if handler and grace > 0 and container.id not in self._pre_stopped:
            self._pre_stopped.add(container.id)
            await self._pre_stop(pod, found[1] if found else {"name": name}, container, handler, grace)
        if turn is not None:
            await turn.wait(name, deadline - self._clock.monotonic())
        left = max(deadline - self._clock.monotonic(), float(pods.GRACE_SECONDS_MIN))
        await self._runtime.stop_container(container.id, left)
        await self._view.refresh(container.id)
        if turn is not None:
            turn.ended(name)
        await self._settings.container_stopped(pod["metadata"]["uid"], container.id)

    async def _pre_stop(self, pod: Object, spec: Object, container: Container, handler: Object, grace: float) -> None:
        sandbox = self._view.pod(pod["metadata"]["uid"]).sandbox
        ips = sandbox.ips if sandbox is not None and sandbox.ips else self._node().host_ips
        try:
            async with asyncio.timeout(grace):
                await self._hooks.run(spec, handler, container.id, ips[0] if ips else "")
        except TimeoutError:
            log.info("preStop hook of %s in %s took the whole grace period", spec["name"], pods.title(pod))
        except HookFailure as failure:
            log.info("preStop hook of %s in %s: %s", spec["name"], pods.title(pod), failure)
            self.say(pod, spec, "Warning", "FailedPreStopHook", "PreStopHook failed")

    async def stop_pod(self, pod: Object, grace: float) -> None:
        """Stops all containers, sidecars after the others and in reverse order, then the sandboxes. Raises RuntimeFailure."""
        observed = self._view.pod(pod["metadata"]["uid"])
        running = [
            each for each in observed.containers if each.state in (ContainerState.RUNNING, ContainerState.UNKNOWN)
        ]
        turns = _Turns(pod, [each.metadata.name for each in running]) if pods.has_sidecars(pod) else None
        stops = [
            self.stop(pod, each, message=f"Stopping container {each.metadata.name}", grace=grace, turn=turns)
            for each in running
        ]
        # One that cannot be stopped does not cut the others' grace short.
        failures = [each for each in await asyncio.gather(*stops, return_exceptions=True) if each is not None]
        if failures:
            raise failures[0]
        for sandbox in observed.sandboxes:
            if sandbox.state is SandboxState.READY:
                await self._runtime.stop_pod_sandbox(sandbox.id)
                await self._view.refresh(sandbox.id)

    def grace(self, pod: Object, container: Object | None, reason: KillReason) -> float:
        """For a single container: a failed probe may have its own."""
        field = {KillReason.STARTUP_PROBE: "startupProbe", KillReason.LIVENESS_PROBE: "livenessProbe"}.get(reason)
        own = ((container or {}).get(field) or {}).get("terminationGracePeriodSeconds") if field else None
        if own is not None and pod["metadata"].get("deletionGracePeriodSeconds") is None:
            return float(own)
        return float(pods.grace_seconds(pod))

    # ── removal ──

    async def remove(self, container: Container) -> None:
        """With its log. Raises RuntimeFailure."""
        self._directories.remove_container_log(container.log_path)
        await whole(self._runtime.remove_container(container.id))
        self._pre_stopped.discard(container.id)
        self._view.forget(container.id)

    async def remove_pod(self, uid: str) -> None:
        """Everything that the runtime has of a pod that has ended. Raises RuntimeFailure."""
        observed = self._view.pod(uid)
        for container in observed.containers:
            await self.remove(container)
        for sandbox in observed.sandboxes:
            await self.remove_sandbox(sandbox)

    async def remove_sandbox(self, sandbox: Sandbox) -> None:
        await self._runtime.stop_pod_sandbox(sandbox.id)
        await whole(self._runtime.remove_pod_sandbox(sandbox.id))
        self._view.forget(sandbox.id)


class _Turns:
    """The order in which containers of a pod with sidecars end: the regular ones, then each sidecar after those that
    started after it."""

    def __init__(self, pod: Object, running: Sequence[str]) -> None:
        self._ended = {name: asyncio.Event() for name in running}
        init = [each["name"] for each in pods.containers(pod, Kind.INIT)]
        others = [name for name in running if name not in init]
        self._before: dict[str, list[str]] = {}
        for place, name in enumerate(init):
            self._before[name] = others + [later for later in init[place + 1 :] if later in self._ended]

    async def wait(self, name: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                for other in self._before.get(name, ()):
                    await self._ended[other].wait()
        except TimeoutError:
            log.info("container %s ends before its turn: the grace period is over", name)

    def ended(self, name: str) -> None:
        self._ended[name].set()


def _annotations(pod: Object, container: Object, attempt: int) -> dict[str, str]:
    """What a kubelet that comes later needs to know of the container."""
    made = {
        HASH_ANNOTATION: pods.container_hash(container),
        RESTARTS_ANNOTATION: str(attempt),
        IMAGE_ANNOTATION: container.get("image", ""),
        termination.PATH_ANNOTATION: container.get("terminationMessagePath") or "/dev/termination-log",
        termination.POLICY_ANNOTATION: container.get("terminationMessagePolicy") or "File",
        GRACE_ANNOTATION: str(pods.grace_seconds(pod)),
    }
    handler = (container.get("lifecycle") or {}).get("preStop")
    if handler:
        made[PRE_STOP_ANNOTATION] = json.dumps(handler)
    return made


def _pre_stop(spec: Object | None, container: Container) -> Object:
    if spec is not None:
        return (spec.get("lifecycle") or {}).get("preStop") or {}
    kept = container.annotations.get(PRE_STOP_ANNOTATION)
    return dict(json.loads(kept)) if kept else {}


def _target(uid: str, container: Object, observed: Observed) -> str:
    """The container that an ephemeral one looks into. Raises ConfigurationFailure."""
    name = container.get("targetContainerName")
    if not name:
        return ""
    target = observed.latest(name)
    if target is None:
        raise ConfigurationFailure(f'unable to find target container "{name}" of pod {uid}')
    return target.id


def _port_mappings(pod: Object) -> Iterator[PortMapping]:
    if pods.on_host_network(pod):
        return
    for kind, container in pods.all_containers(pod):
        if kind is Kind.INIT and not pods.is_sidecar(container):
            continue
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield PortMapping(
                    protocol=port.get("protocol") or "TCP",
                    container_port=port["containerPort"],
                    host_port=port["hostPort"],
                    host_ip=port.get("hostIP") or "",
                )


def annotated_grace(annotations: Mapping[str, str]) -> int:
    """The grace period of a pod that only its containers tell of."""
    text = annotations.get(GRACE_ANNOTATION, "")
    return int(text) if text.isdecimal() else pods.GRACE_SECONDS_DEFAULT
