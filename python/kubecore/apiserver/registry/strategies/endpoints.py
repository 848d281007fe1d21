"""Endpoints and EndpointSlices: real addresses, named ports."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry.environment import Write
from kubecore.apiserver.registry.strategies.pod_spec import is_ip
from kubecore.apiserver.registry.strategies.service_validation import (
    NOT_AN_IP,
    PROTOCOLS,
    validate_ordinary_address,
)
from kubecore.apiserver.registry.strategies.shared import validate_immutable
from kubecore.apiserver.registry.strategy import Strategy

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
ENDPOINTS_MAX = 1000
ADDRESSES_MAX = 100
PORTS_MAX = 20_000


class EndpointsStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        return _validate_subsets(obj.get("subsets") or [], {})

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        nodes = {
            address["ip"]: address["nodeName"]
            for subset in old.get("subsets") or ()
            for part in ("addresses", "notReadyAddresses")
            for address in subset.get(part) or ()
            if address.get("nodeName")
        }
        return _validate_subsets(new.get("subsets") or [], nodes)


def _validate_subsets(subsets: list[dict[str, Any]], nodes: dict[str, str]) -> v.Errors:
    """nodes: address → node name before, which cannot change."""
    errors: v.Errors = []
    for index, subset in enumerate(subsets):
        at = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.append(v.required(at, "must specify `addresses` or `notReadyAddresses`"))
        for part in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(part) or ()):
                errors += _validate_address(address, f"{at}.{part}[{position}]", nodes)
        ports = subset.get("ports") or []
        for position, port in enumerate(ports):
            errors += _validate_port(port, f"{at}.ports[{position}]", needs_name=len(ports) > 1)
    return errors


def _validate_address(address: dict[str, Any], at: str, nodes: dict[str, str]) -> v.Errors:
    errors: v.Errors = []
    text = address.get("ip", "")
    if not is_ip(text):
        errors.append(v.invalid_value(f"{at}.ip", text, NOT_AN_IP))
    if hostname := address.get("hostname"):
        errors += v.check(f"{at}.hostname", hostname, v.is_dns1123_label)
    node = address.get("nodeName")
    if node is not None:
        errors += v.check(f"{at}.nodeName", node, v.is_dns1123_subdomain)
        if nodes.get(text, node) != node:
            errors.append(v.forbidden(f"{at}.nodeName", f"Cannot change NodeName for {text} to {node}"))
    return errors or validate_ordinary_address(f"{at}.ip", text)


def _validate_port(port: dict[str, Any], at: str, *, needs_name: bool) -> v.Errors:
    errors: v.Errors = []
    name, number, protocol = port.get("name", ""), port.get("port", 0), port.get("protocol", "")
    if not name:
        if needs_name:
            errors.append(v.required(f"{at}.name"))
    else:
        errors += v.check(f"{at}.name", name, v.is_dns1123_label)
    errors += [v.invalid_value(f"{at}.port", number, problem) for problem in v.is_port_number(number)]
    if protocol not in PROTOCOLS:
        errors.append(
            v.unsupported(f"{at}.protocol", protocol, PROTOCOLS) if protocol else v.required(f"{at}.protocol")
        )
    return errors


class EndpointSliceStrategy(Strategy):
    def prepare_for_update(self, write: Write, new: Object, old: Object) -> None:
        """Its labels lead to a service: a change of them counts as one of the spec."""
        super().prepare_for_update(write, new, old)
        generation = old["metadata"].get("generation", 0)
        if new["metadata"].get("labels") != old["metadata"].get("labels"):
            new["metadata"]["generation"] = generation + 1

    def validate(self, obj: Object) -> v.Errors:
        kind = obj.get("addressType", "")
        errors: v.Errors = []
        if kind not in ADDRESS_TYPES:
            errors.append(v.unsupported("addressType", kind, ADDRESS_TYPES) if kind else v.required("addressType"))
        errors += _validate_endpoints(obj.get("endpoints") or [], kind)
        return errors + _validate_slice_ports(obj.get("ports") or [])

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        return self.validate(new) + validate_immutable("addressType", new.get("addressType"), old.get("addressType"))


def _validate_endpoints(endpoints: list[dict[str, Any]], kind: str) -> v.Errors:
    if len(endpoints) > ENDPOINTS_MAX:
        return [v.too_many("endpoints", len(endpoints), ENDPOINTS_MAX)]
    errors: v.Errors = []
    for index, endpoint in enumerate(endpoints):
        at = f"endpoints[{index}]"
        addresses = endpoint.get("addresses") or []
        if not addresses:
            errors.append(v.required(f"{at}.addresses", "must contain at least 1 address"))
        elif len(addresses) > ADDRESSES_MAX:
            errors.append(v.too_many(f"{at}.addresses", len(addresses), ADDRESSES_MAX))
        for position, address in enumerate(addresses):
            errors += _validate_slice_address(address, kind, f"{at}.addresses[{position}]")
        if node := endpoint.get("nodeName"):
            errors += v.check(f"{at}.nodeName", node, v.is_dns1123_subdomain)
        if hostname := endpoint.get("hostname"):
            errors += v.check(f"{at}.hostname", hostname, v.is_dns1123_label)
    return errors


def _validate_slice_address(address: str, kind: str, field: str) -> v.Errors:
    if kind == "FQDN":
        return v.check(field, address.removesuffix("."), v.is_dns1123_subdomain)
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return [v.invalid_value(field, address, NOT_AN_IP)]
    if kind in ("IPv4", "IPv6") and kind != f"IPv{version}":
        return [v.invalid_value(field, address, f"must be an {kind} address")]
    return validate_ordinary_address(field, address)


def _validate_slice_ports(ports: list[dict[str, Any]]) -> v.Errors:
    if len(ports) > PORTS_MAX:
        return [v.too_many("ports", len(ports), PORTS_MAX)]
    errors: v.Errors = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"ports[{index}]"
        name, protocol = port.get("name") or "", port.get("protocol", "")
        if name:
            errors += v.check(f"{at}.name", name, v.is_dns1123_label)
        if name in names:
            errors.append(v.duplicate(f"{at}.name", name))
        names.add(name)
        if protocol not in PROTOCOLS:
            field = f"{at}.protocol"
            errors.append(v.unsupported(field, protocol, PROTOCOLS) if protocol else v.required(field))
    return errors


STRATEGIES: dict[tuple[str, str], Callable[..., Strategy]] = {
    ("", "endpoints"): EndpointsStrategy,
    ("discovery.k8s.io", "endpointslices"): EndpointSliceStrategy,
}
