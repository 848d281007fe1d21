"""exec, attach and port-forward with every protocol, against real processes."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.support.node_double import UID, NodeDouble, container, node_double

from kubecore.kubelet.runtimes.protocol import ContainerState
from kubecore.kubelet.server.spdy.frames import Data, Framer, GoAway, SynReply, SynStream

EXEC = "/exec/default/web/main"
SUCCESS = {"metadata": {}, "status": "Success"}


async def exchange(
    session: aiohttp.ClientSession, url: str, protocol: str, *sent: bytes, ends_input: bool = True
) -> list[bytes]:
    """What each of the five channels said, in the protocol's own form."""
    said = [b""] * 5
    protocols = (protocol,) if protocol else ()
    async with session.ws_connect(url, protocols=protocols) as socket:
        assert (socket.protocol or "") == protocol
        for piece in sent:
            if "base64" in protocol:
                await socket.send_str(f"{piece[0]}{base64.b64encode(piece[1:]).decode()}")
            else:
                await socket.send_bytes(piece)
        if sent and ends_input and protocol.startswith("v5"):
            await socket.send_bytes(b"\xff\x00")
        async for message in socket:
            if isinstance(message.data, str):
                said[int(message.data[0])] += base64.b64decode(message.data[1:])
            else:
                said[message.data[0]] += message.data[1:]
    return said


def command(*words: str, **streams: str) -> str:
    query = {"output": "1", "error": "1", **streams}
    return EXEC + "?" + "&".join([*(f"{k}={v}" for k, v in query.items()), *(f"command={word}" for word in words)])


@pytest.mark.parametrize(
    "protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", ""]
)
async def test_output_and_exit_code_come_over_each_websocket_protocol(tmp_path: Path, protocol: str) -> None:
    async with node_double(tmp_path) as (node, session):
        url = node.url + command("sh", "-c", "echo out; echo err >%262; exit 3")
        _, stdout, stderr, error, _ = await exchange(session, url, protocol)
        assert (stdout, stderr) == (b"out\n", b"err\n")
        if protocol.startswith("v"):
            status = json.loads(error)
            assert status["reason"] == "NonZeroExitCode"
            assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
        else:
            assert error == b"command terminated with non-zero exit code: exit status 3"


async def test_input_ends_by_the_close_signal_and_success_is_told(tmp_path: Path) -> None:
    async with node_double(tmp_path) as (node, session):
        url = node.url + command("cat", input="1")
        sent = [b"\0" + b"x" * 60_000 for _ in range(50)]
        said = await exchange(session, url, "v5.channel.k8s.io", *sent)
        assert (len(said[1]), json.loads(said[3])) == (3_000_000, SUCCESS)


async def test_a_terminal_gets_the_size_that_is_told(tmp_path: Path) -> None:
    async with node_double(tmp_path) as (node, session):
        url = node.url + command("sh", "-c", "read line; stty size", input="1", tty="1")
        size = b"\4" + json.dumps({"Width": 101, "Height": 33}).encode()
        async with session.ws_connect(url, protocols=("v5.channel.k8s.io",)) as socket:
            await socket.send_bytes(size[:9])
            await socket.send_bytes(b"\4" + size[9:])
            streams = await asyncio.wait_for(node.runtime.opened.get(), 10)
            await asyncio.wait_for(streams.resized.wait(), 10)
            await socket.send_bytes(b"\0go\n")
            output = b"".join([message.data[1:] async for message in socket if message.data[0] == 1])
        assert b"33 101\r\n" in output


async def test_a_client_that_leaves_takes_its_command_with_it(tmp_path: Path) -> None:
    async with node_double(tmp_path) as (node, session):
        async with session.ws_connect(node.url + command("sleep", "1000"), protocols=("v5.channel.k8s.io",)) as socket:
            await socket.receive(timeout=10)
        streams = await asyncio.wait_for(node.runtime.opened.get(), 10)
        await asyncio.wait_for(streams.closed.wait(), 10)


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        (f"{EXEC}?command=true", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        (f"{EXEC}?command=true&output=1", 400, "unable to upgrade: missing upgrade headers in request"),
        ("/exec/default/other/main?output=1", 404, 'pod "other" does not exist'),
        (f"/exec/default/web/{UID}x/main?output=1", 404, 'pod "web" does not exist'),
        ("/exec/default/web/gone?output=1", 500, 'container not found ("gone")'),
        ("/attach/default/web/gone?output=1", 500, 'container not found ("gone")'),
        ("/portForward/default/other", 404, 'pod "other" does not exist'),
    ],
)
async def test_what_cannot_be_done_is_told(tmp_path: Path, path: str, code: int, text: str) -> None:
    stopped = container("gone", state=ContainerState.EXITED)
    async with node_double(tmp_path, container(), stopped) as (node, session), session.get(node.url + path) as answer:
        assert (answer.status, (await answer.text()).strip()) == (code, text)


async def test_a_command_that_cannot_start_is_an_internal_error(tmp_path: Path) -> None:
    async with node_double(tmp_path) as (node, session):
        error = json.loads((await exchange(session, node.url + command("no-such"), "v4.channel.k8s.io"))[3])
        told = "error executing command in container: no such command: no-such"
        assert (error["reason"], error["message"]) == ("InternalError", f"Internal error occurred: {told}")


async def test_protocols_that_nobody_speaks_are_refused(tmp_path: Path) -> None:
    async with node_double(tmp_path) as (node, session):
        url = node.url + command("true")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url, protocols=("v9.channel.k8s.io",))
        assert refused.value.status == 403
        headers = {"connection": "Upgrade", "upgrade": "SPDY/3.1", "x-stream-protocol-version": "v9.channel.k8s.io"}
        async with session.post(url, headers=headers) as answer:
            accepted = answer.headers.getall("x-accepted-stream-protocol-versions")
            assert (answer.status, accepted[0]) == (403, "v4.channel.k8s.io")


