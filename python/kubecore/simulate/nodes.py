"""Simulated nodes as facts: their objects, their addresses, whether they live.

Pure bookkeeping: nothing here talks to a server. A node is simulated if it carries KWOK's annotation, whoever made it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubecore.api.meta import Object, timestamp

MANAGED_ANNOTATION = "kwok.x-k8s.io/node"
MANAGED_VALUE = "fake"

POWER_ANNOTATION = "kubecore.dev/simulated-power"
"""`off`: the node falls silent until the annotation is something else."""

CAPACITY: Mapping[str, str] = {"cpu": "32", "memory": "256Gi", "pods": "110"}
POD_NETWORK = "10.128.0.0/9"
NODE_NETWORK = "172.16.0.0/12"
POD_RANGE_PREFIX = 24
"""A /24 for each node; with more nodes than the network has of those, smaller ranges."""

CONDITIONS = (
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("NetworkUnavailable", "False", "RouteCreated", "RouteController created a route"),
)


class AddressesExhausted(Exception):
    """A node has as many pods as its range has addresses."""


@dataclass(slots=True)
class SimulatedNode:
    """One node. `taken`: the pod uid that each address belongs to."""

    name: str
    address: str
    pod_range: ipaddress.IPv4Network | None
    uid: str = ""
    alive: bool = True
    has_lease: bool = False
    taken: dict[str, str] = field(default_factory=dict)
    by_pod: dict[str, str] = field(default_factory=dict)
    _next: int = 0

    def take(self, pod_uid: str) -> str:
        """The pod's address: always the same one, until it is given back. Raises AddressesExhausted."""
        address = self.by_pod.get(pod_uid)
        if address is None:
            address = self._free()
            self.keep(pod_uid, address)
        return address

    def keep(self, pod_uid: str, address: str) -> None:
        """Notes an address that the pod has already."""
        self.taken[address] = pod_uid
        self.by_pod[pod_uid] = address

    def give_back(self, pod_uid: str) -> None:
        address = self.by_pod.pop(pod_uid, None)
        if address is not None:
            del self.taken[address]

    def _free(self) -> str:
        """Addresses are used in turn, so that one just given back rests."""
        if self.pod_range is None:
            raise AddressesExhausted(f"node {self.name} has no podCIDR")
        first, size = int(self.pod_range.network_address), self.pod_range.num_addresses
        for _ in range(size - 2):
            self._next = self._next % (size - 2) + 1
            address = str(ipaddress.IPv4Address(first + self._next))
            if address not in self.taken:
                return address
        raise AddressesExhausted(f"node {self.name}: all addresses of {self.pod_range} are taken")


def from_object(node: Object) -> SimulatedNode:
    """The facts of a node that somebody created."""
    addresses = node.get("status", {}).get("addresses") or ()
    address = next((each["address"] for each in addresses if each["type"] == "InternalIP"), "")
    text = node.get("spec", {}).get("podCIDR")
    pod_range = ipaddress.ip_network(text) if text else None
    return SimulatedNode(
        name=node["metadata"]["name"],
        address=address or "172.16.0.1",
        pod_range=pod_range if isinstance(pod_range, ipaddress.IPv4Network) else None,
        uid=node["metadata"].get("uid", ""),
    )


def is_managed(node: Object) -> bool:
    return (node["metadata"].get("annotations") or {}).get(MANAGED_ANNOTATION) == MANAGED_VALUE


def is_powered(node: Object) -> bool:
    return (node["metadata"].get("annotations") or {}).get(POWER_ANNOTATION) != "off"


def conditions(now: float) -> list[Object]:
    at = timestamp(now)
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": at,
            "lastTransitionTime": at,
        }
        for kind, status, reason, message in CONDITIONS
    ]


@dataclass(frozen=True, slots=True)
class NodePlan:
    """How many nodes to make, and of what size."""

    count: int
    prefix: str = "node-"
    capacity: Mapping[str, str] = field(default_factory=lambda: dict(CAPACITY))
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    pod_network: str = POD_NETWORK
    first: int = 0
    """The number of the first node."""

    def objects(self, *, now: float, kubelet_version: str) -> list[Object]:
        return [self._node(number, now, kubelet_version) for number in range(self.first, self.first + self.count)]

    def _node(self, number: int, now: float, version: str) -> Object:
        name = f"{self.prefix}{number}"
        address = str(ipaddress.ip_network(NODE_NETWORK)[number + 1])
        pod_range = _nth_range(self.pod_network, number, self.first + self.count)
        capacity = {"ephemeral-storage": "256Gi", **self.capacity}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "annotations": {MANAGED_ANNOTATION: MANAGED_VALUE, "node.alpha.kubernetes.io/ttl": "0"},
                "labels": {
                    "beta.kubernetes.io/arch": "amd64",
                    "beta.kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/role": "agent",
                    "node-role.kubernetes.io/agent": "",
                    "type": "kwok",
                    **self.labels,
                },
            },
            "spec": {"podCIDR": pod_range, "podCIDRs": [pod_range], **self._taints()},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": address},
                    {"type": "Hostname", "address": name},
                ],
                "allocatable": capacity,
                "capacity": capacity,
                "conditions": conditions(now),
                "nodeInfo": {
                    "architecture": "amd64",
                    "bootID": "",
                    "containerRuntimeVersion": "kubecore://simulated",
                    "kernelVersion": "simulated",
                    "kubeProxyVersion": version,
                    "kubeletVersion": version,
                    "machineID": "",
                    "operatingSystem": "linux",
                    "osImage": "simulated",
                    "systemUUID": "",
                },
                "phase": "Running",
            },
        }

    def _taints(self) -> Object:
        return {"taints": [dict(taint) for taint in self.taints]} if self.taints else {}


def _nth_range(network: str, number: int, total: int) -> str:
    whole = ipaddress.IPv4Network(network)
    prefix = POD_RANGE_PREFIX
    while 2 ** (prefix - whole.prefixlen) < total:
        prefix += 1
    first = int(whole.network_address) + number * 2 ** (32 - prefix)
    return f"{ipaddress.IPv4Address(first)}/{prefix}"
