"""Where Services get their addresses, as objects: ServiceCIDR and IPAddress.

The server keeps ServiceCIDR `kubernetes` for the networks that it was started with; others are stored only.
Source: https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry.strategies.shared import validate_immutable
from kubecore.apiserver.registry.strategy import Strategy

NETWORKS_MAX = 2
"""One of each family."""
_IMMUTABLE = "field is immutable"


def is_canonical_ip(text: str) -> v.Problems:
    """An address in the one form that may be a name: no leading zeros, IPv6 in lower case and as short as it gets."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return ("must not be an IPv4-mapped IPv6 address",)
    return () if str(address) == text else (f'must be in canonical form ("{address}")',)


class IPAddressStrategy(Strategy):
    name_shape = staticmethod(is_canonical_ip)

    def validate(self, obj: Object) -> v.Errors:
        parent, at = (obj.get("spec") or {}).get("parentRef"), "spec.parentRef"
        if parent is None:
            return [v.required(at)]
        errors: v.Errors = []
        if parent.get("group"):
            errors += v.check(f"{at}.group", parent["group"], v.is_dns1123_subdomain)
        for key, needed in (("resource", True), ("name", True), ("namespace", False)):
            if parent.get(key):
                errors += v.check(f"{at}.{key}", parent[key], v.is_path_segment)
            elif needed:
                errors.append(v.required(f"{at}.{key}"))
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        before, after = ((each.get("spec") or {}).get("parentRef") for each in (old, new))
        return validate_immutable("spec.parentRef", after, before)


class ServiceCIDRStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        networks, at = _networks(obj), "spec.cidrs"
        if not networks:
            return [v.required(at, "at least one CIDR required")]
        if len(networks) > NETWORKS_MAX:
            return [v.invalid_value(at, networks, f"may only hold up to {NETWORKS_MAX} values")]
        errors = [
            v.invalid_value(f"{at}[{index}]", text, problem)
            for index, text in enumerate(networks)
            for problem in _network_problems(text)
        ]
        if not errors and len({ipaddress.ip_network(text).version for text in networks}) < len(networks):
            detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            errors.append(v.invalid_value(at, networks, detail))
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        """The networks stay; a second one, of the other family, may join."""
        before, after, at = _networks(old), _networks(new), "spec.cidrs"
        if len(before) not in (len(after), 1) or len(after) not in (len(before), NETWORKS_MAX):
            return [v.invalid_value(at, after, _IMMUTABLE)]
        errors = [
            v.invalid_value(f"{at}[{index}]", now, _IMMUTABLE)
            for index, (was, now) in enumerate(zip(before, after, strict=False))
            if was != now
        ]
        return errors if len(before) == len(after) else errors + self.validate(new)


def _networks(obj: Object) -> list[str]:
    return list((obj.get("spec") or {}).get("cidrs") or ())


def _network_problems(text: str) -> v.Problems:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",)
    return () if str(network) == text else (f'must be in canonical form ("{network}")',)


STRATEGIES: dict[tuple[str, str], Callable[..., Strategy]] = {
    ("networking.k8s.io", "ipaddresses"): IPAddressStrategy,
    ("networking.k8s.io", "servicecidrs"): ServiceCIDRStrategy,
}
