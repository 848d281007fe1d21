"""How kubelet and daemon talk on the Unix socket: frames, the table of calls, and how handles travel.

A frame is four bytes of length and msgpack. The first frame of a connection says what it is for:

    calls         (id, method, arguments) ... answered in any order by (id, result | None, failure | None)
    events        then one ContainerEvent a frame, until either side goes
    exec, attach, port_forward
                  answered by one frame that carries the streams' handles themselves (SCM_RIGHTS): bytes flow between the
                  process and the kubelet without passing the daemon. At the process's end one more frame: its exit code.
                  Closing the connection ends what was begun; INPUT_ENDED before says that an attach's input has.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import msgspec

from kubecore.kubelet.runtimes.protocol import (
    Condition,
    Container,
    ContainerConfig,
    ContainerStats,
    FilesystemUsage,
    Image,
    LinuxResources,
    RegistryAuth,
    RuntimeFailure,
    Sandbox,
    SandboxConfig,
    SandboxStats,
    Version,
)

REQUEST_BYTES_MAX = 4 << 20
ANSWER_BYTES_MAX = 64 << 20
INPUT_ENDED = b"\0"
CALLS_MAX = 256
"""Calls of one connection that are worked on at a time; more wait in the socket."""

CALLS: dict[str, tuple[Any, Any]] = {
    "version": (tuple[()], Version),
    "status": (tuple[()], tuple[Condition, ...]),
    "update_runtime_config": (tuple[str], None),
    "run_pod_sandbox": (tuple[SandboxConfig], str),
    "stop_pod_sandbox": (tuple[str], None),
    "remove_pod_sandbox": (tuple[str], None),
    "list_pod_sandboxes": (tuple[()], list[Sandbox]),
    "pod_sandbox_status": (tuple[str], Sandbox),
    "create_container": (tuple[str, ContainerConfig], str),
    "start_container": (tuple[str], None),
    "stop_container": (tuple[str, float], None),
    "remove_container": (tuple[str], None),
    "list_containers": (tuple[()], list[Container]),
    "container_status": (tuple[str], Container),
    "update_container_resources": (tuple[str, LinuxResources], None),
    "reopen_container_log": (tuple[str], None),
    "container_stats": (tuple[str], ContainerStats),
    "list_container_stats": (tuple[()], list[ContainerStats]),
    "list_pod_sandbox_stats": (tuple[()], list[SandboxStats]),
    "list_images": (tuple[()], list[Image]),
    "image_status": (tuple[str], Image | None),
    "pull_image": (tuple[str, RegistryAuth | None], str),
    "remove_image": (tuple[str], None),
    "image_filesystem": (tuple[()], FilesystemUsage),
    "import_image": (tuple[str, str], str),
}
"""The arguments and the result of each call."""


class Opening(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first frame of a connection. `kind`: calls, events, exec, attach or port_forward; `target`: a container or sandbox."""

    kind: str
    target: str = ""
    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    port: int = 0


class Failure(msgspec.Struct, frozen=True):
    code: str
    message: str

    @classmethod
    def of(cls, failed: RuntimeFailure) -> Failure:
        return cls(failed.code.value, failed.message)


class Request(msgspec.Struct, frozen=True, array_like=True):
    id: int
    method: str
    arguments: msgspec.Raw


class Answer(msgspec.Struct, frozen=True, array_like=True):
    id: int
    result: msgspec.Raw
    failure: Failure | None = None


class StreamsAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`handles`: what the handles that came along are, in order: stdin, stdout, stderr, terminal, connection."""

    handles: tuple[str, ...] = ()
    failure: Failure | None = None


class StreamsEnd(msgspec.Struct, frozen=True):
    exit_code: int


_encoder = msgspec.msgpack.Encoder()
_LENGTH = struct.Struct("!I")


def frame(message: Any) -> bytes:
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(value))


async def read_frame(reader: asyncio.StreamReader, bytes_max: int) -> bytes:
    """Fails with IncompleteReadError at the end, ConnectionError for a frame beyond the bound."""
    length = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))[0]
    if length > bytes_max:
        raise ConnectionError(f"a frame of {length} bytes is beyond {bytes_max}")
    return await reader.readexactly(length)


async def receive_frame(connection: socket.socket, bytes_max: int) -> bytes:
    """As `read_frame`, from a socket that is not blocking and has no reader of its own."""
    length = _LENGTH.unpack(await _receive_exactly(connection, _LENGTH.size))[0]
    if length > bytes_max:
        raise ConnectionError(f"a frame of {length} bytes is beyond {bytes_max}")
    return await _receive_exactly(connection, length)


async def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        more = await loop.sock_recv(connection, size - len(data))
        if not more:
            raise ConnectionResetError("the other side closed the connection")
        data += more
    return data
