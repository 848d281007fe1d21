"""Services: cluster IPs and node ports are given at creation, kept over updates, taken back when the type changes."""

from __future__ import annotations

import ipaddress
from typing import Any

from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry.environment import Environment, Write
from kubecore.apiserver.registry.strategies import service_validation
from kubecore.apiserver.registry.strategies.allocation import Allocation, Full, held_by
from kubecore.apiserver.registry.strategy import Strategy

CLIENT_IP_TIMEOUT_SECONDS = 10800
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


class ServiceStrategy(Strategy):
    name_shape = staticmethod(v.is_dns1035_label)

    def __init__(self, resource: Resource, environment: Environment) -> None:
        super().__init__(resource, environment)
        self.allocation = Allocation(
            environment.service_networks,
            environment.node_ports,
            environment.random,
            lambda: environment.reader.list(resource),
        )

    def prepare_for_create(self, write: Write, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}
        spec = obj.setdefault("spec", {})
        _match_cluster_ips(spec, {})
        _fill(spec)
        self._fill_families(spec)
        self._allocate(write, obj, None)

    def validate(self, obj: Object) -> v.Errors:
        return service_validation.validate(obj)

    def prepare_for_update(self, write: Write, new: Object, old: Object) -> None:
        super().prepare_for_update(write, new, old)
        spec = new.setdefault("spec", {})
        _match_cluster_ips(spec, old["spec"])
        _carry_over(spec, old["spec"])
        _drop_what_the_type_has_not(spec, old["spec"])
        _fill(spec)
        self._fill_families(spec)
        if not service_validation.validate_update(new, old):
            self._allocate(write, new, old)

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        return service_validation.validate_update(new, old) + service_validation.validate(new)

    def validate_status_update(self, new: Object, old: Object) -> v.Errors:
        return service_validation.validate_status(new)

    def written(self, new: Object, old: Object | None) -> None:
        self.allocation.commit(new, old)

    def deleted(self, old: Object) -> None:
        self.allocation.commit(None, old)

    # ───────────────────────────── what the server gives ─────────────────────────────

    def _fill_families(self, spec: dict[str, Any]) -> None:
        if spec.get("type") == "ExternalName":
            return
        families = self.allocation.families
        policy, given = spec.get("ipFamilyPolicy"), spec.get("ipFamilies") or []
        if spec.get("clusterIP") == "None" and not spec.get("selector"):
            # Nobody but the owner says where it points, so both families are open to it.
            spec["ipFamilyPolicy"] = policy or "RequireDualStack"
            wanted = given or families[:1]
            if len(wanted) == 1 and spec["ipFamilyPolicy"] != "SingleStack":
                wanted = [wanted[0], "IPv6" if wanted[0] == "IPv4" else "IPv4"]
            spec["ipFamilies"] = wanted
            return
        if not given:
            given = [_family(address) for address in spec.get("clusterIPs") or () if _family(address)]
        spec["ipFamilyPolicy"] = policy or ("RequireDualStack" if len(given) > 1 else "SingleStack")
        if not given:
            given = families[:1]
        if spec["ipFamilyPolicy"] in ("PreferDualStack", "RequireDualStack"):
            given = [*given, *(family for family in families if family not in given)]
        spec["ipFamilies"] = given

    def _allocate(self, write: Write, obj: Object, old: Object | None) -> None:
        """Checks what is asked for, picks what is left open. Raises Invalid."""
        spec = obj["spec"]
        kind = spec.get("type")
        taken: set[str | int] = set()
        mine = set(held_by(old)) if old is not None else set()
        found: v.Errors = []
        if kind != "ExternalName" and spec.get("clusterIP") != "None":
            found += self._validate_stacks(spec) or self._allocate_addresses(spec, taken, mine)
        if kind in _WITH_NODE_PORTS:
            found += self._allocate_ports(spec, taken, mine)
        if needs_health_check(spec):
            found += self._allocate_health_port(spec, taken, mine)
        if found:
            name = obj["metadata"].get("name", "")
            problems = service_validation.validate(obj)
            raise v.to_status(self.resource.kind, self.resource.group, name, problems or found)

    def _validate_stacks(self, spec: dict[str, Any]) -> v.Errors:
        if spec["ipFamilyPolicy"] != "RequireDualStack" or len(self.allocation.families) > 1:
            return []
        detail = "this cluster is not configured for dual-stack services"
        return [v.invalid_value("spec.ipFamilyPolicy", "RequireDualStack", detail)]

    def _allocate_addresses(self, spec: dict[str, Any], taken: set[str | int], mine: set[str | int]) -> v.Errors:
        field = "spec.clusterIPs"
        addresses: list[str] = list(spec.get("clusterIPs") or [])
        for index, family in enumerate(spec["ipFamilies"]):
            network = self.allocation.network(family)
            if network is None:
                detail = f"not configured on this cluster: {family}"
                return [v.invalid_value(f"spec.ipFamilies[{index}]", family, detail)]
            if index < len(addresses):
                problem = self._problem_of_address(addresses[index], mine)
                if problem:
                    detail = f"failed to allocate IP {addresses[index]}: {problem}"
                    return [v.invalid_value(field, addresses, detail)]
                taken.add(addresses[index])
                continue
            try:
                addresses.append(self.allocation.free_address(family, taken))
            except Full:
                detail = f"failed to allocate a serviceIP: range is full: {network}"
                return [v.invalid_value(field, addresses, detail)]
            taken.add(addresses[-1])
        spec["clusterIPs"] = addresses
        spec["clusterIP"] = addresses[0]
        return []

    def _problem_of_address(self, address: str, mine: set[str | int]) -> str:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return ""  # validation says it better
        network = self.allocation.network(_family(address))
        if network is None or parsed not in network or parsed == network.network_address:
            return f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {network}"
        return "provided IP is already allocated" if address not in mine and self.allocation.holder(address) else ""

    def _allocate_ports(self, spec: dict[str, Any], taken: set[str | int], mine: set[str | int]) -> v.Errors:
        if spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            wanted = [port for port in spec.get("ports") or () if port.get("nodePort")]
        else:
            wanted = list(spec.get("ports") or ())
        found: v.Errors = []
        by_port: dict[int, int] = {}
        for index, port in enumerate(spec.get("ports") or ()):
            if number := port.get("nodePort"):
                if number not in taken:
                    found += self._check_port(f"spec.ports[{index}].nodePort", number, mine)
                taken.add(number)
                by_port.setdefault(port.get("port", 0), number)
        for port in wanted:
            if port.get("nodePort"):
                continue
            shared = by_port.get(port.get("port", 0))  # one number for TCP and UDP of one port
            if shared is None:
                try:
                    shared = self.allocation.free_port(taken)
                except Full:
                    return [*found, v.invalid_value("spec.ports", [], "failed to allocate a nodePort: range is full")]
                taken.add(shared)
                by_port[port.get("port", 0)] = shared
            port["nodePort"] = shared
        return found

    def _check_port(self, field: str, number: int, mine: set[str | int]) -> v.Errors:
        if number in mine:
            return []
        if not self.allocation.is_port(number):
            text = self.allocation.ports_text()
            detail = f"provided port is not in the valid range. The range of valid ports is {text}"
            return [v.invalid_value(field, number, detail)]
        if self.allocation.holder(number) is not None:
            return [v.invalid_value(field, number, "provided port is already allocated")]
        return []

    def _allocate_health_port(self, spec: dict[str, Any], taken: set[str | int], mine: set[str | int]) -> v.Errors:
        number = spec.get("healthCheckNodePort")
        if number:
            return self._check_port("spec.healthCheckNodePort", number, mine)
        try:
            spec["healthCheckNodePort"] = self.allocation.free_port(taken)
        except Full:
            return [v.invalid_value("spec.healthCheckNodePort", 0, "failed to allocate a nodePort: range is full")]
        return []


