"""The built-in load balancer: each service gets an address of its own out of a pool. Packets to it are the network's
matter: whoever routes there (`kubecore up`'s fabric, a router, BGP) sends them to the nodes, and the service proxies do
the rest.

In: services that want an address, and those that had one before. Out: addresses, one for each family that the service
has and the pool offers. The services' own status is the pool's memory: nothing is kept elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from kubecore.api.meta import Object, key_of
from kubecore.controllers.load_balancer import LoadBalancerError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressPool:
    """A LoadBalancerProvider. For one event loop: between a look and a claim nothing is awaited."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        """At most one network of each family counts. Raises ValueError."""
        self._networks: dict[str, Network] = {}
        for cidr in cidrs:
            network = ipaddress.ip_network(cidr)
            self._networks.setdefault(f"IPv{network.version}", network)
        self._holders: dict[str, str] = {}

    async def start(self, services: Sequence[Object]) -> None:
        """What was given before stays given. Of two that claim one address the older service keeps it."""
        for service in sorted(services, key=_age):
            for address in _held(service):
                if self._is_ours(address):
                    self._holders.setdefault(address, key_of(service))

    async def ensure(self, service: Object, nodes: Sequence[Object]) -> list[Object]:
        key = key_of(service)
        wanted = service["spec"].get("loadBalancerIP", "")
        told = [each for each in _held(service) if self._is_ours(each) and self._holders.get(each, key) == key]
        before = list(dict.fromkeys([*told, *(each for each, holder in self._holders.items() if holder == key)]))
        families = [each for each in service["spec"].get("ipFamilies") or ["IPv4"] if each in self._networks]
        if not families:
            raise LoadBalancerError(
                f"the pool has no addresses of {', '.join(service['spec'].get('ipFamilies') or ())}"
            )
        chosen = [self._choose(key, family, wanted, before) for family in families]
        for address in before:
            self._holders.pop(address, None)
        self._holders.update(dict.fromkeys(chosen, key))
        return [{"ip": address} for address in chosen]

    async def delete(self, service: Object) -> None:
        key = key_of(service)
        self._holders = {address: holder for address, holder in self._holders.items() if holder != key}

    def _choose(self, key: str, family: str, wanted: str, before: Sequence[str]) -> str:
        if wanted and _family(wanted) == family:
            return self._claim(key, wanted)
        kept = next((address for address in before if _family(address) == family), "")
        return kept or self._free(family)

    def _claim(self, key: str, wanted: str) -> str:
        address = str(ipaddress.ip_address(wanted))
        if not self._is_ours(address):
            offered = ", ".join(str(network) for network in self._networks.values())
            raise LoadBalancerError(f"spec.loadBalancerIP {wanted} is not an address of the pool {offered}")
        holder = self._holders.get(address, key)
        if holder != key:
            raise LoadBalancerError(f"spec.loadBalancerIP {wanted} is already in use by service {holder}")
        return address

    def _free(self, family: str) -> str:
        network = self._networks[family]
        # As many are taken at most as there are holders: a free one is found, or the pool is at its end.
        for candidate in _hosts(network, at_most=len(self._holders) + 1):
            if candidate not in self._holders:
                return candidate
        raise LoadBalancerError(f"no address is left in the pool {network}")

    def _is_ours(self, address: str) -> bool:
        network = self._networks.get(_family(address))
        return network is not None and address in _Hosts(network)


class _Hosts:
    """The addresses of a network that a host may have: not the network's own, not the broadcast address."""

    def __init__(self, network: Network) -> None:
        wide = network.num_addresses > 2
        self._first = int(network.network_address) + wide
        self._last = int(network.broadcast_address) - (wide and network.version == 4)

    def __contains__(self, address: str) -> bool:
        return self._first <= int(ipaddress.ip_address(address)) <= self._last

    def numbers(self, at_most: int) -> range:
        return range(self._first, min(self._last, self._first + at_most - 1) + 1)


def _hosts(network: Network, *, at_most: int) -> Iterable[str]:
    kind = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
    return (str(kind(number)) for number in _Hosts(network).numbers(at_most))


def _family(address: str) -> str:
    """Empty if it is none."""
    try:
        return f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        return ""


def _held(service: Object) -> list[str]:
    if service["spec"].get("type") != "LoadBalancer":
        return []
    listed = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
    return [each["ip"] for each in listed if each.get("ip")]


def _age(service: Object) -> tuple[str, str]:
    return service["metadata"].get("creationTimestamp") or "", key_of(service)
