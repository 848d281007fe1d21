"""Validation of containers: names, images, ports, environment, mounts, probes, resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kubecore.api import quantity
from kubecore.api import validation as v
from kubecore.apiserver.registry.strategies.pod_security import validate_container_security
from kubecore.apiserver.registry.strategies.shared import validate_not_negative, validate_port_or_name

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
TERMINATION_POLICIES = ("File", "FallbackToLogsOnError")
STANDARD_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})

_FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_RESOURCE_FIELDS = tuple(
    f"{part}.{name}" for part in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)
_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


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
            errors += _validate_lifecycle(lifecycle, f"{path}.lifecycle")
        errors += _validate_probes(container, path)
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
                errors += _validate_lifecycle(lifecycle, f"{path}.lifecycle")
            errors += _validate_probes(container, path)
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
        errors += _validate_env(env, f"{at}.env")
    if env_from := container.get("envFrom"):
        errors += _validate_env_from(env_from, f"{at}.envFrom")
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


# ───────────────────────────── environment ─────────────────────────────


def _validate_env(env: list[dict[str, Any]], at: str) -> v.Errors:
    errors: v.Errors = []
    for index, variable in enumerate(env):
        name = variable.get("name")
        if not name:
            errors.append(v.required(f"{at}[{index}].name"))
        elif problems := v.is_env_name(name):
            errors += [v.invalid_value(f"{at}[{index}].name", name, problem) for problem in problems]
        if (source := variable.get("valueFrom")) is not None:
            errors += _validate_env_source(source, variable.get("value", ""), f"{at}[{index}].valueFrom")
    return errors


def _validate_env_source(source: dict[str, Any], value: str, at: str) -> v.Errors:
    errors: v.Errors = []
    given = [name for name in _ENV_SOURCES if source.get(name) is not None]
    for name in given:
        errors += _ENV_CHECKS[name](source[name], f"{at}.{name}")
    if not given:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.append(v.invalid_value(at, "", f"must specify one of: {listed}"))
    elif value:
        errors.append(v.invalid_value(at, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        errors.append(v.invalid_value(at, "", "may not have more than one field specified at a time"))
    return errors


def validate_field_reference(reference: dict[str, Any], at: str, allowed: tuple[str, ...] = _FIELD_PATHS) -> v.Errors:
    """A downward API field."""
    if not reference.get("apiVersion"):
        return [v.required(f"{at}.apiVersion")]
    path = reference.get("fieldPath")
    if not path:
        return [v.required(f"{at}.fieldPath")]
    base, bracket, rest = path.partition("['")
    if bracket and rest.endswith("']"):
        key = rest[:-2]
        if base not in ("metadata.annotations", "metadata.labels"):
            return [v.invalid_value(at, base, "does not support subscript")]
        checked = key.lower() if base == "metadata.annotations" else key
        return [v.invalid_value(at, key, problem) for problem in v.is_qualified_name(checked)]
    if path in allowed:
        return []
    if path in (*_FIELD_PATHS, "metadata.annotations", "metadata.labels"):
        return [v.unsupported(f"{at}.fieldPath", path, sorted(allowed))]
    return [v.invalid_value(f"{at}.fieldPath", path, f"error converting fieldPath: field label not supported: {path}")]


def validate_resource_reference(reference: dict[str, Any], at: str, *, needs_container: bool = False) -> v.Errors:
    if needs_container and not reference.get("containerName"):
        return [v.required(f"{at}.containerName")]
    resource = reference.get("resource")
    if not resource:
        return [v.required(f"{at}.resource")]
    if resource not in _RESOURCE_FIELDS and ".hugepages-" not in resource:
        return [v.unsupported(f"{at}.resource", resource, _RESOURCE_FIELDS)]
    return []


def _validate_key_reference(reference: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    if not (name := reference.get("name")):
        errors.append(v.required(f"{at}.name"))
    else:
        errors += v.check(f"{at}.name", name, v.is_dns1123_subdomain)
    if not (key := reference.get("key")):
        errors.append(v.required(f"{at}.key"))
    else:
        errors += v.check(f"{at}.key", key, v.is_config_key)
    return errors


def _validate_file_reference(reference: dict[str, Any], at: str) -> v.Errors:
    return [v.required(f"{at}.{part}") for part in ("key", "volumeName", "path") if not reference.get(part)]


_ENV_CHECKS: dict[str, Callable[[dict[str, Any], str], v.Errors]] = {
    "fieldRef": validate_field_reference,
    "resourceFieldRef": validate_resource_reference,
    "configMapKeyRef": _validate_key_reference,
    "secretKeyRef": _validate_key_reference,
    "fileKeyRef": _validate_file_reference,
}


def _validate_env_from(sources: list[dict[str, Any]], at: str) -> v.Errors:
    errors: v.Errors = []
    for index, source in enumerate(sources):
        path = f"{at}[{index}]"
        if prefix := source.get("prefix"):
            errors += v.check(f"{path}.prefix", prefix, v.is_env_name)
        given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        for name in given:
            if not (referred := source[name].get("name")):
                errors.append(v.required(f"{path}.{name}.name"))
            else:
                errors += v.check(f"{path}.{name}.name", referred, v.is_dns1123_subdomain)
        if not given:
            errors.append(v.invalid_value(at, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            errors.append(v.invalid_value(at, "", "may not have more than one field specified at a time"))
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


# ───────────────────────────── probes ─────────────────────────────


def _validate_lifecycle(lifecycle: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    for part in ("postStart", "preStop"):
        if (handler := lifecycle.get(part)) is not None:
            errors += _validate_handler(handler, f"{at}.{part}")
    return errors


def _validate_probes(container: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    for part in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(part)
        if probe is None:
            continue
        path = f"{at}.{part}"
        errors += _validate_handler(probe, path)
        for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
            errors += validate_not_negative(f"{path}.{name}", probe.get(name, 0))
        grace = probe.get("terminationGracePeriodSeconds")
        if grace is not None and part == "readinessProbe":
            errors.append(
                v.invalid_value(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
            )
        elif grace is not None and grace <= 0:
            errors.append(v.invalid_value(f"{path}.terminationGracePeriodSeconds", grace, v.POSITIVE))
        threshold = probe.get("successThreshold", 1)
        if part != "readinessProbe" and threshold != 1:
            errors.append(v.invalid_value(f"{path}.successThreshold", threshold, "must be 1"))
    return errors


def _validate_handler(handler: dict[str, Any], at: str) -> v.Errors:
    given = [name for name in _HANDLERS if handler.get(name) is not None]
    if not given:
        return [v.required(at, "must specify a handler type")]
    errors = [v.forbidden(f"{at}.{name}", "may not specify more than 1 handler type") for name in given[1:]]
    kind = given[0]
    action, path = handler[kind], f"{at}.{kind}"
    if kind == "exec":
        if not action.get("command"):
            errors.append(v.required(f"{path}.command"))
    elif kind == "httpGet":
        if not action.get("path"):
            errors.append(v.required(f"{path}.path"))
        errors += validate_port_or_name(f"{path}.port", action.get("port", 0))
        if action.get("scheme") not in ("HTTP", "HTTPS"):
            errors.append(v.unsupported(f"{path}.scheme", action.get("scheme", ""), ("HTTP", "HTTPS")))
        for header in action.get("httpHeaders") or ():
            errors += v.check(f"{path}.httpHeaders", header.get("name", ""), v.is_header_name)
    elif kind == "tcpSocket" or kind == "grpc":
        errors += validate_port_or_name(f"{path}.port", action.get("port", 0))
    elif action.get("seconds", 0) < 0:
        errors.append(v.invalid_value(path, action["seconds"], "must be non-negative"))
    return errors
