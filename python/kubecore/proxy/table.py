"""The service table: services and slices as the watches bring them, and which services have changed since the last
look.

In: handler calls of the informers. Out: `take()`, the changed services with their ports and endpoints as this node
may use them. A service is worked out only when it is taken, however often it changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kubecore.api.meta import Object, key_of, labels_of
from kubecore.proxy.model import endpoints_by_port, family_of, service_ports
from kubecore.proxy.slices import SlicesByService
from kubecore.proxy.topology import Place, ProxiedPort, categorize

ZONE = "topology.kubernetes.io/zone"

Services = dict[str, tuple[ProxiedPort, ...]]
"""By `namespace/name`; empty: the service is gone or has nothing to proxy."""


@dataclass(frozen=True, slots=True)
class Node:
    """This node, as far as its rules depend on it. Addresses: its InternalIPs, in their order."""

    place: Place
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()

    def address(self, family: str) -> str:
        return next((each for each in self.addresses if family_of(each) == family), "")


def node_of(name: str, obj: Object | None) -> Node:
    if obj is None:
        return Node(Place(name))
    listed = obj.get("status", {}).get("addresses") or ()
    spec = obj.get("spec", {})
    return Node(
        Place(name, labels_of(obj).get(ZONE, "")),
        tuple(each["address"] for each in listed if each["type"] == "InternalIP"),
        tuple(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ())),
    )


class ServiceTable:
    """`changed` is called whenever there is something to take."""

    def __init__(self, node_name: str, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._services: dict[str, Object] = {}
        self._slices = SlicesByService()
        self._dirty: dict[str, None] = {}
        self.node = Node(Place(node_name))
        self.node_changed = True
        self.all_changed = True

    def __len__(self) -> int:
        return len(self._services)

    # ── handlers of informers ──

    def service_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            key = key_of(new)
            self._services[key] = new
            if old is not None and service_ports(old) == service_ports(new):
                return
        elif old is not None:
            key = key_of(old)
            self._services.pop(key, None)
        else:
            return
        self._touch(key)

    def slice_changed(self, old: Object | None, new: Object | None) -> None:
        for service in self._slices.changed(old, new):
            self._touch(service)

    def node_updated(self, obj: Object | None) -> None:
        node = node_of(self.node.place.node, obj)
        if node == self.node:
            return
        if node.place != self.node.place:
            self.all_changed = True
        self.node = node
        self.node_changed = True
        self._changed()

    def _touch(self, key: str) -> None:
        self._dirty[key] = None
        self._changed()

    # ── what to do ──

    @property
    def has_changes(self) -> bool:
        return bool(self._dirty) or self.all_changed or self.node_changed

    def take(self) -> Services:
        """The services changed since the last call; after `take_all` or a move of the node, all."""
        if self.all_changed:
            return self.take_all()
        keys, self._dirty = self._dirty, {}
        self.node_changed = False
        return {key: self.resolve(key) for key in keys}

    def take_all(self) -> Services:
        self._dirty.clear()
        self.all_changed = self.node_changed = False
        return {key: self.resolve(key) for key in self._services}

    def resolve(self, key: str) -> tuple[ProxiedPort, ...]:
        service = self._services.get(key)
        if service is None:
            return ()
        ports = service_ports(service)
        if not ports:
            return ()
        endpoints = endpoints_by_port(self._slices.of(key))
        return tuple(
            ProxiedPort(
                port,
                categorize(port, endpoints.get((port.family, port.port_name, port.protocol), ()), self.node.place),
            )
            for port in ports
        )

    def local_ready(self, key: str) -> int:
        """Different addresses on this node that are ready: what a health check of the service's node port tells."""
        endpoints = endpoints_by_port(self._slices.of(key))
        here = self.node.place.node
        return len({each.ip for listed in endpoints.values() for each in listed if each.ready and each.node == here})

    def health_checks(self) -> dict[str, int]:
        """Services that want a health check port on each node, and which."""
        return {
            key: port
            for key, service in self._services.items()
            if (port := service["spec"].get("healthCheckNodePort"))
            and service["spec"].get("externalTrafficPolicy") == "Local"
        }
