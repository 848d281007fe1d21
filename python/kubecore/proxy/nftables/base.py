"""What a table has before any service is in it: hooks, maps, and the rules that lead from the one into the other.

In: the family and what node ports listen on. Out: nft commands that make it so from any state, service chains and
affinity sets left alone. The hooks are upstream's: source ranges are checked against addresses as the client wrote
them, before they are translated; what refuses services without endpoints comes after, so that it never meets what was
led to an endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubecore.proxy.model import Family
from kubecore.proxy.nftables import names

HOOKS = {
    "filter-prerouting-pre-dnat": "type filter hook prerouting priority -110",
    "filter-output-pre-dnat": "type filter hook output priority -110",
    "filter-input": "type filter hook input priority 0",
    "filter-forward": "type filter hook forward priority 0",
    "filter-output": "type filter hook output priority 0",
    "nat-prerouting": "type nat hook prerouting priority -100",
    "nat-output": "type nat hook output priority -100",
    "nat-postrouting": "type nat hook postrouting priority 100",
}

JUMPS = (
    ("filter-input", "ct state new jump nodeport-endpoints-check"),
    ("filter-input", "ct state new jump service-endpoints-check"),
    ("filter-forward", "ct state new jump service-endpoints-check"),
    ("filter-output", "ct state new jump service-endpoints-check"),
    ("filter-prerouting-pre-dnat", "ct state new jump firewall-check"),
    ("filter-output-pre-dnat", "ct state new jump firewall-check"),
    ("nat-output", "jump services"),
    ("nat-prerouting", "jump services"),
    ("nat-postrouting", "jump masquerading"),
    ("filter-forward", "ct state new jump cluster-ips-check"),
    ("filter-output", "ct state new jump cluster-ips-check"),
)

CHAINS = (
    "nodeport-endpoints-check",
    "service-endpoints-check",
    "cluster-ips-check",
    "firewall-check",
    "services",
    "masquerading",
    names.MARK,
    names.REJECT,
)

COMMENTS = {
    names.SERVICE_IPS: "ClusterIP, ExternalIP and LoadBalancer IP traffic",
    names.NODE_PORTS: "NodePort traffic",
    names.NO_ENDPOINT_SERVICES: "vmap to drop or reject packets to services with no endpoints",
    names.NO_ENDPOINT_NODE_PORTS: "vmap to drop or reject packets to service nodeports with no endpoints",
    names.FIREWALL_IPS: "destinations that are subject to LoadBalancerSourceRanges",
    names.CLUSTER_IPS: "Active ClusterIPs",
    names.NODE_PORT_IPS: "IPs that accept NodePort traffic",
}

BY_ADDRESS = (names.SERVICE_IPS, names.NO_ENDPOINT_SERVICES, names.FIREWALL_IPS)
BY_PORT = (names.NODE_PORTS, names.NO_ENDPOINT_NODE_PORTS)
SETS = (names.CLUSTER_IPS, names.NODE_PORT_IPS)

LOOPBACK = {"IPv4": "127.0.0.0/8", "IPv6": "::1"}


def word(family: Family) -> str:
    """How nft calls a family."""
    return "ip6" if family == "IPv6" else "ip"


def commands(
    family: Family, *, mark: int, service_cidrs: Sequence[str], node_ports_everywhere: bool, is_new: bool
) -> Iterable[str]:
    """`is_new`: nothing is known of the table: hooks are made anew, because those of another version may differ."""
    ip = word(family)
    table = f"{ip} {names.TABLE}"
    yield f'add table {table} {{ comment "rules for {names.TABLE}" ; }}'
    if is_new:
        for hook in HOOKS:
            yield f"add chain {table} {hook}"
            yield f"delete chain {table} {hook}"
    for hook, manner in HOOKS.items():
        yield f"add chain {table} {hook} {{ {manner} ; }}"
        yield f"flush chain {table} {hook}"
    for chain in CHAINS:
        yield f"add chain {table} {chain}"
        yield f"flush chain {table} {chain}"
    yield from _containers(family, table)
    for hook, rule in JUMPS:
        yield f"add rule {table} {hook} {rule}"
    for chain, rule in _rules(family, mark, service_cidrs, everywhere=node_ports_everywhere):
        yield f"add rule {table} {chain} {rule}"


def _containers(family: Family, table: str) -> Iterable[str]:
    address = "ipv6_addr" if family == "IPv6" else "ipv4_addr"
    kinds = [("map", name, f"{address} . inet_proto . inet_service : verdict") for name in BY_ADDRESS]
    kinds += [("map", name, "inet_proto . inet_service : verdict") for name in BY_PORT]
    kinds += [("set", name, address) for name in SETS]
    for kind, name, of in kinds:
        yield f'add {kind} {table} {name} {{ type {of} ; comment "{COMMENTS[name]}" ; }}'
        yield f"flush {kind} {table} {name}"


def _rules(family: Family, mark: int, service_cidrs: Sequence[str], *, everywhere: bool) -> Iterable[tuple[str, str]]:
    ip = word(family)
    to_node = f"{ip} daddr @{names.NODE_PORT_IPS}"
    if everywhere:
        to_node = f"fib daddr type local {ip} daddr != {LOOPBACK[family]}"
    yield names.MARK, f"mark set mark or {mark:#x}"
    yield "masquerading", f"mark and {mark:#x} == 0 return"
    yield "masquerading", f"mark set mark xor {mark:#x}"
    yield "masquerading", "masquerade fully-random"
    yield names.REJECT, "reject"
    yield (
        "cluster-ips-check",
        f'{ip} daddr @{names.CLUSTER_IPS} reject comment "Reject traffic to invalid ports of ClusterIPs"',
    )
    for cidr in service_cidrs:
        yield "cluster-ips-check", f'{ip} daddr {cidr} drop comment "Drop traffic to unallocated ClusterIPs"'
    by_address = f"{ip} daddr . meta l4proto . th dport vmap"
    yield "service-endpoints-check", f"{by_address} @{names.NO_ENDPOINT_SERVICES}"
    yield "nodeport-endpoints-check", f"{to_node} meta l4proto . th dport vmap @{names.NO_ENDPOINT_NODE_PORTS}"
    yield "firewall-check", f"{by_address} @{names.FIREWALL_IPS}"
    yield "services", f"{by_address} @{names.SERVICE_IPS}"
    yield "services", f"{to_node} meta l4proto . th dport vmap @{names.NODE_PORTS}"
