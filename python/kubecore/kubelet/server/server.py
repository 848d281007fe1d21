"""The kubelet's server: HTTPS on port 10250, and a plain health page on 10248.

Flows in: the API server's requests, on behalf of users, and those of monitoring. Flows out: logs, commands, forwarded ports, pages. Each
request is authenticated and authorised first, health on its own port excepted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from kubecore.api.errors import StatusError
from kubecore.client.transport import TransportError
from kubecore.kubelet.server.authentication import Authenticator
from kubecore.kubelet.server.authorization import Authorizer, subresources_of, verb_of
from kubecore.kubelet.server.containers import ContainerRoutes
from kubecore.kubelet.server.host import Host
from kubecore.kubelet.server.pages import PageRoutes
from kubecore.kubelet.server.serving import tls_context

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 2.0
"""Streams that are open when the kubelet ends are cut after it; their containers go on."""
REQUEST_SIZE_MAX_BYTES = 1024 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class KubeletServer:
    """Run `run` as a task. `port` is where it listens once `listening` is set."""

    def __init__(self, host: Host) -> None:
        self._host = host
        configuration = host.configuration
        self._authenticator = Authenticator(host.client, configuration.authentication, host.clock)
        self._authorizer = Authorizer(host.client, configuration.authorization, host.clock, node_name=host.node_name)
        self.port = configuration.port
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled. Raises OSError if a port is taken, ssl.SSLError for a certificate that is none."""
        runners: list[web.AppRunner] = []
        try:
            runners.append(await self._serve_all())
            if self._host.configuration.healthz_port > 0:
                runners.append(await self._serve_health())
            self.listening.set()
            await asyncio.Event().wait()
        finally:
            for runner in runners:
                await runner.cleanup()

    async def _serve_all(self) -> web.AppRunner:
        host, configuration = self._host, self._host.configuration
        app = web.Application(middlewares=[self._admit], client_max_size=REQUEST_SIZE_MAX_BYTES)
        PageRoutes(host).add_to(app.router)
        if configuration.enable_debugging_handlers:
            ContainerRoutes(host).add_to(app.router)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        context = tls_context(
            configuration, directory=host.root_directory / "pki", names=host.names, now=host.clock.now()
        )
        site = web.TCPSite(runner, configuration.address, configuration.port, ssl_context=context)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _serve_health(self) -> web.AppRunner:
        app = web.Application()
        PageRoutes(self._host).add_health_to(app.router)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        configuration = self._host.configuration
        await web.TCPSite(runner, configuration.healthz_bind_address, configuration.healthz_port).start()
        return runner

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """401, 403, or the handler."""
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
        try:
            bearer = token.strip() if scheme.lower() == "bearer" else ""
            user = await self._authenticator.identify(certificate, bearer)
            if user is None:
                raise web.HTTPUnauthorized(text="Unauthorized")
            allowed = await self._authorizer.allows(user, request.method, request.path)
        except (StatusError, TransportError) as error:
            log.warning("the API server cannot say who may %s %s: %s", request.method, request.path, error)
            raise web.HTTPInternalServerError(text=f"Authorization error: {error}") from error
        if not allowed:
            subresources = " ".join(subresources_of(request.path))
            what = f"verb={verb_of(request.method)}, resource=nodes, subresource(s)=[{subresources}]"
            raise web.HTTPForbidden(text=f"Forbidden (user={user.name}, {what})")
        return await handler(request)
