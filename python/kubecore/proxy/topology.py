"""Which of a service port's endpoints this node may use: traffic policies, topology hints, and what stands in when
nothing is ready.

In: a service port, its endpoints, who and where this node is. Out: `Reachable`. Pure. The rules are upstream's:
https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-policies
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubecore.proxy.model import Endpoint, ServicePort


@dataclass(frozen=True, slots=True)
class Place:
    """This node."""

    node: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Reachable:
    """`cluster` and `local`: what traffic under each policy may use (empty if the service never uses that policy);
    `all`: both, each endpoint once; `anywhere`: whether any node has an endpoint, even if this one may use none; `serving`:
    all that still answer, whatever the policies say (UDP only: its flows go on as a TCP connection would)."""

    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    all: tuple[Endpoint, ...] = ()
    anywhere: bool = False
    serving: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class ProxiedPort:
    """What a backend makes true: a port and what stands behind it here."""

    port: ServicePort
    endpoints: Reachable


def _is_last_resort(endpoint: Endpoint) -> bool:
    """On its way out, and still answering: better than nothing."""
    return endpoint.serving and endpoint.terminating


def categorize(port: ServicePort, endpoints: Sequence[Endpoint], place: Place) -> Reachable:
    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    if port.uses_cluster_endpoints:
        suits = preference(endpoints, place)
        cluster = _ready_or_last_resort(endpoints, suits)
    if port.uses_local_endpoints:
        here = [endpoint for endpoint in endpoints if endpoint.node == place.node]
        local = _ready_or_last_resort(here, _anything)
    known = set(cluster)
    both = cluster + tuple(endpoint for endpoint in local if endpoint not in known)
    anywhere = bool(cluster) or (
        port.uses_local_endpoints and any(each.ready or _is_last_resort(each) for each in endpoints)
    )
    serving = tuple(each for each in endpoints if each.serving) if port.protocol == "UDP" else ()
    return Reachable(cluster, local, tuple(sorted(both, key=lambda endpoint: endpoint.text)), anywhere, serving)


def _anything(_: Endpoint) -> bool:
    return True


def _ready_or_last_resort(endpoints: Sequence[Endpoint], suits: Callable[[Endpoint], bool]) -> tuple[Endpoint, ...]:
    ready = tuple(endpoint for endpoint in endpoints if endpoint.ready and suits(endpoint))
    return ready or tuple(endpoint for endpoint in endpoints if _is_last_resort(endpoint))


def preference(endpoints: Sequence[Endpoint], place: Place) -> Callable[[Endpoint], bool]:
    """The hints' choice: this node, else this zone, else any.

    Hints hold only when every ready endpoint has them and one is meant for here: half-written hints must not overload
    what has them already.
    """
    ready = [endpoint for endpoint in endpoints if endpoint.ready]
    if _holds([endpoint.node_hints for endpoint in ready], place.node):
        return lambda endpoint: place.node in endpoint.node_hints
    if _holds([endpoint.zone_hints for endpoint in ready], place.zone):
        return lambda endpoint: place.zone in endpoint.zone_hints
    return _anything


def _holds(hints: Sequence[frozenset[str]], here: str) -> bool:
    return all(hints) and any(here in hint for hint in hints)
