"""SPDY/3.1 frames, both ways: `Framer.receive` takes bytes as they come and gives whole frames, `Framer.encode` the bytes of one.

Source: SPDY Protocol, Draft 3.1, section 2.2. Sans-IO: no socket, no clock. Bounds: a control frame of `CONTROL_SIZE_MAX_BYTES`, a data
frame of `DATA_SIZE_MAX_BYTES`, a header block as headers.py says.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kubecore.kubelet.server.spdy.headers import Compressor, Decompressor, HeaderError, Pairs

VERSION = 3
CONTROL_SIZE_MAX_BYTES = 64 * 1024
DATA_SIZE_MAX_BYTES = 8 * 1024 * 1024

_CONTROL = 0x80000000
_FLAG_FIN = 0x01
_FLAG_UNIDIRECTIONAL = 0x02
_ID_MASK = 0x7FFFFFFF

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9

PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5
"""Reasons of a reset."""


class FrameError(ValueError):
    """Bytes that are no SPDY/3.1; nothing after them can be read."""


@dataclass(frozen=True, slots=True)
class Data:
    stream_id: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class SynStream:
    stream_id: int
    headers: Pairs
    fin: bool = False
    unidirectional: bool = False
    associated_id: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class SynReply:
    stream_id: int
    headers: Pairs = ()
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Headers:
    stream_id: int
    headers: Pairs
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    stream_id: int
    status: int


@dataclass(frozen=True, slots=True)
class Settings:
    """(id, value); flags are not kept: nothing here persists."""

    values: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ping:
    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    last_stream_id: int
    status: int = 0


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    stream_id: int
    delta: int


_TWO_WORDS: dict[int, type[Reset | GoAway | WindowUpdate]] = {
    _RST_STREAM: Reset,
    _GOAWAY: GoAway,
    _WINDOW_UPDATE: WindowUpdate,
}

Frame = Data | SynStream | SynReply | Headers | Reset | Settings | Ping | GoAway | WindowUpdate


class Framer:
    """One connection's state: what is left of the last bytes, and the two compression contexts."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._compressor = Compressor()
        self._decompressor = Decompressor()

    def receive(self, data: bytes) -> list[Frame]:
        """Raises FrameError; the framer is of no use then."""
        self._buffer += data
        frames: list[Frame] = []
        while len(self._buffer) >= 8:
            word, rest = struct.unpack_from(">II", self._buffer)
            flags, length = rest >> 24, rest & 0xFFFFFF
            is_control = bool(word & _CONTROL)
            if length > (CONTROL_SIZE_MAX_BYTES if is_control else DATA_SIZE_MAX_BYTES):
                raise FrameError(f"a frame of {length} bytes")
            if len(self._buffer) < 8 + length:
                break
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            if not is_control:
                frames.append(Data(word & _ID_MASK, payload, bool(flags & _FLAG_FIN)))
            elif (frame := self._control(word, flags, payload)) is not None:
                frames.append(frame)
        return frames

    def encode(self, frame: Frame) -> bytes:
        """To be sent in the order of the calls: header blocks build on one another."""
        block = self._compressor.block
        match frame:
            case Data(stream_id, data, fin):
                return struct.pack(">II", stream_id, (_FLAG_FIN if fin else 0) << 24 | len(data)) + data
            case SynStream(stream_id, headers, fin, unidirectional, associated_id, priority):
                flags = (_FLAG_FIN if fin else 0) | (_FLAG_UNIDIRECTIONAL if unidirectional else 0)
                head = struct.pack(">IIBB", stream_id, associated_id, priority << 5, 0)
                return _control_frame(_SYN_STREAM, flags, head + block(headers))
            case SynReply(stream_id, headers, fin) | Headers(stream_id, headers, fin):
                kind = _SYN_REPLY if isinstance(frame, SynReply) else _HEADERS
                return _control_frame(kind, _FLAG_FIN if fin else 0, struct.pack(">I", stream_id) + block(headers))
            case Reset(stream_id, status):
                return _control_frame(_RST_STREAM, 0, struct.pack(">II", stream_id, status))
            case Settings(values):
                pairs = b"".join(struct.pack(">II", key, value) for key, value in values)
                return _control_frame(_SETTINGS, 0, struct.pack(">I", len(values)) + pairs)
            case Ping(id):
                return _control_frame(_PING, 0, struct.pack(">I", id))
            case GoAway(last_stream_id, status):
                return _control_frame(_GOAWAY, 0, struct.pack(">II", last_stream_id, status))
            case WindowUpdate(stream_id, delta):
                return _control_frame(_WINDOW_UPDATE, 0, struct.pack(">II", stream_id, delta))

    def _control(self, word: int, flags: int, payload: bytes) -> Frame | None:
        """None for a type that nobody knows, which is to be ignored."""
        version, kind = word >> 16 & 0x7FFF, word & 0xFFFF
        if version != VERSION:
            raise FrameError(f"SPDY version {version}")
        try:
            return self._known(kind, bool(flags & _FLAG_FIN), bool(flags & _FLAG_UNIDIRECTIONAL), payload)
        except (struct.error, HeaderError) as error:
            raise FrameError(f"a control frame of type {kind}: {error}") from error

    def _known(self, kind: int, fin: bool, unidirectional: bool, payload: bytes) -> Frame | None:
        if kind == _SYN_STREAM:
            stream_id, associated_id, priority, _ = struct.unpack_from(">IIBB", payload)
            headers = self._decompressor.headers(payload[10:])
            return SynStream(
                stream_id & _ID_MASK, headers, fin, unidirectional, associated_id & _ID_MASK, priority >> 5
            )
        if kind in (_SYN_REPLY, _HEADERS):
            (stream_id,) = struct.unpack_from(">I", payload)
            headers = self._decompressor.headers(payload[4:])
            return (SynReply if kind == _SYN_REPLY else Headers)(stream_id & _ID_MASK, headers, fin)
        if kind == _SETTINGS:
            (count,) = struct.unpack_from(">I", payload)
            pairs = [struct.unpack_from(">II", payload, 4 + 8 * number) for number in range(count)]
            return Settings(tuple((key & 0xFFFFFF, value) for key, value in pairs))
        if kind == _PING:
            return Ping(struct.unpack_from(">I", payload)[0])
        if kind in _TWO_WORDS:
            first, second = struct.unpack_from(">II", payload)
            return _TWO_WORDS[kind](first & _ID_MASK, second)
        return None


def _control_frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">II", _CONTROL | VERSION << 16 | kind, flags << 24 | len(payload)) + payload
