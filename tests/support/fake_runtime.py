"""A container runtime in memory, for the kubelet's tests: no process, virtual time, every call written down.

A container behaves as its `Program` says, found by the container's name, else by its image, else the default (runs for ever,
ends at once when stopped). Durations are `asyncio.sleep`s, so under a virtual loop they cost nothing.

    runtime = FakeRuntime(clock)
    runtime.programs["flaky"] = Program(run_seconds=2, exit_code=1)
    runtime.fail("create_container", RuntimeFailure(RuntimeCode.UNKNOWN, "no space left on device"))
    runtime.exit("web", 137)                      # the running container of that name ends now
    assert runtime.calls_of("run_pod_sandbox") == 1
"""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from kubecore.api.clock import Clock
from kubecore.kubelet.runtimes.protocol import (
    Condition,
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStats,
    CpuStats,
    EventKind,
    ExecResult,
    FilesystemUsage,
    Image,
    LinuxResources,
    MemoryStats,
    NamespaceMode,
    RegistryAuth,
    RuntimeCode,
    RuntimeFailure,
    Sandbox,
    SandboxConfig,
    SandboxState,
    SandboxStats,
    Version,
)

EVENTS_MAX = 10_000
Exec = Callable[[Container, tuple[str, ...]], ExecResult | Awaitable[ExecResult]]


@dataclass(frozen=True)
class Program:
    """What a container does. `run_seconds` None: until stopped. `stop_seconds` None: ignores the stop signal, so it is killed."""

    run_seconds: float | None = None
    exit_code: int = 0
    stop_seconds: float | None = 0.0
    stop_exit_code: int = 143
    start_error: str = ""
    oom: bool = False
    output: str = ""


@dataclass
class FakeStreams:
    """Plays back `stdout` and `stderr`; keeps what was written to it."""

    stdout: deque[bytes] = field(default_factory=deque)
    stderr: deque[bytes] = field(default_factory=deque)
    exit_code: int = 0
    stdin: bytearray = field(default_factory=bytearray)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    stdin_closed: bool = False
    closed: bool = False

    async def read_stdout(self) -> bytes:
        return self.stdout.popleft() if self.stdout else b""

    async def read_stderr(self) -> bytes:
        return self.stderr.popleft() if self.stderr else b""

    async def write_stdin(self, data: bytes) -> None:
        self.stdin += data

    async def close_stdin(self) -> None:
        self.stdin_closed = True

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def wait(self) -> int:
        return self.exit_code

    async def close(self) -> None:
        self.closed = True


class _Living:
    """A container's config and what will end it."""

    def __init__(self, config: ContainerConfig, program: Program) -> None:
        self.config = config
        self.program = program
        self.ending: asyncio.TimerHandle | None = None
        self.exited = asyncio.Event()


