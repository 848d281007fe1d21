"""DNS messages: what a resolver needs to read of a question, and answers as bytes.

Ours and not a library's: a name server for a cluster reads one question and writes six types of records; dnspython
builds an object for each part of each message, at about ten times the time, and forwarding needs no reading at all.
The tests hold it against dnspython. Source: RFC 1035, RFC 2782 (SRV), RFC 6891 (EDNS).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct("!HHHHHH")
RESPONSE, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED, RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
OPCODE = 0x7800
CLASS_IN = 1
OPT = 41
UDP_BYTES_MIN, UDP_BYTES_MAX = 512, 1232
"""Without EDNS, and the most that we send by UDP, whatever a client offers: what no path has to fragment."""
NAME_BYTES_MAX = 255
LABEL_BYTES_MAX = 63


class Type(IntEnum):
    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    ANY = 255


class Code(IntEnum):
    """RCODEs."""

    SUCCESS = 0
    FORMAT_ERROR = 1
    SERVER_FAILURE = 2
    NAME_ERROR = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5
    BAD_VERSION = 16


class BadMessage(Exception):
    """Not a question that can be read. `answer`: what to say to it, or nothing if not even that can be told."""

    def __init__(self, reason: str, answer: bytes = b"") -> None:
        super().__init__(reason)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Query:
    """`name`: in lower case, without the last dot. `question`: as the client wrote it, repeated in the answer.
    `udp_bytes`: the longest answer the client takes by UDP; `edns`: whether it speaks EDNS at all."""

    id: int
    flags: int
    name: str
    type: int
    question: bytes
    udp_bytes: int = UDP_BYTES_MIN
    edns: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """`data`: an address, a name, a text, or for SRV and SOA the tuple of their fields. Names without a last dot."""

    name: str
    type: Type
    ttl_seconds: int
    data: str | tuple[int | str, ...]


def parse(message: bytes) -> Query:
    """Raises BadMessage."""
    if len(message) < HEADER.size:
        raise BadMessage("shorter than a header")
    number, flags, questions, answers, authority, additional = HEADER.unpack_from(message)
    if flags & RESPONSE:
        raise BadMessage("an answer, not a question")

    def bad(reason: str, code: Code = Code.FORMAT_ERROR) -> BadMessage:
        said = RESPONSE | (flags & (OPCODE | RECURSION_DESIRED)) | code
        return BadMessage(reason, HEADER.pack(number, said, 0, 0, 0, 0))

    if flags & OPCODE:
        raise bad("not a standard query", Code.NOT_IMPLEMENTED)
    if questions != 1 or answers or authority:
        raise bad("not exactly one question")
    try:
        labels, at = _labels(message, HEADER.size)
        kind, of_class = struct.unpack_from("!HH", message, at)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as failure:
        raise bad("the question cannot be read") from failure
    end = at + 4
    query = Query(number, flags, ".".join(labels).lower(), kind, message[HEADER.size : end])
    if of_class != CLASS_IN:
        raise BadMessage("not of class IN", respond(query, Code.REFUSED))
    return _with_edns(message, end, query) if additional else query


def _labels(message: bytes, at: int) -> tuple[list[str], int]:
    """Of a name that is not compressed, as questions are. Raises ValueError for one that is."""
    labels: list[str] = []
    start = at
    while length := message[at]:
        if length > LABEL_BYTES_MAX or at + length - start > NAME_BYTES_MAX:
            raise ValueError("a label or a name that is too long, or compressed")
        label = message[at + 1 : at + 1 + length]
        if len(label) < length:
            raise ValueError("the name ends early")
        labels.append(label.decode("ascii"))
        at += 1 + length
    return labels, at + 1


def _with_edns(message: bytes, at: int, query: Query) -> Query:
    """Only an OPT that comes first and stands at the root is looked for: what clients send."""
    if len(message) < at + 11 or message[at] != 0:
        return query
    kind, size, extended, _ = struct.unpack_from("!HHIH", message, at + 1)
    if kind != OPT:
        return query
    limit = min(max(size, UDP_BYTES_MIN), UDP_BYTES_MAX)
    known = Query(query.id, query.flags, query.name, query.type, query.question, limit, edns=True)
    if (extended >> 16) & 0xFF:
        raise BadMessage("an EDNS version that is not known", respond(known, Code.BAD_VERSION))
    return known


def respond(
    query: Query,
    code: Code,
    answers: Sequence[Record] = (),
    authority: Sequence[Record] = (),
    additional: Sequence[Record] = (),
    *,
    authoritative: bool = False,
    recursion: bool = False,
    limit: int = 65535,
) -> bytes:
    """The answer in at most `limit` bytes: what does not fit is left out, and the answer says that it is cut."""
    flags = RESPONSE | (query.flags & RECURSION_DESIRED) | (code & 0xF)
    flags |= AUTHORITATIVE if authoritative else 0
    flags |= RECURSION_AVAILABLE if recursion else 0
    writer = _Writer(query)
    opt = struct.pack("!BHHIH", 0, OPT, UDP_BYTES_MAX, (code >> 4) << 24, 0) if query.edns else b""
    counts = []
    cut = False
    for section, is_needed in ((answers, True), (authority, True), (additional, False)):
        count = 0
        for record in section:
            mark = writer.mark()
            writer.write(record)
            if len(writer.data) + len(opt) > limit:
                writer.back_to(mark)
                cut = cut or is_needed
                break
            count += 1
        counts.append(count)
    if cut:
        flags |= TRUNCATED
    header = HEADER.pack(query.id, flags, 1, counts[0], counts[1], counts[2] + bool(opt))
    return header + bytes(writer.data[HEADER.size :]) + opt


def name_bytes(name: str) -> bytes:
    labels = [label.encode("ascii", "replace") for label in name.split(".") if label]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


class _Writer:
    """Records after a question; names that came before are pointed to."""

    def __init__(self, query: Query) -> None:
        self.data = bytearray(HEADER.size)
        self.data += query.question
        self._places: dict[str, int] = {}
        self._remember(query.name, HEADER.size)

    def mark(self) -> int:
        return len(self.data)

    def back_to(self, mark: int) -> None:
        del self.data[mark:]
        self._places = {name: at for name, at in self._places.items() if at < mark}

    def _remember(self, name: str, at: int) -> None:
        while name and at < 0x4000:
            self._places.setdefault(name, at)
            label, _, name = name.partition(".")
            at += len(label) + 1

    def _name(self, name: str) -> None:
        rest = name.lower()
        while rest:
            if rest in self._places:
                self.data += struct.pack("!H", 0xC000 | self._places[rest])
                return
            label, _, after = rest.partition(".")
            if len(self.data) < 0x4000:
                self._places[rest] = len(self.data)
            encoded = label.encode("ascii", "replace")
            self.data.append(len(encoded))
            self.data += encoded
            rest = after
        self.data.append(0)

    def write(self, record: Record) -> None:
        self._name(record.name)
        self.data += struct.pack("!HHI", record.type, CLASS_IN, record.ttl_seconds)
        length_at = len(self.data)
        self.data += b"\0\0"
        self._data(record)
        struct.pack_into("!H", self.data, length_at, len(self.data) - length_at - 2)

    def _data(self, record: Record) -> None:
        data = record.data
        match record.type:
            case Type.A | Type.AAAA:
                self.data += ipaddress.ip_address(str(data)).packed
            case Type.CNAME | Type.PTR | Type.NS:
                self._name(str(data))
            case Type.TXT:
                text = str(data).encode()[:255]
                self.data.append(len(text))
                self.data += text
            case Type.SRV:
                # RFC 2782: the target is not compressed.
                self.data += struct.pack("!HHH", *data[:3]) + name_bytes(str(data[3]))
            case Type.SOA:
                self._name(str(data[0]))
                self._name(str(data[1]))
                self.data += struct.pack("!IIIII", *data[2:])
