"""The kernel's memory of UDP flows: found and forgotten when where they lead is no endpoint any more.

A UDP "connection" keeps its translation as long as packets come; a client that sends without pause would talk to a pod
that is gone for ever. In: the UDP targets that changed. Out: deletions by netlink. Ours and not a library's: a node
may remember 100,000 flows, and what is needed of each is four numbers at fixed places.
Source: linux/netfilter/nfnetlink_conntrack.h
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kubecore.proxy.backend import Target
from kubecore.proxy.model import FAMILIES, Family, ServicePort
from kubecore.proxy.table import Node, Services
from kubecore.proxy.topology import ProxiedPort

NETFILTER: Final = 12  # NETLINK_NETFILTER
GET, DELETE = 0x101, 0x102  # ctnetlink's subsystem in the upper byte
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ERROR, DONE = 2, 3
TUPLE_ORIGINAL, TUPLE_REPLY = 1, 2
TUPLE_IP, TUPLE_PROTO = 1, 2
PROTO_NUMBER, PROTO_SOURCE_PORT, PROTO_DESTINATION_PORT = 1, 2, 3
IP_SOURCE = {"IPv4": 1, "IPv6": 3}
IP_DESTINATION = {"IPv4": 2, "IPv6": 4}
ZONE = 18
NESTED = 0x8000
UDP = 17
ENOENT = 2

DUMP_BYTES_MAX = 1 << 18
RECEIVE_SECONDS = 5.0
"""The kernel answers at once; a socket that stays silent is given up."""

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


class ConntrackError(Exception):
    """The kernel's flows cannot be read or changed."""


@dataclass(frozen=True, slots=True)
class Flow:
    """`to`: where the client sent to; `answered_by`: who answers in truth. `original`: what names the flow, as the kernel
    wrote it."""

    family: Family
    to: tuple[str, int]
    answered_by: tuple[str, int]
    original: bytes


def target_of(proxied: ProxiedPort) -> Target:
    port = proxied.port
    addresses = (port.cluster_ip, *port.external_ips, *port.load_balancer_ips)
    return Target(
        port.family,
        frozenset((address, port.port) for address in addresses),
        port.node_port,
        frozenset((endpoint.ip, endpoint.port) for endpoint in proxied.endpoints.serving),
    )


class UdpTargets:
    """The UDP ports of all services, so that what a service gave up is known when it changes."""

    def __init__(self) -> None:
        self._known: dict[str, dict[tuple[str, str, str], Target]] = {}

    def update(self, services: Services, *, everything: bool) -> list[Target]:
        """What to look at: the changed ports, and addresses that are nobody's now."""
        changed: list[Target] = []
        gone = [key for key in self._known if key not in services] if everything else []
        for key in gone:
            changed += [_given_up(target) for target in self._known.pop(key).values()]
        for key, ports in services.items():
            before = self._known.get(key, {})
            after = {_name(each.port): target_of(each) for each in ports if each.port.protocol == "UDP"}
            changed += [_given_up(target) for name, target in before.items() if _moved(target, after.get(name))]
            changed += [target for name, target in after.items() if before.get(name) != target]
            if after:
                self._known[key] = after
            else:
                self._known.pop(key, None)
        return changed


def _name(port: ServicePort) -> tuple[str, str, str]:
    return port.family, port.port_name, port.protocol


def _moved(old: Target, new: Target | None) -> bool:
    return new is None or not old.addresses <= new.addresses or old.node_port != new.node_port


def _given_up(target: Target) -> Target:
    return Target(target.family, target.addresses, target.node_port, frozenset())


