"""The transport over HTTPS: one connection pool, one identity.

aiohttp is imported when a transport is made: a program that only works in process never pays for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from kubecore.client import codec
from kubecore.client.kubeconfig import ClientConfig
from kubecore.client.transport import (
    Pairs,
    Request,
    Response,
    StreamRefused,
    TransportError,
    WatchEvent,
)

if TYPE_CHECKING:
    import aiohttp

CONNECTIONS_MAX = 256
"""Connections to the server, watches included; a request waits for one beyond that."""

BATCH_CONCURRENCY_MAX = 64
"""Requests of one batch under way at once."""

CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 60.0
"""A request without an answer for that long fails; upstream's server gives up after the same time."""

WEBSOCKET_MESSAGE_BYTES_MAX = 8 * 1024 * 1024
UPGRADE_HEADERS = (
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
)
"""Of a handshake that is known to be refused, to learn why."""

WATCH_LINE_BYTES_MAX = 8 * 1024 * 1024
"""A watch line beyond this breaks the stream: objects are at most 3 MiB in any server."""


class HttpTransport:
    """Implements `Transport`. Must be made inside a running event loop."""

    def __init__(self, config: ClientConfig, *, user_agent: str = "kubecore") -> None:
        import aiohttp

        self._config = config
        self._failures: tuple[type[Exception], ...] = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
        self._timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        self._stream_timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        self._tls: ssl.SSLContext | bool = tls_context(config) if config.server.startswith("https:") else True
        auth = aiohttp.BasicAuth(config.username, config.password) if config.username else None
        self._session: aiohttp.ClientSession = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=self._tls),
            headers={"user-agent": user_agent},
            auth=auth,
            skip_auto_headers=("accept", "content-type"),
        )
        self._batch_slots = asyncio.Semaphore(BATCH_CONCURRENCY_MAX)

    async def request(
        self, method: str, path: str, query: Pairs = (), headers: Pairs = (), body: bytes = b""
    ) -> Response:
        try:
            async with self._send(method, path, query, headers, body, self._timeout) as answer:
                return await _response(answer)
        except self._failures as failure:
            raise TransportError(f"{method} {self._config.server}{path}: {_text(failure)}") from failure

    async def batch(self, requests: Sequence[Request]) -> list[Response]:
        return await asyncio.gather(*(self._one_of_batch(request) for request in requests))

    async def _one_of_batch(self, request: Request) -> Response:
        async with self._batch_slots:
            return await self.request(request.method, request.path, request.query, request.headers, request.body)

    async def stream(self, path: str, query: Pairs = (), headers: Pairs = ()) -> AsyncGenerator[list[WatchEvent], None]:
        try:
            async with self._send("GET", path, query, headers, b"", self._stream_timeout) as answer:
                if answer.status != 200:
                    raise StreamRefused(await _response(answer))
                rest = b""
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    if len(rest) > WATCH_LINE_BYTES_MAX:
                        raise TransportError(f"GET {path}: a watch line of more than {WATCH_LINE_BYTES_MAX} bytes")
                    events = [_event(line) for line in lines if line.strip()]
                    if events:
                        yield events
        except self._failures as failure:
            raise TransportError(f"GET {self._config.server}{path}: {_text(failure)}") from failure

    async def download(self, path: str, query: Pairs = ()) -> AsyncGenerator[bytes, None]:
        """What is answered, as it comes: a log that may go on. Raises StreamRefused, TransportError."""
        try:
            async with self._send("GET", path, query, (), b"", self._stream_timeout) as answer:
                if answer.status >= 400:
                    raise StreamRefused(await _response(answer))
                async for piece in answer.content.iter_any():
                    yield piece
        except self._failures as failure:
            raise TransportError(f"GET {self._config.server}{path}: {_text(failure)}") from failure

    @contextlib.asynccontextmanager
    async def websocket(
        self, path: str, query: Pairs, protocols: Sequence[str]
    ) -> AsyncGenerator[aiohttp.ClientWebSocketResponse, None]:
        """An upgraded connection: exec, attach, port-forward. Raises StreamRefused, TransportError."""
        import aiohttp

        token = self._config.bearer_token()
        try:
            socket = await self._session.ws_connect(
                f"{self._config.server}{path}?{urlencode(list(query))}",
                protocols=protocols,
                headers={"authorization": f"Bearer {token}"} if token else {},
                server_hostname=self._config.tls_server_name or None,
                proxy=self._config.proxy_url or None,
                max_msg_size=WEBSOCKET_MESSAGE_BYTES_MAX,
            )
        except aiohttp.WSServerHandshakeError as refusal:
            # The library keeps the status and throws the words away: asked again, plainly, they come.
            answer = await self.request("GET", path, query, UPGRADE_HEADERS)
            status = answer.status if answer.status >= 400 else refusal.status
            raise StreamRefused(Response(status, answer.headers, answer.body)) from refusal
        except self._failures as failure:
            raise TransportError(f"GET {self._config.server}{path}: {_text(failure)}") from failure
        try:
            yield socket
        finally:
            await socket.close()

    async def close(self) -> None:
        await self._session.close()

    def _send(
        self, method: str, path: str, query: Pairs, headers: Pairs, body: bytes, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.client._RequestContextManager:
        sent = list(headers)
        token = self._config.bearer_token()
        if token:
            sent.append(("authorization", f"Bearer {token}"))
        return self._session.request(
            method,
            self._config.server + path,
            params=list(query),
            headers=sent,
            data=body or None,
            timeout=timeout,
            server_hostname=self._config.tls_server_name or None,
            proxy=self._config.proxy_url or None,
            allow_redirects=False,
        )


def tls_context(config: ClientConfig) -> ssl.SSLContext:
    """How to trust the server, and who to be: raises ssl.SSLError for a certificate that is none."""
    authority = config.certificate_authority_pem.decode()
    context = ssl.create_default_context(cadata=authority or None)
    if config.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.client_certificate_pem:
        # The ssl module reads a key pair from files only.
        with tempfile.TemporaryDirectory() as directory:
            pair = Path(directory) / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(config.client_certificate_pem + b"\n" + config.client_key_pem)
            context.load_cert_chain(pair)
    return context


async def _response(answer: aiohttp.ClientResponse) -> Response:
    headers = [(name.lower(), value) for name, value in answer.headers.items()]
    return Response(answer.status, headers, await answer.read())


def _event(line: bytes) -> WatchEvent:
    event = codec.decode_watch_line(line)
    return event.type, bytes(event.object)


def _text(failure: Exception) -> str:
    return str(failure) or type(failure).__name__
