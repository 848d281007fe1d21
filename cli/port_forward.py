"""`kubecore port-forward POD [LOCAL:]REMOTE`: ports of this machine that lead to a pod's."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

import click

from kubecore.api.meta import Object
from kubecore.client.transport import StreamRefused, TransportError
from kubecore_cli import pod_target
from kubecore_cli.pod_target import PodTarget
from kubecore_cli.session import Session, command

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

PROTOCOL = "v4.channel.k8s.io"
PIECE_BYTES = 32 * 1024
_DATA, _ERROR = b"\0", b"\1"
_PORT_BYTES = 2
"""Each channel begins with the port that it is for."""


@command(help="Lead ports of this machine to a pod's: `port-forward web 8080:80`, `port-forward svc/web 8080:http`.")
@click.argument("pod")
@click.argument("ports", nargs=-1, required=True, metavar="[LOCAL:]REMOTE...")
@click.option("--address", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
async def port_forward(session: Session, pod: str, ports: tuple[str, ...], address: str) -> None:
    target = await pod_target.find(session, pod)
    async with contextlib.AsyncExitStack() as stack:
        for text in ports:
            local, remote = _parsed(text, target)
            server = await asyncio.start_server(partial(_connected, session, target, remote), address, local)
            await stack.enter_async_context(server)
            bound = server.sockets[0].getsockname()[1]
            click.echo(f"Forwarding from {address}:{bound} -> {remote}")
        await asyncio.Event().wait()


def _parsed(text: str, target: PodTarget) -> tuple[int, int]:
    """(local port, the pod's port). Raises click.UsageError."""
    local, colon, remote = text.rpartition(":")
    number = _remote(remote, target)
    if not colon:
        return (int(remote) if remote.isdigit() else number), number
    if local and not local.isdigit():
        raise click.UsageError(f"{local!r} is no port")
    return int(local or 0), number


def _remote(text: str, target: PodTarget) -> int:
    """A service's port is its pod's targetPort; names are looked up."""
    named: object = int(text) if text.isdigit() else text
    for port in (target.owner or {}).get("spec", {}).get("ports") or ():
        if named in (port["port"], port.get("name")):
            named = port.get("targetPort", port["port"])
            break
    if isinstance(named, int):
        return named
    for container in target.pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name") == named:
                return _number(port)
    raise click.UsageError(f"there is no port {text} in {target.name}")


def _number(port: Object) -> int:
    return int(port["containerPort"])


async def _connected(
    session: Session,
    target: PodTarget,
    port: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """One connection; what goes wrong with it is told, and the next one is tried anew."""
    click.echo(f"Handling connection for {port}")
    try:
        async with session.http().websocket(target.path("portforward"), [("ports", str(port))], (PROTOCOL,)) as socket:
            feeding = asyncio.create_task(_feed(reader, socket))
            skipped = {_DATA: False, _ERROR: False}
            try:
                async for message in socket:
                    data = message.data if isinstance(message.data, bytes) else b""
                    channel, payload = data[:1], data[1:]
                    if channel in skipped and not skipped[channel]:
                        skipped[channel], payload = True, payload[_PORT_BYTES:]
                    if channel == _DATA and payload:
                        writer.write(payload)
                        await writer.drain()
                    elif channel == _ERROR and payload:
                        click.echo(f"error: {payload.decode(errors='replace')}", err=True)
            finally:
                feeding.cancel()
    except StreamRefused as refused:
        click.echo(f"error: {refused.response.body.decode(errors='replace')}", err=True)
    except (TransportError, ConnectionError) as error:
        click.echo(f"error: {error}", err=True)
    finally:
        writer.close()


async def _feed(reader: asyncio.StreamReader, socket: ClientWebSocketResponse) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(PIECE_BYTES):
            await socket.send_bytes(_DATA + piece)
