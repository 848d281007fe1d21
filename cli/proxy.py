"""`kubecore proxy`: a plain REST door to the API server, on loopback, that adds this person's credential to each request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from kubecore.client.kubeconfig import load
from kubecore_cli.session import guarded

if TYPE_CHECKING:
    from aiohttp import ClientSession, web

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BODY_MAX_BYTES = 4 * 1024 * 1024
SHUTDOWN_SECONDS = 1.0
HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
    ]
)
REPLACED = HOP_BY_HOP | {"host", "authorization", "content-length"}
"""Request headers that are the connection's own, or ours to say."""


@click.command(
    help="Open a plain REST door to the API server on loopback: `kubecore proxy --port=8080`, `curl localhost:8080/api`."
)
@click.option("--port", type=int, default=8001, show_default=True, metavar="PORT", help="0 takes a free one.")
@click.option("--address", default="127.0.0.1", show_default=True, type=click.Choice(LOOPBACK), help="Loopback only.")
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig to use; else $KUBECONFIG or ~/.kube/config.")
@click.option("--context", default="", metavar="NAME", help="The kubeconfig context to use.")
def proxy(port: int, address: str, kubeconfig: str | None, context: str) -> int:
    return guarded(lambda: _serve(address, port, kubeconfig, context))


async def _serve(address: str, port: int, kubeconfig: str | None, context: str) -> int:
    from aiohttp import ClientSession, TCPConnector, web

    from kubecore.client.http import tls_context

    config = load(kubeconfig, context=context)
    connector = TCPConnector(ssl=tls_context(config) if config.server.startswith("https:") else True, limit=0)
    async with ClientSession(connector=connector, auto_decompress=False) as upstream:
        headers = {"authorization": f"Bearer {config.bearer_token()}"} if config.bearer_token() else {}
        application = web.Application(client_max_size=BODY_MAX_BYTES)
        forwarder = _Forwarder(upstream, config.server, headers)
        application.router.add_route("*", "/{path:.*}", forwarder.forward)
        # A watch whose client has gone is ended, and Ctrl-C does not wait for the watches that are left.
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await runner.setup()
        site = web.TCPSite(runner, address, port)
        await site.start()
        try:
            bound = runner.addresses[0]
            click.echo(f"Starting to serve on {bound[0]}:{bound[1]}")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 0
        finally:
            await runner.cleanup()
    return 0


def _is_loopback(place: str) -> bool:
    """place: `host:port`, or an Origin."""
    try:
        return urlsplit(place if "//" in place else f"//{place}").hostname in LOOPBACK
    except ValueError:
        return False


class _Forwarder:
    """Sends each request on and streams its answer back."""

    def __init__(self, upstream: ClientSession, server: str, headers: dict[str, str]) -> None:
        self._upstream = upstream
        self._server = server
        self._headers = headers

    async def forward(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import ClientError, ClientTimeout, web

        if not _is_loopback(request.host) or not _is_loopback(request.headers.get("origin", "http://localhost")):
            # A page from elsewhere could reach this door through a host name of its own that points here, or have a browser
            # send it what the page may not read the answer of.
            raise web.HTTPForbidden(text="only requests to loopback names are forwarded\n")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in REPLACED}
        try:
            async with self._upstream.request(
                request.method,
                f"{self._server}{request.raw_path}",
                headers=headers | self._headers,
                data=await request.read(),
                allow_redirects=False,
                timeout=ClientTimeout(total=None),
            ) as answer:
                kept = [(n, v) for n, v in answer.headers.items() if n.lower() not in HOP_BY_HOP]
                response = web.StreamResponse(status=answer.status)
                response.headers.extend(kept)
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response
        except ClientError as failure:
            raise web.HTTPBadGateway(text=f"no answer from the API server: {failure}\n") from failure
