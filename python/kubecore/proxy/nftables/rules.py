"""A service's share of a table: its chains with their rules, its elements of the maps, its affinity sets.

In: the ports of one service with what stands behind them. Out: a `Fragment`, pure data. The shape is that of
upstream's nftables mode: packets find their service by one look into a map, whatever the number of services.

```
service-ips / service-nodeports ─▶ external-X ─▶ service-X (policy Cluster) ─┬▶ endpoint-X__a ─▶ DNAT
                       │                    └───▶ local-X   (policy Local)  ─┴▶ endpoint-X__b
                       └─────────────────────────▶ service-X or local-X, for the cluster address
no-endpoint-services / no-endpoint-nodeports ─▶ reject-chain, or drop
firewall-ips ─▶ firewall-X
```
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kubecore.proxy.model import Endpoint, Family
from kubecore.proxy.nftables import names
from kubecore.proxy.nftables.detect import LocalTraffic
from kubecore.proxy.topology import ProxiedPort

CASCADE_MAX = 8
"""Up to that many endpoints are chosen by a rule each instead of a map without a name: the kernel numbers such maps by
looking at all that a table has, which made 10,000 services seventeen times slower to write (docs/design/proxy.md)."""

Element = tuple[str, str]
"""(map or set, key as nft writes it)."""


@dataclass(slots=True)
class Fragment:
    """`chains`: rules in order; `elements`: verdicts ("" in a set) and their comment; `sets`: affinity sets with their
    timeout in seconds."""

    chains: dict[str, list[str]] = field(default_factory=dict)
    elements: dict[Element, tuple[str, str]] = field(default_factory=dict)
    sets: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manner:
    """What the rules of one family have in common on this node."""

    family: Family
    local: LocalTraffic = field(default_factory=LocalTraffic)
    masquerade_all: bool = False
    node_address: str = ""

    @property
    def ip(self) -> str:
        return "ip6" if self.family == "IPv6" else "ip"


def fragment(ports: Iterable[ProxiedPort], manner: Manner) -> Fragment:
    """One service's, for one family."""
    made = Fragment()
    for each in ports:
        if each.port.family == manner.family:
            _Port(made, each, manner).write()
    return made


