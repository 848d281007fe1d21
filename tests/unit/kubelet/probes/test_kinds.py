"""Probes by http, tcp and grpc, against servers on loopback."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from kubecore.kubelet.probes import grpc, http, tcp
from kubecore.kubelet.probes.outcome import Outcome, Verdict, seconds_text
from kubecore.kubelet.probes.prober import PortFailure, port_of
from support.pods import container_of

LOOPBACK = "127.0.0.1"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def _web(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _probe(port: int, *, timeout_seconds: float = 5, **action) -> Outcome:
    url = http.url_of(action, LOOPBACK, port)
    return await http.probe(url, http.headers_of(action), timeout_seconds=timeout_seconds)


async def _closed_port() -> int:
    server = await asyncio.start_server(lambda _reader, _writer: None, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_an_answer_below_400_is_well_and_the_probe_says_who_it_is() -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(text="fine")

    async with _web(answer) as port:
        headers = [{"name": "Host", "value": "site.example"}, {"name": "X-Both", "value": "1"}]
        assert await _probe(port, path="/healthz?full=1", httpHeaders=headers) == Outcome(Verdict.SUCCESS, "fine")
    request = seen[0]
    assert (request.path_qs, request.headers["Host"]) == ("/healthz?full=1", "site.example")
    assert request.headers["User-Agent"] == "kube-probe/1.35"
    assert request.headers["Accept"] == "*/*"
    assert request.headers["X-Both"] == "1"
    assert "Accept-Encoding" not in request.headers


async def test_an_answer_from_400_on_has_failed_and_its_body_is_not_told() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=int(request.path[1:]), text="secret")

    async with _web(answer) as port:
        for status in (400, 404, 503):
            failed = await _probe(port, path=f"/{status}")
            assert failed == Outcome(Verdict.FAILURE, f"HTTP probe failed with statuscode: {status}")


async def test_redirects_are_followed_on_the_same_host_only() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/here":
            raise web.HTTPFound("/there")
        if request.path == "/away":
            raise web.HTTPFound("http://elsewhere.example/", text="gone")
        if request.path == "/round":
            raise web.HTTPFound("/round")
        return web.Response(text=request.path)

    async with _web(answer) as port:
        assert await _probe(port, path="/here") == Outcome(Verdict.SUCCESS, "/there")
        away = await _probe(port, path="/away")
        assert away == Outcome(Verdict.WARNING, "Probe terminated redirects, Response body: gone")
        round_and_round = await _probe(port, path="/round")
        assert round_and_round.output == f'Get "http://127.0.0.1:{port}/round": stopped after 10 redirects'


async def test_who_does_not_listen_or_answer_has_failed_in_gos_words() -> None:
    port = await _closed_port()
    said = f'Get "http://127.0.0.1:{port}/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    assert await _probe(port) == Outcome(Verdict.FAILURE, said)

    waiting = asyncio.Event()

    async def never(_request: web.Request) -> web.Response:
        await waiting.wait()
        return web.Response()

    async with _web(never) as port:
        late = await _probe(port, timeout_seconds=0.05)
        waiting.set()
    assert late.output == (
        f'Get "http://127.0.0.1:{port}/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    )


async def test_who_hangs_up_has_failed() -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, LOOPBACK, 0)
    async with server:
        failed = await _probe(server.sockets[0].getsockname()[1])
    assert failed.verdict is Verdict.FAILURE
    assert failed.output.startswith('Get "http://127.0.0.1:')


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody knows")])
    now = datetime.now(UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1)).sign(
        key, hashes.SHA256()
    )
    file = tmp_path / "certificate.pem"
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    file.write_bytes(private + certificate.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def test_https_is_probed_whoever_signed_the_certificate(self_signed: ssl.SSLContext) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="fine")

    async with _web(answer, self_signed) as port:
        assert (await _probe(port, scheme="HTTPS")).verdict is Verdict.SUCCESS
        assert (await _probe(port, scheme="HTTP")).verdict is Verdict.FAILURE


async def test_no_more_is_read_than_is_told() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(1 << 20))

    async with _web(answer) as port:
        assert len((await _probe(port)).output) <= 10 << 10


def test_addresses_of_version_6_are_in_brackets() -> None:
    assert http.url_of({"path": "ready"}, "fd00::5", 80) == "http://[fd00::5]:80/ready"


async def test_whoever_accepts_a_connection_is_well() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), LOOPBACK, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await tcp.probe(LOOPBACK, port, timeout_seconds=5) == Outcome(Verdict.SUCCESS)
    port = await _closed_port()
    said = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert await tcp.probe(LOOPBACK, port, timeout_seconds=5) == Outcome(Verdict.FAILURE, said)


# ── grpc ──


class HealthServer:
    """Answers `Check` as a gRPC server would: with a status of the service, or a gRPC error."""

    def __init__(self, *, serving: int | None = 1, code: int = 0, message: str = "", silent: bool = False) -> None:
        self.serving, self.code, self.message, self.silent = serving, code, message, silent
        self.requests: list[tuple[dict[str, str], bytes]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        headers, body = dict[str, str](), b""
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    headers = dict(event.headers)
                if isinstance(event, DataReceived):
                    body += event.data
                if isinstance(event, StreamEnded):
                    self.requests.append((headers, body))
                    if not self.silent:
                        self._answer(connection, event.stream_id)
            writer.write(connection.data_to_send())
        writer.close()

    def _answer(self, connection: H2Connection, stream: int) -> None:
        ended = [("grpc-status", str(self.code)), ("grpc-message", self.message)]
        head = [(":status", "200"), ("content-type", "application/grpc")]
        if self.code:
            connection.send_headers(stream, [*head, *ended], end_stream=True)
            return
        message = bytes([8, self.serving]) if self.serving else b""
        connection.send_headers(stream, head)
        connection.send_data(stream, struct.pack(">BI", 0, len(message)) + message)
        connection.send_headers(stream, ended, end_stream=True)


async def _ask(health: HealthServer, service: str = "", *, timeout_seconds: float = 5) -> Outcome:
    server = await asyncio.start_server(health, LOOPBACK, 0)
    try:
        port = server.sockets[0].getsockname()[1]
        return await grpc.probe(LOOPBACK, port, service, timeout_seconds=timeout_seconds)
    finally:
        server.close()


async def test_a_service_that_serves_is_well() -> None:
    health = HealthServer()
    assert await _ask(health, "shop") == Outcome(Verdict.SUCCESS, "service healthy")
    headers, body = health.requests[0]
    assert headers[":path"] == "/grpc.health.v1.Health/Check"
    assert headers["user-agent"] == "kube-probe/1.35"
    assert body == b"\x00\x00\x00\x00\x06\x0a\x04shop"


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (HealthServer(serving=2), 'service unhealthy (responded with "NOT_SERVING")'),
        (HealthServer(serving=0), 'service unhealthy (responded with "UNKNOWN")'),
        (
            HealthServer(code=12, message="unknown service grpc.health.v1.Health"),
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
            "unknown service grpc.health.v1.Health",
        ),
        (
            HealthServer(code=5, message="unknown%20service"),
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        ),
    ],
)
async def test_any_other_answer_has_failed(health: HealthServer, said: str) -> None:
    assert await _ask(health) == Outcome(Verdict.FAILURE, said)


async def test_a_server_that_says_nothing_or_is_not_there_has_failed() -> None:
    silent = await _ask(HealthServer(silent=True), timeout_seconds=0.05)
    assert silent.output == "timeout: health rpc did not complete within 0s"
    port = await _closed_port()
    absent = await grpc.probe(LOOPBACK, port, "", timeout_seconds=0.05)
    address = f'"127.0.0.1:{port}"'
    assert absent.output == f"timeout: failed to connect service {address} within 0s: context deadline exceeded"


async def test_a_server_that_speaks_something_else_has_failed() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, LOOPBACK, 0)
    async with server:
        failed = await grpc.probe(LOOPBACK, server.sockets[0].getsockname()[1], "", timeout_seconds=5)
    assert failed.output.startswith("error: health rpc probe failed: rpc error: code = Unavailable desc = ")


# ── words ──


def test_a_port_may_be_named() -> None:
    container = container_of(ports=[{"name": "web", "containerPort": 8080}])
    assert [port_of(port, container) for port in (80, "web", "81")] == [80, 8080, 81]
    with pytest.raises(PortFailure, match='parsing "other": invalid syntax'):
        port_of("other", container)
    with pytest.raises(PortFailure, match="invalid port number: 0"):
        port_of(0, container)


def test_durations_are_written_as_go_writes_them() -> None:
    assert [seconds_text(seconds) for seconds in (1, 90, 3600)] == ["1s", "1m30s", "1h0m0s"]
