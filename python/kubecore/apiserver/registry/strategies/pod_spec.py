"""Validation of a pod's spec, of a pod and of a template alike. Most pods have few of these fields: each check starts with
whether its field is there."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from kubecore.api import labels
from kubecore.api import validation as v
from kubecore.apiserver.registry.strategies import pod_scheduling
from kubecore.apiserver.registry.strategies.pod_containers import (
    validate_containers,
    validate_ephemeral_containers,
    validate_init_containers,
    validate_resources,
)
from kubecore.apiserver.registry.strategies.pod_security import validate_pod_security
from kubecore.apiserver.registry.strategies.pod_volumes import validate_volumes

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
SECONDS_MAX = (1 << 31) - 1


def validate(spec: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    volumes: dict[str, Any] = {}
    if listed := spec.get("volumes"):
        errors, volumes = validate_volumes(listed, f"{at}.volumes")
    containers = spec.get("containers") or []
    errors += validate_containers(containers, volumes, f"{at}.containers")
    init = spec.get("initContainers") or []
    if init:
        errors += validate_init_containers(init, containers, volumes, f"{at}.initContainers")
    if ephemeral := spec.get("ephemeralContainers"):
        path = f"{at}.ephemeralContainers"
        errors += validate_ephemeral_containers(ephemeral, [*containers, *init], volumes, path)
    policy = spec.get("restartPolicy")
    if policy not in RESTART_POLICIES:
        field = f"{at}.restartPolicy"
        errors.append(v.unsupported(field, policy, RESTART_POLICIES) if policy else v.required(field))
    dns = spec.get("dnsPolicy")
    if dns not in DNS_POLICIES:
        field = f"{at}.dnsPolicy"
        errors.append(v.unsupported(field, dns, DNS_POLICIES) if dns else v.required(field))
    for key, check in _CHECKS:
        value = spec.get(key)
        if value:
            errors += check(value, f"{at}.{key}")
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        errors.append(v.invalid_value(f"{at}.terminationGracePeriodSeconds", grace, v.NOT_NEGATIVE))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= SECONDS_MAX:
        errors.append(v.invalid_value(f"{at}.activeDeadlineSeconds", deadline, v.range_problem(1, SECONDS_MAX)))
    if spec.get("hostNetwork"):
        errors += _validate_host_network(containers, f"{at}.containers")
    if dns == "None":
        errors += _validate_dns_none(spec.get("dnsConfig"), at)
    if spec.get("schedulingGates") and spec.get("nodeName"):
        errors.append(v.forbidden(f"{at}.nodeName", "cannot be set until all schedulingGates have been cleared"))
    return errors


def _validate_host_network(containers: list[dict[str, Any]], at: str) -> v.Errors:
    """On the host's network, a container's port is the host's."""
    return [
        v.invalid_value(
            f"{at}[{index}].ports[{position}].hostPort",
            port["hostPort"],
            "must match `containerPort` when `hostNetwork` is true",
        )
        for index, container in enumerate(containers)
        for position, port in enumerate(container.get("ports") or ())
        if port.get("hostPort") and port["hostPort"] != port.get("containerPort")
    ]


def _validate_dns_none(config: dict[str, Any] | None, at: str) -> v.Errors:
    if config is None:
        return [v.required(f"{at}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")]
    if not config.get("nameservers"):
        detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        return [v.required(f"{at}.dnsConfig.nameservers", detail)]
    return []


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _validate_dns_config(config: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > 3:
        errors.append(v.invalid_value(f"{at}.nameservers", servers, "must not have more than 3 nameservers"))
    for index, server in enumerate(servers):
        if not is_ip(server):
            errors.append(v.invalid_value(f"{at}.nameservers[{index}]", server, "must be valid IP address"))
    if len(searches) > 32:
        errors.append(v.invalid_value(f"{at}.searches", searches, "must not have more than 32 search paths"))
    if len(" ".join(searches)) > 2048:
        detail = "must not have more than 2048 characters (including spaces) in the search list"
        errors.append(v.invalid_value(f"{at}.searches", searches, detail))
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.append(v.required(f"{at}.options[{index}]", "must not be empty"))
    return errors


def _validate_host_aliases(aliases: list[dict[str, Any]], at: str) -> v.Errors:
    errors: v.Errors = []
    for index, alias in enumerate(aliases):
        address = alias.get("ip", "")
        if not is_ip(address):
            errors.append(
                v.invalid_value(
                    f"{at}[{index}].ip", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                )
            )
        for name in alias.get("hostnames") or ():
            errors += v.check(f"{at}[{index}].hostnames", name, v.is_dns1123_subdomain)
    return errors


def _validate_pull_secrets(secrets: list[dict[str, Any]], at: str) -> v.Errors:
    return [
        v.invalid_value(f"{at}[{index}]", secret, "only name may be set")
        for index, secret in enumerate(secrets)
        if any(key != "name" for key in secret)
    ]


def _validate_readiness_gates(gates: list[dict[str, Any]], at: str) -> v.Errors:
    errors: v.Errors = []
    for index, gate in enumerate(gates):
        errors += v.check(f"{at}[{index}].conditionType", gate.get("conditionType", ""), v.is_qualified_name)
    return errors


def _validate_os(value: dict[str, Any], at: str) -> v.Errors:
    name = value.get("name")
    if not name:
        return [v.required(f"{at}.name", "cannot be empty")]
    return [] if name in ("linux", "windows") else [v.unsupported(f"{at}.name", name, ("linux", "windows"))]


def _validate_preemption(value: str, at: str) -> v.Errors:
    known = ("PreemptLowerPriority", "Never")
    return [] if value in known else [v.unsupported(at, value, known)]


def _named(shape: Callable[[str], v.Problems]) -> Callable[[str, str], v.Errors]:
    return lambda value, at: v.check(at, value, shape)


_CHECKS: tuple[tuple[str, Callable[[Any, str], v.Errors]], ...] = (
    ("nodeSelector", labels.validate_labels),
    ("securityContext", validate_pod_security),
    ("imagePullSecrets", _validate_pull_secrets),
    ("affinity", pod_scheduling.validate_affinity),
    ("dnsConfig", _validate_dns_config),
    ("readinessGates", _validate_readiness_gates),
    ("topologySpreadConstraints", pod_scheduling.validate_spread),
    ("schedulingGates", pod_scheduling.validate_gates),
    ("serviceAccountName", _named(v.is_dns1123_subdomain)),
    ("nodeName", _named(v.is_dns1123_subdomain)),
    ("hostname", _named(v.is_dns1123_label)),
    ("subdomain", _named(v.is_dns1123_label)),
    ("tolerations", pod_scheduling.validate_tolerations),
    ("hostAliases", _validate_host_aliases),
    ("priorityClassName", _named(v.is_dns1123_subdomain)),
    ("runtimeClassName", _named(v.is_dns1123_subdomain)),
    ("preemptionPolicy", _validate_preemption),
    ("os", _validate_os),
    ("resources", validate_resources),
)
