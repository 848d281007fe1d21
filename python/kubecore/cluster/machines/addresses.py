"""Which address everybody in the fabric has: pure arithmetic over the networks that `up` was told."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

API_PORT = 6443
"""Of the API server in the fabric, whose ports are all free, whatever its port on the host is."""
FIRST_NODE = 11
"""node-0 is the network's eleventh address: those before are for the fabric and for people."""


@dataclass(frozen=True, slots=True)
class Address:
    """With the length of its network's prefix."""

    ip: str
    prefix: int

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class Addresses:
    """`nodes`: the network of nodes and API server. `outside`: of those who come from elsewhere."""

    nodes: str
    outside: str

    def check(self, count: int, others: dict[str, str]) -> None:
        """Raises ValueError if a network has no room for so many nodes, or overlaps with one of the `others` (flag → networks)."""
        network = ipaddress.ip_network(self.nodes)
        if FIRST_NODE + count > network.num_addresses - 1:
            raise ValueError(f"--node-cidr {self.nodes} has no room for {count} nodes")
        named = {"--node-cidr": self.nodes, "outside's network": self.outside} | others
        networks = [
            (flag, ipaddress.ip_network(each.strip()))
            for flag, text in named.items()
            for each in text.split(",")
            if each
        ]
        for index, (flag, one) in enumerate(networks):
            for other_flag, other in networks[index + 1 :]:
                if one.version == other.version and one.overlaps(other):
                    raise ValueError(f"{flag} {one} and {other_flag} {other} overlap")

    @property
    def fabric(self) -> Address:
        """The API server's, and everybody's way to everybody else."""
        return _of(self.nodes, 1)

    def node(self, index: int) -> Address:
        return _of(self.nodes, FIRST_NODE + index)

    @property
    def outside_gateway(self) -> Address:
        return _of(self.outside, 1)

    @property
    def outside_host(self) -> Address:
        return _of(self.outside, 2)


def _of(network: str, index: int) -> Address:
    parsed = ipaddress.ip_network(network)
    return Address(str(parsed[index]), parsed.prefixlen)
