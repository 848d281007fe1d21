"""A container's log over HTTP and over a WebSocket."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSMsgType, web

from kubecore.api.clock import SystemClock
from kubecore.kubelet.runtimes.protocol import Container, ContainerMetadata, ContainerState
from kubecore.kubelet.server.logs import ContainerLogs
from support.pods import pod_of

LINES = "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout F two\n"


class Pods:
    """One pod with one container that has ended."""

    def __init__(self, log_path: Path) -> None:
        self._container = Container(
            id="c1",
            sandbox_id="s",
            metadata=ContainerMetadata(name="main"),
            state=ContainerState.EXITED,
            created_at=1,
            image="i",
            image_ref="i",
            image_id="i",
            log_path=str(log_path),
        )

    def status(self, uid: str):
        state = {"terminated": {"exitCode": 0, "containerID": "fake://c1"}}
        return {"containerStatuses": [{"name": "main", "containerID": "fake://c1", "state": state}]}

    def containers(self, uid: str):
        return [self._container]

    def container(self, uid: str, name: str, *, previous: bool = False):
        return self._container


@asynccontextmanager
async def _served(directory: Path) -> AsyncIterator[tuple[ClientSession, str]]:
    (directory / "0.log").write_text(LINES)
    logs = ContainerLogs(Pods(directory / "0.log"), SystemClock())

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await logs.send(request, pod_of(), "main")

    application = web.Application()
    application.router.add_get("/log", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with ClientSession() as session:
            yield session, f"http://127.0.0.1:{runner.addresses[0][1]}/log"
    finally:
        await runner.cleanup()


async def test_a_log_is_plain_text(tmp_path: Path) -> None:
    async with _served(tmp_path) as (session, url), session.get(url, params={"tailLines": "1"}) as answer:
        assert (answer.content_type, await answer.text()) == ("text/plain", "two\n")


@pytest.mark.parametrize("protocol", ["", "binary.k8s.io"])
async def test_a_websocket_gets_it_in_messages(tmp_path: Path, protocol: str) -> None:
    async with (
        _served(tmp_path) as (session, url),
        session.ws_connect(url, protocols=[protocol] if protocol else []) as socket,
    ):
        messages = [message async for message in socket]
        assert (socket.protocol or "") == protocol
    assert {message.type for message in messages} == {WSMsgType.BINARY}
    assert b"".join(message.data for message in messages) == b"one\ntwo\n"


async def test_who_reads_text_gets_base64(tmp_path: Path) -> None:
    async with (
        _served(tmp_path) as (session, url),
        session.ws_connect(url, protocols=["base64.binary.k8s.io"]) as socket,
    ):
        messages = [message async for message in socket]
    assert {message.type for message in messages} == {WSMsgType.TEXT}
    assert b"".join(base64.b64decode(message.data) for message in messages) == b"one\ntwo\n"
