"""The pods' network of one node: a bridge with the range's first address, a veth pair for each sandbox, host ports.

In: the node's pod range (from the kubelet), sandboxes that come and go. Out: an address for each, from the range, in order, so
that one that was given back is not given out again at once. Nothing is kept apart from the sandboxes' own records but the
range and the last address given.

A pod has its address without a route to its neighbours: everything goes by the bridge's address. So traffic between two pods
of one node is routed like any other and the node's rules see both directions of it, which the service proxy needs.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from kubecore.kubelet.runtimes.process.netlink import Netlink
from kubecore.kubelet.runtimes.protocol import Condition, PortMapping, RuntimeCode, RuntimeFailure

_TABLE = "kubecore-hostports"
_ANY_ADDRESS = ("", "0.0.0.0", "::")
_RESERVED_AT_START = 2
"""The network's own address and the bridge's."""


class _Saved(msgspec.Struct):
    pod_cidr: str = ""
    last: int = 0


class Addresses:
    """Which addresses of the range are given. Saved: the range and the last one; those in use are known to the caller."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._saved = self._load()

    @property
    def pod_cidr(self) -> str:
        """ "" until the kubelet has told it."""
        return self._saved.pod_cidr

    @property
    def gateway(self) -> str:
        return str(next(ipaddress.ip_network(self._saved.pod_cidr).hosts()))

    @property
    def prefix_length(self) -> int:
        return ipaddress.ip_network(self._saved.pod_cidr).prefixlen

    def set_range(self, pod_cidr: str) -> None:
        try:
            ipaddress.ip_network(pod_cidr)
        except ValueError as invalid:
            raise RuntimeFailure(RuntimeCode.INVALID_ARGUMENT, f"invalid pod CIDR: {invalid}") from invalid
        self._saved = _Saved(pod_cidr=pod_cidr)
        self._save()

    def allocate(self, used: Iterable[str]) -> str:
        """The next free address. Fails when the range is full."""
        network = ipaddress.ip_network(self._saved.pod_cidr)
        taken = set(used)
        size = network.num_addresses - _RESERVED_AT_START - 1
        for step in range(1, size + 1):
            position = (self._saved.last + step - 1) % size + 1
            address = str(network[position + _RESERVED_AT_START - 1])
            if address not in taken:
                self._saved = _Saved(pod_cidr=self._saved.pod_cidr, last=position)
                self._save()
                return address
        raise RuntimeFailure(
            RuntimeCode.UNKNOWN,
            'failed to setup network for sandbox: plugin type="bridge" failed (add): failed to allocate for range 0: '
            f"no IP addresses available in range set: {network[1]}-{network[-2]}",
        )

    def _load(self) -> _Saved:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Saved)
        except (FileNotFoundError, msgspec.DecodeError):
            return _Saved()

    def _save(self) -> None:
        self._file.with_suffix(".new").write_bytes(msgspec.json.encode(self._saved))
        self._file.with_suffix(".new").replace(self._file)


