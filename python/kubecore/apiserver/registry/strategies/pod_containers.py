"""Validation of containers: names, images, ports, environment, mounts, probes, resources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubecore.api import quantity
from kubecore.api import validation as v
from kubecore.apiserver.registry.strategies.pod_env import validate_env, validate_env_from
from kubecore.apiserver.registry.strategies.pod_probes import validate_lifecycle, validate_probes
from kubecore.apiserver.registry.strategies.pod_security import validate_container_security

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
TERMINATION_POLICIES = ("File", "FallbackToLogsOnError")
STANDARD_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})


def validate_containers(containers: list[dict[str, Any]], volumes: dict[str, Any], at: str) -> v.Errors:
    """`spec.containers`: at least one."""
    if not containers:
        return [v.required(at)]
    errors: v.Errors = []
    names: set[str] = set()
    for index, container in enumerate(containers):
        path = f"{at}[{index}]"
        errors += _validate_common(container, volumes, path)
        name = container.get("name", "")
        if name in names and name:
            errors.append(v.duplicate(f"{path}.name", name))
        names.add(name)
        if lifecycle := container.get("lifecycle"):
            errors += validate_lifecycle(lifecycle, f"{path}.lifecycle")
        errors += validate_probes(container, path)
    errors += _validate_host_ports(containers, at)
    return errors


def validate_init_containers(
    containers: list[dict[str, Any]], regular: list[dict[str, Any]], volumes: dict[str, Any], at: str
) -> v.Errors:
    """Only one with restartPolicy Always (a sidecar) may have probes and lifecycle hooks."""
    errors: v.Errors = []
    names = {container.get("name") for container in regular}
    for index, container in enumerate(containers):
        path = f"{at}[{index}]"
        errors += _validate_common(container, volumes, path)
        name = container.get("name", "")
        if name in names and name:
            errors.append(v.duplicate(f"{path}.name", name))
        names.add(name)
        policy = container.get("restartPolicy")
        if policy == "Always":
            if lifecycle := container.get("lifecycle"):
                errors += validate_lifecycle(lifecycle, f"{path}.lifecycle")
            errors += validate_probes(container, path)
            continue
        if policy is not None:
            errors.append(v.unsupported(f"{path}.restartPolicy", policy, ("Always",)))
        errors += [
            v.forbidden(f"{path}.{part}", "may not be set for init containers without restartPolicy=Always")
            for part in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
            if container.get(part) is not None
        ]
    errors += _validate_host_ports(containers, at)
    return errors


def validate_ephemeral_containers(
    containers: list[dict[str, Any]], others: Iterable[dict[str, Any]], volumes: dict[str, Any], at: str
) -> v.Errors:
    errors: v.Errors = []
    names = {container.get("name") for container in others}
    targets = set(names)
    for index, container in enumerate(containers):
        path = f"{at}[{index}]"
        errors += _validate_common(container, volumes, path)
        name = container.get("name", "")
        if name in names and name:
            errors.append(v.duplicate(f"{path}.name", name))
        names.add(name)
        target = container.get("targetContainerName")
        if target and target not in targets:
            errors.append(v.missing(f"{path}.targetContainerName", target))
        errors += [
            v.forbidden(f"{path}.{part}", "cannot be set for an Ephemeral Container")
            for part in ("ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "resources")
            if container.get(part)
        ]
    return errors


def _validate_common(container: dict[str, Any], volumes: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    name = container.get("name")
    if not name:
        errors.append(v.required(f"{at}.name"))
    elif problems := v.is_dns1123_label(name):
        errors += [v.invalid_value(f"{at}.name", name, problem) for problem in problems]
    image = container.get("image")
    if not image:
        errors.append(v.required(f"{at}.image"))
    elif image[0].isspace() or image[-1].isspace():
        errors.append(v.invalid_value(f"{at}.image", image, "must not have leading or trailing whitespace"))
    policy = container.get("terminationMessagePolicy")
    if policy not in TERMINATION_POLICIES:
        field = f"{at}.terminationMessagePolicy"
        errors.append(v.unsupported(field, policy, TERMINATION_POLICIES) if policy else v.required(field))
    pull = container.get("imagePullPolicy")
    if pull not in PULL_POLICIES:
        field = f"{at}.imagePullPolicy"
        errors.append(v.unsupported(field, pull, PULL_POLICIES) if pull else v.required(field))
    if ports := container.get("ports"):
        errors += _validate_ports(ports, f"{at}.ports")
    if env := container.get("env"):
        errors += validate_env(env, f"{at}.env")
    if env_from := container.get("envFrom"):
        errors += validate_env_from(env_from, f"{at}.envFrom")
    if (mounts := container.get("volumeMounts")) or container.get("volumeDevices"):
        errors += _validate_mounts(mounts or [], container.get("volumeDevices") or [], volumes, at)
    if resources := container.get("resources"):
        errors += validate_resources(resources, f"{at}.resources")
    if security := container.get("securityContext"):
        errors += validate_container_security(security, f"{at}.securityContext")
    return errors


def _validate_ports(ports: list[dict[str, Any]], at: str) -> v.Errors:
    errors: v.Errors = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        path = f"{at}[{index}]"
        if name := port.get("name"):
            if problems := v.is_port_name(name):
                errors += [v.invalid_value(f"{path}.name", name, problem) for problem in problems]
            elif name in names:
                errors.append(v.duplicate(f"{path}.name", name))
            names.add(name)
        number = port.get("containerPort", 0)
        if not number:
            errors.append(v.required(f"{path}.containerPort"))
        elif problems := v.is_port_number(number):
            errors += [v.invalid_value(f"{path}.containerPort", number, problem) for problem in problems]
        host_port = port.get("hostPort", 0)
        if host_port and (problems := v.is_port_number(host_port)):
            errors += [v.invalid_value(f"{path}.hostPort", host_port, problem) for problem in problems]
        protocol = port.get("protocol")
        if protocol not in PROTOCOLS:
            field = f"{path}.protocol"
            errors.append(v.unsupported(field, protocol, PROTOCOLS) if protocol else v.required(field))
    return errors


def _validate_host_ports(containers: list[dict[str, Any]], at: str) -> v.Errors:
    """No two containers listen at one port of the host."""
    errors: v.Errors = []
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for position, port in enumerate(container.get("ports") or ()):
            if host_port := port.get("hostPort"):
                text = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{host_port}"
                if text in taken:
                    errors.append(v.duplicate(f"{at}[{index}].ports[{position}].hostPort", text))
                taken.add(text)
    return errors


# ───────────────────────────── mounts, resources ─────────────────────────────


def _validate_mounts(
    mounts: list[dict[str, Any]], devices: list[dict[str, Any]], volumes: dict[str, Any], at: str
) -> v.Errors:
    errors: v.Errors = []
    paths: set[str] = set()
    for index, mount in enumerate(mounts):
        path = f"{at}.volumeMounts[{index}]"
        name, mount_path = mount.get("name"), mount.get("mountPath")
        if not name:
            errors.append(v.required(f"{path}.name"))
        elif name not in volumes:
            errors.append(v.missing(f"{path}.name", name))
        if not mount_path:
            errors.append(v.required(f"{path}.mountPath"))
        elif mount_path in paths:
            errors.append(v.invalid_value(f"{path}.mountPath", mount_path, "must be unique"))
        paths.add(mount_path or "")
        if mount.get("subPath") and mount.get("subPathExpr"):
            errors.append(
                v.invalid_value(
                    f"{path}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"
                )
            )
        for part in ("subPath", "subPathExpr"):
            if text := mount.get(part):
                errors += validate_local_path(text, f"{path}.{part}")
    for index, device in enumerate(devices):
        path = f"{at}.volumeDevices[{index}]"
        name, device_path = device.get("name"), device.get("devicePath")
        if not name:
            errors.append(v.required(f"{path}.name"))
        elif name not in volumes:
            errors.append(v.missing(f"{path}.name", name))
        if not device_path:
            errors.append(v.required(f"{path}.devicePath"))
        elif device_path in paths:
            errors.append(v.invalid_value(f"{path}.devicePath", device_path, "must not already exist in volumeMounts"))
        paths.add(device_path or "")
    return errors


def validate_local_path(path: str, field: str) -> v.Errors:
    """Relative, and never upwards."""
    errors: v.Errors = []
    if path.startswith("/"):
        errors.append(v.invalid_value(field, path, "must be a relative path"))
    if ".." in path.split("/"):
        errors.append(v.invalid_value(field, path, "must not contain '..'"))
    return errors


def validate_resources(resources: dict[str, Any], at: str) -> v.Errors:
    """Requests and limits: known names, not negative, no request above its limit."""
    errors: v.Errors = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for part, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if name not in STANDARD_RESOURCES:
                errors += _validate_resource_name(name, f"{at}.{part}")
            errors += _validate_amount(name, amount, f"{at}.{part}[{name}]")
    if errors:
        return errors
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is None:
            if name not in STANDARD_RESOURCES and "/" in name and "kubernetes.io/" not in name:
                errors.append(v.required(f"{at}.limits", "Limit must be set for non overcommitable resources"))
        elif quantity.of(amount) > quantity.of(limit):
            text = f"must be less than or equal to {name} limit of {quantity.canonical(str(limit))}"
            errors.append(v.invalid_value(f"{at}.requests", quantity.canonical(str(amount)), text))
        elif name not in STANDARD_RESOURCES and quantity.of(amount) != quantity.of(limit):
            text = f"must be equal to {name} limit of {quantity.canonical(str(limit))}"
            errors.append(v.invalid_value(f"{at}.requests", quantity.canonical(str(amount)), text))
    return errors


def _validate_resource_name(name: str, at: str) -> v.Errors:
    if problems := v.is_qualified_name(name):
        return [v.invalid_value(at, name, problem) for problem in problems]
    if "/" in name:
        return []
    if name.startswith("hugepages-"):
        return []
    return [v.invalid_value(at, name, "must be a standard resource for containers")]


def _validate_amount(name: str, amount: Any, at: str) -> v.Errors:
    try:
        number = quantity.of(amount)
    except quantity.QuantityError as error:
        return [v.invalid_value(at, amount, str(error))]
    if number < 0:
        return [v.invalid_value(at, quantity.canonical(str(amount)), v.NOT_NEGATIVE)]
    if name not in STANDARD_RESOURCES and number != number.to_integral_value():
        return [v.invalid_value(at, quantity.canonical(str(amount)), "must be an integer")]
    return []
