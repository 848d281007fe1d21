"""exec and attach, whatever carries them: pumps between the client's channels and the runtime's streams, and tells how it ended.

The error channel's last word is a `v1.Status` since protocol v4; before, a text, and only if something went wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from kubecore.kubelet.runtimes.protocol import RuntimeFailure, Streams

_RESIZE_SIZE_MAX_BYTES = 4096
"""Of what may wait for the end of its JSON; a client that sends more is not resizing."""


class Pipe(Protocol):
    """One channel of a connection."""

    async def read(self) -> bytes:
        """b"" at its end."""
        ...

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams the client asked for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


@dataclass(frozen=True, slots=True)
class Channels:
    """What the client has opened. `tells_status`: the protocol is v4 or later."""

    error: Pipe
    stdin: Pipe | None = None
    stdout: Pipe | None = None
    stderr: Pipe | None = None
    resize: Pipe | None = None
    tells_status: bool = True


async def serve(
    channels: Channels, start: Callable[[], Awaitable[Streams]], *, what: str, client_left: Awaitable[object]
) -> None:
    """Until the command has ended, or the client has left. `what`: for the message if it cannot be started (`executing command in`)."""
    try:
        streams = await start()
    except RuntimeFailure as failure:
        status = _internal(f"error {what} container: {failure.message}")
    else:
        left = asyncio.ensure_future(client_left)
        done = asyncio.create_task(_pump(channels, streams))
        try:
            await asyncio.wait([left, done], return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                return
            status = done.result()
        except ConnectionError:
            return
        except RuntimeFailure as failure:
            status = _internal(f"error {what} container: {failure.message}")
        finally:
            left.cancel()
            done.cancel()
            with contextlib.suppress(RuntimeFailure):
                await streams.close()
    with contextlib.suppress(ConnectionError):
        await _tell(channels, status)


async def _pump(channels: Channels, streams: Streams) -> dict[str, Any]:
    """All of the output is with the client before the end is told."""
    outputs = [
        _copy(read, pipe)
        for read, pipe in ((streams.read_stdout, channels.stdout), (streams.read_stderr, channels.stderr))
        if pipe is not None
    ]
    inputs: list[Coroutine[Any, Any, None]] = []
    if channels.stdin is not None:
        inputs.append(_feed(channels.stdin, streams))
    if channels.resize is not None:
        inputs.append(_resize(channels.resize, streams))
    feeding = [asyncio.create_task(each) for each in inputs]
    try:
        await asyncio.gather(*outputs)
        return _ended(await streams.wait())
    finally:
        for task in feeding:
            task.cancel()
        await asyncio.gather(*feeding, return_exceptions=True)


async def _copy(read: Callable[[], Awaitable[bytes]], pipe: Pipe) -> None:
    while data := await read():
        await pipe.write(data)


async def _feed(pipe: Pipe, streams: Streams) -> None:
    # A process that reads no more, or has ended, is told of by its exit.
    with contextlib.suppress(RuntimeFailure, ConnectionError):
        while data := await pipe.read():
            await streams.write_stdin(data)
        await streams.close_stdin()


async def _resize(pipe: Pipe, streams: Streams) -> None:
    decoder, waiting = json.JSONDecoder(), ""
    while data := await pipe.read():
        waiting = (waiting + data.decode(errors="replace")).lstrip()
        while waiting:
            try:
                size, end = decoder.raw_decode(waiting)
            except ValueError:
                if len(waiting) > _RESIZE_SIZE_MAX_BYTES:
                    return
                break
            waiting = waiting[end:].lstrip()
            width, height = _size(size)
            if width and height:
                with contextlib.suppress(RuntimeFailure):
                    await streams.resize(width, height)


def _size(told: Any) -> tuple[int, int]:
    """(columns, rows) of a TerminalSize, zeros for what is none."""
    if not isinstance(told, dict):
        return 0, 0
    width, height = (told.get(name, told.get(name.lower(), 0)) for name in ("Width", "Height"))
    if isinstance(width, int) and isinstance(height, int) and 0 < width < 65536 and 0 < height < 65536:
        return width, height
    return 0, 0


async def _tell(channels: Channels, status: dict[str, Any]) -> None:
    if channels.tells_status:
        await channels.error.write(msgspec.json.encode(status))
    elif status["status"] != "Success":
        await channels.error.write(status["message"].encode())
    for pipe in (channels.stdout, channels.stderr, channels.error):
        if pipe is not None:
            await pipe.close()


def _ended(exit_code: int) -> dict[str, Any]:
    if exit_code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }


def _internal(message: str) -> dict[str, Any]:
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }
