"""Forwarded requests over real sockets: streamed at once, upgraded, cut when either side leaves, told when nobody answers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kubecore.api import scheme
from kubecore.api.clock import SystemClock
from kubecore.apiserver.registry.backend import Backend, Security, Trouble
from kubecore.apiserver.wire import HostDialer, forward
from kubecore.apiserver.wire.forward import Forwarder
from kubecore.cluster.apiserver import ApiServerPart
from kubecore.cluster.options import ClusterOptions

PODS = "/api/v1/namespaces/default/pods"
KUBELET = ("198.18.0.11", 10250)
POD = ("10.244.0.5", 80)
PODS_ROW = scheme.resource("", "v1", "pods")
RBAC = "rbac.authorization.k8s.io"
Answers = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Switchboard:
    """A dialler: addresses of a network that does not exist lead to ports of this machine."""

    def __init__(self) -> None:
        self.ports: dict[tuple[str, int], int] = {}

    def dial(self, host: str, port: int, *, timeout_seconds: float) -> socket.socket:
        return HostDialer().dial("127.0.0.1", self.ports[host, port], timeout_seconds=timeout_seconds)


class House:
    """An API server with a node and a pod on it; tests put somebody at the addresses."""

    def __init__(self, part: ApiServerPart, switchboard: Switchboard, session: aiohttp.ClientSession) -> None:
        self.part = part
        self.switchboard = switchboard
        self.session = session
        self.tls = ssl.create_default_context(cadata=part.certificates.ca_pem.decode())
        self._servers: list[asyncio.Server] = []

    async def at(self, address: tuple[str, int], answers: Answers) -> None:
        """Somebody listens there: a kubelet with the cluster's certificate, or a pod in plain HTTP."""
        context: ssl.SSLContext | None = None
        if address == KUBELET:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.pair)
            context.load_verify_locations(cadata=self.part.certificates.ca_pem.decode())
            context.verify_mode = ssl.CERT_REQUIRED
        server = await asyncio.start_server(answers, "127.0.0.1", 0, ssl=context)
        self._servers.append(server)
        self.switchboard.ports[address] = server.sockets[0].getsockname()[1]

    pair: Path

    async def close(self) -> None:
        for server in self._servers:
            server.close()

    def get(self, path: str, **more: Any) -> Any:
        return self.session.get(self.part.url + path, **more)

    async def upgraded(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        """A connection after its 101, and the answer's head."""
        host, port = self.part.url.removeprefix("https://").split(":")
        context = ssl.create_default_context(cadata=self.part.certificates.ca_pem.decode())
        context.load_cert_chain(self.pair)
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n".encode())
        return reader, writer, await reader.readuntil(b"\r\n\r\n")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    switchboard = Switchboard()
    part = ApiServerPart(
        ClusterOptions(port=0, disable_admission_plugins="ServiceAccount"),
        clock=SystemClock(),
        randomness=random.Random(1),
        dialer=switchboard,
    )
    await part.start()
    client = part.client("kubernetes-admin")
    node = {
        "metadata": {"name": "n1"},
        "status": {"addresses": [{"type": "InternalIP", "address": KUBELET[0]}]},
    }
    await client.create(scheme.resource("", "v1", "nodes"), node)
    web = {"metadata": {"name": "web", "namespace": "default"}}
    spec = {"nodeName": "n1", "containers": [{"name": "main", "image": "x"}]}
    await client.create(PODS_ROW, {**web, "spec": spec})
    status = {"podIPs": [{"ip": POD[0]}], "podIP": POD[0]}
    await client.patch(PODS_ROW, "default", "web", {"status": status}, subresource="status")
    admin = part.certificates.admin
    pair = tmp_path / "admin.pem"
    pair.write_bytes(admin.certificate_pem + b"\n" + admin.key_pem)
    tls = ssl.create_default_context(cadata=part.certificates.ca_pem.decode())
    tls.load_cert_chain(pair)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        made = House(part, switchboard, session)
        made.pair = pair
        yield made
        await made.close()
    await part.stop()


def says(text: bytes) -> Answers:
    """Reads a request's head and says one thing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()
        writer.close()

    return answer


async def test_the_kubelet_sees_the_servers_certificate_and_its_own_path(house: House) -> None:
    seen: dict[str, Any] = {}

    async def kubelet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen["head"] = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen["subject"] = dict(pair[0] for pair in writer.get_extra_info("peercert")["subject"])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()

    await house.at(KUBELET, kubelet)
    async with house.get(f"{PODS}/web/log?tailLines=1", headers={"authorization": "Bearer nothing"}) as answer:
        assert (answer.status, await answer.text(), answer.content_type) == (200, "hi", "text/plain")
        assert "audit-id" in answer.headers
    assert seen["head"].startswith("GET /containerLogs/default/web/main?tailLines=1 HTTP/1.1\r\n")
    assert "bearer" not in seen["head"].lower()
    assert seen["subject"]["commonName"] == "kube-apiserver-kubelet-client"


async def test_a_followed_log_comes_line_by_line_and_ends_with_its_reader(house: House) -> None:
    told, gone = asyncio.Queue[bytes](), asyncio.Event()

    async def kubelet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(2):
            line = await told.get()
            writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        gone.set()
        writer.close()

    await house.at(KUBELET, kubelet)
    async with house.get(f"{PODS}/web/log?follow=true") as answer:
        for line in (b"one\n", b"two\n"):
            told.put_nowait(line)
            assert await answer.content.readline() == line
    await asyncio.wait_for(gone.wait(), 10)


async def test_after_a_101_bytes_go_both_ways_until_one_side_leaves(house: House) -> None:
    async def kubelet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"upgrade: SPDY/3.1" in head
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Kept: 1\r\n\r\n"
        )
        while piece := await reader.read(65536):
            writer.write(piece.upper())
            await writer.drain()
            if piece.endswith(b"bye"):
                break
        writer.close()

    await house.at(KUBELET, kubelet)
    reader, writer, head = await house.upgraded(f"{PODS}/web/exec?command=x")
    assert head.startswith(b"HTTP/1.1 101")
    assert b"x-kept: 1" in head.lower()
    text = b"a" * 3_000_000
    writer.write(text)
    assert await reader.readexactly(len(text)) == text.upper()
    writer.write(b"bye")
    assert await asyncio.wait_for(reader.read(), 10) == b"BYE"
    writer.close()


@pytest.mark.parametrize("stream", ["exec?command=x", "log", "proxy/"])
async def test_a_kubelet_or_pod_that_does_not_answer_is_told_as_upstream_tells_it(house: House, stream: str) -> None:
    for address in (KUBELET, POD):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            house.switchboard.ports[address] = closed.getsockname()[1]
    upgrade = {"connection": "Upgrade", "upgrade": "SPDY/3.1"}
    async with house.get(f"{PODS}/web/{stream}", headers=upgrade if "exec" in stream else {}) as answer:
        status = json.loads(await answer.text())
    refused = "dial tcp 198.18.0.11:10250: connect: connection refused"
    assert (answer.status, status["message"]) == {
        "exec?command=x": (500, f"error dialing backend: {refused}"),
        "log": (500, f'Get "https://198.18.0.11:10250/containerLogs/default/web/main": {refused}'),
        "proxy/": (503, "error trying to reach service: dial tcp 10.244.0.5:80: connect: connection refused"),
    }[stream]


async def test_a_kubelets_text_of_failure_becomes_a_status(house: House) -> None:
    text = b'container "main" in pod "web" is waiting to start: ContainerCreating'
    head = b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n" % len(text)
    await house.at(KUBELET, says(head + text))
    async with house.get(f"{PODS}/web/log") as answer:
        status = await answer.json()
    assert (answer.status, status["reason"], status["message"]) == (400, "BadRequest", text.decode())


async def test_a_pods_redirect_stays_below_its_proxy(house: House) -> None:
    await house.at(POD, says(b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n"))
    async with house.get(f"{PODS}/web/proxy/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["location"]) == (302, f"{PODS}/web/proxy/login")


async def test_a_large_body_goes_through_a_proxy_as_it_comes(house: House) -> None:
    size = 5 << 20  # more than the server would take for itself

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"content-length: {size}".encode() in head.lower()
        body = await reader.readexactly(size)
        text = str(len(body)).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(text) + text)
        await writer.drain()

    await house.at(POD, server)
    async with house.session.post(f"{house.part.url}{PODS}/web/proxy/upload", data=b"x" * size) as answer:
        assert (answer.status, await answer.text()) == (200, str(size))


async def test_whoever_may_only_get_may_not_exec_by_websocket(house: House) -> None:
    client = house.part.client("kubernetes-admin")
    account = {"metadata": {"name": "reader", "namespace": "default"}}
    await client.create(scheme.resource("", "v1", "serviceaccounts"), account)
    rules = [{"apiGroups": [""], "resources": ["pods/exec", "pods/log"], "verbs": ["get"]}]
    named = {"metadata": {"name": "reader", "namespace": "default"}}
    await client.create(scheme.resource(RBAC, "v1", "roles"), {**named, "rules": rules})
    subjects = [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}]
    reference = {"apiGroup": RBAC, "kind": "Role", "name": "reader"}
    await client.create(
        scheme.resource(RBAC, "v1", "rolebindings"), {**named, "subjects": subjects, "roleRef": reference}
    )
    await house.at(KUBELET, says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
    who = {"impersonate-user": "system:serviceaccount:default:reader"}
    async with house.get(f"{PODS}/web/log", headers=who) as answer:
        assert answer.status == 200
    async with house.get(
        f"{PODS}/web/exec", headers={**who, "connection": "Upgrade", "upgrade": "websocket"}
    ) as answer:
        status = await answer.json()
    assert (answer.status, status["reason"]) == (403, "Forbidden")
    assert 'cannot create resource "pods/exec"' in status["message"]


def test_a_forward_that_could_not_begin_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        def dial(self, host: str, port: int, *, timeout_seconds: float) -> socket.socket:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    class NoKeys:
        @property
        def kubelet_client(self) -> Any:
            raise AssertionError("a plain connection needs none")

    backend = Backend("10.0.0.1", 80, Security.PLAIN, Trouble.PROXY, "GET", "/", ())
    forwarder = Forwarder(NoKeys(), dialer=Unreachable())
    monkeypatch.setattr(forward, "FORWARDS_MAX", 2)
    socket.socket(fileno=forwarder.open(backend)).close()
    with monkeypatch.context() as scarce:

        def none_left() -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        scarce.setattr(socket, "socketpair", none_left)
        for _ in range(3):
            with pytest.raises(OSError, match="Too many open files"):
                forwarder.open(backend)
    socket.socket(fileno=forwarder.open(backend)).close()
    forwarder.close()
