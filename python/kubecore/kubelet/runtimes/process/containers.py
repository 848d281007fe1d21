"""Containers: created, started, watched until they exit, stopped, removed, found again after a restart of the daemon.

In: `ContainerConfig` and its sandbox. Out: a process (`spawn`), its log (`logs`), a record on disk for each change, events.
A container's output is a FIFO in its folder that the container itself holds open both ways: if the daemon dies nobody gets
SIGPIPE, the next daemon reads on. What a container left running when its first process ended is killed with its cgroup.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from kubecore.kubelet.cgroups import Cgroups
from kubecore.kubelet.runtimes.process import spawn
from kubecore.kubelet.runtimes.process.images import Images
from kubecore.kubelet.runtimes.process.launching import Launcher
from kubecore.kubelet.runtimes.process.logs import LogFile, LogWriter, Output
from kubecore.kubelet.runtimes.process.records import ContainerRecord, Records
from kubecore.kubelet.runtimes.process.resolved import merged, resolve
from kubecore.kubelet.runtimes.process.sandboxes import Sandboxes, Tell
from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerConfig,
    ContainerState,
    ContainerUser,
    EventKind,
    LinuxResources,
    RuntimeCode,
    RuntimeFailure,
    SandboxState,
)

START_ERROR_EXIT_CODE = 128
_START_FAILED = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
)
_OUTPUT_WITHIN_SECONDS = 2.0
_logger = logging.getLogger(__name__)


class Streams:
    """The daemon's ends of a container's streams. `stdin` and `terminal`: -1 without."""

    def __init__(self) -> None:
        self.stdin = -1
        self.terminal = -1
        self.outputs: list[Output] = []

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        self.close_stdin()
        for output in self.outputs:
            output.stop()
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1


class Living:
    """What a running container has besides its record. `ended` is done when its exit has been written down."""

    def __init__(self, child: spawn.Child, streams: Streams) -> None:
        self.child = child
        self.streams = streams
        self.ended: asyncio.Task[None] | None = None


class Containers:
    def __init__(
        self, directory: Path, *, cgroups: Cgroups, sandboxes: Sandboxes, images: Images, writer: LogWriter, tell: Tell
    ) -> None:
        self.records: Records[ContainerRecord] = Records(directory / "containers", ContainerRecord)
        self._cgroups = cgroups
        self._sandboxes = sandboxes
        self._images = images
        self._writer = writer
        self._tell = tell
        self.launcher = Launcher(
            directory,
            cgroups=cgroups,
            sandboxes=sandboxes,
            pid_of=lambda container_id: self.running(container_id)[0].container.pid,
        )
        self._known: dict[str, ContainerRecord] = {}
        self._living: dict[str, Living] = {}
        self._logs: dict[str, LogFile] = {}
        self._starting: dict[str, asyncio.Event] = {}

    # ── what there is ──

    def all(self) -> list[Container]:
        return [record.container for record in self._known.values()]

    def of_sandbox(self, sandbox_id: str) -> list[str]:
        return [key for key, record in self._known.items() if record.container.sandbox_id == sandbox_id]

    def layers(self) -> set[str]:
        """Those that containers are stacked on, whether they run or may yet be started."""
        return {layer for record in self._known.values() for layer in record.layers}

    def find(self, container_id: str) -> ContainerRecord | None:
        return self._known.get(container_id)

    def get(self, container_id: str) -> ContainerRecord:
        record = self.find(container_id)
        if record is None:
            message = f'an error occurred when try to find container "{container_id}": not found'
            raise RuntimeFailure(RuntimeCode.NOT_FOUND, message)
        return record

    def running(self, container_id: str) -> tuple[ContainerRecord, Living]:
        record = self.get(container_id)
        living = self._living.get(container_id)
        if living is None or record.container.state is not ContainerState.RUNNING:
            raise RuntimeFailure(RuntimeCode.UNKNOWN, f"container is in CONTAINER_{record.container.state} state")
        return record, living

    # ── its life ──

    def create(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox.sandbox.state is not SandboxState.READY:
            raise RuntimeFailure(RuntimeCode.UNKNOWN, f'sandbox container "{sandbox_id}" is not running')
        image = self._images.find(config.image)
        if image is None:
            message = f'failed to resolve image "{config.image}": failed to get image from containerd: image "{config.image}": not found'
            raise RuntimeFailure(RuntimeCode.NOT_FOUND, message)
        container_id = secrets.token_hex(32)
        record = resolve(container_id, sandbox, config, image, self._images.layers(image))
        folder = self.records.make(container_id)
        for name in ("upper", "work", "root"):
            (folder / name).mkdir(mode=0o755)
        os.mkfifo(folder / "stdout", 0o600)
        os.mkfifo(folder / "stderr", 0o600)
        self._save(record)
        self._event(EventKind.CREATED, record.container)
        return container_id

    async def start(self, container_id: str) -> None:
        record = self.get(container_id)
        if record.container.state is not ContainerState.CREATED or container_id in self._starting:
            message = f'container "{container_id}" is in CONTAINER_{record.container.state} state'
            raise RuntimeFailure(RuntimeCode.FAILED_PRECONDITION, message)
        started = self._starting[container_id] = asyncio.Event()
        try:
            await self._start(record)
        finally:
            del self._starting[container_id]
            started.set()

    async def stop(self, container_id: str, timeout_seconds: float) -> None:
        if starting := self._starting.get(container_id):
            # Its caller may be gone (a kubelet that was killed); what it began is finished first.
            await starting.wait()
        record = self._known.get(container_id)
        living = self._living.get(container_id)
        if record is None or living is None:
            return
        if timeout_seconds > 0:
            living.child.signal(record.stop_signal)
            done, _ = await asyncio.wait([_ended(living)], timeout=timeout_seconds)
            if done:
                return
        living.child.signal(signal.SIGKILL)
        await _ended(living)

    async def remove(self, container_id: str) -> None:
        if container_id not in self._known:
            return
        await self.stop(container_id, 0)
        record = self._known.pop(container_id, None)
        if record is None:
            return
        log = self._logs.pop(container_id, None)
        if log is not None:
            await self._writer.run(log.close)
        if not self._cgroups.remove(record.cgroup):
            _logger.warning("the cgroup %s of a removed container is still in use", record.cgroup)
        await asyncio.to_thread(self.records.remove, container_id)
        self._event(EventKind.DELETED, record.container)

    def update_resources(self, container_id: str, resources: LinuxResources) -> None:
        record = self.get(container_id)
        try:
            if record.container.state is ContainerState.RUNNING:
                self._cgroups.limit(record.cgroup, resources)
        except OSError as failed:
            message = f"failed to update resources: {failed.filename or ''}: {failed.strerror}"
            raise RuntimeFailure(RuntimeCode.UNKNOWN, message) from failed
        self._change(record, resources=merged(record.container.resources, resources))

    def close_stdin(self, container_id: str) -> None:
        living = self._living.get(container_id)
        if living is not None:
            living.streams.close_stdin()

    async def reopen_log(self, container_id: str) -> None:
        self.running(container_id)
        log = self._logs.get(container_id)
        if log is not None:
            await self._writer.run(log.reopen)

    async def recover(self, *, adopt: bool) -> None:
        """After the daemon's restart: a container is the process of its pid and start time; the others have exited, who knows how."""
        self._known = self.records.load(lambda folder: None)
        for container_id, record in list(self._known.items()):
            if record.container.state is ContainerState.CREATED and self._cgroups.processes(record.cgroup):
                # The daemon died between the process's start and its being written down: nobody would ever watch it.
                self._cgroups.kill(record.cgroup)
            if record.container.state is not ContainerState.RUNNING:
                continue
            child = spawn.adopt(record.container.pid, record.started_ticks) if adopt else None
            if child is None:
                message = "the process ended while the container runtime was not running; its exit code is not known"
                self._exited(container_id, spawn.Exit(spawn.EXIT_CODE_UNKNOWN, known=False), message)
            else:
                streams = Streams()
                self._read_outputs(record, streams, with_writers=False)
                self._watch(container_id, Living(child, streams))

    # ── within ──

    async def _start(self, record: ContainerRecord) -> None:
        streams = Streams()
        log = self._log(record)
        if log is not None:
            # There from the start, also for who never says anything.
            self._writer.submit(log.open, lambda: None)
        try:
            handles = self._read_outputs(record, streams, with_writers=True)
            try:
                self._cgroups.make(record.cgroup)
                self._cgroups.limit(record.cgroup, record.config.resources)
                self._cgroups.kill_together(record.cgroup)
                started = await self.launcher.launch(record, handles)
            finally:
                for handle in handles:
                    os.close(handle)
        except (spawn.StartFailed, RuntimeFailure, OSError) as failed:
            self._failed_to_start(record, streams, failed)
        if started.terminal >= 0:
            streams.terminal = started.terminal
            streams.outputs.append(Output(os.dup(started.terminal), "stdout", self._log(record), self._writer))
        report = started.report
        pid = started.child.pid
        user = ContainerUser(uid=report["uid"], gid=report["gid"], supplemental_groups=tuple(report["groups"]))
        record = self._change(
            msgspec.structs.replace(record, started_ticks=spawn.start_ticks(pid)),
            state=ContainerState.RUNNING,
            started_at=time.time_ns(),
            pid=pid,
            user=user,
        )
        self._event(EventKind.STARTED, record.container)
        self._watch(record.container.id, Living(started.child, streams))

    def _failed_to_start(self, record: ContainerRecord, streams: Streams, failed: Exception) -> NoReturn:
        streams.close()
        if isinstance(failed, OSError):
            failed = spawn.StartFailed(
                f"unable to apply cgroup configuration: {failed.filename or ''}: {failed.strerror}"
            )
        message = f"{_START_FAILED}{failed}: unknown"
        record = self._change(
            record,
            state=ContainerState.EXITED,
            finished_at=time.time_ns(),
            exit_code=START_ERROR_EXIT_CODE,
            reason="StartError",
            message=message,
        )
        self._cgroups.remove(record.cgroup)
        self._event(EventKind.STOPPED, record.container)
        raise RuntimeFailure(RuntimeCode.UNKNOWN, message) from failed

    def _read_outputs(self, record: ContainerRecord, streams: Streams, *, with_writers: bool) -> list[int]:
        """Begins to read the container's output. Gives the container's ends for a launch: stdout, stderr and, if asked for, stdin."""
        folder, config = self.records.folder(record.container.id), record.config
        if config.tty:
            return []
        ends: list[int] = []
        for name in ("stdout", "stderr"):
            reader = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if with_writers:
                # Both ways: the container keeps its own output open, whoever reads it.
                ends.append(os.open(folder / name, os.O_RDWR | os.O_CLOEXEC))
            streams.outputs.append(Output(reader, name, self._log(record), self._writer))
        if config.stdin and with_writers:
            reader, streams.stdin = os.pipe2(os.O_CLOEXEC)
            ends.append(reader)
        return ends

    def _log(self, record: ContainerRecord) -> LogFile | None:
        path = record.container.log_path
        if not path:
            return None
        return self._logs.setdefault(record.container.id, LogFile(path))

    def _watch(self, container_id: str, living: Living) -> None:
        self._living[container_id] = living
        living.ended = asyncio.ensure_future(self._until_exit(container_id, living))

    async def _until_exit(self, container_id: str, living: Living) -> None:
        found = await asyncio.shield(living.child.ended)
        record = self._known[container_id]
        # Nothing outlives its first process, in whatever pid namespace it is; so the output ends too.
        if self._cgroups.processes(record.cgroup):
            await asyncio.to_thread(self._cgroups.kill, record.cgroup)
        await _until_ended(living.streams.outputs)
        living.streams.close()
        await self._writer.run(lambda: None)
        del self._living[container_id]
        message = "" if found.known else "the exit code is not known: another container runtime had started the process"
        self._exited(container_id, found, message)

    def _exited(self, container_id: str, found: spawn.Exit, message: str) -> None:
        record = self._known[container_id]
        out_of_memory = self._cgroups.oom_kills(record.cgroup) > 0
        reason = "OOMKilled" if out_of_memory else "Completed" if found.code == 0 else "Error"
        record = self._change(
            record,
            state=ContainerState.EXITED,
            finished_at=time.time_ns(),
            exit_code=found.code,
            signal=found.signal,
            reason=reason,
            message=message,
            pid=0,
        )
        self._event(EventKind.STOPPED, record.container)

    def _change(self, record: ContainerRecord, **changes: Any) -> ContainerRecord:
        changed = msgspec.structs.replace(record, container=msgspec.structs.replace(record.container, **changes))
        self._save(changed)
        return changed

    def _save(self, record: ContainerRecord) -> None:
        self._known[record.container.id] = record
        with contextlib.suppress(FileNotFoundError):
            self.records.save(record.container.id, record)

    def _event(self, kind: EventKind, container: Container) -> None:
        self._tell(kind, container.id, container.sandbox_id, self._sandboxes.pod_uid(container.sandbox_id))


async def _until_ended(outputs: list[Output]) -> None:
    """All is read; not for ever, if somebody else holds an end (a terminal handed on, a process out of its cgroup)."""
    try:
        async with asyncio.timeout(_OUTPUT_WITHIN_SECONDS):
            for output in outputs:
                await output.ended.wait()
    except TimeoutError:
        return


def _ended(living: Living) -> asyncio.Task[None]:
    assert living.ended is not None, "a living container is watched"
    return living.ended
