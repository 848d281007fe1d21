"""Connections and datagrams, passed on by this process.

In: a `Listen` and its `Route`, which may be exchanged at any time; what is under way stays where it goes. Bounded:
connections, UDP flows, clients remembered for affinity.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol, cast

from kubecore.api.clock import Clock
from kubecore.proxy.model import Endpoint
from kubecore.proxy.userspace.routes import Listen, Route

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 4096
"""Of all ports; beyond it a new one is closed at once."""
FLOWS_MAX = 4096
"""UDP clients of one port; beyond it the one idle for longest is forgotten."""
CLIENTS_MAX = 65536
FLOW_IDLE_SECONDS = 60.0
CONNECT_SECONDS = 5.0
CHUNK_BYTES = 1 << 16


class Forward(Protocol):
    def set_route(self, route: Route) -> None: ...

    async def open(self) -> None:
        """Raises OSError."""
        ...

    async def close(self) -> None: ...


class Choice:
    """Whom a client goes to: any endpoint, or the one it went to before, for as long as the route says."""

    def __init__(self, route: Route, clock: Clock, randomness: random.Random) -> None:
        self.route = route
        self._clock = clock
        self._random = randomness
        self._remembered: OrderedDict[str, tuple[Endpoint, float]] = OrderedDict()

    def order(self, client: str) -> Sequence[Endpoint]:
        """Endpoints in the order in which to try them."""
        shuffled = self._random.sample(self.route.endpoints, len(self.route.endpoints))
        known = self._remembered.get(client)
        if known and known[0] in shuffled and self._clock.monotonic() - known[1] < self.route.affinity_seconds:
            shuffled.remove(known[0])
            shuffled.insert(0, known[0])
        return shuffled

    def took(self, client: str, endpoint: Endpoint) -> None:
        if not self.route.affinity_seconds:
            return
        self._remembered[client] = (endpoint, self._clock.monotonic())
        self._remembered.move_to_end(client)
        if len(self._remembered) > CLIENTS_MAX:
            self._remembered.popitem(last=False)


def bound(listen: Listen) -> socket.socket:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if listen.protocol == "UDP" else socket.SOCK_STREAM
    made = socket.socket(family, kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind((listen.address, listen.port))
    except OSError:
        made.close()
        raise
    return made


class TcpForward:
    def __init__(self, listen: Listen, choice: Choice, connections: set[asyncio.Task[None]]) -> None:
        """`connections`: those of all ports; they outlive the port."""
        self._listen = listen
        self._choice = choice
        self._server: asyncio.Server | None = None
        self._connections = connections

    def set_route(self, route: Route) -> None:
        self._choice.route = route

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accepted, sock=bound(self._listen))

    async def close(self) -> None:
        """What is under way goes on until its ends close it, as it does in the kernel."""
        if self._server is not None:
            self._server.close()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = str(writer.get_extra_info("peername")[0])
        if len(self._connections) >= CONNECTIONS_MAX or not self._choice.route.lets_in(client):
            _reset(writer)
            return
        task = asyncio.create_task(self._pass(client, reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _pass(self, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await self._connect(client)
        if onward is None:
            _reset(writer)
            return
        try:
            await asyncio.gather(_pump(reader, onward[1]), _pump(onward[0], writer))
        except OSError:
            # One end broke off: so does the other.
            _reset(writer)
            _reset(onward[1])
        finally:
            writer.close()
            onward[1].close()

    async def _connect(self, client: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for endpoint in self._choice.order(client):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    made = await asyncio.open_connection(endpoint.ip, endpoint.port)
            except (OSError, TimeoutError):
                continue
            self._choice.took(client, endpoint)
            return made
        log.warning("%s: no endpoint of %s takes connections", self._listen, self._choice.route.service)
        return None


def _reset(writer: asyncio.StreamWriter) -> None:
    """Breaks off, so that the other side learns that this was no proper end."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the one side has said all it had to say; the other may go on."""
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


class UdpForward(asyncio.DatagramProtocol):
    """Each client has a flow: a socket of its own towards its endpoint."""

    def __init__(self, listen: Listen, choice: Choice) -> None:
        self._listen = listen
        self._choice = choice
        self._transport: asyncio.DatagramTransport | None = None
        self._flows: OrderedDict[tuple[str, int], _Flow] = OrderedDict()

    def set_route(self, route: Route) -> None:
        """Flows to endpoints that are no more are given up: their clients' next datagrams go elsewhere."""
        self._choice.route = route
        for client, flow in list(self._flows.items()):
            if flow.endpoint not in route.endpoints:
                self.forget(client)

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, sock=bound(self._listen))

    async def close(self) -> None:
        for client in list(self._flows):
            self.forget(client)
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self._choice.route.lets_in(addr[0]):
            return
        flow = self._flows.get(addr)
        if flow is None:
            endpoint = self._choice.order(addr[0])[0]
            self._choice.took(addr[0], endpoint)
            flow = self._flows[addr] = _Flow(self, addr, endpoint)
            if len(self._flows) > FLOWS_MAX:
                self.forget(next(iter(self._flows)))
        self._flows.move_to_end(addr)
        flow.send(data)

    def answer(self, data: bytes, client: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, client)

    def forget(self, client: tuple[str, int]) -> None:
        flow = self._flows.pop(client, None)
        if flow is not None:
            flow.close()


class _Flow(asyncio.DatagramProtocol):
    def __init__(self, owner: UdpForward, client: tuple[str, int], endpoint: Endpoint) -> None:
        self._owner = owner
        self._client = client
        self.endpoint = endpoint
        self._waiting: list[bytes] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._opening = asyncio.ensure_future(self._open())
        self._touch()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: self, remote_addr=(self.endpoint.ip, self.endpoint.port))
        except OSError as failure:
            log.warning("no way to %s: %s", self.endpoint.text, failure)
            self._owner.forget(self._client)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        for data in self._waiting:
            self._transport.sendto(data)
        self._waiting.clear()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._touch()
        self._owner.answer(data, self._client)

    def error_received(self, exc: Exception) -> None:
        # Nobody listens there (any more): the next datagram may find somebody else.
        self._owner.forget(self._client)

    def send(self, data: bytes) -> None:
        self._touch()
        if self._transport is None:
            self._waiting.append(data)
        else:
            self._transport.sendto(data)

    def _touch(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(FLOW_IDLE_SECONDS, self._owner.forget, self._client)

    def close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._opening.cancel()
        if self._transport is not None:
            self._transport.close()