class FakeRuntime:
    """The whole `Runtime` protocol. Public attributes may be changed by a test at any time."""

    def __init__(self, clock: Clock, *, pod_address: str = "10.244.0.") -> None:
        self.clock = clock
        self.programs: dict[str, Program] = {}
        self.default_program = Program()
        self.images: dict[str, Image] = {}
        self.missing_images: set[str] = set()
        self.pull_seconds = 0.0
        self.start_seconds = 0.0
        self.conditions = (Condition(type="RuntimeReady", status=True), Condition(type="NetworkReady", status=True))
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.sandboxes: dict[str, Sandbox] = {}
        self.sandbox_configs: dict[str, SandboxConfig] = {}
        self.containers: dict[str, Container] = {}
        self.exec_answer: Exec = lambda container, command: ExecResult(stdout=b"", stderr=b"", exit_code=0)
        self.streams: Callable[[str, tuple[str, ...]], FakeStreams] = lambda container_id, command: FakeStreams()
        self.stats: dict[str, ContainerStats] = {}
        self.pod_cidr = ""
        self._pod_address = pod_address
        self._living: dict[str, _Living] = {}
        self._failures: dict[str, deque[RuntimeFailure]] = defaultdict(deque)
        self._listeners: set[asyncio.Queue[ContainerEvent | None]] = set()
        self._ids = 0

    # ── what a test says and asks ──

    def fail(self, call: str, failure: RuntimeFailure, *, times: int = 1) -> None:
        """The next `times` calls of that name fail."""
        self._failures[call].extend([failure] * times)

    def exit(self, name_or_id: str, exit_code: int, *, reason: str = "") -> None:
        """The running container of that id or name ends now."""
        for container in list(self.containers.values()):
            if container.state is ContainerState.RUNNING and name_or_id in (container.id, container.metadata.name):
                self._end(container.id, exit_code, reason)
                return
        raise AssertionError(f"no running container {name_or_id}")

    def lose_sandbox(self, sandbox_id: str) -> None:
        """As after a reboot: the sandbox is there, its processes are not."""
        self._end_all(sandbox_id)
        self._sandbox_stopped(sandbox_id)

    def break_events(self) -> None:
        """Every reader of events loses its connection."""
        for queue in self._listeners:
            queue.put_nowait(None)

    def calls_of(self, call: str) -> int:
        return sum(1 for name, _ in self.calls if name == call)

    def config(self, container_id: str) -> ContainerConfig:
        return self._living[container_id].config

    def named(self, name: str) -> list[Container]:
        """The containers of that name, oldest first."""
        found = (each for each in self.containers.values() if each.metadata.name == name)
        return sorted(found, key=lambda each: each.metadata.attempt)

    # ── RuntimeService ──

    async def version(self) -> Version:
        return Version(runtime_name="fake", runtime_version="1")

    async def status(self) -> tuple[Condition, ...]:
        self._called("status")
        return self.conditions

    async def update_runtime_config(self, pod_cidr: str) -> None:
        self._called("update_runtime_config", pod_cidr)
        self.pod_cidr = pod_cidr

    async def run_pod_sandbox(self, config: SandboxConfig) -> str:
        self._called("run_pod_sandbox", config)
        sandbox_id = self._id()
        on_node = config.security.namespaces.network is NamespaceMode.NODE
        self.sandbox_configs[sandbox_id] = config
        self.sandboxes[sandbox_id] = Sandbox(
            id=sandbox_id,
            metadata=config.metadata,
            state=SandboxState.READY,
            created_at=self._now(),
            labels=config.labels,
            annotations=config.annotations,
            ips=() if on_node else (f"{self._pod_address}{self._ids % 250 + 2}",),
            network_namespace="" if on_node else f"/run/netns/{sandbox_id}",
            namespaces=config.security.namespaces,
        )
        self._tell(EventKind.CREATED, sandbox_id, sandbox_id)
        self._tell(EventKind.STARTED, sandbox_id, sandbox_id)
        return sandbox_id

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        self._called("stop_pod_sandbox", sandbox_id)
        if sandbox_id in self.sandboxes:
            self._end_all(sandbox_id)
            self._sandbox_stopped(sandbox_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        self._called("remove_pod_sandbox", sandbox_id)
        if sandbox_id not in self.sandboxes:
            return
        self._end_all(sandbox_id)
        for container in [each for each in self.containers.values() if each.sandbox_id == sandbox_id]:
            self._forget(container.id)
        self._tell(EventKind.DELETED, sandbox_id, sandbox_id)
        del self.sandboxes[sandbox_id]

    async def list_pod_sandboxes(self) -> list[Sandbox]:
        self._called("list_pod_sandboxes")
        return list(self.sandboxes.values())

    async def pod_sandbox_status(self, sandbox_id: str) -> Sandbox:
        self._called("pod_sandbox_status", sandbox_id)
        return self._sandbox(sandbox_id)

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        self._called("create_container", sandbox_id, config)
        sandbox = self._sandbox(sandbox_id)
        if sandbox.state is not SandboxState.READY:
            raise RuntimeFailure(RuntimeCode.UNKNOWN, f'sandbox container "{sandbox_id}" is not running')
        image = await self.image_status(config.image)
        if image is None:
            raise RuntimeFailure(RuntimeCode.NOT_FOUND, f'failed to get image "{config.image}": not found')
        container_id = self._id()
        program = self.programs.get(config.metadata.name) or self.programs.get(config.image) or self.default_program
        directory = self.sandbox_configs[sandbox_id].log_directory
        self._living[container_id] = _Living(config, program)
        self.containers[container_id] = Container(
            id=container_id,
            sandbox_id=sandbox_id,
            metadata=config.metadata,
            state=ContainerState.CREATED,
            created_at=self._now(),
            image=config.image,
            image_ref=image.repo_digests[0] if image.repo_digests else image.id,
            image_id=image.id,
            labels=config.labels,
            annotations=config.annotations,
            mounts=config.mounts,
            log_path=f"{directory}/{config.log_path}" if directory and config.log_path else "",
            resources=config.resources,
            stop_signal=config.stop_signal or "SIGTERM",
        )
        self._tell(EventKind.CREATED, container_id, sandbox_id)
        return container_id

    async def start_container(self, container_id: str) -> None:
        self._called("start_container", container_id)
        container, living = self._container(container_id), self._living[container_id]
        if container.state is not ContainerState.CREATED:
            raise RuntimeFailure(
                RuntimeCode.FAILED_PRECONDITION,
                f'container "{container_id}" is in {container.state} state',
            )
        if self.start_seconds:
            await asyncio.sleep(self.start_seconds)
        program = living.program
        if program.start_error:
            self._end(container_id, 128, "StartError", program.start_error)
            raise RuntimeFailure(RuntimeCode.UNKNOWN, program.start_error)
        self._change(container_id, state=ContainerState.RUNNING, started_at=self._now(), pid=1000 + self._ids)
        self._write(container, program.output)
        self._tell(EventKind.STARTED, container_id, container.sandbox_id)
        if program.run_seconds is not None:
            self._end_in(container_id, program.run_seconds, program.exit_code, "OOMKilled" if program.oom else "")

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        self._called("stop_container", container_id, timeout_seconds)
        container = self.containers.get(container_id)
        if container is None or container.state is ContainerState.EXITED:
            return
        living = self._living[container_id]
        if container.state is ContainerState.CREATED:
            return
        takes = living.program.stop_seconds
        if takes is None or takes > timeout_seconds:
            self._end_in(container_id, timeout_seconds, 137, "")
        else:
            self._end_in(container_id, takes, living.program.stop_exit_code, "")
        await living.exited.wait()

    async def remove_container(self, container_id: str) -> None:
        self._called("remove_container", container_id)
        if container_id in self.containers:
            self._end(container_id, 137, "")
            self._forget(container_id)

    async def list_containers(self) -> list[Container]:
        self._called("list_containers")
        return list(self.containers.values())

    async def container_status(self, container_id: str) -> Container:
        self._called("container_status", container_id)
        return self._container(container_id)

    async def update_container_resources(self, container_id: str, resources: LinuxResources) -> None:
        self._called("update_container_resources", container_id, resources)
        self._container(container_id)
        self._change(container_id, resources=resources)

    async def reopen_container_log(self, container_id: str) -> None:
        self._called("reopen_container_log", container_id)
        self._container(container_id)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        self._called("exec_sync", container_id, tuple(command), timeout_seconds)
        answer = self.exec_answer(self._running(container_id), tuple(command))
        if not inspect.isawaitable(answer):
            return answer
        try:
            return await asyncio.wait_for(answer, timeout_seconds or None)
        except TimeoutError:
            message = f"failed to exec in container: timeout {timeout_seconds:g}s exceeded: context deadline exceeded"
            raise RuntimeFailure(RuntimeCode.DEADLINE_EXCEEDED, message) from None

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> FakeStreams:
        self._called("exec", container_id, tuple(command), stdin, stdout, stderr, tty)
        self._running(container_id)
        return self.streams(container_id, tuple(command))

    async def attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> FakeStreams:
        self._called("attach", container_id, stdin, stdout, stderr, tty)
        self._running(container_id)
        return self.streams(container_id, ())

    async def port_forward(self, sandbox_id: str, port: int) -> FakeStreams:
        self._called("port_forward", sandbox_id, port)
        self._sandbox(sandbox_id)
        return self.streams(sandbox_id, (str(port),))

    async def container_stats(self, container_id: str) -> ContainerStats:
        self._called("container_stats", container_id)
        container = self._container(container_id)
        if container_id in self.stats:
            return self.stats[container_id]
        now = self._now()
        return ContainerStats(
            id=container_id,
            sandbox_id=container.sandbox_id,
            metadata=container.metadata,
            labels=container.labels,
            cpu=CpuStats(timestamp=now, usage_core_nanoseconds=0),
            memory=MemoryStats(timestamp=now, usage_bytes=0, working_set_bytes=0, rss_bytes=0),
        )

    async def list_container_stats(self) -> list[ContainerStats]:
        self._called("list_container_stats")
        return [await self.container_stats(each) for each in list(self.containers)]

    async def list_pod_sandbox_stats(self) -> list[SandboxStats]:
        self._called("list_pod_sandbox_stats")
        stats = [await self.container_stats(each) for each in list(self.containers)]
        return [
            SandboxStats(
                id=sandbox.id,
                metadata=sandbox.metadata,
                labels=sandbox.labels,
                containers=tuple(each for each in stats if each.sandbox_id == sandbox.id),
            )
            for sandbox in self.sandboxes.values()
        ]

    async def events(self) -> AsyncIterator[ContainerEvent]:
        queue: asyncio.Queue[ContainerEvent | None] = asyncio.Queue(EVENTS_MAX)
        self._listeners.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
            raise RuntimeFailure(RuntimeCode.UNAVAILABLE, "the connection to the runtime is broken")
        finally:
            self._listeners.discard(queue)

    # ── ImageService: every image can be pulled that is not in `missing_images` ──

    async def list_images(self) -> list[Image]:
        self._called("list_images")
        return list(self.images.values())

    async def image_status(self, image: str) -> Image | None:
        for each in self.images.values():
            if image in (each.id, *each.repo_tags, *each.repo_digests):
                return each
        return None

    async def pull_image(self, image: str, auth: RegistryAuth | None) -> str:
        self._called("pull_image", image, auth)
        if self.pull_seconds:
            await asyncio.sleep(self.pull_seconds)
        if image in self.missing_images:
            message = (
                f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
            )
            raise RuntimeFailure(RuntimeCode.NOT_FOUND, message)
        self.add_image(image)
        return self.images[image].repo_digests[0]

    def add_image(self, image: str, *, size_bytes: int = 1 << 20, **more: Any) -> Image:
        """The image is on the node from now on."""
        digest = f"sha256:{sum(image.encode()) * 7919:064x}"
        repository = image.rpartition("@")[0] or image
        known = Image(
            id=digest, repo_tags=(image,), repo_digests=(f"{repository}@{digest}",), size_bytes=size_bytes, **more
        )
        self.images[image] = known
        return known

    async def remove_image(self, image: str) -> None:
        self._called("remove_image", image)
        found = await self.image_status(image)
        self.images = {name: each for name, each in self.images.items() if each is not found}

    async def image_filesystem(self) -> FilesystemUsage:
        self._called("image_filesystem")
        used = sum(each.size_bytes for each in self.images.values())
        return FilesystemUsage(mountpoint="/", used_bytes=used, inodes_used=len(self.images), timestamp=self._now())

    async def close(self) -> None:
        self.break_events()

    # ── within ──

    def _now(self) -> int:
        return int(self.clock.now() * 1e9)

    def _id(self) -> str:
        self._ids += 1
        return f"{self._ids:064x}"

    def _called(self, call: str, *arguments: Any) -> None:
        self.calls.append((call, arguments))
        if self._failures[call]:
            raise self._failures[call].popleft()

    def _sandbox(self, sandbox_id: str) -> Sandbox:
        if sandbox_id not in self.sandboxes:
            raise RuntimeFailure(
                RuntimeCode.NOT_FOUND, f'an error occurred when try to find sandbox: "{sandbox_id}": not found'
            )
        return self.sandboxes[sandbox_id]

    def _container(self, container_id: str) -> Container:
        if container_id not in self.containers:
            message = f'an error occurred when try to find container "{container_id}": not found'
            raise RuntimeFailure(RuntimeCode.NOT_FOUND, message)
        return self.containers[container_id]

    def _running(self, container_id: str) -> Container:
        container = self._container(container_id)
        if container.state is not ContainerState.RUNNING:
            raise RuntimeFailure(RuntimeCode.UNKNOWN, f"container is in {container.state} state")
        return container

    def _change(self, container_id: str, **changes: Any) -> None:
        self.containers[container_id] = msgspec.structs.replace(self.containers[container_id], **changes)

    def _end_in(self, container_id: str, seconds: float, exit_code: int, reason: str) -> None:
        living = self._living[container_id]
        if living.ending is not None:
            living.ending.cancel()
        if seconds <= 0:
            self._end(container_id, exit_code, reason)
        else:
            living.ending = asyncio.get_running_loop().call_later(seconds, self._end, container_id, exit_code, reason)

    def _end(self, container_id: str, exit_code: int, reason: str, message: str = "") -> None:
        container, living = self.containers[container_id], self._living[container_id]
        if container.state is ContainerState.EXITED:
            return
        if living.ending is not None:
            living.ending.cancel()
        self._change(
            container_id,
            state=ContainerState.EXITED,
            finished_at=self._now(),
            exit_code=exit_code,
            signal=exit_code - 128 if exit_code in (137, 143) else 0,
            reason=reason or ("Completed" if exit_code == 0 else "Error"),
            message=message,
            pid=0,
        )
        living.exited.set()
        self._tell(EventKind.STOPPED, container_id, container.sandbox_id)

    def _end_all(self, sandbox_id: str) -> None:
        for container in list(self.containers.values()):
            if container.sandbox_id == sandbox_id and container.state is ContainerState.RUNNING:
                self._end(container.id, 137, "")

    def _sandbox_stopped(self, sandbox_id: str) -> None:
        sandbox = self.sandboxes[sandbox_id]
        if sandbox.state is SandboxState.READY:
            stopped = msgspec.structs.replace(sandbox, state=SandboxState.NOTREADY, ips=())
            self.sandboxes[sandbox_id] = stopped
            self._tell(EventKind.STOPPED, sandbox_id, sandbox_id)

    def _forget(self, container_id: str) -> None:
        self._tell(EventKind.DELETED, container_id, self.containers[container_id].sandbox_id)
        del self.containers[container_id]
        del self._living[container_id]

    def _tell(self, kind: EventKind, container_id: str, sandbox_id: str) -> None:
        event = ContainerEvent(
            kind=kind,
            container_id=container_id,
            sandbox_id=sandbox_id,
            pod_uid=self.sandboxes[sandbox_id].metadata.uid,
            created_at=self._now(),
        )
        for queue in self._listeners:
            queue.put_nowait(event)

    def _write(self, container: Container, output: str) -> None:
        if output and container.log_path and Path(container.log_path).parent.is_dir():
            lines = [f"1970-01-01T00:00:00.000000000Z stdout F {line}\n" for line in output.splitlines()]
            Path(container.log_path).write_text("".join(lines))
