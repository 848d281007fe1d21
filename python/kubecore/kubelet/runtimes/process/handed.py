"""Streams whose handles were handed over by the daemon: the kubelet reads and writes the process's own pipes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable

import msgspec

from kubecore.kubelet.runtimes.process import wire
from kubecore.kubelet.runtimes.protocol import RuntimeCode, RuntimeFailure

READ_BYTES = 64 * 1024


class HandedStreams:
    """The protocol's `Streams`. `connection` lives as long as the streams; at an exec's end its exit code comes over it."""

    def __init__(self, connection: socket.socket, handles: dict[str, int], *, ends: bool) -> None:
        self._connection = connection
        self._handles = handles
        for handle in handles.values():
            os.set_blocking(handle, False)
        self._is_process = ends
        # Of an attach and a port forward the end is seen by whoever reads, or when the daemon lets go.
        self._over = asyncio.Event()
        self._end = asyncio.ensure_future(self._until_end() if ends else self._until_over())

    async def read_stdout(self) -> bytes:
        return await self._read(
            next((name for name in ("stdout", "connection", "terminal") if name in self._handles), "")
        )

    async def read_stderr(self) -> bytes:
        return await self._read("stderr")

    async def write_stdin(self, data: bytes) -> None:
        name = self._input()
        view = memoryview(data)
        while view and name in self._handles:
            try:
                view = view[os.write(self._handles[name], view) :]
            except BlockingIOError:
                await self._ready(name, asyncio.get_running_loop().add_writer, asyncio.get_running_loop().remove_writer)
            except (BrokenPipeError, ConnectionResetError):
                # As for a shell's pipe: whoever does not read any more misses nothing.
                return

    async def close_stdin(self) -> None:
        if "connection" in self._handles:
            with contextlib.suppress(OSError):
                socket.socket(fileno=os.dup(self._handles["connection"])).shutdown(socket.SHUT_WR)
        elif "terminal" in self._handles:
            # What a person types to end the input.
            await self.write_stdin(b"\x04")
        else:
            self._drop("stdin")
            if not self._is_process:
                # The daemon has a handle of its own: a container that reads its input once is to see the end now.
                with contextlib.suppress(OSError):
                    self._connection.send(wire.INPUT_ENDED)

    async def resize(self, width: int, height: int) -> None:
        if "terminal" in self._handles:
            fcntl.ioctl(self._handles["terminal"], termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    async def close(self) -> None:
        self._end.cancel()
        # The loop has to let go of the connection before its number is another's.
        await asyncio.wait([self._end])
        for name in list(self._handles):
            self._drop(name)
        self._connection.close()

    async def _until_end(self) -> int:
        try:
            body = await wire.receive_frame(self._connection, wire.REQUEST_BYTES_MAX)
        except OSError as broken:
            raise RuntimeFailure(RuntimeCode.UNAVAILABLE, f"the connection to the runtime broke: {broken}") from broken
        return msgspec.msgpack.decode(body, type=wire.StreamsEnd).exit_code

    async def _until_over(self) -> int:
        gone = asyncio.ensure_future(self._until_let_go())
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait((gone, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            over.cancel()
            await asyncio.wait((gone, over))
        return 0

    async def _until_let_go(self) -> None:
        with contextlib.suppress(OSError):
            await wire.receive_frame(self._connection, 0)

    def _input(self) -> str:
        return next((name for name in ("stdin", "connection", "terminal") if name in self._handles), "")

    async def _read(self, name: str) -> bytes:
        while name in self._handles:
            try:
                return os.read(self._handles[name], READ_BYTES)
            except BlockingIOError:
                await self._ready(name, asyncio.get_running_loop().add_reader, asyncio.get_running_loop().remove_reader)
            except OSError:
                # EIO: the terminal's last process is gone; ECONNRESET: so is the other end.
                return b""
        return b""

    async def _ready(
        self, name: str, add: Callable[[int, Callable[[], None]], object], remove: Callable[[int], object]
    ) -> None:
        ready = asyncio.Event()
        handle = self._handles[name]
        add(handle, ready.set)
        try:
            await ready.wait()
        finally:
            if self._handles.get(name) == handle:
                remove(handle)

    def _drop(self, name: str) -> None:
        handle = self._handles.pop(name, -1)
        if handle >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(handle)
            loop.remove_writer(handle)
            os.close(handle)
