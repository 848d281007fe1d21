"""Tells the fabric which node leads where: pods' ranges, load balancers' addresses and external ones.

What a router learns from BGP elsewhere. In: Nodes, Services, EndpointSlices by watch. Out: routes in the fabric's namespace. An
address of a service is spread over all ready nodes; where only nodes with endpoints may take it
(`externalTrafficPolicy: Local`), over those.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from kubecore.api.meta import Object, key_of
from kubecore.api.scheme import core, resource
from kubecore.client.client import Client
from kubecore.client.informer import Informer

IDENTITY = "system:kubecore:fabric"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
RETRY_SECONDS = 1.0

Routes = dict[str, tuple[str, ...]]
"""Destination → the nodes that lead there, in order."""

log = logging.getLogger(__name__)


def plan(
    nodes: Iterable[Object], services: Iterable[Object], slices: Iterable[Object], *, own: Sequence[str]
) -> Routes:
    """All routes there should be. `own`: networks of the fabric itself, in which no service can have an address."""
    routes: Routes = {}
    takers: dict[str, str] = {}
    for node in nodes:
        ip = _internal_ip(node)
        if not ip:
            continue
        for pod_range in node.get("spec", {}).get("podCIDRs") or ():
            if ipaddress.ip_network(pod_range).version == ipaddress.ip_address(ip).version:
                routes[pod_range] = (ip,)
        if _is_ready(node) and EXCLUDED not in (node["metadata"].get("labels") or {}):
            takers[node["metadata"]["name"]] = ip
    local = _nodes_with_endpoints(slices)
    for service in services:
        only = takers
        if service["spec"].get("externalTrafficPolicy") == "Local":
            holders = local.get(key_of(service), set())
            only = {name: ip for name, ip in takers.items() if name in holders}
        for address in _addresses(service):
            parsed = ipaddress.ip_address(address)
            hops = [ip for ip in only.values() if ipaddress.ip_address(ip).version == parsed.version]
            if hops and not _is_within(address, own):
                routes[f"{address}/{parsed.max_prefixlen}"] = tuple(sorted(hops))
    return routes


def changes(before: Routes, after: Routes) -> list[str]:
    """Lines of `ip` that make one of the other."""
    lines = [f"route del {destination}" for destination in before if destination not in after]
    for destination, hops in after.items():
        if before.get(destination) != hops:
            via = f"via {hops[0]}" if len(hops) == 1 else " ".join(f"nexthop via {hop}" for hop in hops)
            lines.append(f"route replace {destination} {via}")
    return lines


class Announcer:
    """Run `run` as a task. `apply` configures the fabric with lines of `ip`; it may block."""

    def __init__(
        self, client: Client, *, own: Sequence[str], apply: Callable[[Sequence[str]], None], randomness: random.Random
    ) -> None:
        self._own = own
        self._apply = apply
        self._nodes = Informer(client, core("nodes"), randomness=randomness)
        self._services = Informer(client, core("services"), randomness=randomness)
        self._slices = Informer(client, resource("discovery.k8s.io", "v1", "endpointslices"), randomness=randomness)
        self._changed = asyncio.Event()
        self.routes: Routes = {}
        """As they are now."""

    @property
    def nodes(self) -> Informer:
        return self._nodes

    def unready(self, name: str) -> str:
        """Why the node of that name is not ready, as far as the API tells; empty if it is."""
        node = self._nodes.get(name)
        if node is None:
            return "has not registered"
        condition = _ready_condition(node)
        return (
            "" if condition.get("status") == "True" else str(condition.get("message", "has not said that it is ready"))
        )

    async def run(self) -> None:
        informers = (self._nodes, self._services, self._slices)
        for informer in informers:
            informer.add_handler(lambda old, new: self._changed.set())
        async with asyncio.TaskGroup() as tasks:
            for informer in informers:
                tasks.create_task(informer.run(), name=f"announcer {informer.resource.plural}")
            for informer in informers:
                await informer.wait_synced()
            self._changed.set()
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._sync()

    async def _sync(self) -> None:
        wanted = plan(self._nodes.list(), self._services.list(), self._slices.list(), own=self._own)
        lines = changes(self.routes, wanted)
        if not lines:
            return
        try:
            await asyncio.to_thread(self._apply, lines)
        except OSError as failure:
            # Which lines were taken is not known: everything is said again but for what was to go, which was tried.
            log.warning("routes of the fabric: %s; again later", failure)
            self.routes = dict.fromkeys(wanted, ())
            await asyncio.sleep(RETRY_SECONDS)
            self._changed.set()
        else:
            self.routes = wanted


def _addresses(service: Object) -> list[str]:
    spec, status = service["spec"], service.get("status", {})
    ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
    held = [entry["ip"] for entry in ingress if entry.get("ip")] if spec.get("type") == "LoadBalancer" else []
    return [*held, *(spec.get("externalIPs") or ())]


def _nodes_with_endpoints(slices: Iterable[Object]) -> Mapping[str, set[str]]:
    """Service key → names of nodes on which a serving endpoint is."""
    found: dict[str, set[str]] = {}
    for each in slices:
        metadata = each["metadata"]
        service = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL, "")
        for endpoint in each.get("endpoints") or ():
            serving = (endpoint.get("conditions") or {}).get("ready", True) is not False
            if serving and endpoint.get("nodeName"):
                found.setdefault(f"{metadata['namespace']}/{service}", set()).add(endpoint["nodeName"])
    return found


def _internal_ip(node: Object) -> str:
    """What its kubelet says it is; empty unless it is an address, for it becomes a part of a line of `ip`."""
    addresses = node.get("status", {}).get("addresses") or ()
    told = next((str(each["address"]) for each in addresses if each["type"] == "InternalIP"), "")
    try:
        return str(ipaddress.ip_address(told))
    except ValueError:
        return ""


def _is_ready(node: Object) -> bool:
    return _ready_condition(node).get("status") == "True"


def _ready_condition(node: Object) -> Object:
    conditions = node.get("status", {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == "Ready"), {})


def _is_within(address: str, networks: Sequence[str]) -> bool:
    parsed = ipaddress.ip_address(address)
    return any(parsed in ipaddress.ip_network(network) for network in networks)
