"""A node for tests of the kubelet's server: one pod whose containers are real processes, without namespaces; who may ask is a table."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import random
import ssl
import struct
import termios
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from kubecore.api.clock import SystemClock
from kubecore.apiserver.access.certificates import Certificates
from kubecore.kubelet.configuration import (
    Authentication,
    Authorization,
    KubeletConfiguration,
    X509Authentication,
)
from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerMetadata,
    ContainerState,
    ExecResult,
    RuntimeCode,
    RuntimeFailure,
    Sandbox,
    SandboxMetadata,
    SandboxState,
    labels_of,
)
from kubecore.kubelet.server import Host, KubeletServer

Object = dict[str, Any]
UID = "0a1b2c3d"
NODE = "node-0"


class LocalStreams:
    """A process of this machine, or a connection to a port of its loopback."""

    def __init__(self) -> None:
        self.resized = asyncio.Event()
        self.closed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._stdout: asyncio.StreamReader | None = None
        self._stderr: asyncio.StreamReader | None = None
        self._stdin: asyncio.StreamWriter | None = None
        self._terminal = -1

    @classmethod
    async def of_command(cls, command: Sequence[str], *, tty: bool) -> LocalStreams:
        made = cls()
        if tty:
            made._terminal, theirs = pty.openpty()
            made._process = await asyncio.create_subprocess_exec(
                *command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
            )
            os.close(theirs)
            loop = asyncio.get_running_loop()
            made._stdout = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(made._stdout)
            await loop.connect_read_pipe(lambda: protocol, os.fdopen(made._terminal, "rb", 0, closefd=False))
            return made
        pipe = asyncio.subprocess.PIPE
        made._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        made._stdout, made._stderr, made._stdin = made._process.stdout, made._process.stderr, made._process.stdin
        return made

    @classmethod
    async def of_port(cls, port: int) -> LocalStreams:
        made = cls()
        made._stdout, made._stdin = await asyncio.open_connection("127.0.0.1", port)
        return made

    async def read_stdout(self) -> bytes:
        assert self._stdout is not None
        try:
            return await self._stdout.read(65536)
        except OSError:
            return b""  # a terminal whose last process has ended

    async def read_stderr(self) -> bytes:
        return await self._stderr.read(65536) if self._stderr is not None else b""

    async def write_stdin(self, data: bytes) -> None:
        if self._terminal >= 0:
            os.write(self._terminal, data)
        elif self._stdin is not None:
            self._stdin.write(data)
            with contextlib.suppress(ConnectionError):
                await self._stdin.drain()

    async def close_stdin(self) -> None:
        if self._stdin is not None and self._stdin.can_write_eof():
            with contextlib.suppress(OSError):
                self._stdin.write_eof()

    async def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.resized.set()

    async def wait(self) -> int:
        if self._process is None:
            return 0
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    async def close(self) -> None:
        self.closed.set()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._stdin is not None:
            self._stdin.close()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1


class LocalRuntime:
    """What the server asks of a runtime, and nothing else."""

    def __init__(self, containers: list[Container]) -> None:
        self.containers = containers
        self.opened: asyncio.Queue[LocalStreams] = asyncio.Queue()

    async def exec(self, container_id: str, command: Sequence[str], *, tty: bool, **streams: bool) -> LocalStreams:
        try:
            return self._kept(await LocalStreams.of_command(command, tty=tty))
        except FileNotFoundError as missing:
            raise RuntimeFailure(RuntimeCode.UNKNOWN, f"no such command: {command[0]}") from missing

    async def attach(self, container_id: str, *, tty: bool, **streams: bool) -> LocalStreams:
        return self._kept(await LocalStreams.of_command(["cat"], tty=tty))

    async def port_forward(self, sandbox_id: str, port: int) -> LocalStreams:
        try:
            return self._kept(await LocalStreams.of_port(port))
        except OSError as refused:
            raise RuntimeFailure(RuntimeCode.UNKNOWN, f"port {port}: connection refused") from refused

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        streams = await LocalStreams.of_command(command, tty=False)
        return ExecResult(
            stdout=await streams.read_stdout(), stderr=await streams.read_stderr(), exit_code=await streams.wait()
        )

    async def list_containers(self) -> list[Container]:
        return self.containers

    def _kept(self, streams: LocalStreams) -> LocalStreams:
        self.opened.put_nowait(streams)
        return streams


class OnePod:
    """`Pods` with one pod."""

    def __init__(self, containers: list[Container]) -> None:
        self._containers = containers
        names = [each.metadata.name for each in containers]
        metadata = {"name": "web", "namespace": "default", "uid": UID}
        self.pod: Object = {
            "metadata": metadata,
            "spec": {"containers": [{"name": name} for name in dict.fromkeys(names)]},
        }
        self.statuses: list[Object] = []

    def all(self) -> list[Object]:
        return [self.pod]

    def by_name(self, namespace: str, name: str) -> Object | None:
        return self.pod if (namespace, name) == ("default", "web") else None

    def mirror_of(self, pod: Object) -> Object | None:
        return None

    def status(self, uid: str) -> Object:
        return {"phase": "Running", "containerStatuses": self.statuses}

    def sandbox(self, uid: str) -> Sandbox:
        metadata = SandboxMetadata(name="web", uid=UID, namespace="default")
        return Sandbox(id="sandbox", metadata=metadata, state=SandboxState.READY, created_at=1)

    def containers(self, uid: str) -> list[Container]:
        return self._containers

    def container(self, uid: str, name: str, *, previous: bool = False) -> Container | None:
        found = [each for each in self._containers if each.metadata.name == name]
        return found[int(previous)] if len(found) > int(previous) else None


def container(name: str = "main", *, state: ContainerState = ContainerState.RUNNING, **more: Any) -> Container:
    return Container(
        id=f"{name}-id",
        sandbox_id="sandbox",
        metadata=ContainerMetadata(name=name),
        state=state,
        created_at=1,
        image="image",
        image_ref="image",
        image_id="image",
        labels=labels_of({"name": "web", "namespace": "default", "uid": UID}, name),
        **more,
    )


class Reviews:
    """The API server's word on who somebody is and what they may; counts how often it was asked."""

    def __init__(self) -> None:
        self.tokens: dict[str, Object] = {}
        self.allowed: Callable[[Object], bool] = lambda spec: "system:masters" in spec["groups"]
        self.asked: list[Object] = []

    async def create(self, resource: Any, body: Object) -> Object:
        self.asked.append(body["spec"])
        if body["kind"] == "TokenReview":
            user = self.tokens.get(body["spec"]["token"])
            return {"status": {"authenticated": user is not None, "user": user or {}}}
        return {"status": {"allowed": self.allowed(body["spec"])}}


