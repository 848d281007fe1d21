"""SPDY/3.1: frames survive any cut of the bytes, header blocks build on one another, streams are pipes with an end."""

from __future__ import annotations

import asyncio
import dataclasses
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubecore.kubelet.server.inbox import INBOX_SIZE_MAX_BYTES
from kubecore.kubelet.server.spdy import Session, frames
from kubecore.kubelet.server.spdy.frames import (
    Data,
    Frame,
    FrameError,
    Framer,
    GoAway,
    Headers,
    Ping,
    Reset,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)
from kubecore.kubelet.server.spdy.headers import DICTIONARY
from kubecore.kubelet.server.spdy.session import STREAMS_MAX

ids = st.integers(1, 2**31 - 1)
words = st.integers(0, 2**32 - 1)
texts = st.text(max_size=40)
pairs = st.lists(st.tuples(texts.map(str.lower), texts), max_size=5)
any_frame = st.one_of(
    st.builds(Data, ids, st.binary(max_size=300), st.booleans()),
    st.builds(SynStream, ids, pairs, st.booleans(), st.booleans(), ids, st.integers(0, 7)),
    st.builds(SynReply, ids, pairs, st.booleans()),
    st.builds(Headers, ids, pairs, st.booleans()),
    st.builds(Reset, ids, words),
    st.builds(Settings, st.lists(st.tuples(st.integers(0, 2**24 - 1), words), max_size=4).map(tuple)),
    st.builds(Ping, words),
    st.builds(GoAway, ids, words),
    st.builds(WindowUpdate, ids, words),
)


def lowered(frame: Frame) -> Frame:
    """Names of headers come out in lower case, whatever Unicode thinks that is."""
    if not isinstance(frame, SynStream | SynReply | Headers):
        return frame
    changed = {name: getattr(frame, name) for name in frame.__slots__}
    changed["headers"] = [(name.lower(), value) for name, value in frame.headers]
    return type(frame)(**changed)


@given(st.lists(any_frame, max_size=12), st.lists(st.integers(1, 200), min_size=1))
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(sent: list[Frame], cuts: list[int]) -> None:
    ours, theirs = Framer(), Framer()
    wire = b"".join(ours.encode(frame) for frame in sent)
    got: list[Frame] = []
    at = number = 0
    while at < len(wire):
        size = cuts[number % len(cuts)]
        got += theirs.receive(wire[at : at + size])
        at, number = at + size, number + 1
    assert got == [lowered(frame) for frame in sent]


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_an_error_and_nothing_else(noise: bytes) -> None:
    try:
        Framer().receive(noise)
    except FrameError:
        return


def test_the_dictionary_is_the_protocols() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_a_frame_of_another_version_or_beyond_the_bound_is_refused() -> None:
    with pytest.raises(FrameError, match="version 2"):
        Framer().receive(bytes.fromhex("8002000600000004") + b"\0\0\0\1")
    with pytest.raises(FrameError, match="bytes"):
        Framer().receive(bytes.fromhex("8003000600ffffff"))
    with pytest.raises(FrameError, match="a control frame of type 1"):
        Framer().receive(bytes.fromhex("800300010000000c0000000100000000000000ff"))


def test_a_control_frame_that_nobody_knows_is_passed_over() -> None:
    assert Framer().receive(bytes.fromhex("8003001000000001") + b"x" + Framer().encode(Ping(1))) == [Ping(1)]


class Pipes:
    """The client's end of a session."""

    def __init__(self) -> None:
        self.to_server: asyncio.Queue[bytes] = asyncio.Queue()
        self.framer = Framer()
        self.received: asyncio.Queue[Frame] = asyncio.Queue()
        self.session = Session(self)
        self.running = asyncio.create_task(self.session.run())

    async def read(self) -> bytes:
        return await self.to_server.get()

    async def write(self, data: bytes) -> None:
        for frame in self.framer.receive(data):
            self.received.put_nowait(frame)

    def send(self, frame: Frame) -> None:
        self.to_server.put_nowait(self.framer.encode(frame))

    async def next(self) -> Frame:
        return await asyncio.wait_for(self.received.get(), 10)


async def test_a_stream_is_answered_read_written_and_half_closed() -> None:
    client = Pipes()
    client.send(SynStream(1, [("streamType", "stdin")]))
    assert await client.next() == SynReply(1, [])
    stream = await client.session.accept()
    assert stream is not None
    assert stream.headers == {"streamtype": "stdin"}
    client.send(Data(1, b"hello"))
    assert await stream.read() == b"hello"
    client.send(Data(1, b"", fin=True))
    assert await stream.read() == b""
    await stream.write(b"x" * 40_000)
    assert [len(frame.data) for frame in (await client.next(), await client.next()) if isinstance(frame, Data)] == [
        32_768,
        7_232,
    ]
    await stream.close()
    await stream.close()
    assert await client.next() == Data(1, b"", fin=True)
    client.to_server.put_nowait(b"")
    await client.running
    assert await client.session.accept() is None
    with pytest.raises(ConnectionError):
        await stream.write(b"late")


async def test_a_ping_is_echoed_and_wrong_ids_are_reset() -> None:
    client = Pipes()
    client.send(Ping(7))
    assert await client.next() == Ping(7)
    client.send(SynStream(2, []))
    assert await client.next() == Reset(2, frames.PROTOCOL_ERROR)
    client.send(SynStream(5, []))
    assert await client.next() == SynReply(5, [])
    client.send(SynStream(3, []))
    assert await client.next() == Reset(3, frames.PROTOCOL_ERROR)
    client.running.cancel()


async def test_a_stream_that_nobody_reads_stops_its_connection_and_no_byte_is_lost() -> None:
    client = Pipes()
    client.send(SynStream(1, []))
    stream = await client.session.accept()
    assert stream is not None
    pieces = 20
    for _ in range(pieces):
        client.send(Data(1, b"x" * 65_536))
    client.send(Data(1, b"", fin=True))
    for _ in range(10 * pieces):  # turns of the loop, many more than it takes to stop
        await asyncio.sleep(0)
    assert client.to_server.qsize() >= pieces - INBOX_SIZE_MAX_BYTES // 65_536 - 1
    total = 0
    while data := await stream.read():
        total += len(data)
    assert total == pieces * 65_536
    client.running.cancel()


async def test_noise_ends_a_session_and_its_streams() -> None:
    client = Pipes()
    client.send(SynStream(1, []))
    stream = await client.session.accept()
    assert stream is not None
    client.to_server.put_nowait(b"GET / HTTP/1.1\r\n\r\n" * 10)
    client.to_server.put_nowait(bytes.fromhex("8099000100000000"))
    client.to_server.put_nowait(b"")
    await client.running
    assert await stream.read() == b""


@pytest.mark.parametrize("ends", [Data(0, b"", fin=True), Reset(0, 5)])
async def test_streams_that_nobody_accepts_are_refused_at_the_bound_though_they_have_ended(ends: Frame) -> None:
    client = Pipes()
    refused = 0
    for number in range(STREAMS_MAX + 10):
        stream_id = 2 * number + 1
        client.send(SynStream(stream_id, [("streamtype", "error")], fin=False))
        answer = await client.next()
        refused += isinstance(answer, Reset)
        if isinstance(answer, SynReply):
            client.send(dataclasses.replace(ends, stream_id=stream_id))
    assert refused == 10
    client.running.cancel()
