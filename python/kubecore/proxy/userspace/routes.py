"""What a node's own connections have to do: where to listen, and to whom each connection goes on. Pure.

In: proxied ports. Out: `Route`s by `Listen`. Two services may want one address and port: the one whose name sorts first
has it, as in the nftables backend.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kubecore.proxy.model import Endpoint, ServicePort
from kubecore.proxy.table import Node
from kubecore.proxy.topology import ProxiedPort

PROTOCOLS = ("TCP", "UDP")


@dataclass(frozen=True, slots=True)
class Listen:
    protocol: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Route:
    """`sources`: ranges that may come; empty: all."""

    service: str
    endpoints: tuple[Endpoint, ...]
    affinity_seconds: int = 0
    sources: tuple[str, ...] = ()

    def lets_in(self, client: str) -> bool:
        address = ipaddress.ip_address(client.partition("%")[0])
        networks = [ipaddress.ip_network(source) for source in self.sources]
        return not networks or any(address.version == each.version and address in each for each in networks)


def routes(
    ports: Iterable[ProxiedPort], node: Node, *, own_addresses: bool, node_port_addresses: Mapping[str, Sequence[str]]
) -> dict[Listen, Route]:
    """`own_addresses`: whether addresses of services can be made this node's. A port without endpoints is not listened
    on: the kernel refuses for us."""
    made: dict[Listen, Route] = {}
    for each in sorted(ports, key=lambda one: one.port.text):
        port, found = each.port, each.endpoints
        if port.protocol not in PROTOCOLS:
            continue
        inside = found.local if port.internal_local else found.cluster
        outside = found.local if port.external_local else found.cluster
        if own_addresses:
            _add(made, port, (port.cluster_ip,), port.port, inside)
            _add(made, port, port.external_ips, port.port, outside)
            _add(made, port, port.load_balancer_ips, port.port, outside, sources=port.source_ranges)
        if port.node_port:
            _add(made, port, node_port_addresses[port.family], port.node_port, outside)
    return made


def _add(
    made: dict[Listen, Route],
    port: ServicePort,
    addresses: Iterable[str],
    number: int,
    endpoints: tuple[Endpoint, ...],
    *,
    sources: tuple[str, ...] = (),
) -> None:
    if not endpoints:
        return
    for address in addresses:
        route = Route(f"{port.namespace}/{port.name}", endpoints, port.affinity_seconds, sources)
        made.setdefault(Listen(port.protocol, address, number), route)
