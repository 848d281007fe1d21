"""The userspace backend: for nodes where nftables is not allowed.

In: `Update`s. Out: sockets that listen, and connections of our own to endpoints. What it can: ClusterIP, external and
load balancer addresses where this process may give the node addresses (CAP_NET_ADMIN), else node ports only; TCP and
UDP, affinity, traffic policies, source ranges, no endpoints → refused. What it cannot: keep a client's address (an
endpoint sees the node's), SCTP, drop what goes to addresses of nobody, serve a container that shares a port number with a
node port on the host's network. See docs/design/proxy.md.
"""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
from collections.abc import Iterable
from typing import Final

from kubecore.api.clock import Clock, SystemClock
from kubecore.proxy.backend import BackendError, Update
from kubecore.proxy.model import FAMILIES, ServicePort
from kubecore.proxy.table import Node, Services
from kubecore.proxy.userspace.forward import Choice, TcpForward, UdpForward
from kubecore.proxy.userspace.routes import Listen, Route, routes

log = logging.getLogger(__name__)

INTERFACE: Final = "kubecore-svc"
"""An interface that carries services' addresses and nothing else: removing it removes them all."""
KINDS: Final = ("dummy", "bridge")
"""Any kind that carries addresses will do; not every kernel has the first."""

EVERYWHERE = {"IPv4": ("0.0.0.0",), "IPv6": ("::",)}
ALREADY = "File exists"


class UserspaceBackend:
    name = "userspace"

    def __init__(self, *, randomness: random.Random, own_addresses: bool = True, clock: Clock | None = None) -> None:
        """`own_addresses`: whether to try to make services' addresses this node's."""
        self._random = randomness
        self._clock = clock or SystemClock()
        self._wants_addresses = own_addresses
        self._has_interface = False
        self._services: Services = {}
        self._forwards: dict[Listen, TcpForward | UdpForward] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._addresses: set[str] = set()
        self._is_lost = True

    def needs_everything(self, node: Node, service_cidrs: tuple[str, ...]) -> bool:
        return self._is_lost

    @property
    def leftovers_due(self) -> float | None:
        return None

    async def sweep(self) -> None:
        return

    async def sync(self, update: Update) -> None:
        if update.everything:
            self._services = {}
        self._services.update(update.services)
        self._services = {key: ports for key, ports in self._services.items() if ports}
        self._is_lost = True
        if self._wants_addresses and not self._has_interface:
            await self._make_interface()
        ports = [port for listed in self._services.values() for port in listed]
        wanted = routes(
            ports, update.node, own_addresses=self._has_interface, node_port_addresses=_node_port_addresses(update.node)
        )
        if self._has_interface:
            own = {address for port in ports for address in _addresses_of(port.port)}
            await self._own(own)
        failures = await self._listen(wanted)
        if failures:
            raise BackendError("; ".join(failures))
        self._is_lost = False

    async def _listen(self, wanted: dict[Listen, Route]) -> list[str]:
        for listen in [each for each in self._forwards if each not in wanted]:
            await self._forwards.pop(listen).close()
        failures = []
        for listen, route in wanted.items():
            forward = self._forwards.get(listen)
            if forward is not None:
                forward.set_route(route)
                continue
            choice = Choice(route, self._clock, self._random)
            made = (
                UdpForward(listen, choice)
                if listen.protocol == "UDP"
                else TcpForward(listen, choice, self._connections)
            )
            try:
                await made.open()
            except OSError as failure:
                failures.append(f"{route.service}: {listen.protocol} {listen.address}:{listen.port}: {failure}")
            else:
                self._forwards[listen] = made
        return failures

    # ── addresses ──

    async def _make_interface(self) -> None:
        failures = []
        for kind in KINDS:
            try:
                await _ip([f"link add {INTERFACE} type {kind}"])
                await _ip([f"link set {INTERFACE} up", f"addr flush dev {INTERFACE}"])
            except BackendError as failure:
                failures.append(f"{kind}: {failure}")
            else:
                self._has_interface = True
                return
        log.warning("services are reached by their node ports only: %s", "; ".join(failures))
        self._wants_addresses = False

    async def _own(self, wanted: set[str]) -> None:
        gone, new = sorted(self._addresses - wanted), sorted(wanted - self._addresses)
        await _ip([f"addr del {_host(address)} dev {INTERFACE}" for address in gone])
        self._addresses -= set(gone)
        await _ip([f"addr add {_host(address)} dev {INTERFACE}{_at_once(address)}" for address in new])
        self._addresses |= set(new)

    async def close(self) -> None:
        """Nothing listens any more: without this process there is no proxy."""
        for forward in self._forwards.values():
            await forward.close()
        self._forwards.clear()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._has_interface:
            await _ip([f"link del {INTERFACE}"])
            self._has_interface = False
            self._addresses.clear()

    async def clean_up(self) -> None:
        await self.close()


def _addresses_of(port: ServicePort) -> Iterable[str]:
    return (port.cluster_ip, *port.external_ips, *port.load_balancer_ips)


def _node_port_addresses(node: Node) -> dict[str, tuple[str, ...]]:
    """The node's own; if it has not said them yet, all."""
    return {family: (node.address(family),) if node.address(family) else EVERYWHERE[family] for family in FAMILIES}


def _host(address: str) -> str:
    return f"{address}/128" if ":" in address else f"{address}/32"


def _at_once(address: str) -> str:
    return " nodad" if ":" in address else ""


async def _ip(lines: list[str]) -> None:
    """Lines of `ip`; what is so already is no failure. Raises BackendError."""
    if not lines:
        return

    def run() -> subprocess.CompletedProcess[str]:
        script = "\n".join(lines) + "\n"
        return subprocess.run(
            ["ip", "-force", "-batch", "-"], input=script, capture_output=True, text=True, check=False
        )

    try:
        done = await asyncio.to_thread(run)
    except OSError as missing:
        raise BackendError(f"ip: {missing}") from missing
    said = [line for line in done.stderr.splitlines() if ALREADY not in line and not line.startswith("Command failed")]
    if done.returncode and said:
        raise BackendError(said[0])
