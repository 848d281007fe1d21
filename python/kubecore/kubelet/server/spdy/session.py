"""The server's side of a SPDY/3.1 connection: streams that the client opens, each a pipe both ways.

In: a `Duplex` (the upgraded connection, or the messages of a WebSocket). Out: `accept` gives streams as they are opened.

Windows are not used, as in the library that all Kubernetes clients share: it sends no updates, so a sender that waited for them would
stop after 64 KiB. A stream whose reader is behind stops the connection instead. Bounds: `STREAMS_MAX` open streams, and as
many that nobody has accepted yet (more are refused), an `Inbox` for each, `PIECE_BYTES` a data frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from kubecore.kubelet.server.inbox import Inbox
from kubecore.kubelet.server.spdy import frames
from kubecore.kubelet.server.spdy.frames import Data, FrameError, Framer, Ping, Reset, SynReply, SynStream

STREAMS_MAX = 1_000
PIECE_BYTES = 32 * 1024


class Duplex(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes:
        """b"" at the end. Raises ConnectionError."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more. Raises ConnectionError."""
        ...


class Stream:
    """One stream, opened by the client. Reading gives b"" at its end; writing raises ConnectionError once the connection is gone."""

    def __init__(self, session: Session, stream_id: int, headers: Mapping[str, str]) -> None:
        self.id = stream_id
        self.headers = headers
        self.inbox = Inbox()
        self._session = session
        self._closed = False

    async def read(self) -> bytes:
        return await self.inbox.take()

    async def write(self, data: bytes) -> None:
        if not data:
            await self._session.send(Data(self.id, b""))
        for start in range(0, len(data), PIECE_BYTES):
            await self._session.send(Data(self.id, data[start : start + PIECE_BYTES]))

    async def close(self) -> None:
        """Nothing more is written. May be repeated."""
        if not self._closed:
            self._closed = True
            await self._session.send(Data(self.id, b"", fin=True))

    async def reset(self) -> None:
        self._closed = True
        self._session.forget(self)
        await self._session.send(Reset(self.id, frames.CANCEL))


class Session:
    """`run` is one task; streams are used by others."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex
        self._framer = Framer()
        self._streams: dict[int, Stream] = {}
        self._opened: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._sending = asyncio.Lock()
        self._last_id = 0
        self._ended = False

    async def run(self) -> None:
        """Reads until the client has left, or has sent what is no SPDY."""
        try:
            while data := await self._duplex.read():
                for frame in self._framer.receive(data):
                    await self._take(frame)
        except FrameError:
            # What follows cannot be read, so neither can the streams.
            pass
        except ConnectionError:
            pass
        finally:
            self._ended = True
            for stream in self._streams.values():
                stream.inbox.end()
            self._opened.put_nowait(None)
            # Compression costs 300 KiB a session, and sessions and their streams know one another: nobody should have to wait
            # for the collector.
            self._streams.clear()
            del self._framer

    async def accept(self) -> Stream | None:
        """The next stream that the client opens, None once it has left."""
        stream = await self._opened.get()
        if stream is None:
            self._opened.put_nowait(None)
        return stream

    async def send(self, frame: frames.Frame) -> None:
        # Encoded and written in one order: header blocks build on one another.
        async with self._sending:
            if self._ended:
                raise ConnectionResetError("the client has left")
            await self._duplex.write(self._framer.encode(frame))

    def forget(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        stream.inbox.end()

    async def _take(self, frame: frames.Frame) -> None:
        match frame:
            case Data(stream_id, data, fin):
                stream = self._streams.get(stream_id)
                if stream is None:
                    return
                if data:
                    await stream.inbox.put(data)
                if fin:
                    self.forget(stream)
            case SynStream():
                await self._open(frame)
            case Reset(stream_id, _):
                if (stream := self._streams.get(stream_id)) is not None:
                    self.forget(stream)
            case Ping(id) if id % 2 == 1:
                await self.send(Ping(id))
            case _:
                # Settings and windows mean nothing here; a client that goes away closes what it has opened.
                pass

    async def _open(self, frame: SynStream) -> None:
        # A client's ids are odd and grow.
        if frame.stream_id % 2 == 0 or frame.stream_id <= self._last_id:
            await self.send(Reset(frame.stream_id, frames.PROTOCOL_ERROR))
            return
        self._last_id = frame.stream_id
        if len(self._streams) >= STREAMS_MAX or self._opened.qsize() >= STREAMS_MAX:
            await self.send(Reset(frame.stream_id, frames.REFUSED_STREAM))
            return
        stream = Stream(self, frame.stream_id, dict(frame.headers))
        if frame.fin:
            stream.inbox.end()
        else:
            self._streams[stream.id] = stream
        await self.send(SynReply(stream.id))
        self._opened.put_nowait(stream)
