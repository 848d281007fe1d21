"""The daemon's socket: connections, what each is for, answers, events, and handing over streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from kubecore.kubelet.runtimes.process import wire
from kubecore.kubelet.runtimes.process.service import Opened, ProcessRuntime
from kubecore.kubelet.runtimes.protocol import RuntimeCode, RuntimeFailure

CONNECTIONS_MAX = 1024
"""Each exec, attach and port forward has one. Beyond, a new one is closed at once."""
PORT_FORWARDS_MAX = CONNECTIONS_MAX // 2
"""Of them: a client of a forwarded port opens as many connections as it likes, and probes need some too. Beyond, one is refused."""
_BACKLOG = 128
_logger = logging.getLogger(__name__)


class Server:
    """Listens until it is closed. The socket is for root only."""

    def __init__(self, runtime: ProcessRuntime, path: Path) -> None:
        self._runtime = runtime
        self._path = path
        self._decoders = {name: msgspec.msgpack.Decoder(kinds[0]) for name, kinds in wire.CALLS.items()}
        self._forwards = asyncio.Semaphore(PORT_FORWARDS_MAX)
        self._connections: set[asyncio.Task[None]] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)
        old_mask = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(old_mask)
        self._socket.listen(_BACKLOG)
        self._socket.setblocking(False)

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._socket)
            connection.setblocking(False)
            if len(self._connections) >= CONNECTIONS_MAX:
                connection.close()
                continue
            task = asyncio.ensure_future(self._serve_one(connection))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)

    async def _serve_one(self, connection: socket.socket) -> None:
        with connection:
            try:
                body = await wire.receive_frame(connection, wire.REQUEST_BYTES_MAX)
                opening = msgspec.msgpack.decode(body, type=wire.Opening)
                if opening.kind == "calls":
                    await self._serve_calls(connection)
                elif opening.kind == "events":
                    await self._serve_events(connection)
                elif opening.kind == "port_forward":
                    await self._serve_port_forward(connection, opening)
                else:
                    await self._serve_streams(connection, opening)
            except (ConnectionError, asyncio.IncompleteReadError, msgspec.DecodeError) as ended:
                _logger.debug("a connection ended: %r", ended)

    # ── calls ──

    async def _serve_calls(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        room = asyncio.Semaphore(wire.CALLS_MAX)
        working: set[asyncio.Task[None]] = set()
        try:
            while True:
                body = await wire.read_frame(reader, wire.REQUEST_BYTES_MAX)
                request = msgspec.msgpack.decode(body, type=wire.Request)
                await room.acquire()
                task = asyncio.ensure_future(self._answer(request, writer, room))
                working.add(task)
                task.add_done_callback(working.discard)
        finally:
            # What was begun is finished: a kubelet that is gone finds a whole sandbox or none.
            writer.close()

    async def _answer(self, request: wire.Request, writer: asyncio.StreamWriter, room: asyncio.Semaphore) -> None:
        failure: wire.Failure | None = None
        result: Any = None
        try:
            result = await self._call(request)
        except RuntimeFailure as failed:
            failure = wire.Failure.of(failed)
        except Exception as failed:  # the seam: whatever one call broke on is its caller's to know, and the log's
            _logger.exception("%s failed", request.method)
            failure = wire.Failure(RuntimeCode.UNKNOWN.value, f"{request.method}: {failed!r}")
        finally:
            room.release()
        if not writer.is_closing():
            writer.write(wire.frame(wire.Answer(request.id, wire.raw(result), failure)))
            with contextlib.suppress(ConnectionError):
                await writer.drain()

    async def _call(self, request: wire.Request) -> Any:
        decoder = self._decoders.get(request.method)
        if decoder is None:
            raise RuntimeFailure(RuntimeCode.INVALID_ARGUMENT, f"no such call: {request.method}")
        try:
            arguments = decoder.decode(request.arguments)
        except msgspec.DecodeError as invalid:
            raise RuntimeFailure(RuntimeCode.INVALID_ARGUMENT, f"{request.method}: {invalid}") from invalid
        return await getattr(self._runtime, request.method)(*arguments)

    # ── events ──

    async def _serve_events(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        subscription = self._runtime.subscribe()
        watching = asyncio.ensure_future(_until_closed(connection))
        try:
            await loop.sock_sendall(connection, wire.frame(None))
            while True:
                waiting = asyncio.ensure_future(subscription.next())
                await asyncio.wait((waiting, watching), return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    waiting.cancel()
                    return
                event = waiting.result()
                if event is None:
                    return
                await loop.sock_sendall(connection, wire.frame(event))
        finally:
            await _let_go(watching)
            self._runtime.unsubscribe(subscription)

    # ── streams ──

    async def _serve_port_forward(self, connection: socket.socket, opening: wire.Opening) -> None:
        if self._forwards.locked():
            full = RuntimeFailure(RuntimeCode.UNAVAILABLE, "too many connections are forwarded on this node")
            answer = wire.frame(wire.StreamsAnswer(failure=wire.Failure.of(full)))
            await asyncio.get_running_loop().sock_sendall(connection, answer)
            return
        async with self._forwards:
            await self._serve_streams(connection, opening)

    async def _serve_streams(self, connection: socket.socket, opening: wire.Opening) -> None:
        loop = asyncio.get_running_loop()
        try:
            opened = await self._open(opening)
        except RuntimeFailure as failed:
            await loop.sock_sendall(connection, wire.frame(wire.StreamsAnswer(failure=wire.Failure.of(failed))))
            return
        try:
            answer = wire.frame(wire.StreamsAnswer(handles=tuple(opened.handles)))
            try:
                socket.send_fds(connection, [answer], list(opened.handles.values()))
            finally:
                for handle in opened.handles.values():
                    os.close(handle)
            await self._until_over(connection, opened)
        finally:
            if opened.child is not None:
                opened.child.signal(signal.SIGKILL)
            if opened.over is None or not opened.over.done():
                # The reader has left a container that goes on; it may be long until that says something and it is noticed.
                for copy in opened.copies:
                    copy.cut()
            self._input_ended(opened)

    def _input_ended(self, opened: Opened) -> None:
        if opened.closes_stdin_of:
            self._runtime.close_stdin(opened.closes_stdin_of)

    async def _open(self, opening: wire.Opening) -> Opened:
        wanted = {"stdin": opening.stdin, "stdout": opening.stdout, "stderr": opening.stderr, "tty": opening.tty}
        if opening.kind == "exec":
            return await self._runtime.open_exec(opening.target, opening.command, **wanted)
        if opening.kind == "attach":
            return await self._runtime.open_attach(opening.target, **wanted)
        if opening.kind == "port_forward":
            return await self._runtime.open_port_forward(opening.target, opening.port)
        raise RuntimeFailure(RuntimeCode.INVALID_ARGUMENT, f"no such stream: {opening.kind}")

    async def _until_over(self, connection: socket.socket, opened: Opened) -> None:
        """Until the process ends, which is told, or the other side closes."""
        watching = asyncio.ensure_future(_until_closed(connection, said=lambda: self._input_ended(opened)))
        try:
            if opened.child is None:
                await asyncio.wait(
                    (watching, *([opened.over] if opened.over else [])), return_when=asyncio.FIRST_COMPLETED
                )
                return
            await asyncio.wait((opened.child.ended, watching), return_when=asyncio.FIRST_COMPLETED)
            if opened.child.ended.done():
                end = wire.StreamsEnd(opened.child.ended.result().code)
                await asyncio.get_running_loop().sock_sendall(connection, wire.frame(end))
        finally:
            await _let_go(watching)


async def _let_go(watching: asyncio.Future[None]) -> None:
    """Ends it, and waits until the loop has forgotten its socket: closed before, its number would be the next connection's, which
    the loop would then never hear of."""
    watching.cancel()
    await asyncio.wait([watching])


async def _until_closed(connection: socket.socket, *, said: Callable[[], None] = lambda: None) -> None:
    """All that the other side may still say is that its input has ended."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while await loop.sock_recv(connection, 1024):
            said()
