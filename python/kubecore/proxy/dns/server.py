"""A name server on sockets that it is given: the cluster's names from records, all others by the forwarder.

In: questions by UDP and TCP. Out: answers. Bounded: TCP connections, how long one may be idle, questions at a time.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import Counter
from typing import cast

from kubecore.proxy.dns.forward import Forwarder
from kubecore.proxy.dns.message import (
    RECURSION_DESIRED,
    BadMessage,
    Code,
    Query,
    Record,
    Type,
    name_bytes,
    parse,
    respond,
)
from kubecore.proxy.dns.records import ClusterRecords, Found

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 512
IDLE_SECONDS = 10.0
FORWARDED_MAX = 1000
"""Questions of UDP clients that wait for somebody else; beyond it one is answered with SERVFAIL at once."""
ALIASES_MAX = 8
HEADER_BYTES = 12


class NameServer:
    """`serve` works until cancelled; answers are counted by their code in `answered`."""

    def __init__(self, records: ClusterRecords, forwarder: Forwarder) -> None:
        self._records = records
        self._forwarder = forwarder
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self.answered: Counter[str] = Counter()

    async def serve(self, udp: socket.socket, tcp: socket.socket) -> None:
        """Both sockets are bound, `tcp` listens; they are closed at the end."""
        loop = asyncio.get_running_loop()
        udp.setblocking(False)
        tcp.setblocking(False)
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
        server = await asyncio.start_server(self._connected, sock=tcp)
        try:
            await server.serve_forever()
        finally:
            transport.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # ── questions ──

    def answer_now(self, message: bytes, *, tcp: bool) -> tuple[bytes | None, Query | None]:
        """(the answer, None), or (None, the question) if somebody else has to be asked; (None, None): no answer."""
        try:
            query = parse(message)
        except BadMessage as bad:
            return bad.answer or None, None
        found = self._records.lookup(query.name, query.type)
        if found is None or (found.alias and query.type != Type.CNAME):
            return None, query
        return self._respond(query, found, tcp=tcp), None

    async def answer_later(self, message: bytes, query: Query, *, tcp: bool) -> bytes:
        found = self._records.lookup(query.name, query.type)
        if found is not None:
            return await self._follow(query, found, tcp=tcp)
        if not query.flags & RECURSION_DESIRED or not self._forwarder.servers:
            return self._plain(query, Code.REFUSED)
        answer = await self._forwarder.ask(message, tcp=tcp)
        if answer is None:
            return self._plain(query, Code.SERVER_FAILURE)
        self.answered["forwarded"] += 1
        return answer

    def _plain(self, query: Query, code: Code) -> bytes:
        self.answered[code.name] += 1
        return respond(query, code, recursion=bool(self._forwarder.servers))

    def _respond(self, query: Query, found: Found, *, tcp: bool) -> bytes:
        self.answered[found.code.name] += 1
        return respond(
            query,
            found.code,
            found.answers,
            () if found.answers else (self._records.start_of_authority(),),
            found.additional,
            authoritative=True,
            recursion=bool(self._forwarder.servers),
            limit=65535 if tcp else query.udp_bytes,
        )

    async def _follow(self, query: Query, found: Found, *, tcp: bool) -> bytes:
        """An external name: a client's resolver wants the address too, and cannot go on by itself."""
        answers: list[Record] = list(found.answers)
        for _ in range(ALIASES_MAX):
            if not found.alias:
                break
            after = self._records.lookup(found.alias, query.type)
            if after is None:
                return await self._follow_outside(query, answers, found.alias, tcp=tcp)
            answers += after.answers
            found = after
        return self._respond(query, Found(Code.SUCCESS, tuple(answers)), tcp=tcp)

    async def _follow_outside(self, query: Query, answers: list[Record], alias: str, *, tcp: bool) -> bytes:
        """What is found there is added as it is; nothing found: the alias alone says enough."""
        asked = name_bytes(alias) + struct.pack("!HH", query.type, 1)
        question = struct.pack("!HHHHHH", query.id, RECURSION_DESIRED, 1, 0, 0, 0) + asked
        answer = await self._forwarder.ask(question, tcp=tcp)
        if answer is not None:
            answers += addresses_in(answer, alias, len(asked))
        return self._respond(query, Found(Code.SUCCESS, tuple(answers)), tcp=tcp)

    # ── TCP ──

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS_MAX:
                await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            # The client went away, or said nothing for too long.
            pass
        finally:
            self._connections -= 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                message = await reader.readexactly(length)
            answer, query = self.answer_now(message, tcp=True)
            if query is not None:
                answer = await self.answer_later(message, query, tcp=True)
            if answer is None:
                return
            writer.write(struct.pack("!H", len(answer)) + answer)
            async with asyncio.timeout(IDLE_SECONDS):
                await writer.drain()

    # ── UDP ──

    def received(self, message: bytes, client: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        answer, query = self.answer_now(message, tcp=False)
        if query is None:
            if answer is not None:
                transport.sendto(answer, client)
        elif len(self._tasks) >= FORWARDED_MAX:
            transport.sendto(self._plain(query, Code.SERVER_FAILURE), client)
        else:
            task = asyncio.create_task(self._answer_later(message, query, client, transport))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer_later(
        self, message: bytes, query: Query, client: tuple[str, int], transport: asyncio.DatagramTransport
    ) -> None:
        answer = await self.answer_later(message, query, tcp=False)
        if not transport.is_closing():
            transport.sendto(answer, client)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._server.received(data, addr, self._transport)

    def error_received(self, exc: Exception) -> None:
        # A client that is gone already: its answer could not be delivered.
        log.debug("a client did not take its answer: %s", exc)


_ADDRESS_BYTES = {Type.A: 4, Type.AAAA: 16}


def addresses_in(answer: bytes, alias: str, question_bytes: int) -> list[Record]:
    """The addresses that somebody else's answer holds, as the alias's own."""
    found: list[Record] = []
    at = HEADER_BYTES + question_bytes
    try:
        for _ in range(struct.unpack_from("!H", answer, 6)[0]):
            at = _after_name(answer, at)
            kind, _, ttl_seconds, length = struct.unpack_from("!HHIH", answer, at)
            at += 10
            if _ADDRESS_BYTES.get(kind) == length and at + length <= len(answer):
                family = socket.AF_INET if kind == Type.A else socket.AF_INET6
                address = socket.inet_ntop(family, answer[at : at + length])
                found.append(Record(alias, Type(kind), ttl_seconds, address))
            at += length
    except (struct.error, IndexError):
        # What could be read counts; the client asks again for what it misses.
        log.debug("an answer about %s ends early", alias)
    return found


def _after_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length & 0xC0:
            return at + 2
        at += 1 + length
    return at + 1
