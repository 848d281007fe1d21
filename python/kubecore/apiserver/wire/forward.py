"""Carries forwarded requests to where they are answered: dials, does TLS, and pumps bytes that it does not read (but for
pages that are proxied: `pages.py`).

In: a `Backend` from the registry. Out: one end of a socket pair, on which the wire speaks HTTP/1.1 as if it were the backend itself.
The other end is pumped by one thread with an event loop, started with the first forward. An address that cannot be reached is answered
on the pair with a Status, so the wire has one path.

Bounds: `FORWARDS_MAX` at a time (429 beyond), `DIALS_MAX` being dialled (more wait), `DIAL_TIMEOUT_SECONDS` and
`HANDSHAKE_TIMEOUT_SECONDS` for a connection, `PIECE_BYTES` in flight each way.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from kubecore.api.errors import ServiceUnavailable, StatusError, TooManyRequests
from kubecore.apiserver.registry.backend import Backend, Security
from kubecore.apiserver.wire import pages
from kubecore.apiserver.wire.dial import Dialer

log = logging.getLogger(__name__)

FORWARDS_MAX = 2_000
DIALS_MAX = 64
DIAL_TIMEOUT_SECONDS = 30.0
HANDSHAKE_TIMEOUT_SECONDS = 10.0
PIECE_BYTES = 64 * 1024
_REFUSAL_TAKEN_SECONDS = 5.0
"""How long the wire has to take a refusal before the pair is closed."""

_encode_json = msgspec.json.Encoder().encode


class ClientKeys(Protocol):
    """A client certificate and its key, in PEM."""

    @property
    def certificate_pem(self) -> bytes: ...
    @property
    def key_pem(self) -> bytes: ...


class KubeletKeys(Protocol):
    @property
    def kubelet_client(self) -> ClientKeys:
        """Whom kubelets know the server as; asked for when first needed."""
        ...


class Forwarder:
    """May be asked from any thread."""

    def __init__(
        self,
        keys: KubeletKeys,
        *,
        dialer: Dialer,
        kubelet_ca_pem: bytes | None = None,
    ) -> None:
        """kubelet_ca_pem: who vouches for kubelets; None: their certificates are not checked, as upstream without
        --kubelet-certificate-authority."""
        self._keys = keys
        self._kubelet_ca_pem = kubelet_ca_pem
        self._dialer = dialer
        self._diallers = ThreadPoolExecutor(max_workers=DIALS_MAX, thread_name_prefix="kubecore-dial")
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._contexts: dict[Security, ssl.SSLContext | None] = {}

    def open(self, backend: Backend) -> int:
        """Begins to carry; gives the wire's end of the pair, which is the caller's to close. Raises TooManyRequests,
        ServiceUnavailable."""
        with self._lock:
            if self._closed:
                raise ServiceUnavailable("the server is shutting down")
            if self._open >= FORWARDS_MAX:
                raise TooManyRequests("Too many streams are open, please try again later.", retry_after_seconds=1)
            loop = self._running_loop()
            theirs, ours = socket.socketpair()
            self._open += 1
        ours.setblocking(False)
        loop.call_soon_threadsafe(self._begin, backend, ours)
        return theirs.detach()

    def close(self) -> None:
        """Cuts what is open and ends the thread. Idempotent."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is not None and thread is not None and thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._run, args=[self._loop], name="kubecore-forward", daemon=True)
            self._thread.start()
        return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        for task in self._tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._diallers.shutdown(wait=False, cancel_futures=True)
        loop.close()

    def _begin(self, backend: Backend, ours: socket.socket) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(backend, ours))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with self._lock:
            self._open -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a forward failed", exc_info=error)

    async def _carry(self, backend: Backend, ours: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=ours, limit=PIECE_BYTES)
        try:
            try:
                async with asyncio.timeout(DIAL_TIMEOUT_SECONDS + HANDSHAKE_TIMEOUT_SECONDS):
                    far_reader, far_writer = await self._connect(backend)
            except OSError as error:
                await _refuse(reader, writer, backend.unreachable(_told(error, backend)))
                return
            try:
                await _pump(reader, writer, far_reader, far_writer, _mount_of(backend))
            finally:
                await _close(far_writer)
        finally:
            await _close(writer)

    async def _connect(self, backend: Backend) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        dial = partial(self._dialer.dial, timeout_seconds=DIAL_TIMEOUT_SECONDS)
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(self._diallers, dial, backend.host, backend.port)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = self._context(backend.security)
            name = backend.host if context is not None else None
            return await asyncio.open_connection(sock=connection, limit=PIECE_BYTES, ssl=context, server_hostname=name)
        except BaseException:
            connection.close()
            raise

    def _context(self, security: Security) -> ssl.SSLContext | None:
        if security not in self._contexts:
            self._contexts[security] = self._make_context(security)
        return self._contexts[security]

    def _make_context(self, security: Security) -> ssl.SSLContext | None:
        if security is Security.PLAIN:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if security is Security.KUBELET and self._kubelet_ca_pem is not None:
            context.load_verify_locations(cadata=self._kubelet_ca_pem.decode())
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if security is not Security.ANY_CERTIFICATE:
            keys = self._keys.kubelet_client
            # The ssl module reads a key pair from files only.
            with tempfile.TemporaryDirectory() as directory:
                pair = Path(directory) / "pair.pem"
                pair.touch(mode=0o600)
                pair.write_bytes(keys.certificate_pem + b"\n" + keys.key_pem)
                context.load_cert_chain(pair)
        return context


def _mount_of(backend: Backend) -> pages.Mount | None:
    """Where pages of that backend are shown; None: its answers are no pages."""
    if not backend.mount_path or backend.method == "HEAD":
        return None
    return pages.Mount(backend.mount_path.rstrip("/"), backend.authority)


async def _pump(
    near: asyncio.StreamReader,
    near_out: asyncio.StreamWriter,
    far: asyncio.StreamReader,
    far_out: asyncio.StreamWriter,
    mount: pages.Mount | None,
) -> None:
    """Both ways until one side ends: HTTP and what it is upgraded to end inside themselves."""
    copies = [asyncio.ensure_future(_copy(near, far_out)), asyncio.ensure_future(_copy(far, near_out, mount))]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, mount: pages.Mount | None = None) -> None:
    # A side that breaks off is as good as one that ended.
    with contextlib.suppress(OSError):
        if mount is not None:
            sink.write(await pages.fitted(source, mount))
            await sink.drain()
        while piece := await source.read(PIECE_BYTES):
            sink.write(piece)
            await sink.drain()


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, error: StatusError) -> None:
    """Answers in the backend's place."""
    body = _encode_json(error.to_status())
    head = f"HTTP/1.1 {error.status_code} Refused\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_REFUSAL_TAKEN_SECONDS):
            writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
            writer.write_eof()
            # Closing with the request unread would take the answer with it.
            while await reader.read(PIECE_BYTES):
                pass


async def _close(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()


def _told(error: OSError, backend: Backend) -> str:
    """The failure as Go tells it, which is what people search for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"remote error: tls: {error.reason}"
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {backend.host}: no such host"
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return f"dial tcp {backend.authority}: i/o timeout"
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return f"dial tcp {backend.authority}: connect: {reason}"
