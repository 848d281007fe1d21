"""One command in a container over a WebSocket (v5.channel.k8s.io): what is typed goes in, what it says comes out, its exit code stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from kubecore_cli.session import Session

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

PROTOCOL = "v5.channel.k8s.io"
PIECE_BYTES = 32 * 1024
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255

Take = Callable[[bytes], Awaitable[None]]
Give = AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the streams lead. `give` None: the command gets no input."""

    stdout: Take
    stderr: Take
    give: Give | None = None
    terminal: bool = False


async def run(session: Session, path: str, query: list[tuple[str, str]], ends: Ends) -> int:
    """Gives the exit code. Raises click.ClickException if the command could not be run, StreamRefused, TransportError."""
    flags = {"stdin": ends.give is not None, "stdout": True, "stderr": not ends.terminal, "tty": ends.terminal}
    query = [*query, *((name, "true") for name, wanted in flags.items() if wanted)]
    async with session.http().websocket(path, query, (PROTOCOL,)) as socket:
        feeding = asyncio.create_task(_feed(socket, ends.give)) if ends.give is not None else None
        try:
            with _resizing(socket) if ends.terminal else contextlib.nullcontext():
                return await _until_ended(socket, ends)
        finally:
            if feeding is not None:
                feeding.cancel()


async def _until_ended(socket: ClientWebSocketResponse, ends: Ends) -> int:
    status = b""
    async for message in socket:
        data = message.data if isinstance(message.data, bytes) else b""
        channel, payload = data[:1], data[1:]
        if channel == bytes([_STDOUT]) and payload:
            await ends.stdout(payload)
        elif channel == bytes([_STDERR]) and payload:
            await ends.stderr(payload)
        elif channel == bytes([_ERROR]):
            status += payload
    return _exit_code(status)


def _exit_code(text: bytes) -> int:
    try:
        status: dict[str, Any] = json.loads(text)
    except ValueError:
        raise click.ClickException(text.decode(errors="replace") or "the connection was lost") from None
    if status.get("status") == "Success":
        return 0
    causes = (status.get("details") or {}).get("causes") or ()
    code = next((cause["message"] for cause in causes if cause.get("reason") == "ExitCode"), "")
    if status.get("reason") == "NonZeroExitCode" and code.isdigit():
        return int(code)
    raise click.ClickException(str(status.get("message", "the command could not be run")))


async def _feed(socket: ClientWebSocketResponse, give: Give) -> None:
    with contextlib.suppress(ConnectionError):
        async for piece in give:
            for start in range(0, len(piece), PIECE_BYTES):
                await socket.send_bytes(bytes([_STDIN]) + piece[start : start + PIECE_BYTES])
        await socket.send_bytes(bytes([_CLOSE, _STDIN]))


@contextlib.contextmanager
def _resizing(socket: ClientWebSocketResponse) -> Iterator[None]:
    """Tells the container's terminal the size of this one, now and whenever it changes."""
    loop, telling = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def tell() -> None:
        columns, rows = shutil.get_terminal_size()
        text = json.dumps({"Width": columns, "Height": rows}).encode()
        task = loop.create_task(socket.send_bytes(bytes([_RESIZE]) + text))
        telling.add(task)
        task.add_done_callback(telling.discard)

    tell()
    loop.add_signal_handler(signal.SIGWINCH, tell)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


async def here(session: Session, path: str, query: list[tuple[str, str]], *, stdin: bool, terminal: bool) -> int:
    """With this process's own streams. A terminal is only used if there is one."""
    if terminal and not sys.stdin.isatty():
        click.echo("Unable to use a TTY - input is not a terminal or the right kind of file", err=True)
        terminal = False
    ends = Ends(
        stdout=_writes(sys.stdout.fileno()),
        stderr=_writes(sys.stderr.fileno()),
        give=_typed() if stdin else None,
        terminal=terminal,
    )
    with _raw() if terminal and stdin else contextlib.nullcontext():
        code = await run(session, path, query, ends)
    if code != 0:
        click.echo(f"command terminated with exit code {code}", err=True)
    return code


def _writes(handle: int) -> Take:
    async def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]

    return write


async def _typed() -> Give:
    """Waits on the loop and on no thread: when the command has ended, nobody is left reading."""
    handle = sys.stdin.fileno()
    while True:
        # A plain file can always be read, and no loop waits for it.
        with contextlib.suppress(PermissionError):
            await _readable(handle)
        piece = os.read(handle, PIECE_BYTES)
        if not piece:
            return
        yield piece


async def _readable(handle: int) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(handle)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Each key goes to the container as it is."""
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    tty.setraw(handle)
    try:
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
