"""How exec and attach come in: over WebSocket (v5 down to the first protocol) or SPDY (v4 down to v1).

Both become the same `Channels`. Source: upstream's remotecommand protocols, KEP-4006.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from kubecore.kubelet.runtimes.protocol import Streams
from kubecore.kubelet.server import websocket
from kubecore.kubelet.server.command import Channels, Pipe, Wanted, serve
from kubecore.kubelet.server.spdy import Session, Stream
from kubecore.kubelet.server.upgrade import (
    PROTOCOL_HEADER,
    SPDY,
    UpgradedConnection,
    agreed,
    asks_for,
    missing_upgrade,
)

STREAM_CREATION_SECONDS = 30.0
"""A client that has not opened its streams by then is gone."""
CLOSE_SECONDS = 10.0
"""How long a client may take to take the last bytes."""

_SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_SPDY_WITH_RESIZE = ("v4.channel.k8s.io", "v3.channel.k8s.io")
_WEBSOCKET_WITH_STATUS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE = range(5)

Start = Callable[[], Awaitable[Streams]]


async def handle(request: web.Request, wanted: Wanted, start: Start, *, what: str) -> web.StreamResponse:
    """Serves one exec or attach to its end. Raises an HTTPException for a request that cannot be upgraded."""
    if asks_for(request, "websocket"):
        return await _over_websocket(request, wanted, start, what)
    if asks_for(request, SPDY):
        return await _over_spdy(request, wanted, start, what)
    raise missing_upgrade()


async def _over_websocket(request: web.Request, wanted: Wanted, start: Start, what: str) -> web.StreamResponse:
    socket = await websocket.accept(request, (*websocket.BINARY, *websocket.BASE64))
    connection = websocket.ChannelConnection(socket, count=5)
    pipes = connection.channels
    channels = Channels(
        error=pipes[_ERROR],
        stdin=pipes[_STDIN] if wanted.stdin else None,
        stdout=pipes[_STDOUT] if wanted.stdout else None,
        stderr=pipes[_STDERR] if wanted.stderr else None,
        resize=pipes[_RESIZE] if wanted.tty else None,
        tells_status=socket.ws_protocol in _WEBSOCKET_WITH_STATUS,
    )
    reading = asyncio.create_task(connection.run())
    try:
        # The first message says that the connection stands, before the command has anything to say.
        with contextlib.suppress(ConnectionError):
            await (channels.stdout or channels.stderr or channels.error).write(b"")
            await serve(channels, start, what=what, client_left=asyncio.shield(reading))
    finally:
        with contextlib.suppress(ConnectionError):
            await socket.close()
        reading.cancel()
    return socket


async def _over_spdy(request: web.Request, wanted: Wanted, start: Start, what: str) -> web.StreamResponse:
    protocol = agreed(request, _SPDY_PROTOCOLS)
    connection = UpgradedConnection(request)
    await connection.begin({PROTOCOL_HEADER: protocol} if protocol else {})
    session = Session(connection)
    reading = asyncio.create_task(session.run())
    try:
        streams = await _opened(session, wanted, with_resize=protocol in _SPDY_WITH_RESIZE)
        if streams is not None:
            channels = Channels(**streams, tells_status=protocol == "v4.channel.k8s.io")
            await serve(channels, start, what=what, client_left=asyncio.shield(reading))
            # The client closes once it has read all ends; closing first might take them from it.
            await asyncio.wait([reading], timeout=CLOSE_SECONDS)
    finally:
        reading.cancel()
    return connection.response


async def _opened(session: Session, wanted: Wanted, *, with_resize: bool) -> dict[str, Pipe] | None:
    """All streams that such a client opens, by type; None if it does not."""
    expected = {"error"} | {name for name in ("stdin", "stdout", "stderr") if getattr(wanted, name)}
    if wanted.tty and with_resize:
        expected.add("resize")
    opened: dict[str, Pipe] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STREAM_CREATION_SECONDS):
            while expected - opened.keys():
                stream: Stream | None = await session.accept()
                if stream is None:
                    return None
                kind = stream.headers.get("streamtype", "")
                if kind in expected:
                    opened[kind] = stream
                else:
                    await stream.reset()
        return opened
    return None
