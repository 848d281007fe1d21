"""A kubelet with a fake runtime and a fake API server around it, in virtual time; its rooms are stand-ins."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from kubecore.api.clock import LoopClock
from kubecore.api.scheme import core
from kubecore.client import Client
from kubecore.kubelet.configuration import KubeletConfiguration, convert
from kubecore.kubelet.kubelet import Kubelet, Place
from kubecore.kubelet.resources import Enforcement, container_resources
from kubecore.kubelet.runtimes.protocol import (
    ContainerConfig,
    ContainerMetadata,
    LinuxResources,
    NamespaceOptions,
    SandboxConfig,
    SandboxSecurity,
)
from kubecore.kubelet.runtimes.protocol import NamespaceMode as Mode
from kubecore.kubelet.seams import ContainerContext, Eviction, MountFailure, ProbeKind, Rooms
from kubecore.kubelet.stats.samples import Machine
from support.fake_apiserver import FakeServer, FakeTransport
from support.fake_runtime import FakeRuntime

EPOCH_SECONDS = 1_800_000_000.0
NODE = "node-0"

Object = dict[str, Any]


class FakeVolumes:
    """Pods whose volumes are mounted; `missing`: pods (by name) whose volumes cannot be."""

    def __init__(self) -> None:
        self.mounted: dict[str, Object] = {}
        self.missing: dict[str, str] = {}

    async def mount(self, pod: Object) -> None:
        why = self.missing.get(pod["metadata"]["name"])
        if why:
            raise MountFailure(why)
        self.mounted[pod["metadata"]["uid"]] = pod

    async def unmount(self, uid: str) -> None:
        self.mounted.pop(uid, None)

    def known(self) -> Collection[str]:
        return list(self.mounted)


class FakeSettings:
    def __init__(self) -> None:
        self.released: list[str] = []
        self.resized: list[str] = []
        self.failure: Exception | None = None

    async def prepare(self, pod: Object, sandbox: SandboxConfig) -> SandboxConfig:
        mode = Mode.NODE if pod["spec"].get("hostNetwork") else Mode.POD
        return msgspec.structs.replace(sandbox, security=SandboxSecurity(namespaces=NamespaceOptions(network=mode)))

    async def container(self, pod: Object, container: Object, context: ContainerContext) -> ContainerConfig:
        if self.failure is not None:
            raise self.failure
        return ContainerConfig(
            metadata=ContainerMetadata(name=container["name"], attempt=context.attempt),
            image=context.image.id,
            command=tuple(container.get("command") or ()),
            mounts=context.mounts,
            labels=context.labels,
            annotations=context.annotations,
            resources=self.resources(pod, container),
            log_path=context.log_path,
        )

    def resources(self, pod: Object, container: Object) -> LinuxResources:
        return container_resources(pod, container, Enforcement(memory_capacity_bytes=8 << 30))

    async def resize(self, pod: Object) -> None:
        self.resized.append(pod["metadata"]["uid"])

    async def container_stopped(self, uid: str, container_id: str) -> None:
        return None

    async def release(self, uid: str) -> None:
        self.released.append(uid)


class FakeProbes:
    """`say(kind, container's name, result)` settles a probe for the container that runs now."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self.results: dict[tuple[ProbeKind, str], bool] = {}
        self.added: set[str] = set()
        self.calls: list[tuple[str, str]] = []

    def add(self, pod: Object) -> None:
        self.added.add(pod["metadata"]["uid"])

    def stop_liveness_and_startup(self, uid: str) -> None:
        self.calls.append(("stop", uid))

    def remove(self, uid: str) -> None:
        self.added.discard(uid)
        self.calls.append(("remove", uid))

    def result(self, kind: ProbeKind, container_id: str) -> bool | None:
        return self.results.get((kind, container_id))

    def say(self, kind: ProbeKind, uid: str, name: str, result: bool) -> None:
        found = self._kubelet.pods.container(uid, name)
        assert found is not None
        self.results[kind, found.id] = result
        self._kubelet.wake(uid)


