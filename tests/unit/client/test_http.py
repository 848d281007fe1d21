"""The HTTPS transport against a small server on a free loopback port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from kubecore.client.http import HttpTransport
from kubecore.client.kubeconfig import ClientConfig
from kubecore.client.transport import Request, StreamRefused, TransportError


async def echo(request: web.Request) -> web.StreamResponse:
    if request.query.get("watch"):
        return await watch(request)
    if request.query.get("break"):
        assert request.transport is not None
        request.transport.abort()
    body = {"method": request.method, "query": dict(request.query), "auth": request.headers.get("authorization", "")}
    return web.json_response(body, status=int(request.query.get("status", "200")))


async def watch(request: web.Request) -> web.StreamResponse:
    if request.query.get("refuse"):
        return web.json_response({"kind": "Status"}, status=410)
    response = web.StreamResponse()
    await response.prepare(request)
    # Lines end where they like in what arrives together.
    for chunk in (b'{"type":"ADDED","object":{"n":1}}\n{"type":"MOD', b'IFIED","object":{"n":', b"2}}\n"):
        await response.write(chunk)
        await asyncio.sleep(0.01)
    return response


@asynccontextmanager
async def serving(**options: str) -> AsyncIterator[HttpTransport]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    transport = HttpTransport(ClientConfig(server=f"http://127.0.0.1:{port}", **options))  # type: ignore[arg-type]
    try:
        yield transport
    finally:
        await transport.close()
        await runner.cleanup()


async def test_a_request_carries_its_query_and_its_token() -> None:
    async with serving(token="secret") as transport:
        answer = await transport.request("GET", "/api", [("fieldSelector", "spec.nodeName!=a b")])
        assert answer.status == 200
        assert b'"fieldSelector": "spec.nodeName!=a b"' in answer.body
        assert b'"auth": "Bearer secret"' in answer.body


async def test_answers_of_a_batch_come_in_the_order_of_its_requests() -> None:
    async with serving() as transport:
        requests = [Request("GET", "/x", [("status", str(status))]) for status in (200, 404, 201, 409)]
        assert [answer.status for answer in await transport.batch(requests)] == [200, 404, 201, 409]


async def test_a_watch_gives_whole_events_however_the_bytes_arrive() -> None:
    async with serving() as transport:
        events = [event async for batch in transport.stream("/x", [("watch", "true")]) for event in batch]
        assert events == [("ADDED", b'{"n":1}'), ("MODIFIED", b'{"n":2}')]


async def test_a_watch_that_is_answered_with_an_error_says_which() -> None:
    async with serving() as transport:
        with pytest.raises(StreamRefused) as refused:
            await anext(transport.stream("/x", [("watch", "true"), ("refuse", "1")]))
        assert refused.value.response.status == 410


async def test_a_broken_connection_is_a_transport_error() -> None:
    async with serving() as transport:
        with pytest.raises(TransportError):
            await transport.request("POST", "/x", [("break", "1")])
