"""The kubelet's side: `connect(socket)` gives a `Runtime`.

One connection for calls, made again when it broke (a call that was under way then fails with UNAVAILABLE); one for each reader
of events; one for each exec, attach and port forward, over which the streams' handles come: their bytes do not pass the
daemon.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kubecore.kubelet.runtimes.process import wire
from kubecore.kubelet.runtimes.process.handed import HandedStreams
from kubecore.kubelet.runtimes.protocol import (
    Condition,
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerStats,
    ExecResult,
    FilesystemUsage,
    Image,
    LinuxResources,
    RegistryAuth,
    RuntimeCode,
    RuntimeFailure,
    Sandbox,
    SandboxConfig,
    SandboxStats,
    Version,
)

EXEC_OUTPUT_BYTES_MAX = 16 << 20
_HANDLES_MAX = 4
_decoders = {name: msgspec.msgpack.Decoder(kinds[1]) for name, kinds in wire.CALLS.items()}
_answers = msgspec.msgpack.Decoder(wire.Answer)


def connect(path: str | Path) -> ProcessRuntimeClient:
    """Connects when the first call is made; the daemon may come and go."""
    return ProcessRuntimeClient(str(path))


class ProcessRuntimeClient:
    """The whole `Runtime` protocol."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[wire.Answer]] = {}

    async def close(self) -> None:
        self._lose("the connection to the runtime was closed")
        if self._reading is not None:
            self._reading.cancel()

    # ── RuntimeService ──

    async def version(self) -> Version:
        answer: Version = await self._call("version")
        return answer

    async def status(self) -> tuple[Condition, ...]:
        answer: tuple[Condition, ...] = await self._call("status")
        return answer

    async def update_runtime_config(self, pod_cidr: str) -> None:
        await self._call("update_runtime_config", pod_cidr)

    async def run_pod_sandbox(self, config: SandboxConfig) -> str:
        answer: str = await self._call("run_pod_sandbox", config)
        return answer

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        await self._call("stop_pod_sandbox", sandbox_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        await self._call("remove_pod_sandbox", sandbox_id)

    async def list_pod_sandboxes(self) -> list[Sandbox]:
        answer: list[Sandbox] = await self._call("list_pod_sandboxes")
        return answer

    async def pod_sandbox_status(self, sandbox_id: str) -> Sandbox:
        answer: Sandbox = await self._call("pod_sandbox_status", sandbox_id)
        return answer

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        answer: str = await self._call("create_container", sandbox_id, config)
        return answer

    async def start_container(self, container_id: str) -> None:
        await self._call("start_container", container_id)

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        await self._call("stop_container", container_id, float(timeout_seconds))

    async def remove_container(self, container_id: str) -> None:
        await self._call("remove_container", container_id)

    async def list_containers(self) -> list[Container]:
        answer: list[Container] = await self._call("list_containers")
        return answer

    async def container_status(self, container_id: str) -> Container:
        answer: Container = await self._call("container_status", container_id)
        return answer

    async def update_container_resources(self, container_id: str, resources: LinuxResources) -> None:
        await self._call("update_container_resources", container_id, resources)

    async def reopen_container_log(self, container_id: str) -> None:
        await self._call("reopen_container_log", container_id)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        streams = await self.exec(container_id, command, stdin=False, stdout=True, stderr=True, tty=False)
        try:
            async with asyncio.timeout(timeout_seconds or None):
                stdout, stderr = await asyncio.gather(_collect(streams.read_stdout), _collect(streams.read_stderr))
                return ExecResult(stdout=stdout, stderr=stderr, exit_code=await streams.wait())
        except TimeoutError:
            message = f"failed to exec in container: timeout {timeout_seconds:g}s exceeded: context deadline exceeded"
            raise RuntimeFailure(RuntimeCode.DEADLINE_EXCEEDED, message) from None
        finally:
            await streams.close()

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> HandedStreams:
        return await self._open(
            wire.Opening(
                kind="exec",
                target=container_id,
                command=tuple(command),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                tty=tty,
            )
        )

    async def attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> HandedStreams:
        return await self._open(
            wire.Opening(kind="attach", target=container_id, stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)
        )

    async def port_forward(self, sandbox_id: str, port: int) -> HandedStreams:
        return await self._open(wire.Opening(kind="port_forward", target=sandbox_id, port=port))

    async def container_stats(self, container_id: str) -> ContainerStats:
        answer: ContainerStats = await self._call("container_stats", container_id)
        return answer

    async def list_container_stats(self) -> list[ContainerStats]:
        answer: list[ContainerStats] = await self._call("list_container_stats")
        return answer

    async def list_pod_sandbox_stats(self) -> list[SandboxStats]:
        answer: list[SandboxStats] = await self._call("list_pod_sandbox_stats")
        return answer

    async def events(self) -> AsyncIterator[ContainerEvent]:
        decoder = msgspec.msgpack.Decoder(ContainerEvent)
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
            try:
                writer.write(wire.frame(wire.Opening(kind="events")))
                await wire.read_frame(reader, wire.ANSWER_BYTES_MAX)
                while True:
                    yield decoder.decode(await wire.read_frame(reader, wire.ANSWER_BYTES_MAX))
            finally:
                writer.close()
        except (OSError, asyncio.IncompleteReadError) as broken:
            raise _unavailable(self._path, broken) from broken

    # ── ImageService ──

    async def list_images(self) -> list[Image]:
        answer: list[Image] = await self._call("list_images")
        return answer

    async def image_status(self, image: str) -> Image | None:
        answer: Image | None = await self._call("image_status", image)
        return answer

    async def pull_image(self, image: str, auth: RegistryAuth | None) -> str:
        answer: str = await self._call("pull_image", image, auth)
        return answer

    async def remove_image(self, image: str) -> None:
        await self._call("remove_image", image)

    async def image_filesystem(self) -> FilesystemUsage:
        answer: FilesystemUsage = await self._call("image_filesystem")
        return answer

    async def import_image(self, layout: str, name: str) -> str:
        """Not CRI's: an OCI image layout on the node becomes the image of that name. Gives its id."""
        identity: str = await self._call("import_image", layout, name)
        return identity

    # ── within ──

    async def _call(self, method: str, *arguments: Any) -> Any:
        writer = await self._connected()
        identity = next(self._ids)
        answered: asyncio.Future[wire.Answer] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = answered
        try:
            writer.write(wire.frame(wire.Request(identity, method, wire.raw(arguments))))
            await writer.drain()
            answer = await answered
        except OSError as broken:
            raise _unavailable(self._path, broken) from broken
        finally:
            self._waiting.pop(identity, None)
        if answer.failure is not None:
            raise RuntimeFailure(RuntimeCode(answer.failure.code), answer.failure.message)
        return _decoders[method].decode(answer.result)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                try:
                    reader, self._writer = await asyncio.open_unix_connection(self._path)
                except OSError as broken:
                    raise _unavailable(self._path, broken) from broken
                self._writer.write(wire.frame(wire.Opening(kind="calls")))
                self._reading = asyncio.ensure_future(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                answer = _answers.decode(await wire.read_frame(reader, wire.ANSWER_BYTES_MAX))
                waiting = self._waiting.get(answer.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (OSError, asyncio.IncompleteReadError) as broken:
            if writer is self._writer:
                self._lose(f"the connection to the runtime broke: {broken}")

    def _lose(self, why: str) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(RuntimeFailure(RuntimeCode.UNAVAILABLE, why))

    async def _open(self, opening: wire.Opening) -> HandedStreams:
        loop = asyncio.get_running_loop()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, self._path)
            await loop.sock_sendall(connection, wire.frame(opening))
            answer, handles = await _receive_handles(connection)
        except OSError as broken:
            connection.close()
            raise _unavailable(self._path, broken) from broken
        except BaseException:
            connection.close()
            raise
        if answer.failure is not None:
            connection.close()
            raise RuntimeFailure(RuntimeCode(answer.failure.code), answer.failure.message)
        return HandedStreams(connection, dict(zip(answer.handles, handles, strict=True)), ends=opening.kind == "exec")


async def _receive_handles(connection: socket.socket) -> tuple[wire.StreamsAnswer, list[int]]:
    """The first bytes carry the handles; the rest of the frame may come after."""
    loop = asyncio.get_running_loop()
    data = b""
    handles: list[int] = []
    while (missing := _missing(data)) > 0:
        try:
            more, some, _, _ = socket.recv_fds(connection, missing, _HANDLES_MAX, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            readable = loop.create_future()
            loop.add_reader(connection, _set, readable)
            try:
                await readable
            finally:
                loop.remove_reader(connection)
            continue
        if not more:
            raise ConnectionResetError("the runtime closed the connection")
        data += more
        handles += some
    return msgspec.msgpack.decode(data[4:], type=wire.StreamsAnswer), handles


def _missing(data: bytes) -> int:
    """What a frame of which this is the beginning still lacks; what comes after it is not touched."""
    return 4 - len(data) if len(data) < 4 else 4 + int.from_bytes(data[:4], "big") - len(data)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _collect(read: Any) -> bytes:
    """All of it; what is beyond the bound is read and dropped."""
    kept = bytearray()
    while data := await read():
        if len(kept) < EXEC_OUTPUT_BYTES_MAX:
            kept += data[: EXEC_OUTPUT_BYTES_MAX - len(kept)]
    return bytes(kept)


def _unavailable(path: str, broken: BaseException) -> RuntimeFailure:
    return RuntimeFailure(RuntimeCode.UNAVAILABLE, f"the container runtime at {path} cannot be reached: {broken}")
