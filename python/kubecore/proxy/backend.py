"""The seam between the service table and what makes it true on a node."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from kubecore.proxy.model import Family
from kubecore.proxy.table import Node, Services


class BackendError(Exception):
    """The node refused what was asked; nothing is known of its state, the next update must hold everything."""


@dataclass(frozen=True, slots=True)
class Update:
    """`services`: those that changed; if `everything`, all there are, and what is not among them goes."""

    services: Services
    node: Node
    service_cidrs: tuple[str, ...] = ()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A UDP port of a service: packets to any of these addresses belong to one of those endpoints, or to nobody.

    `node_port`: also packets to the node's own addresses on that port.
    """

    family: Family
    addresses: frozenset[tuple[str, int]]
    node_port: int
    endpoints: frozenset[tuple[str, int]]


class Backend(Protocol):
    """One call at a time."""

    name: str
    """As `/proxyMode` tells it."""

    def needs_everything(self, node: Node, service_cidrs: tuple[str, ...]) -> bool:
        """Whether the next update must hold everything: at the start, after a failure, and when what all services' rules
        have in common changes."""
        ...

    async def sync(self, update: Update) -> None:
        """Makes it so. Raises BackendError."""
        ...

    @property
    def leftovers_due(self) -> float | None:
        """When (on the clock's monotonic time) something that the last updates left behind may be removed; None: nothing
        is left."""
        ...

    async def sweep(self) -> None:
        """Removes what is due. Raises BackendError."""
        ...

    async def close(self) -> None:
        """Ends connections and threads of its own; rules stay, as upstream's do, so that a restart cuts nobody off."""
        ...

    async def clean_up(self) -> None:
        """Removes all that the backend ever made."""
        ...


@dataclass(slots=True)
class NoLocalEndpoints:
    """Service ports whose policy of Local leaves nobody here to answer, though others could: a metric."""

    _counts: dict[str, Counter[tuple[Family, str]]] = field(default_factory=dict)

    def update(self, services: Services, *, everything: bool) -> None:
        if everything:
            self._counts.clear()
        for key, ports in services.items():
            counted: Counter[tuple[Family, str]] = Counter()
            for each in ports:
                if each.endpoints.anywhere and not each.endpoints.local:
                    counted[each.port.family, "internal"] += each.port.internal_local
                    counted[each.port.family, "external"] += each.port.external_local
            if counted.total():
                self._counts[key] = counted
            else:
                self._counts.pop(key, None)

    def total(self, family: Family, policy: str) -> int:
        return sum(counted[family, policy] for counted in self._counts.values())
