"""The wires of one cluster: a bridge namespace that nodes and outside are plugged into. Flows in: names and addresses. Flows
out: namespaces that `Inside` can enter.

Links and addresses are iproute2's affair (`ip -batch`): one process for each namespace's worth of lines. Nothing is ever run in the
root namespace, and no interface is ever in it: a pair of links is made inside the fabric with its other end in the node.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from kubecore.cluster.machines import namespaces
from kubecore.cluster.machines.addresses import Addresses
from kubecore.cluster.machines.namespaces import Inside

BRIDGE = "fabric"
OUTSIDE = "outside"
INTERFACE = "eth0"

FORWARDING = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    # A way back through the interface it came from is meant so: nobody shall be told of a shorter one.
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
}
SPREADING = {"net/ipv4/fib_multipath_hash_policy": "1"}
"""Connections, not only clients, are spread over the nodes that hold a load balancer's address."""


class NetworkFailure(OSError):
    """iproute2 could not; the message is its own."""


def configure(namespace: str, lines: Sequence[str], *, all_of_them: bool = False) -> None:
    """Runs lines of `ip` inside a named namespace. Raises NetworkFailure at the first that fails, or, if all of them are to be
    tried, after the last that the kernel refused (a line that `ip` itself cannot read ends it all the same)."""
    done = subprocess.run(
        ["ip", *(["-force"] if all_of_them else []), "-netns", namespace, "-batch", "-"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NetworkFailure(f"{namespace}: {done.stderr.strip()}")


class Fabric:
    """Named namespaces `NAME-fabric`, `NAME-outside` and one for each node that is plugged in."""

    def __init__(self, name: str, addresses: Addresses) -> None:
        self._name = name
        self._addresses = addresses
        self.inside = Inside(namespaces.DIRECTORY / self.namespace)
        self.outside = Inside(namespaces.DIRECTORY / self.outside_namespace)

    @property
    def namespace(self) -> str:
        return f"{self._name}-fabric"

    @property
    def outside_namespace(self) -> str:
        return f"{self._name}-{OUTSIDE}"

    def node_namespace(self, node: str) -> str:
        return f"{self._name}-{node}"

    def create(self) -> None:
        """The fabric and outside. Raises OSError."""
        addresses = self._addresses
        namespaces.create(self.namespace)
        namespaces.create(self.outside_namespace)
        self.inside.sysctl(FORWARDING | SPREADING)
        configure(
            self.namespace,
            [
                "link set lo up",
                f"link add {BRIDGE} type bridge",
                f"addr add {addresses.fabric} dev {BRIDGE}",
                f"link set {BRIDGE} up",
                *_pair(OUTSIDE, self.outside_namespace),
                f"addr add {addresses.outside_gateway} dev {OUTSIDE}",
                f"link set {OUTSIDE} up",
            ],
        )
        self._address(self.outside_namespace, str(addresses.outside_host), addresses.outside_gateway.ip)

    def plug(self, node: str, index: int) -> Inside:
        """Makes a node's namespace and wires it to the bridge. Its interface there is called like the node."""
        namespace = self.node_namespace(node)
        inside = Inside(namespaces.create(namespace))
        inside.sysctl(FORWARDING)
        configure(
            self.namespace,
            [*_pair(node, namespace), f"link set {node} master {BRIDGE}", f"link set {node} up"],
        )
        self._address(namespace, str(self._addresses.node(index)), self._addresses.fabric.ip)
        return inside

    def unplug(self, node: str) -> None:
        """A node that is off: its namespace's name goes, and with the last process in it its links, routes and rules.

        The link is cut here, at once: the kernel frees a namespace in its own time."""
        if self.node_namespace(node) in namespaces.names():
            subprocess.run(["ip", "-netns", self.namespace, "link", "delete", node], capture_output=True, check=False)
        namespaces.remove(self.node_namespace(node))

    def close(self) -> None:
        """Everything that `create` made."""
        for inside, name in ((self.outside, self.outside_namespace), (self.inside, self.namespace)):
            inside.close()
            namespaces.remove(name)

    def _address(self, namespace: str, address: str, gateway: str) -> None:
        configure(
            namespace,
            [
                "link set lo up",
                f"addr add {address} dev {INTERFACE}",
                f"link set {INTERFACE} up",
                f"route add default via {gateway}",
            ],
        )


def _pair(here: str, there: str) -> list[str]:
    """A veth pair: `here` in the namespace that is configured, INTERFACE in the one named."""
    return [f"link add {here} type veth peer name {INTERFACE} netns {there}"]
