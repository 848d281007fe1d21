"""Questions about names that are not the cluster's, sent on to the resolvers of the host.

In: a question as it came. Out: the answer as it came, or None if nobody answered in time. Bounded: beyond
QUESTIONS_MAX at a time a question is not sent. Nothing is cached: the resolver behind it does that.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from kubecore.proxy.model import canonical_ip

QUESTIONS_MAX = 1000
TRY_SECONDS = 2.0
TRIES = 2
"""Through all resolvers."""
RESOLVERS_MAX = 3
"""As the C library reads them."""
RESOLV_CONF = Path("/etc/resolv.conf")


def resolvers(text: str, *, not_at: Iterable[str] = ()) -> list[tuple[str, int]]:
    """The name servers of a resolv.conf, but not ourselves: a question must not go round."""
    own = set(not_at)
    words = [line.split() for line in text.splitlines()]
    listed = [parts[1] for parts in words if len(parts) > 1 and parts[0] == "nameserver"]
    found = [
        (address, 53) for each in listed if (address := canonical_ip(each.partition("%")[0])) and address not in own
    ]
    return found[:RESOLVERS_MAX]


class _Exchange(asyncio.DatagramProtocol):
    """One question and its answer, on a socket of its own: its port is as hard to guess as its number."""

    def __init__(self, question: bytes) -> None:
        self._question = question
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.DatagramTransport, transport).sendto(self._question)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.answer.done() and belongs(self._question, data):
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


def belongs(question: bytes, answer: bytes) -> bool:
    """The same number, the same question, and an answer at all."""
    if len(answer) < 12 or answer[:2] != question[:2] or not answer[2] & 0x80:
        return False
    asked = question[12:]
    end = asked.find(b"\0") + 5
    return answer[12 : 12 + end].lower() == asked[:end].lower()


class Forwarder:
    """`servers`: where to ask, in order; none: nobody is asked."""

    def __init__(self, servers: Sequence[tuple[str, int]], *, randomness: random.Random) -> None:
        self.servers = tuple(servers)
        self._random = randomness
        self._waiting = 0

    async def ask(self, question: bytes, *, tcp: bool) -> bytes | None:
        """The client's number is put back into the answer."""
        if not self.servers or self._waiting >= QUESTIONS_MAX:
            return None
        numbered = struct.pack("!H", self._random.getrandbits(16)) + question[2:]
        self._waiting += 1
        try:
            for _ in range(TRIES):
                for server in self.servers:
                    answer = await self._try(server, numbered, tcp=tcp)
                    if answer is not None:
                        return question[:2] + answer[2:]
        finally:
            self._waiting -= 1
        return None

    async def _try(self, server: tuple[str, int], question: bytes, *, tcp: bool) -> bytes | None:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                return await (_by_tcp if tcp else _by_udp)(server, question)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return None


async def _by_udp(server: tuple[str, int], question: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, exchange = await loop.create_datagram_endpoint(lambda: _Exchange(question), remote_addr=server)
    try:
        return await exchange.answer
    finally:
        transport.close()


async def _by_tcp(server: tuple[str, int], question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(struct.pack("!H", len(question)) + question)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        answer = await reader.readexactly(length)
        if not belongs(question, answer):
            raise OSError("an answer to another question")
        return answer
    finally:
        writer.close()