def stale(flows: Iterable[Flow], targets: Sequence[Target], node: Node) -> list[Flow]:
    """The flows to a target's address that lead to none of its endpoints. Of two targets for one address the later
    counts: it is what holds now."""
    by_address: dict[tuple[str, int], frozenset[tuple[str, int]]] = {}
    by_node_port: dict[tuple[Family, int], frozenset[tuple[str, int]]] = {}
    for target in targets:
        by_address.update(dict.fromkeys(target.addresses, target.endpoints))
        if target.node_port:
            by_node_port[target.family, target.node_port] = target.endpoints
    own = set(node.addresses)
    found = []
    for flow in flows:
        endpoints = by_address.get(flow.to)
        if endpoints is None and flow.to[0] in own:
            endpoints = by_node_port.get((flow.family, flow.to[1]))
        if endpoints is not None and flow.answered_by not in endpoints:
            found.append(flow)
    return found


class Conntrack:
    """Flows of the network namespace that the process is in."""

    async def clean(self, targets: Sequence[Target], node: Node) -> dict[Family, int]:
        """Gives how many flows were forgotten. Raises ConntrackError."""
        families = [family for family in FAMILIES if any(target.family == family for target in targets)]
        return await asyncio.to_thread(_clean, families, targets, node)


def _clean(families: Iterable[Family], targets: Sequence[Target], node: Node) -> dict[Family, int]:
    deleted: dict[Family, int] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER) as door:
            door.settimeout(RECEIVE_SECONDS)
            door.bind((0, 0))
            for family in families:
                going = stale(udp_flows(door, family), targets, node)
                deleted[family] = sum(_delete(door, flow) for flow in going)
    except OSError as failure:
        raise ConntrackError(f"connection tracking: {failure}") from failure
    return deleted


def _message(kind: int, flags: int, family: Family, attributes: bytes = b"") -> bytes:
    number = socket.AF_INET6 if family == "IPv6" else socket.AF_INET
    payload = struct.pack("=BBH", number, 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(payload), kind, REQUEST | flags, 1, 0) + payload


def udp_flows(door: socket.socket, family: Family) -> list[Flow]:
    door.send(_message(GET, DUMP, family))
    flows: list[Flow] = []
    while True:
        for kind, body in _messages(door.recv(DUMP_BYTES_MAX)):
            if kind == DONE:
                return flows
            if kind == ERROR:
                raise OSError(-struct.unpack_from("=i", body)[0], "the kernel does not list its flows")
            flow = _flow(family, body)
            if flow is not None:
                flows.append(flow)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _attributes(data: bytes, at: int = 0) -> dict[int, bytes]:
    found = {}
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & ~0xC000] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def _flow(family: Family, body: bytes) -> Flow | None:
    attributes = _attributes(body, at=4)
    original, reply = attributes.get(TUPLE_ORIGINAL), attributes.get(TUPLE_REPLY)
    if original is None or reply is None:
        return None
    to, answer = _attributes(original), _attributes(reply)
    to_ports = _attributes(to[TUPLE_PROTO])
    if to_ports[PROTO_NUMBER][0] != UDP:
        return None
    name = _attribute(TUPLE_ORIGINAL | NESTED, original)
    if ZONE in attributes:
        name += _attribute(ZONE, attributes[ZONE])
    return Flow(
        family,
        (_address(_attributes(to[TUPLE_IP])[IP_DESTINATION[family]]), _port(to_ports[PROTO_DESTINATION_PORT])),
        (
            _address(_attributes(answer[TUPLE_IP])[IP_SOURCE[family]]),
            _port(_attributes(answer[TUPLE_PROTO])[PROTO_SOURCE_PORT]),
        ),
        name,
    )


def _attribute(kind: int, data: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _address(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))


def _port(packed: bytes) -> int:
    return int.from_bytes(packed, "big")


def _delete(door: socket.socket, flow: Flow) -> bool:
    """Whether it was there still."""
    door.send(_message(DELETE, ACK, flow.family, flow.original))
    for kind, body in _messages(door.recv(DUMP_BYTES_MAX)):
        if kind == ERROR:
            code = -struct.unpack_from("=i", body)[0]
            if code not in (0, ENOENT):
                raise OSError(code, "the kernel does not forget a flow")
            return bool(code == 0)
    return False
