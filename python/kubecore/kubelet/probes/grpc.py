"""grpc: one call of `grpc.health.v1.Health/Check` without TLS, over the h2 library.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md, https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from kubecore.kubelet.probes.http import USER_AGENT
from kubecore.kubelet.probes.outcome import OUTPUT_BYTES_MAX, Outcome, Verdict, failure, join, linger, seconds_text

RECONNECT_SECONDS = 0.2
"""While nobody listens yet, the connection is tried again until the probe's time is over."""

STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
CODES = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
]


class _Refused(Exception):
    """The call ended with a gRPC status other than OK."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = CODES[code] if code < len(CODES) else f"Code({code})"
        self.message = message


async def probe(host: str, port: int, service: str, *, timeout_seconds: float) -> Outcome:
    address = join(host, port)
    connected = False
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await _connect(host, port)
            connected = True
            try:
                status = await _check(reader, writer, address, service)
            finally:
                writer.close()
    except TimeoutError:
        limit = seconds_text(timeout_seconds)
        if connected:
            return failure(f"timeout: health rpc did not complete within {limit}")
        return failure(f'timeout: failed to connect service "{address}" within {limit}: context deadline exceeded')
    except _Refused as refused:
        if refused.code == "Unimplemented":
            words = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
            return failure(f"error: {words}: {refused.message}")
        words = f"rpc error: code = {refused.code} desc = {refused.message}"
        return failure(f"error: health rpc probe failed: {words}")
    if status != "SERVING":
        return failure(f'service unhealthy (responded with "{status}")')
    return Outcome(Verdict.SUCCESS, "service healthy")


async def _connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(RECONNECT_SECONDS)
            continue
        linger(writer.get_extra_info("socket"))
        return reader, writer


async def _check(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, service: str) -> str:
    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    connection.send_headers(
        stream,
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", address),
            ("content-type", "application/grpc"),
            ("user-agent", USER_AGENT),
            ("te", "trailers"),
        ],
    )
    connection.send_data(stream, request_of(service), end_stream=True)
    try:
        body, headers = await _exchange(reader, writer, connection)
    except (ProtocolError, OSError) as problem:
        raise _Refused(CODES.index("Unavailable"), f"connection error: {problem}") from problem
    code = headers.get("grpc-status", "")
    if code != "0":
        number = int(code) if code.isdecimal() else CODES.index("Unknown")
        raise _Refused(number, unquote(headers.get("grpc-message", "")) or _no_grpc(headers))
    return status_of(body)


def _no_grpc(headers: Mapping[str, str]) -> str:
    status = headers.get(":status", "")
    return f"unexpected HTTP status code received from server: {status}" if status != "200" else ""


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: H2Connection
) -> tuple[bytes, dict[str, str]]:
    """(body, headers and trailers) of the one stream."""
    body, headers = bytearray(), dict[str, str]()
    while True:
        writer.write(connection.data_to_send())
        await writer.drain()
        received = await reader.read(65536)
        if not received:
            raise ConnectionResetError("EOF")
        for event in connection.receive_data(received):
            if isinstance(event, (ResponseReceived, TrailersReceived)):
                headers.update((str(name), str(value)) for name, value in event.headers or ())
            elif isinstance(event, DataReceived):
                body += event.data or b""
                connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            if len(body) > OUTPUT_BYTES_MAX or isinstance(event, (StreamReset, ConnectionTerminated)):
                raise ConnectionResetError("stream terminated by the server")
            if isinstance(event, StreamEnded):
                return bytes(body), headers


# ── the two messages: HealthCheckRequest{1: string service}, HealthCheckResponse{1: enum status} ──


def request_of(service: str) -> bytes:
    text = service.encode()
    message = b"\x0a" + _varint(len(text)) + text if text else b""
    return struct.pack(">BI", 0, len(message)) + message


def status_of(body: bytes) -> str:
    """A field that is left out is the enumeration's first."""
    message = body[5:]
    number = message[1] if len(message) >= 2 and message[0] == 0x08 else 0
    return STATUSES[number] if number < len(STATUSES) else str(number)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
