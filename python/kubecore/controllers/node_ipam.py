"""Gives each node its pod range: a slice of the cluster's networks that no other node has.

In: Nodes. Out: `spec.podCIDR` and `spec.podCIDRs`, which can be set once. A range comes back when its node is deleted; the
next one is looked for behind the last that was given, so that a range rests before it is used again.

OPTIONS: `allocate_node_cidrs` (without it the controller does nothing), `cluster_cidr` (one network, or two of different families,
comma-separated), `service_cidr` (no pod range overlaps with it), `node_cidr_mask_size`, `node_cidr_mask_size_ipv6`.
Source: upstream's pkg/controller/nodeipam; flags of kube-controller-manager.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from kubecore.api.meta import Object, key_of
from kubecore.api.scheme import core
from kubecore.controllers.base import Context, Controller

MASK_SIZE = {4: 24, 6: 64}
MASK_DIFFERENCE_MAX = 16
"""A network is cut into 65,536 ranges at most, as upstream's."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NoRangeLeft(Exception):
    """Every range is some node's."""


class RangePool:
    """The ranges of one network, by their number in it."""

    def __init__(self, network: Network, mask_size: int) -> None:
        """Raises ValueError if the network cannot be cut so."""
        if not network.prefixlen <= mask_size <= network.max_prefixlen:
            raise ValueError(f"--node-cidr-mask-size {mask_size} is no part of --cluster-cidr {network}")
        if mask_size - network.prefixlen > MASK_DIFFERENCE_MAX:
            raise ValueError(
                f"--node-cidr-mask-size {mask_size} cuts --cluster-cidr {network} into more than 2^{MASK_DIFFERENCE_MAX} ranges"
            )
        self._network = network
        self._mask_size = mask_size
        self._count = 1 << (mask_size - network.prefixlen)
        self._size_bits = network.max_prefixlen - mask_size
        self._used: set[int] = set()
        self._next = 0

    def take(self) -> Network:
        """Raises NoRangeLeft."""
        if len(self._used) >= self._count:
            raise NoRangeLeft
        while self._next in self._used:
            self._next = (self._next + 1) % self._count
        taken = self._next
        self._used.add(taken)
        self._next = (taken + 1) % self._count
        first = int(self._network.network_address) + (taken << self._size_bits)
        return type(self._network)((first, self._mask_size))

    def occupy(self, network: Network) -> None:
        """What overlaps with this is not given to anybody; a network of another place is none of ours."""
        self._used.update(self._numbers(network))

    def release(self, network: Network) -> None:
        self._used.difference_update(self._numbers(network))

    def _numbers(self, network: Network) -> Iterable[int]:
        if network.version != self._network.version or not network.overlaps(self._network):
            return ()
        base = int(self._network.network_address)
        first = max(0, (int(network.network_address) - base) >> self._size_bits)
        last = min(self._count - 1, (int(network.broadcast_address) - base) >> self._size_bits)
        return range(first, last + 1)


def pools(cluster_cidr: str, service_cidr: str, mask_sizes: dict[int, int]) -> list[RangePool]:
    """One for each network of the cluster. Raises ValueError."""
    networks = _networks(cluster_cidr)
    if len(networks) > 2 or len({network.version for network in networks}) != len(networks):
        raise ValueError(f"--cluster-cidr {cluster_cidr}: expected one network, or two of different families")
    made = [RangePool(network, mask_sizes[network.version]) for network in networks]
    for pool in made:
        for services in _networks(service_cidr):
            pool.occupy(services)
    return made


class NodeIpam(Controller):
    name = "node-ipam-controller"
    identity = "node-controller"
    component = "cidrAllocator"

    def __init__(self, context: Context) -> None:
        # One worker: who takes a range must know of all taken before.
        super().__init__(context, workers=1)
        self._nodes = self.informer(core("nodes"))
        self._pools: list[RangePool] = []
        self._held: dict[str, tuple[str, ...]] = {}
        """Node → its ranges, as far as they are taken from the pools."""
        options = context.options
        if options.get("allocate_node_cidrs"):
            sizes = {4: options.get("node_cidr_mask_size", MASK_SIZE[4])}
            sizes[6] = options.get("node_cidr_mask_size_ipv6", MASK_SIZE[6])
            self._pools = pools(options["cluster_cidr"], options.get("service_cidr", ""), sizes)
            self.enqueue_changes_of(core("nodes"))

    async def start(self) -> None:
        """What nodes already have is theirs before anything is given away."""
        for node in self._nodes.list():
            if ranges := _ranges(node):
                self._occupy(key_of(node), ranges)

    async def reconcile(self, key: str) -> None:
        node = self._nodes.get(key)
        if node is None:
            self._release(key)
        elif ranges := _ranges(node):
            self._occupy(key, ranges)
        else:
            await self._assign(key, node)

    async def _assign(self, key: str, node: Object) -> None:
        ranges = self._held.get(key)
        if ranges is None:
            try:
                ranges = self._take()
            except NoRangeLeft:
                self._tell(node, "CIDRNotAvailable")
                # Some node may go; none of its events is this node's.
                self.queue.add_rate_limited(key)
                return
            self._held[key] = ranges
        # Kept if this fails: the next attempt gives the same ones.
        await self.client.patch(core("nodes"), "", key, {"spec": {"podCIDR": ranges[0], "podCIDRs": list(ranges)}})

    def _take(self) -> tuple[str, ...]:
        """One of each pool, or of none."""
        taken: list[Network] = []
        for pool in self._pools:
            try:
                taken.append(pool.take())
            except NoRangeLeft:
                for other, network in zip(self._pools, taken, strict=False):
                    other.release(network)
                raise
        return tuple(map(str, taken))

    def _occupy(self, key: str, ranges: tuple[str, ...]) -> None:
        if self._held.get(key) == ranges:
            return
        self._release(key)
        for network in _networks(",".join(ranges)):
            for pool in self._pools:
                pool.occupy(network)
        self._held[key] = ranges

    def _release(self, key: str) -> None:
        for network in _networks(",".join(self._held.pop(key, ()))):
            for pool in self._pools:
                pool.release(network)

    def _tell(self, node: Object, change: str) -> None:
        name = node["metadata"]["name"]
        self.recorder.event(node, "Normal", change, f"Node {name} status is now: {change}")


def _ranges(node: Object) -> tuple[str, ...]:
    spec = node.get("spec", {})
    return tuple(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []))


def _networks(text: str) -> Sequence[Network]:
    return [ipaddress.ip_network(each.strip(), strict=False) for each in text.split(",") if each.strip()]