class World:
    """What a test sees and does."""

    def __init__(self, server: FakeServer, runtime: FakeRuntime, directory: Path, configuration: Object) -> None:
        loop = asyncio.get_running_loop()
        self.clock = LoopClock(loop, epoch_seconds=EPOCH_SECONDS)
        self.server = server
        self.runtime = runtime
        self.directory = directory
        self.volumes = FakeVolumes()
        self.settings = FakeSettings()
        self.probes: FakeProbes
        self.kubelet: Kubelet
        self.evictions: list[Eviction] = []
        self._configuration = configuration
        self._task: asyncio.Task[None] | None = None
        self._starts = 0

    # ── the kubelet ──

    def start(self, transport: FakeTransport | None = None, runtime: Any = None) -> None:
        """A new kubelet process: it knows nothing of what was before."""
        self._starts += 1
        given = {"podLogsDir": str(self.directory / "logs"), "resolvConf": "", **self._configuration}
        names = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
        configuration: KubeletConfiguration = convert({**names, **given})
        self.kubelet = Kubelet(
            Client(transport or self.server.transport()),
            runtime or self.runtime,
            configuration,
            self.clock,
            place=Place(NODE, root_directory=self.directory / "kubelet", node_ips=("198.18.0.11",), hostname=NODE),
            randomness=random.Random(self._starts),
            machine=Machine(cores=4, memory_bytes=8 << 30),
            rooms=self._rooms,
        )
        self._task = asyncio.ensure_future(self.kubelet.run())

    def _rooms(self, kubelet: Kubelet) -> Rooms:
        self.probes = FakeProbes(kubelet)
        return Rooms(volumes=self.volumes, settings=self.settings, probes=self.probes)

    def cancel(self) -> None:
        assert self._task is not None
        self._task.cancel()

    async def kill(self) -> None:
        """As kill -9: nothing is told to anybody."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def failure(self) -> BaseException | None:
        return self._task.exception() if self._task is not None and self._task.done() else None

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    # ── pods ──

    def create(self, pod: Object) -> str:
        """Gives the uid."""
        pod = copy.deepcopy(pod)
        pod["metadata"].setdefault("generation", 1)
        return str(self.server.seed("pods", pod)["metadata"]["uid"])

    def pod(self, name: str = "web") -> Object:
        found = self.server.find("pods", "default", name)
        assert found is not None, f"pod {name} is gone"
        return found

    def exists(self, name: str = "web") -> bool:
        return self.server.find("pods", "default", name) is not None

    def status(self, name: str = "web") -> Object:
        return dict(self.pod(name).get("status") or {})

    def container(self, name: str, pod: str = "web") -> Object:
        status = self.status(pod)
        for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
            for each in status.get(field) or ():
                if each["name"] == name:
                    return dict(each)
        raise AssertionError(f"no status of container {name}")

    def condition(self, kind: str, pod: str = "web") -> Object:
        return next(dict(each) for each in self.status(pod)["conditions"] if each["type"] == kind)

    async def delete(self, name: str = "web", *, grace_seconds: int | None = None) -> None:
        client = Client(self.server.transport())
        await client.delete(core("pods"), "default", name, grace_period_seconds=grace_seconds)

    def change(self, name: str, how: Any) -> None:
        """As a client that changes the spec would."""
        pod = self.pod(name)
        how(pod)
        pod["metadata"]["generation"] = pod["metadata"].get("generation", 1) + 1
        self.server.seed("pods", pod)

    def events(self, reason: str) -> list[str]:
        return [event["message"] for event in self.server.all("events") if event["reason"] == reason]

    def status_writes(self, name: str = "web") -> int:
        path = f"/api/v1/namespaces/default/pods/{name}/status"
        return sum(1 for request in self.server.requests if request.method == "PATCH" and request.path == path)


def pod(name: str = "web", *containers: Object, **spec: Any) -> Object:
    listed = list(containers) or [container("app")]
    given = {"nodeName": NODE, "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "containers": listed}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**given, **spec},
        "status": {"phase": "Pending"},
    }


def container(name: str, **fields: Any) -> Object:
    return {"name": name, "image": "web:1", "imagePullPolicy": "IfNotPresent", **fields}


@asynccontextmanager
async def world(directory: Path, **configuration: Any) -> AsyncIterator[World]:
    clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=EPOCH_SECONDS)
    server = FakeServer(now=clock.now)
    made = World(server, FakeRuntime(clock), directory, configuration)
    made.start()
    await made.pass_time(0.5)
    try:
        yield made
    finally:
        await made.kill()
