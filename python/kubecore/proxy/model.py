"""What a service proxy needs to know of a service: one `ServicePort` for each port and address family, and its
endpoints, read out of the API's objects.

In: Services and EndpointSlices as they travel. Out: values that compare by content, so that "has it changed" is `!=`.
Nothing here knows a node's rules or sockets. As upstream's kube-proxy reads them:
https://kubernetes.io/docs/reference/networking/virtual-ips/
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kubecore.api.meta import Object, labels_of, name_of, namespace_of

Family = Literal["IPv4", "IPv6"]
FAMILIES: tuple[Family, ...] = ("IPv4", "IPv6")

SERVICE_NAME = "kubernetes.io/service-name"
HEADLESS = "service.kubernetes.io/headless"
PROXY_NAME = "service.kubernetes.io/service-proxy-name"
WATCHED = f"!{PROXY_NAME},!{HEADLESS}"
"""The label selector of what concerns this proxy: another may be named for a service; headless ones need none."""

AFFINITY_SECONDS = 10800

ADDRESSES_REMEMBERED = 65536
"""Texts of addresses whose form is known; beyond it the least recently used is worked out again."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port behind a service port. `node`: empty if nobody said."""

    ip: str
    port: int
    node: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zone_hints: frozenset[str] = frozenset()
    node_hints: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a service in one address family. Addresses are text in canonical form, all of this family."""

    namespace: str
    name: str
    port_name: str
    protocol: str
    family: Family
    cluster_ip: str
    port: int
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity_seconds: int = 0
    """How long a client stays with its endpoint; 0: it does not."""
    internal_local: bool = False
    external_local: bool = False
    health_check_node_port: int = 0

    @property
    def text(self) -> str:
        """`namespace/name:port`, as upstream names it."""
        return f"{self.namespace}/{self.name}" + (f":{self.port_name}" if self.port_name else "")

    @property
    def is_externally_accessible(self) -> bool:
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)

    @property
    def uses_cluster_endpoints(self) -> bool:
        """Also with an external policy of Local: the node's own traffic is not held to it."""
        return not self.internal_local or self.is_externally_accessible

    @property
    def uses_local_endpoints(self) -> bool:
        return self.internal_local or (self.external_local and self.is_externally_accessible)


def is_proxied(service: Object) -> bool:
    """Whether there is an address to watch: not for ExternalName, not for headless services."""
    spec = service.get("spec", {})
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") not in (None, "", "None")


def service_ports(service: Object) -> list[ServicePort]:
    """A service's ports in each of its families."""
    if not is_proxied(service):
        return []
    return [port for family in FAMILIES for port in _ports_of(service, family)]


def _ports_of(service: Object, family: Family) -> Iterable[ServicePort]:
    spec = service["spec"]
    cluster_ip = next(iter(_of_family(spec.get("clusterIPs") or [spec["clusterIP"]], family)), "")
    if not cluster_ip:
        return
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity = client.get("timeoutSeconds") or AFFINITY_SECONDS
    for port in spec.get("ports") or ():
        yield ServicePort(
            namespace=namespace_of(service),
            name=name_of(service),
            port_name=port.get("name", ""),
            protocol=port.get("protocol", "TCP"),
            family=family,
            cluster_ip=cluster_ip,
            port=port["port"],
            node_port=port.get("nodePort", 0),
            external_ips=_of_family(spec.get("externalIPs") or (), family),
            load_balancer_ips=_of_family(_ingress(service), family),
            source_ranges=source_ranges(spec, family),
            affinity_seconds=affinity,
            internal_local=spec.get("internalTrafficPolicy") == "Local",
            external_local=spec.get("externalTrafficPolicy") == "Local",
            health_check_node_port=spec.get("healthCheckNodePort", 0),
        )


def _ingress(service: Object) -> list[str]:
    """The load balancer's addresses that arrive unchanged at the node; a balancer that is a proxy itself changes them."""
    if service["spec"].get("type") != "LoadBalancer":
        return []
    listed = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
    return [each["ip"] for each in listed if each.get("ip") and each.get("ipMode", "VIP") == "VIP"]


def _of_family(addresses: Iterable[str], family: Family) -> tuple[str, ...]:
    kept: dict[str, None] = {}
    for text in addresses:
        canonical = canonical_ip(text)
        if canonical and family_of(canonical) == family:
            kept[canonical] = None
    return tuple(kept)


def source_ranges(spec: Object, family: Family) -> tuple[str, ...]:
    """Of one family; what is no range is left out, as upstream does. One that holds all addresses: as if there were none."""
    kept: dict[str, None] = {}
    for text in spec.get("loadBalancerSourceRanges") or ():
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            continue
        if f"IPv{network.version}" == family:
            kept[str(network)] = None
    return () if any(each.endswith("/0") for each in kept) else tuple(kept)


def family_of(address: str) -> Family:
    return "IPv6" if ":" in address else "IPv4"


@functools.lru_cache(maxsize=ADDRESSES_REMEMBERED)
def canonical_ip(text: str) -> str:
    """Empty if it is none. Leading zeros, which old objects may have, are decimal."""
    if ":" not in text:
        parts = text.split(".")
        if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
            return ""
        return ".".join(str(int(part)) for part in parts)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def service_of(endpoint_slice: Object) -> str:
    """The `namespace/name` of the service that a slice belongs to; empty if none."""
    name = labels_of(endpoint_slice).get(SERVICE_NAME, "")
    return f"{namespace_of(endpoint_slice)}/{name}" if name else ""


PortKey = tuple[Family, str, str]
"""(family, port name, protocol)."""


def endpoints_by_port(slices: Iterable[Object]) -> dict[PortKey, tuple[Endpoint, ...]]:
    """The endpoints of one service's slices, each once, in the order of their text.

    An endpoint may be in two slices for a moment while it moves: the one that is ready is believed.
    """
    found: dict[PortKey, dict[str, Endpoint]] = {}
    for each in slices:
        family = each.get("addressType")
        if family not in FAMILIES:
            continue
        for port in each.get("ports") or ():
            number = port.get("port")
            if not number:
                continue
            kept = found.setdefault((family, port.get("name") or "", port.get("protocol") or "TCP"), {})
            for endpoint in _endpoints(each.get("endpoints") or (), number):
                before = kept.get(endpoint.text)
                if before is None or (endpoint.ready, not endpoint.terminating) > (
                    before.ready,
                    not before.terminating,
                ):
                    kept[endpoint.text] = endpoint
    return {key: tuple(kept[text] for text in sorted(kept)) for key, kept in found.items()}


def _endpoints(listed: Sequence[Object], port: int) -> Iterable[Endpoint]:
    for each in listed:
        address = canonical_ip((each.get("addresses") or [""])[0])
        if not address:
            continue
        conditions = each.get("conditions") or {}
        hints = each.get("hints") or {}
        # What is not said is the best that it may be: writers older than a condition left it out.
        yield Endpoint(
            ip=address,
            port=port,
            node=each.get("nodeName") or "",
            ready=_said(conditions.get("ready"), default=True),
            serving=_said(conditions.get("serving"), default=True),
            terminating=_said(conditions.get("terminating"), default=False),
            zone_hints=frozenset(hint["name"] for hint in hints.get("forZones") or ()),
            node_hints=frozenset(hint["name"] for hint in hints.get("forNodes") or ()),
        )


def _said(condition: bool | None, *, default: bool) -> bool:
    return default if condition is None else condition
