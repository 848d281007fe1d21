"""Who asks how the proxy is: `/healthz` and `/livez` (port 10256), `/metrics` and `/proxyMode` (port 10249), and load
balancers that ask each node whether it has endpoints of a service (`healthCheckNodePort`).

In: what the proxy knows of itself and of local endpoints. Out: HTTP answers in upstream's words.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from kubecore.api.clock import Clock
from kubecore.api.meta import Object, split_key
from kubecore.proxy.metrics import ProxyMetrics

log = logging.getLogger(__name__)

TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
SHUTDOWN_SECONDS = 1.0
HEADERS = {"X-Content-Type-Options": "nosniff"}


class ProxyHealth:
    """Healthy: nothing waits for too long. Eligible: nobody is about to remove this node."""

    def __init__(self, clock: Clock, *, timeout_seconds: float) -> None:
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._waiting_since: float | None = None
        self._updated: float | None = None
        self.is_eligible = True

    def queued(self) -> None:
        if self._waiting_since is None:
            self._waiting_since = self._clock.now()

    def updated(self) -> None:
        self._waiting_since = None
        self._updated = self._clock.now()

    def node_changed(self, node: Object | None) -> None:
        taints = (node or {}).get("spec", {}).get("taints") or ()
        leaving = node is None or node["metadata"].get("deletionTimestamp")
        self.is_eligible = not leaving and all(taint["key"] != TO_BE_DELETED for taint in taints)

    @property
    def is_healthy(self) -> bool:
        return self._waiting_since is None or self._clock.now() - self._waiting_since < self._timeout_seconds

    def times(self) -> tuple[str, str]:
        """(last updated, now): a healthy proxy is up to date as of now."""
        now = self._clock.now()
        return _text(now if self.is_healthy else self._updated or 0.0), _text(now)


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")


def health_application(health: ProxyHealth, metrics: ProxyMetrics) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        updated, now = health.times()
        healthy = health.is_healthy and health.is_eligible
        body = {"lastUpdated": updated, "currentTime": now, "nodeEligible": health.is_eligible}
        return _answer(body, healthy=healthy, count=metrics.healthz.labels)

    async def livez(_: web.Request) -> web.Response:
        updated, now = health.times()
        body = {"lastUpdated": updated, "currentTime": now}
        return _answer(body, healthy=health.is_healthy, count=metrics.livez.labels)

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/livez", livez)
    return application


def _answer(body: Mapping[str, object], *, healthy: bool, count: Callable[[str], object]) -> web.Response:
    status = 200 if healthy else 503
    counter = count(str(status))
    counter.inc()  # type: ignore[attr-defined]
    return web.json_response(body, status=status, headers=HEADERS)


def metrics_application(metrics: ProxyMetrics, mode: str) -> web.Application:
    async def told(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def proxy_mode(_: web.Request) -> web.Response:
        return web.Response(text=mode, headers=HEADERS)

    application = web.Application()
    application.router.add_get("/metrics", told)
    application.router.add_get("/proxyMode", proxy_mode)
    return application


class Listener:
    """One application on some addresses. `close` ends it."""

    def __init__(self, application: web.Application) -> None:
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        self.port = 0

    async def open(self, addresses: Sequence[str], port: int) -> None:
        """Raises OSError; then nothing listens."""
        await self._runner.setup()
        try:
            for address in addresses:
                await web.SockSite(self._runner, _socket(address, port)).start()
        except OSError:
            await self.close()
            raise
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        await self._runner.cleanup()


def _socket(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A node's address may come a moment after the rules that speak of it.
        made.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


IP_FREEBIND = 15


@dataclass(slots=True)
class _Check:
    port: int
    listener: Listener
    endpoints: int = 0


class ServiceHealth:
    """A listener for each service that has a health check port. Ports that cannot be opened are told and tried again."""

    def __init__(self, health: ProxyHealth, failed: Callable[[str, int, OSError], None]) -> None:
        self._health = health
        self._failed = failed
        self._checks: dict[str, _Check] = {}
        self._turn = asyncio.Lock()

    async def sync(self, wanted: Mapping[str, int], local: Callable[[str], int], addresses: Sequence[str]) -> None:
        """`wanted`: port by `namespace/name`; `local`: how many endpoints a service has here."""
        async with self._turn:
            for key, check in list(self._checks.items()):
                if wanted.get(key) != check.port:
                    del self._checks[key]
                    await check.listener.close()
            for key, port in wanted.items():
                if key not in self._checks:
                    await self._open(key, port, addresses)
                if key in self._checks:
                    self._checks[key].endpoints = local(key)

    async def _open(self, key: str, port: int, addresses: Sequence[str]) -> None:
        async def tell(_: web.Request) -> web.Response:
            return self._tell(key)

        application = web.Application()
        application.router.add_get("/{path:.*}", tell)
        listener = Listener(application)
        try:
            await listener.open(addresses or ("0.0.0.0",), port)
        except OSError as failure:
            self._failed(key, port, failure)
            return
        self._checks[key] = _Check(port, listener)

    def _tell(self, key: str) -> web.Response:
        check = self._checks.get(key)
        count = check.endpoints if check is not None else 0
        namespace, name = split_key(key)
        healthy = self._health.is_healthy
        body = {
            "service": {"namespace": namespace, "name": name},
            "localEndpoints": count,
            "serviceProxyHealthy": healthy,
        }
        headers = {**HEADERS, "X-Load-Balancing-Endpoint-Weight": str(count)}
        return web.Response(
            text=json.dumps(body, indent="\t"),
            status=200 if count and healthy else 503,
            content_type="application/json",
            headers=headers,
        )

    async def close(self) -> None:
        await self.sync({}, lambda _: 0, ())
