"""Port-forward: connections to ports on a pod's loopback, many over one connection of the client.

    SPDY, portforward.k8s.io               a data and an error stream for each connection, paired by `requestID`
    WebSocket, SPDY/3.1+portforward.k8s.io the same SPDY, in messages
    WebSocket, v4.channel.k8s.io, ...      one connection for each port of the query: channel 2n is data, 2n+1 errors

What goes wrong with one connection is told on its error stream; the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from kubecore.kubelet.runtimes.protocol import RuntimeFailure, Streams
from kubecore.kubelet.server import websocket
from kubecore.kubelet.server.command import Pipe
from kubecore.kubelet.server.spdy import Duplex, Session, Stream
from kubecore.kubelet.server.upgrade import (
    PROTOCOL_HEADER,
    SPDY,
    UpgradedConnection,
    agreed,
    asks_for,
    missing_upgrade,
)

PROTOCOL = "portforward.k8s.io"
TUNNELS = (f"SPDY/3.1+{PROTOCOL}", f"v2.{PROTOCOL}")
"""The second: the name under which kubectl 1.30 began."""
STREAM_CREATION_SECONDS = 30.0
"""A stream whose partner has not come by then is reset."""
PORTS_MAX = 100
"""Of a WebSocket with channels."""

PAIRS_MAX = 1_000
"""Connections of one client at a time, those that still lack a stream among them."""

Connect = Callable[[int], Awaitable[Streams]]
"""A connection to that port in the pod. Raises RuntimeFailure."""


@dataclass(frozen=True, slots=True)
class Target:
    """`told_as`: the pod, as its failures name it."""

    connect: Connect
    told_as: str


async def handle(request: web.Request, target: Target) -> web.StreamResponse:
    """Serves one client to its end. Raises an HTTPException for a request that cannot be upgraded."""
    if asks_for(request, "websocket"):
        socket = await websocket.accept(request, (*TUNNELS, *websocket.BINARY[1:], *websocket.BASE64))
        if socket.ws_protocol in TUNNELS:
            await _serve_spdy(websocket.Tunnel(socket), target)
        else:
            await _serve_channels(socket, _ports(request), target)
        with contextlib.suppress(ConnectionError):
            await socket.close()
        return socket
    if asks_for(request, SPDY):
        protocol = agreed(request, (PROTOCOL,))
        connection = UpgradedConnection(request)
        await connection.begin({PROTOCOL_HEADER: protocol} if protocol else {})
        await _serve_spdy(connection, target)
        return connection.response
    raise missing_upgrade()


def _ports(request: web.Request) -> list[int]:
    texts = [text for value in request.query.getall("port", ()) for text in value.split(",")]
    if not texts:
        raise web.HTTPBadRequest(text='query parameter "port" is required\n')
    if len(texts) > PORTS_MAX or not all(text.isdigit() and 0 < int(text) < 65536 for text in texts):
        raise web.HTTPBadRequest(text=f'query parameter "port" has invalid value {texts}\n')
    return [int(text) for text in texts]


async def _serve_channels(socket: web.WebSocketResponse, ports: list[int], target: Target) -> None:
    connection = websocket.ChannelConnection(socket, count=2 * len(ports))
    reading = asyncio.create_task(connection.run())
    pairs = [
        (port, data, error)
        for port, data, error in zip(ports, connection.channels[::2], connection.channels[1::2], strict=True)
    ]
    try:
        with contextlib.suppress(ConnectionError):
            for port, data, error in pairs:
                # Which port a channel is for: said first, on both.
                await data.write(struct.pack("<H", port))
                await error.write(struct.pack("<H", port))
            forwards = [asyncio.create_task(_forward(port, data, error, target)) for port, data, error in pairs]
            await _until_left(reading, forwards, wait_for_all=True)
    finally:
        reading.cancel()


@dataclass(slots=True)
class _Pair:
    data: Stream | None = None
    error: Stream | None = None
    complete: asyncio.Event = field(default_factory=asyncio.Event)


async def _serve_spdy(duplex: Duplex, target: Target) -> None:
    session = Session(duplex)
    reading = asyncio.create_task(session.run())
    pairs: dict[str, _Pair] = {}
    tasks: set[asyncio.Task[None]] = set()
    try:
        while (stream := await session.accept()) is not None:
            kind, key = stream.headers.get("streamtype", ""), _request_id(stream)
            if kind not in ("data", "error") or not stream.headers.get("port", "").isdigit():
                await stream.reset()
                continue
            pair = pairs.get(key)
            if pair is None and len(pairs) >= PAIRS_MAX:
                await stream.reset()
                continue
            if pair is None:
                pair = pairs[key] = _Pair()
                task = asyncio.create_task(_serve_pair(key, pairs, target))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            if kind == "data":
                pair.data = stream
            else:
                pair.error = stream
            if pair.data is not None and pair.error is not None:
                pair.complete.set()
    except ConnectionError:
        pass
    finally:
        await _until_left(reading, list(tasks), wait_for_all=False)


def _request_id(stream: Stream) -> str:
    """The first clients sent none: their error stream comes right before its data stream."""
    given = stream.headers.get("requestid")
    if given:
        return given
    return str(stream.id if stream.headers.get("streamtype") == "error" else stream.id - 2)


async def _serve_pair(key: str, pairs: dict[str, _Pair], target: Target) -> None:
    pair = pairs[key]
    try:
        try:
            async with asyncio.timeout(STREAM_CREATION_SECONDS):
                await pair.complete.wait()
        except TimeoutError:
            for stream in (pair.data, pair.error):
                if stream is not None:
                    await stream.reset()
            return
        if pair.data is not None and pair.error is not None:
            await _forward(int(pair.data.headers["port"]), pair.data, pair.error, target)
    except ConnectionError:
        pass  # the client has left, and with it whoever would hear of it
    finally:
        pairs.pop(key, None)


async def _forward(port: int, data: Pipe, error: Pipe, target: Target) -> None:
    """One connection: its end is the pod's; a client that has said all may still listen."""
    try:
        streams = await target.connect(port)
    except RuntimeFailure as failure:
        await error.write(f"error forwarding port {port} to {target.told_as}: {failure.message}".encode())
    else:
        feeding = asyncio.create_task(_feed(data, streams))
        try:
            while piece := await streams.read_stdout():
                await data.write(piece)
        except RuntimeFailure as failure:
            await error.write(f"error forwarding port {port} to {target.told_as}: {failure.message}".encode())
        finally:
            feeding.cancel()
            with contextlib.suppress(RuntimeFailure):
                await streams.close()
    await data.close()
    await error.close()


async def _feed(data: Pipe, streams: Streams) -> None:
    # A server that reads no more ends the connection by itself.
    with contextlib.suppress(RuntimeFailure, ConnectionError):
        while piece := await data.read():
            await streams.write_stdin(piece)
        await streams.close_stdin()


async def _until_left(reading: asyncio.Task[Any], forwards: list[asyncio.Task[None]], *, wait_for_all: bool) -> None:
    """Ends what is forwarded with its client."""
    if wait_for_all and forwards:
        everything = asyncio.create_task(asyncio.wait(forwards))
        await asyncio.wait((reading, everything), return_when=asyncio.FIRST_COMPLETED)
        everything.cancel()
    for task in (reading, *forwards):
        task.cancel()
    await asyncio.gather(reading, *forwards, return_exceptions=True)
