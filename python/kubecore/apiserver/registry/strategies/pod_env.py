"""Validation of a container's environment, and of the downward API's references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubecore.api import validation as v

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


def validate_env(env: list[dict[str, Any]], at: str) -> v.Errors:
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


def validate_env_from(sources: list[dict[str, Any]], at: str) -> v.Errors:
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
