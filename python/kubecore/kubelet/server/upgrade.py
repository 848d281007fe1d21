"""Takes an HTTP connection over after a 101: from then on it is bytes both ways, for SPDY."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiohttp import hdrs, web

from kubecore.kubelet.server.inbox import INBOX_SIZE_MAX_BYTES

SPDY = "SPDY/3.1"
PROTOCOL_HEADER = "X-Stream-Protocol-Version"
ACCEPTED_HEADER = "X-Accepted-Stream-Protocol-Versions"


def asks_for(request: web.Request, protocol: str) -> bool:
    """Whether the client wants to switch to that protocol."""
    connection = ",".join(request.headers.getall(hdrs.CONNECTION, ()))
    upgrade = request.headers.get(hdrs.UPGRADE, "")
    return "upgrade" in connection.lower() and upgrade.lower() == protocol.lower()


def offered(request: web.Request, header: str) -> list[str]:
    """The words of a header that may come several times."""
    return [word.strip() for value in request.headers.getall(header, ()) for word in value.split(",") if word.strip()]


def missing_upgrade() -> web.HTTPException:
    return web.HTTPBadRequest(text="unable to upgrade: missing upgrade headers in request\n")


def agreed(request: web.Request, supported: Sequence[str]) -> str:
    """The first protocol that the client offers and the server has; "" if it offers none at all. Raises HTTPForbidden."""
    wanted = offered(request, PROTOCOL_HEADER)
    if not wanted:
        return ""
    for protocol in wanted:
        if protocol in supported:
            return protocol
    raise web.HTTPForbidden(
        text=f"unable to upgrade: unable to negotiate protocol: client supports {wanted}, server accepts {list(supported)}",
        headers=[(ACCEPTED_HEADER, protocol) for protocol in supported],
    )


class UpgradedConnection:
    """Is a `Duplex`. aiohttp hands it what arrives as it does to its own WebSockets: `feed_data`, `feed_eof`."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._buffer = bytearray()
        self._ended = False
        self._changed = asyncio.Event()
        self.response = web.StreamResponse(status=101)

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Answers 101; raises ConnectionError if the client has left before."""
        request = self._request
        self.response.headers.update({hdrs.CONNECTION: "Upgrade", hdrs.UPGRADE: SPDY, **headers})
        self.response.force_close()
        await self.response.prepare(request)
        if request.transport is None:
            raise ConnectionResetError("the client has left")
        self._transport = request.transport
        # Typed for aiohttp's own reader; what it asks of it is these two methods.
        request.protocol.set_parser(self)  # type: ignore[arg-type]
        request.protocol.keep_alive(False)

    async def read(self) -> bytes:
        while not self._buffer and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        taken = bytes(self._buffer)
        self._buffer.clear()
        if not self._ended and not self._transport.is_closing():
            self._transport.resume_reading()
        return taken

    async def write(self, data: bytes) -> None:
        if self._ended:
            raise ConnectionResetError("the client has left")
        await self.response.write(data)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._buffer += data
        if len(self._buffer) > INBOX_SIZE_MAX_BYTES:
            self._transport.pause_reading()
        self._changed.set()
        return False, b""

    def feed_eof(self) -> None:
        self._ended = True
        self._changed.set()