def needs_health_check(spec: dict[str, Any]) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _family(address: str) -> str:
    """Empty if it is not an address."""
    try:
        return f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        return ""


def _match_cluster_ips(spec: dict[str, Any], old: dict[str, Any]) -> None:
    """clusterIP and clusterIPs[0] are one: whichever the client wrote is the other."""
    first, listed = spec.get("clusterIP", ""), spec.get("clusterIPs")
    if old and first != old.get("clusterIP", "") and listed == old.get("clusterIPs"):
        listed = None  # a client that knows only clusterIP changed it
    if first and not listed:
        spec["clusterIPs"] = [first]
    elif not first and listed and not old:
        spec["clusterIP"] = listed[0]
    elif not first and not listed:
        spec.pop("clusterIP", None)
        spec.pop("clusterIPs", None)


def _fill(spec: dict[str, Any]) -> None:
    """Upstream's defaults, as far as the type has the field."""
    spec.setdefault("sessionAffinity", "None")
    kind = spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
    if spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {})
        config.setdefault("clientIP", {}).setdefault("timeoutSeconds", CLIENT_IP_TIMEOUT_SECONDS)
    if kind in _WITH_NODE_PORTS:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")


def _carry_over(spec: dict[str, Any], old: dict[str, Any]) -> None:
    """A client that leaves out what the server gave keeps it."""
    if spec.get("type") != "ExternalName" and old.get("type") != "ExternalName":
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if not spec.get(key) and old.get(key):
                spec[key] = old[key]
    if spec.get("type") in _WITH_NODE_PORTS and old.get("type") in _WITH_NODE_PORTS:
        known = {(port.get("protocol"), port.get("port")): port.get("nodePort") for port in old.get("ports") or ()}
        used = {port.get("nodePort") for port in spec.get("ports") or ()}
        for port in spec.get("ports") or ():
            before = known.get((port.get("protocol", "TCP"), port.get("port")))
            if not port.get("nodePort") and before and before not in used:
                port["nodePort"] = before
    if needs_health_check(spec) and needs_health_check(old) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = old.get("healthCheckNodePort", 0)


def _drop_what_the_type_has_not(spec: dict[str, Any], old: dict[str, Any]) -> None:
    """After a change of type, what came with the old one and was left as it was goes; what the client changed is judged."""

    def drop(*keys: str) -> None:
        for key in keys:
            if key in spec and spec[key] == old.get(key):
                del spec[key]

    kind = spec.get("type")
    if kind == "ExternalName":
        drop("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")
    if kind not in _WITH_NODE_PORTS:
        before = {port.get("nodePort") for port in old.get("ports") or ()}
        for port in spec.get("ports") or ():
            if port.get("nodePort") in before:
                port.pop("nodePort", None)
        drop("externalTrafficPolicy")
    if kind != "LoadBalancer":
        drop("allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerIP", "loadBalancerSourceRanges")
    if not needs_health_check(spec):
        drop("healthCheckNodePort")
    if spec.get("sessionAffinity") != "ClientIP":
        drop("sessionAffinityConfig")
    if kind != "ExternalName" and old.get("type") == "ExternalName":
        drop("externalName")