class PodNetwork:
    """In the network namespace that the daemon is in: the node's."""

    def __init__(self, directory: Path, *, bridge: str = "pods", mtu: int = 1500) -> None:
        self.bridge = bridge
        self.mtu = mtu
        self.addresses = Addresses(directory / "network")
        self._index = 0
        self._ports_wanted: dict[str, tuple[str, tuple[PortMapping, ...]]] = {}
        self._ports_lock = asyncio.Lock()
        if self.addresses.pod_cidr:
            self._make_bridge()

    def condition(self) -> Condition:
        if self.addresses.pod_cidr:
            return Condition(type="NetworkReady", status=True)
        return Condition(
            type="NetworkReady",
            status=False,
            reason="NetworkPluginNotReady",
            message="Network plugin returns error: the node has no pod range yet",
        )

    def set_range(self, pod_cidr: str, *, in_use: bool) -> None:
        """The range may be told again; it changes only while no pod has an address of it."""
        if pod_cidr == self.addresses.pod_cidr:
            return
        if in_use:
            raise RuntimeFailure(
                RuntimeCode.FAILED_PRECONDITION,
                f"the pod range is {self.addresses.pod_cidr} and cannot become {pod_cidr} while pods have addresses of it",
            )
        self.addresses.set_range(pod_cidr)
        self._remove_bridge()
        self._make_bridge()

    def connect(self, sandbox_id: str, namespace: int, inside: Netlink, address: str) -> None:
        """`namespace`: the sandbox's network namespace; `inside`: a netlink socket in it."""
        node = Netlink()
        try:
            name = interface_of(sandbox_id)
            node.add_pair(name, peer="eth0", peer_namespace=namespace, bridge=self._index, mtu=self.mtu)
            node.set_hairpin(node.index_of(name))
        finally:
            node.close()
        index = inside.index_of("eth0")
        inside.add_address(index, address, self.addresses.prefix_length, connected_route=False)
        inside.set_up(index)
        inside.add_route(index, f"{self.addresses.gateway}/32")
        inside.add_route(index, "0.0.0.0/0", gateway=self.addresses.gateway)

    async def map_ports(self, sandbox_id: str, address: str, mappings: tuple[PortMapping, ...]) -> None:
        """Host ports of one sandbox, from now on; none take it away."""
        mappings = tuple(each for each in mappings if _is_served(each))
        async with self._ports_lock:
            before = dict(self._ports_wanted)
            self._ports_wanted.pop(sandbox_id, None)
            if mappings:
                self._ports_wanted[sandbox_id] = (address, mappings)
            if self._ports_wanted == before:
                return
            try:
                await _apply_rules(host_port_rules(self._ports_wanted, self.bridge))
            except BaseException:
                # What cannot be a rule must not stand in the way of everybody else's.
                self._ports_wanted = before
                raise

    async def restore_ports(self, wanted: Mapping[str, tuple[str, tuple[PortMapping, ...]]]) -> None:
        """After the daemon's own restart."""
        self._ports_wanted = {
            key: (address, tuple(each for each in mappings if _is_served(each)))
            for key, (address, mappings) in wanted.items()
            if any(_is_served(each) for each in mappings)
        }
        if self._ports_wanted:
            async with self._ports_lock:
                await _apply_rules(host_port_rules(self._ports_wanted, self.bridge))

    def _remove_bridge(self) -> None:
        node = Netlink()
        try:
            index = node.index_of(self.bridge)
            if index:
                node.delete(index)
        finally:
            node.close()

    def _make_bridge(self) -> None:
        node = Netlink()
        try:
            self._index = node.index_of(self.bridge)
            if not self._index:
                node.add_bridge(self.bridge)
                self._index = node.index_of(self.bridge)
            node.set_up(self._index)
            node.add_address(self._index, self.addresses.gateway, self.addresses.prefix_length)
        finally:
            node.close()
        _write_sysctl("net/ipv4/ip_forward", "1")
        # Pods of one node reach each other by the bridge's address; telling them a shorter way would take the rules away.
        for name in ("all", self.bridge):
            _write_sysctl(f"net/ipv4/conf/{name}/send_redirects", "0")
        # A host port on 127.0.0.1 is forwarded to a pod.
        _write_sysctl(f"net/ipv4/conf/{self.bridge}/route_localnet", "1")


def _is_served(mapping: PortMapping) -> bool:
    """A port of the node's, on an address of the pods' own family."""
    return bool(mapping.host_port) and (mapping.host_ip in _ANY_ADDRESS or ":" not in mapping.host_ip)


def interface_of(sandbox_id: str) -> str:
    """The node's end of a sandbox's pair: at most 15 characters."""
    return f"veth{sandbox_id[:10]}"


def host_port_rules(wanted: Mapping[str, tuple[str, tuple[PortMapping, ...]]], bridge: str) -> str:
    """The whole table in nft's words: replacing it is one transaction."""
    rules: list[str] = []
    for address, mappings in wanted.values():
        for each in mappings:
            protocol = each.protocol.lower()
            at = f"ip daddr {each.host_ip} " if each.host_ip not in _ANY_ADDRESS else ""
            rules.append(f"    {at}{protocol} dport {each.host_port} dnat to {address}:{each.container_port}")
    lines = [f"table ip {_TABLE}", f"delete table ip {_TABLE}"]
    if rules:
        lines += [
            f"table ip {_TABLE} {{",
            "  chain ports {",
            *rules,
            "  }",
            "  chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump ports; }",
            "  chain output { type nat hook output priority -100; fib daddr type local jump ports; }",
            "  chain postrouting { type nat hook postrouting priority srcnat;",
            f'    oifname "{bridge}" ct status dnat ip saddr 127.0.0.0/8 masquerade;',
            # A pod that reaches itself this way would answer itself without the node.
            *(
                f"    ip saddr {address} ip daddr {address} ct status dnat masquerade;"
                for address, _ in wanted.values()
            ),
            "  }",
            "}",
        ]
    return "\n".join(lines) + "\n"


async def _apply_rules(rules: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "nft", "-f", "-", stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate(rules.encode())
    if process.returncode:
        raise RuntimeFailure(RuntimeCode.UNKNOWN, f"failed to set host ports: nft: {errors.decode().strip()}")


def _write_sysctl(name: str, value: str) -> None:
    with open(os.path.join("/proc/sys", name), "w", encoding="ascii") as file:
        file.write(value)