class NodeDouble:
    def __init__(self, server: KubeletServer, runtime: LocalRuntime, pods: OnePod, reviews: Reviews) -> None:
        self.server = server
        self.runtime = runtime
        self.pods = pods
        self.reviews = reviews

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server.port}"


@asynccontextmanager
async def node_double(
    directory: Path, *containers: Container, **configured: Any
) -> AsyncIterator[tuple[NodeDouble, aiohttp.ClientSession]]:
    """A node, and a client with the API server's certificate."""
    certificates = Certificates(randomness=random.Random(1))
    authority = directory / "ca.crt"
    authority.write_bytes(certificates.ca_pem)
    configuration = KubeletConfiguration(
        address="127.0.0.1",
        port=0,
        healthz_port=0,
        authentication=Authentication(x509=X509Authentication(client_ca_file=str(authority))),
        authorization=Authorization(),
        **configured,
    )
    made = list(containers or [container()])
    runtime, pods, reviews = LocalRuntime(made), OnePod(made), Reviews()
    host = Host(
        node_name=NODE,
        names=(NODE, "127.0.0.1"),
        root_directory=directory,
        log_directory=directory / "log",
        configuration=configuration,
        client=reviews,  # type: ignore[arg-type]
        pods=pods,  # type: ignore[arg-type]
        runtime=runtime,  # type: ignore[arg-type]
        clock=SystemClock(),
    )
    server = KubeletServer(host)
    running = asyncio.create_task(server.run())
    await asyncio.wait([running, asyncio.create_task(server.listening.wait())], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    pair = directory / "client.pem"
    keys = certificates.kubelet_client
    pair.write_bytes(keys.certificate_pem + b"\n" + keys.key_pem)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(pair)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            yield NodeDouble(server, runtime, pods, reviews), session
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
