"""Validation of volumes: names, exactly one source each, and what the common sources need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubecore.api import validation as v
from kubecore.apiserver.registry.strategies.pod_containers import validate_local_path
from kubecore.apiserver.registry.strategies.pod_env import validate_field_reference, validate_resource_reference
from kubecore.apiserver.registry.strategies.shared import validate_quantity

_HOST_PATH_TYPES = (
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_DOWNWARD_FIELDS = ("metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid")
_MODE = "must be a number between 0 and 0777 (octal), both inclusive"


def validate_volumes(volumes: list[dict[str, Any]], at: str) -> tuple[v.Errors, dict[str, Any]]:
    """(errors, name → volume of those with a good name)."""
    errors: v.Errors = []
    named: dict[str, Any] = {}
    for index, volume in enumerate(volumes):
        path = f"{at}[{index}]"
        name = volume.get("name")
        found: v.Errors = []
        if not name:
            found.append(v.required(f"{path}.name"))
        else:
            found += v.check(f"{path}.name", name, v.is_dns1123_label)
            if name in named:
                found.append(v.duplicate(f"{path}.name", name))
        found += _validate_source(volume, path)
        if name and not found:
            named[name] = volume
        errors += found
    # A volume that is wrong itself is still there for those who mount it.
    for volume in volumes:
        if volume.get("name"):
            named.setdefault(volume["name"], volume)
    return errors, named


def _validate_source(volume: dict[str, Any], at: str) -> v.Errors:
    given = [key for key, value in volume.items() if key != "name" and value is not None]
    if not given:
        return [v.required(at, "must specify a volume type")]
    given.sort(key=lambda key: key != "emptyDir")  # the first of two is right; upstream looks at emptyDir first
    errors = [v.forbidden(f"{at}.{key}", "may not specify more than 1 volume type") for key in given[1:]]
    check = _CHECKS.get(given[0])
    if check is not None:
        errors += check(volume[given[0]], f"{at}.{given[0]}")
    return errors


def _empty_dir(source: dict[str, Any], at: str) -> v.Errors:
    limit = source.get("sizeLimit")
    if limit is None:
        return []
    if validate_quantity(f"{at}.sizeLimit", limit):
        return [v.forbidden(f"{at}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _host_path(source: dict[str, Any], at: str) -> v.Errors:
    path = source.get("path")
    if not path:
        return [v.required(f"{at}.path")]
    errors: v.Errors = []
    if ".." in path.split("/"):
        errors.append(v.invalid_value(f"{at}.path", path, "must not contain '..'"))
    kind = source.get("type")
    if kind and kind not in _HOST_PATH_TYPES:
        errors.append(v.unsupported(f"{at}.type", kind, _HOST_PATH_TYPES))
    return errors


def _keyed(name_field: str) -> Callable[[dict[str, Any], str], v.Errors]:
    def validate(source: dict[str, Any], at: str) -> v.Errors:
        errors: v.Errors = []
        if not source.get(name_field):
            errors.append(v.required(f"{at}.{name_field}"))
        errors += _mode(source.get("defaultMode"), f"{at}.defaultMode")
        for index, item in enumerate(source.get("items") or ()):
            errors += _item(item, f"{at}.items[{index}]")
        return errors

    return validate


def _item(item: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    if not item.get("key"):
        errors.append(v.required(f"{at}.key"))
    if not item.get("path"):
        errors.append(v.required(f"{at}.path"))
    else:
        errors += validate_local_path(item["path"], f"{at}.path")
    return errors + _mode(item.get("mode"), f"{at}.mode")


def _mode(mode: int | None, field: str) -> v.Errors:
    return [v.invalid_value(field, mode, _MODE)] if mode is not None and not 0 <= mode <= 0o777 else []


def _claim(source: dict[str, Any], at: str) -> v.Errors:
    return [] if source.get("claimName") else [v.required(f"{at}.claimName")]


def _nfs(source: dict[str, Any], at: str) -> v.Errors:
    errors = [v.required(f"{at}.{part}") for part in ("server", "path") if not source.get(part)]
    if source.get("path") and not source["path"].startswith("/"):
        errors.append(v.invalid_value(f"{at}.path", source["path"], "must be an absolute path"))
    return errors


def _csi(source: dict[str, Any], at: str) -> v.Errors:
    return [] if source.get("driver") else [v.required(f"{at}.driver")]


def _downward(source: dict[str, Any], at: str) -> v.Errors:
    errors = _mode(source.get("defaultMode"), f"{at}.defaultMode")
    for index, item in enumerate(source.get("items") or ()):
        errors += _downward_item(item, f"{at}.items[{index}]")
    return errors


def _downward_item(item: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    if not item.get("path"):
        errors.append(v.required(f"{at}.path"))
    else:
        errors += validate_local_path(item["path"], f"{at}.path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        errors += validate_field_reference(field, f"{at}.fieldRef", _DOWNWARD_FIELDS)
        if resource is not None:
            errors.append(
                v.invalid_value(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
            )
    elif resource is not None:
        errors += validate_resource_reference(resource, f"{at}.resourceFieldRef", needs_container=True)
    else:
        errors.append(v.required(at, "one of fieldRef and resourceFieldRef is required"))
    return errors + _mode(item.get("mode"), f"{at}.mode")


def _projected(source: dict[str, Any], at: str) -> v.Errors:
    errors = _mode(source.get("defaultMode"), f"{at}.defaultMode")
    for index, part in enumerate(source.get("sources") or ()):
        path = f"{at}.sources[{index}]"
        given = [key for key, value in part.items() if value is not None]
        if not given:
            errors.append(v.required(path, "must specify a volume type"))
        errors += [
            v.forbidden(f"{path}.{key}", "may not specify more than 1 volume type per source") for key in given[1:]
        ]
        for key in given[:1]:
            if (check := _PROJECTED_CHECKS.get(key)) is not None:
                errors += check(part[key], f"{path}.{key}")
    return errors


def _token(source: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    seconds = source.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        errors.append(
            v.invalid_value(f"{at}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        )
    if not source.get("path"):
        errors.append(v.required(f"{at}.path"))
    else:
        errors += validate_local_path(source["path"], f"{at}.path")
    return errors


_CHECKS: dict[str, Callable[[dict[str, Any], str], v.Errors]] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "secret": _keyed("secretName"),
    "configMap": _keyed("name"),
    "persistentVolumeClaim": _claim,
    "nfs": _nfs,
    "csi": _csi,
    "downwardAPI": _downward,
    "projected": _projected,
}
_PROJECTED_CHECKS: dict[str, Callable[[dict[str, Any], str], v.Errors]] = {
    "secret": _keyed("name"),
    "configMap": _keyed("name"),
    "downwardAPI": _downward,
    "serviceAccountToken": _token,
}