class SpdyClient:
    """The client's side of a SPDY connection, on a socket of its own or in a WebSocket."""

    def __init__(self, write: Callable[[bytes], Awaitable[Any]], read: Callable[[], Awaitable[bytes]]) -> None:
        self._write, self._read = write, read
        self._framer = Framer()
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()

    async def open(self, stream_id: int, **headers: str) -> None:
        await self._write(self._framer.encode(SynStream(stream_id, list(headers.items()))))

    async def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        await self._write(self._framer.encode(Data(stream_id, data, fin)))

    async def until_ended(self, *streams: int) -> None:
        """Reads until the server has ended these."""
        while not set(streams) <= self.ended:
            data = await asyncio.wait_for(self._read(), 10)
            assert data, "the server has left"
            for frame in self._framer.receive(data):
                assert isinstance(frame, Data | SynReply | GoAway), frame
                if isinstance(frame, Data):
                    self.data[frame.stream_id] = self.data.get(frame.stream_id, b"") + frame.data
                    self.ended |= {frame.stream_id} if frame.fin else set()


async def spdy(node: NodeDouble, session: aiohttp.ClientSession, path: str, protocol: str) -> SpdyClient:
    """After its 101."""
    connector = session.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    context = connector._ssl
    assert isinstance(context, ssl.SSLContext)
    reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port, ssl=context)
    head = f"POST {path.replace(' ', '%20')} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n"
    writer.write(f"{head}X-Stream-Protocol-Version: {protocol}\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101"), answer
    assert f"x-stream-protocol-version: {protocol}".encode() in answer.lower()

    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    return SpdyClient(write, lambda: reader.read(65536))


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v2.channel.k8s.io"])
async def test_exec_over_spdy(tmp_path: Path, protocol: str) -> None:
    async with node_double(tmp_path) as (node, session):
        path = command("sh", "-c", "cat; echo err >%262; exit 3", input="1")
        client = await spdy(node, session, path, protocol)
        for stream_id, kind in ((1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")):
            await client.open(stream_id, streamType=kind)
        reading = asyncio.create_task(client.until_ended(1, 5, 7))
        for _ in range(20):
            await client.send(3, b"x" * 50_000)
        await client.send(3, b"", fin=True)
        await reading
        assert (len(client.data[5]), client.data[7]) == (1_000_000, b"err\n")
        if protocol.startswith("v4"):
            assert json.loads(client.data[1])["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
        else:
            assert client.data[1] == b"command terminated with non-zero exit code: exit status 3"


async def echoing(answer: Callable[[bytes], bytes] = bytes.upper) -> asyncio.Server:
    """A server in the pod: answers all it gets once the client has said all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(await reader.read()))
        await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


@pytest.mark.parametrize("carried", ["SPDY", "SPDY/3.1+portforward.k8s.io"])
async def test_ports_are_forwarded_over_spdy_and_over_a_tunnel(tmp_path: Path, carried: str) -> None:
    server = await echoing()
    async with node_double(tmp_path) as (node, session):
        path = "/portForward/default/web"
        if carried == "SPDY":
            client = await spdy(node, session, path, "portforward.k8s.io")
        else:
            socket = await session.ws_connect(node.url + path, protocols=(carried,))

            async def read() -> bytes:
                message = await socket.receive()
                return message.data if isinstance(message.data, bytes) else b""

            client = SpdyClient(socket.send_bytes, read)
        port = str(port_of(server))
        for request in range(3):
            error, data = 4 * request + 1, 4 * request + 3
            await client.open(error, streamType="error", port=port, requestID=str(request))
            await client.send(error, b"", fin=True)
            await client.open(data, streamType="data", port=port, requestID=str(request))
            await client.send(data, f"hello {request}".encode(), fin=True)
        await client.until_ended(1, 3, 5, 7, 9, 11)
        assert [client.data[each] for each in (3, 7, 11)] == [b"HELLO 0", b"HELLO 1", b"HELLO 2"]
        assert client.data[1] == b""
    server.close()


async def test_a_port_where_nobody_listens_is_told_on_its_error_stream_alone(tmp_path: Path) -> None:
    server = await echoing()
    port = port_of(server)
    server.close()
    await server.wait_closed()
    async with node_double(tmp_path) as (node, session):
        client = await spdy(node, session, "/portForward/default/web", "portforward.k8s.io")
        await client.open(1, streamType="error", port=str(port), requestID="0")
        await client.open(3, streamType="data", port=str(port), requestID="0")
        await client.until_ended(1, 3)
        told = f"error forwarding port {port} to pod web_default, uid {UID}: port {port}: connection refused"
        assert (client.data[1].decode(), client.data[3]) == (told, b"")


async def test_ports_are_forwarded_over_a_websockets_channels(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with node_double(tmp_path) as (node, session):
        port = port_of(server)
        url = f"{node.url}/portForward/default/web?port={port}"
        async with session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
            await socket.send_bytes(b"\0hello\n")
            said = {0: b"", 1: b""}
            async for message in socket:
                said[message.data[0]] += message.data[1:]
        number = struct.pack("<H", port)
        assert said == {0: number + b"HELLO\n", 1: number}
    server.close()


async def test_run_gives_the_output_or_its_failure(tmp_path: Path) -> None:
    async with node_double(tmp_path) as (node, session):
        async with session.post(f"{node.url}/run/default/web/main?cmd=echo+hello") as answer:
            assert (answer.status, await answer.text()) == (200, "hello\n")
        async with session.post(f"{node.url}/run/default/web/main?cmd=false") as answer:
            assert (answer.status, await answer.text()) == (500, "command terminated with exit code 1")
