"""Which cluster IPs and node ports are taken: built from the stored services when first asked, then kept up by the
services that are written and deleted.

A claim is made while a service is prepared and lasts once `commit` sees it stored; mutations run one at a time, so a claim that
was never committed is simply forgotten.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable
from typing import TypeVar

from kubecore.api.meta import Object

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_What = TypeVar("_What", str, int)
RANDOM_TRIES = 32
"""Random picks before the range is walked."""
STATIC_PART_MAX = 256
"""Upstream's dynamic picks leave the lowest addresses (ports) of a range to those who choose their own."""


class Full(Exception):
    """The range has nothing free."""


class Allocation:
    """Addresses of the service networks and ports of the node port range, each with the service that holds it."""

    def __init__(
        self, networks: Iterable[Network], ports: range, chance: random.Random, services: Callable[[], list[Object]]
    ) -> None:
        self._networks = {("IPv6" if network.version == 6 else "IPv4"): network for network in networks}
        self._ports = ports
        self._random = chance
        self._services = services
        self._held: dict[str | int, str] | None = None

    @property
    def families(self) -> list[str]:
        """In the order of the flag: the first is the cluster's own."""
        return list(self._networks)

    def network(self, family: str) -> Network | None:
        return self._networks.get(family)

    def holder(self, what: str | int) -> str | None:
        """uid of the service that holds an address (text) or a port (number)."""
        return self._all().get(what)

    def is_port(self, port: int) -> bool:
        return port in self._ports

    def ports_text(self) -> str:
        return f"{self._ports.start}-{self._ports.stop - 1}"

    def free_address(self, family: str, taken: set[str | int]) -> str:
        """Raises Full."""
        network = self._networks[family]
        first, size = int(network.network_address), network.num_addresses
        usable = size - 2 if network.version == 4 else size - 1  # neither the network's address nor the broadcast
        reserved = _static_part(usable)

        def at(offset: int) -> str:
            return str(type(network.network_address)(first + 1 + offset))

        return self._pick(at, reserved, usable, taken)

    def free_port(self, taken: set[str | int]) -> int:
        """Raises Full."""
        return self._pick(
            lambda offset: self._ports.start + offset, _static_part(len(self._ports)), len(self._ports), taken
        )

    def _pick(self, at: Callable[[int], _What], reserved: int, size: int, taken: set[str | int]) -> _What:
        held = self._all()
        for _ in range(RANDOM_TRIES):
            candidate = at(self._random.randrange(reserved, size))
            if candidate not in held and candidate not in taken:
                return candidate
        for offset in (*range(reserved, size), *range(reserved)):
            candidate = at(offset)
            if candidate not in held and candidate not in taken:
                return candidate
        raise Full

    def commit(self, new: Object | None, old: Object | None) -> None:
        """`old` is no longer stored, `new` is."""
        held = self._all()
        for what in held_by(old) if old is not None else ():
            held.pop(what, None)
        for what in held_by(new) if new is not None else ():
            held[what] = new["metadata"]["uid"] if new is not None else ""

    def _all(self) -> dict[str | int, str]:
        if self._held is None:
            self._held = {what: service["metadata"]["uid"] for service in self._services() for what in held_by(service)}
        return self._held


def _static_part(size: int) -> int:
    """min(max(16, size/16), 256), as upstream reserves; nothing of a tiny range."""
    return 0 if size < 16 else min(max(16, size // 16), STATIC_PART_MAX)


def held_by(service: Object) -> list[str | int]:
    """Addresses and ports of one service."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    held: list[str | int] = [address for address in spec.get("clusterIPs") or () if address not in ("", "None")]
    held += [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        held.append(spec["healthCheckNodePort"])
    return held