class _Port:
    """Writes one port into a fragment."""

    def __init__(self, made: Fragment, proxied: ProxiedPort, manner: Manner) -> None:
        self._made = made
        self._port = port = proxied.port
        self._endpoints = found = proxied.endpoints
        self._manner = manner
        self._protocol = port.protocol.lower()
        base = names.service(port)
        self._service, self._local = f"service-{base}", f"local-{base}"
        self._bases = {endpoint: names.endpoint(port, endpoint) for endpoint in found.all}
        self._external, self._firewall = f"external-{base}", f"firewall-{base}"
        self._has_internal = bool(found.local) if port.internal_local else found.anywhere
        self._has_external = bool(found.local) if port.external_local else found.anywhere

    def write(self) -> None:
        port, found = self._port, self._endpoints
        self._cluster_ip()
        if port.is_externally_accessible:
            self._outside_addresses()
            if found.anywhere:
                self._made.chains[self._external] = list(self._external_rules())
        if port.load_balancer_ips and port.source_ranges:
            self._made.chains[self._firewall] = list(self._firewall_rules())
        if found.cluster:
            self._made.chains.setdefault(self._service, []).extend(self._balance(found.cluster))
        if found.local:
            self._made.chains.setdefault(self._local, []).extend(self._balance(found.local))
        for endpoint in found.all:
            self._endpoint(endpoint)

    # ── where packets come in ──

    def _cluster_ip(self) -> None:
        port, manner = self._port, self._manner
        self._made.elements[names.CLUSTER_IPS, port.cluster_ip] = ("", "")
        chain = self._local if port.internal_local else self._service
        if not self._has_internal:
            self._refuse(names.NO_ENDPOINT_SERVICES, self._at(port.cluster_ip))
            return
        self._lead(names.SERVICE_IPS, self._at(port.cluster_ip), chain)
        rules = self._made.chains.setdefault(chain, [])
        to = f"{manner.ip} daddr {port.cluster_ip}"
        if manner.masquerade_all:
            rules.append(f"{to} jump {names.MARK}")
        elif manner.local.if_not_local:
            rules.append(f"{to} {manner.local.if_not_local} jump {names.MARK}")

    def _outside_addresses(self) -> None:
        port = self._port
        for address in dict.fromkeys((*port.external_ips, *port.load_balancer_ips)):
            self._outside(names.SERVICE_IPS, names.NO_ENDPOINT_SERVICES, self._at(address))
        if port.node_port:
            self._outside(names.NODE_PORTS, names.NO_ENDPOINT_NODE_PORTS, f"{self._protocol} . {port.node_port}")
        if port.source_ranges:
            for address in port.load_balancer_ips:
                self._lead(names.FIREWALL_IPS, self._at(address), self._firewall)

    def _outside(self, leads: str, refuses: str, key: str) -> None:
        """With a policy of Local and no endpoint here, both: the node's own traffic is let through, the rest dropped."""
        if self._endpoints.anywhere:
            self._lead(leads, key, self._external)
        if not self._has_external:
            self._refuse(refuses, key)

    def _at(self, address: str) -> str:
        return f"{address} . {self._protocol} . {self._port.port}"

    def _lead(self, container: str, key: str, chain: str) -> None:
        self._made.elements[container, key] = (f"goto {chain}", "")

    def _refuse(self, container: str, key: str) -> None:
        verdict = "drop" if self._endpoints.anywhere else f"goto {names.REJECT}"
        self._made.elements[container, key] = (verdict, self._port.text)

    # ── chains ──

    def _external_rules(self) -> Iterable[str]:
        local = self._manner.local
        if not self._port.external_local:
            # The endpoint may be on another node: its answer must come back here.
            yield f"jump {names.MARK}"
        else:
            # A policy of Local is about traffic from outside: pods and the node itself are served by any endpoint.
            cluster = self._service if self._endpoints.cluster else ""
            if local.if_local and cluster:
                yield f'{local.if_local} goto {cluster} comment "short-circuit pod traffic"'
            yield f'fib saddr type local jump {names.MARK} comment "masquerade local traffic"'
            if cluster:
                yield f'fib saddr type local goto {cluster} comment "short-circuit local traffic"'
        if self._has_external:
            yield f"goto {self._local if self._port.external_local else self._service}"

    def _firewall_rules(self) -> Iterable[str]:
        port, ip = self._port, self._manner.ip
        allowed = list(port.source_ranges)
        if _contains(port.source_ranges, self._manner.node_address):
            # A node on which the balancer's address is its own sends from that address.
            allowed += port.load_balancer_ips
        yield from (f"{ip} saddr {source} return" for source in dict.fromkeys(allowed))
        yield "drop"

    def _balance(self, endpoints: Sequence[Endpoint]) -> Iterable[str]:
        port, ip = self._port, self._manner.ip
        bases = [self._bases[endpoint] for endpoint in endpoints]
        if port.affinity_seconds:
            yield from (f"{ip} saddr @affinity-{base} goto endpoint-{base}" for base in bases)
        if len(bases) > CASCADE_MAX:
            choices = ", ".join(f"{number} : goto endpoint-{base}" for number, base in enumerate(bases))
            yield f"numgen random mod {len(bases)} vmap {{ {choices} }}"
            return
        for number, base in enumerate(bases[:-1]):
            yield f"numgen random mod {len(bases) - number} 0 goto endpoint-{base}"
        yield f"goto endpoint-{bases[-1]}"

    def _endpoint(self, endpoint: Endpoint) -> None:
        base = self._bases[endpoint]
        ip = self._manner.ip
        # A pod that reaches itself by the service's address must not see its own address as the client's.
        rules = [f"{ip} saddr {endpoint.ip} jump {names.MARK}"]
        if self._port.affinity_seconds:
            self._made.sets[f"affinity-{base}"] = self._port.affinity_seconds
            rules.append(f"update @affinity-{base} {{ {ip} saddr }}")
        rules.append(f"meta l4proto {self._protocol} dnat to {endpoint.text}")
        self._made.chains[f"endpoint-{base}"] = rules


def _contains(ranges: Iterable[str], address: str) -> bool:
    return bool(address) and any(ipaddress.ip_address(address) in ipaddress.ip_network(each) for each in ranges)
