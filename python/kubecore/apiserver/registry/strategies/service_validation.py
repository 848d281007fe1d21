"""Validation of services."""

from __future__ import annotations

import ipaddress
from typing import Any

from kubecore.api import labels
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry.strategies.pod_spec import is_ip
from kubecore.apiserver.registry.strategies.shared import validate_port_or_name

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
AFFINITIES = ("ClientIP", "None")
POLICIES = ("Cluster", "Local")
DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
CLIENT_IP_SECONDS_MAX = 86400
KUBELET_PORT = 10250
NOT_AN_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def validate(service: Object) -> v.Errors:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type", ""), spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    errors: v.Errors = []
    if not ports and not headless and kind != "ExternalName":
        errors.append(v.required("spec.ports"))
    errors += _validate_type(spec, kind, ports)
    names: set[str] = set()
    for index, port in enumerate(ports):
        errors += _validate_port(port, f"spec.ports[{index}]", names, needs_name=len(ports) > 1)
    if selector := spec.get("selector"):
        errors += labels.validate_labels(selector, "spec.selector")
    errors += _validate_affinity(spec)
    errors += _validate_addresses(spec, kind)
    errors += _validate_unique_ports(ports)
    errors += _validate_traffic(spec, kind)
    return errors


def _validate_type(spec: dict[str, Any], kind: str, ports: list[dict[str, Any]]) -> v.Errors:
    errors: v.Errors = []
    if kind not in TYPES:
        return [v.unsupported("spec.type", kind, TYPES) if kind else v.required("spec.type")]
    if spec.get("clusterIP") == "None" and kind in ("LoadBalancer", "NodePort"):
        detail = f"may not be set to 'None' for {kind} services"
        errors.append(v.invalid_value("spec.clusterIPs[0]", "None", detail))
    if kind == "LoadBalancer":
        detail = f"may not expose port {KUBELET_PORT} externally since it is used by kubelet"
        errors += [
            v.invalid_value(f"spec.ports[{index}]", KUBELET_PORT, detail)
            for index, port in enumerate(ports)
            if port.get("port") == KUBELET_PORT
        ]
    elif kind == "ExternalName":
        errors += [
            v.forbidden(f"spec.{key}", "may not be set for ExternalName services")
            for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
            if spec.get(key)
        ]
        name = spec.get("externalName", "")
        if not name:
            errors.append(v.required("spec.externalName"))
        else:
            errors += v.check("spec.externalName", name.removesuffix("."), v.is_dns1123_subdomain)
    elif kind == "ClusterIP":
        errors += [
            v.forbidden(f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'")
            for index, port in enumerate(ports)
            if port.get("nodePort")
        ]
    return errors


def _validate_port(port: dict[str, Any], at: str, names: set[str], *, needs_name: bool) -> v.Errors:
    errors: v.Errors = []
    name = port.get("name", "")
    if not name:
        if needs_name:
            errors.append(v.required(f"{at}.name"))
    else:
        errors += v.check(f"{at}.name", name, v.is_dns1123_label)
        if name in names:
            errors.append(v.duplicate(f"{at}.name", name))
        names.add(name)
    number, protocol = port.get("port", 0), port.get("protocol", "")
    errors += [v.invalid_value(f"{at}.port", number, problem) for problem in v.is_port_number(number)]
    if protocol not in PROTOCOLS:
        field = f"{at}.protocol"
        errors.append(v.unsupported(field, protocol, PROTOCOLS) if protocol else v.required(field))
    errors += validate_port_or_name(f"{at}.targetPort", port.get("targetPort", 0))
    if application := port.get("appProtocol"):
        errors += v.check(f"{at}.appProtocol", application, v.is_qualified_name)
    return errors


def _validate_affinity(spec: dict[str, Any]) -> v.Errors:
    affinity, config = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig")
    field = "spec.sessionAffinity"
    if affinity not in AFFINITIES:
        return [v.unsupported(field, affinity, AFFINITIES) if affinity else v.required(field)]
    if affinity == "None":
        if config is None:
            return []
        return [v.forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")]
    seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    at = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
    if seconds is None:
        return [v.required(at, "when session affinity type is ClientIP")]
    if not 0 < seconds <= CLIENT_IP_SECONDS_MAX:
        return [v.invalid_value(at, seconds, f"must be greater than 0 and less than {CLIENT_IP_SECONDS_MAX}")]
    return []


def _validate_addresses(spec: dict[str, Any], kind: str) -> v.Errors:
    errors: v.Errors = []
    listed = spec.get("clusterIPs") or []
    if kind != "ExternalName" and listed and listed != ["None"]:
        errors += [
            v.invalid_value(f"spec.clusterIPs[{index}]", address, NOT_AN_IP)
            for index, address in enumerate(listed)
            if not is_ip(address)
        ]
    if listed and spec.get("clusterIP") != listed[0]:
        errors.append(v.invalid_value("spec.clusterIPs", listed, "first value must match `clusterIP`"))
    if len(listed) > 2:
        errors.append(v.invalid_value("spec.clusterIPs", listed, "may only hold up to 2 values"))
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in ("IPv4", "IPv6"):
            errors.append(v.unsupported(f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6")))
    policy = spec.get("ipFamilyPolicy")
    known = ("SingleStack", "PreferDualStack", "RequireDualStack")
    if policy is not None and policy not in known:
        errors.append(v.invalid_value("spec.ipFamilyPolicy", policy, "must be one of " + ", ".join(known)))
    for index, address in enumerate(spec.get("externalIPs") or ()):
        field = f"spec.externalIPs[{index}]"
        if not is_ip(address):
            errors.append(v.invalid_value(field, address, NOT_AN_IP))
        else:
            errors += validate_ordinary_address(field, address)
    return errors


def validate_ordinary_address(field: str, address: str) -> v.Errors:
    """No address that means the machine itself or everybody."""
    parsed = ipaddress.ip_address(address)
    for wrong, detail in (
        (parsed.is_unspecified, f"may not be unspecified ({address})"),
        (parsed.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (parsed.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (
            parsed.is_multicast and str(parsed).startswith(("224.0.0.", "ff02")),
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ):
        if wrong:
            return [v.invalid_value(field, address, detail)]
    return []


def _validate_unique_ports(ports: list[dict[str, Any]]) -> v.Errors:
    errors: v.Errors = []
    seen: set[tuple[str, int]] = set()
    node_ports: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        protocol, number = port.get("protocol", ""), port.get("port", 0)
        if (protocol, number) in seen:
            errors.append(v.duplicate(f"spec.ports[{index}]", {"protocol": protocol, "port": number}))
        seen.add((protocol, number))
        node_port = port.get("nodePort")
        if node_port:
            if (protocol, node_port) in node_ports:
                errors.append(v.duplicate(f"spec.ports[{index}].nodePort", node_port))
            node_ports.add((protocol, node_port))
    return errors


def _validate_traffic(spec: dict[str, Any], kind: str) -> v.Errors:
    errors: v.Errors = []
    external = spec.get("externalTrafficPolicy")
    outside = kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    if external and not outside:
        detail = "may only be set for externally-accessible services"
        errors.append(v.invalid_value("spec.externalTrafficPolicy", external, detail))
    elif external and external not in POLICIES:
        errors.append(v.unsupported("spec.externalTrafficPolicy", external, POLICIES))
    internal = spec.get("internalTrafficPolicy")
    if internal and internal not in POLICIES:
        errors.append(v.unsupported("spec.internalTrafficPolicy", internal, POLICIES))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in DISTRIBUTIONS:
        errors.append(v.unsupported("spec.trafficDistribution", distribution, DISTRIBUTIONS))
    if spec.get("healthCheckNodePort") and not (kind == "LoadBalancer" and external == "Local"):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.append(v.invalid_value("spec.healthCheckNodePort", spec["healthCheckNodePort"], detail))
    if kind != "LoadBalancer":
        errors += [
            v.forbidden(f"spec.{key}", "may only be used when `type` is 'LoadBalancer'")
            for key in ("allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges")
            if spec.get(key)
        ]
    for index, text in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        try:
            ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            errors.append(v.invalid_value(f"spec.loadBalancerSourceRanges[{index}]", text, detail))
    return errors


def validate_update(new: Object, old: Object) -> v.Errors:
    """A cluster IP stays as long as the service has one."""
    spec, before = new.get("spec") or {}, old["spec"]
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return []
    errors: v.Errors = []
    previous, current = before.get("clusterIPs") or [], spec.get("clusterIPs") or []
    if previous and not current:
        errors.append(v.invalid_value("spec.clusterIPs[0]", current, "primary clusterIP can not be unset"))
    elif previous and current[0] != previous[0]:
        errors.append(v.invalid_value("spec.clusterIPs[0]", current, "may not change once set"))
    was, families = before.get("ipFamilies") or [], spec.get("ipFamilies") or []
    if was and families and families[0] != was[0]:
        errors.append(v.invalid_value("spec.ipFamilies[0]", families[0], "may not change once set"))
    if before.get("type") == "LoadBalancer" == spec.get("type"):
        loaded = before.get("loadBalancerClass")
        if loaded != spec.get("loadBalancerClass"):
            detail = "may not change once set"
            errors.append(v.invalid_value("spec.loadBalancerClass", spec.get("loadBalancerClass"), detail))
    return errors


def validate_status(service: Object) -> v.Errors:
    errors: v.Errors = []
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for index, point in enumerate(ingress):
        at = f"status.loadBalancer.ingress[{index}]"
        if (address := point.get("ip")) and not is_ip(address):
            errors.append(v.invalid_value(f"{at}.ip", address, NOT_AN_IP))
        if host := point.get("hostname"):
            errors += v.check(f"{at}.hostname", host, v.is_dns1123_subdomain)
            if is_ip(host):
                errors.append(v.invalid_value(f"{at}.hostname", host, "must be a DNS name, not an IP address"))
    return errors
