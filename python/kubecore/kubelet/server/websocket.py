"""WebSockets as Kubernetes uses them: several channels in one, by a first byte, and SPDY tunnelled in messages.

    protocol                      message                     ends of channels
    channel.k8s.io, v4.…, v5.…    channel byte, data          v5: byte 255, channel
    base64.…, v4.base64.…         channel digit, base64       none
    SPDY/3.1+portforward.k8s.io   bytes of a SPDY connection  SPDY's

Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from aiohttp import WSMsgType, hdrs, web

from kubecore.kubelet.server.inbox import Inbox
from kubecore.kubelet.server.upgrade import offered

MESSAGE_SIZE_MAX_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 32 * 1024
"""Of what is written, in one message."""
_CLOSE_SIGNAL = 255

BINARY = ("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io")
BASE64 = ("v4.base64.channel.k8s.io", "base64.channel.k8s.io")


async def accept(request: web.Request, supported: Sequence[str]) -> web.WebSocketResponse:
    """The handshake. A client that offers no protocol speaks the oldest. Raises HTTPForbidden if it offers none of ours."""
    wanted = offered(request, hdrs.SEC_WEBSOCKET_PROTOCOL)
    if wanted and not set(wanted) & set(supported):
        raise web.HTTPForbidden(text=f"requested protocol(s) are not supported: {wanted}; supports {list(supported)}\n")
    socket = web.WebSocketResponse(protocols=supported, max_msg_size=MESSAGE_SIZE_MAX_BYTES, compress=False)
    await socket.prepare(request)
    return socket


class Channel:
    """One of a WebSocket's channels: what the client sends is taken from `inbox`, what is written goes to the client."""

    def __init__(self, connection: ChannelConnection, number: int) -> None:
        self.inbox = Inbox()
        self._connection = connection
        self._number = number

    async def read(self) -> bytes:
        return await self.inbox.take()

    async def write(self, data: bytes) -> None:
        """An empty piece is a message too. Raises ConnectionError."""
        for start in range(0, max(len(data), 1), PIECE_BYTES):
            await self._connection.send(self._number, data[start : start + PIECE_BYTES])

    async def close(self) -> None:
        """Only the whole connection has an end that the client could see."""


class ChannelConnection:
    """`run` is one task; channels are used by others."""

    def __init__(self, socket: web.WebSocketResponse, *, count: int) -> None:
        self._socket = socket
        self._is_base64 = socket.ws_protocol in BASE64
        self._says_ends = socket.ws_protocol == "v5.channel.k8s.io"
        self.channels = [Channel(self, number) for number in range(count)]

    async def run(self) -> None:
        """Reads until the client has left or has sent what is no message of the protocol."""
        try:
            async for message in self._socket:
                if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT) or not message.data:
                    continue
                data = message.data.encode() if message.type is WSMsgType.TEXT else message.data
                if not await self._take(data):
                    return
        finally:
            for channel in self.channels:
                channel.inbox.end()
            # They know the connection too: it and its buffers go with the last one who writes, not with the collector.
            self.channels = []

    async def _take(self, data: bytes) -> bool:
        number = data[0] - ord("0") if self._is_base64 else data[0]
        if self._says_ends and number == _CLOSE_SIGNAL:
            if len(data) > 1 and data[1] < len(self.channels):
                self.channels[data[1]].inbox.end()
            return True
        if not 0 <= number < len(self.channels):
            return False
        payload = data[1:]
        if self._is_base64:
            try:
                payload = base64.b64decode(payload, validate=True)
            except binascii.Error:
                return False
        if payload:
            await self.channels[number].inbox.put(payload)
        return True

    async def send(self, number: int, data: bytes) -> None:
        if self._is_base64:
            await self._socket.send_str(f"{number}{base64.b64encode(data).decode()}")
        else:
            await self._socket.send_bytes(bytes([number]) + data)


class Tunnel:
    """Is a `Duplex`: the bytes of another protocol in a WebSocket's binary messages."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY and message.data:
                data: bytes = message.data
                return data
        return b""

    async def write(self, data: bytes) -> None:
        await self._socket.send_bytes(data)
