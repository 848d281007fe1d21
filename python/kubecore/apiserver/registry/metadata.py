"""`metadata`: what the server fills, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubecore.api import labels as selectors
from kubecore.api import validation as v
from kubecore.api.errors import BadRequest
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource, parse_api_version

ANNOTATIONS_BYTES_MAX = 256 * 1024
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_SERVER_ONLY = ("managedFields", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds")


def match_namespace(resource: Resource, obj: Object, namespace: str) -> None:
    """The URL's namespace is the object's. Raises BadRequest if the object says another."""
    metadata = obj.setdefault("metadata", {})
    if not resource.namespaced:
        metadata.pop("namespace", None)
        return
    given = metadata.get("namespace", "")
    if given and given != namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    metadata["namespace"] = namespace


def match_name(obj: Object, name: str, namespace: str) -> None:
    """An update's object is the one in the URL. Raises BadRequest."""
    metadata = obj.get("metadata") or {}
    given = metadata.get("name", "")
    if not given:
        raise BadRequest(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if given != name:
        raise BadRequest(f"the name of the object ({given}) does not match the name on the URL ({name})")
    other = metadata.get("namespace", "")
    if namespace and other and other != namespace:
        raise BadRequest(
            f"the namespace of the object ({other}) does not match the namespace on the request ({namespace})"
        )


def clear_server_fields(metadata: dict[str, Any]) -> None:
    """Drops what a client may not set when it creates."""
    for key in _SERVER_ONLY:
        metadata.pop(key, None)


def validate(
    metadata: dict[str, Any], *, namespaced: bool, name_shape: Callable[[str], v.Problems], at: str = "metadata"
) -> v.Errors:
    """Of a new object."""
    errors: v.Errors = []
    if prefix := metadata.get("generateName"):
        masked = f"{prefix[:-1]}a" if prefix.endswith("-") else prefix
        errors += [v.invalid_value(f"{at}.generateName", prefix, problem) for problem in name_shape(masked)]
    name = metadata.get("name")
    if not name:
        errors.append(v.required(f"{at}.name", "name or generateName is required"))
    elif problems := name_shape(name):
        errors += [v.invalid_value(f"{at}.name", name, problem) for problem in problems]
    if namespaced:
        namespace = metadata.get("namespace")
        if not namespace:
            errors.append(v.required(f"{at}.namespace"))
        elif problems := v.is_dns1123_label(namespace):
            errors += [v.invalid_value(f"{at}.namespace", namespace, problem) for problem in problems]
    if len(metadata) > 4:  # name, namespace, uid, creationTimestamp: nothing left to judge
        errors += _validate_common(metadata, at)
    return errors


def _validate_common(metadata: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    if metadata.get("generation", 0) < 0:
        errors.append(v.invalid_value(f"{at}.generation", metadata["generation"], v.NOT_NEGATIVE))
    if labels := metadata.get("labels"):
        errors += selectors.validate_labels(labels, f"{at}.labels")
    if annotations := metadata.get("annotations"):
        errors += validate_annotations(annotations, f"{at}.annotations")
    if owners := metadata.get("ownerReferences"):
        errors += _validate_owners(owners, f"{at}.ownerReferences")
    if finalizers := metadata.get("finalizers"):
        errors += _validate_finalizers(finalizers, f"{at}.finalizers")
    return errors


def validate_annotations(annotations: dict[str, str], field: str) -> v.Errors:
    errors: v.Errors = []
    size_bytes = 0
    for key, value in annotations.items():
        if problems := v.is_qualified_name(key.lower()):
            errors += [v.invalid_value(field, key, problem) for problem in problems]
        size_bytes += len(key.encode()) + len(value.encode())
    if size_bytes > ANNOTATIONS_BYTES_MAX:
        errors.append(v.too_long(field, ANNOTATIONS_BYTES_MAX))
    return errors


def _validate_owners(owners: list[dict[str, Any]], field: str) -> v.Errors:
    errors: v.Errors = []
    controller = ""
    for owner in owners:
        _, version = parse_api_version(owner.get("apiVersion", ""))
        if not version:
            errors.append(
                v.invalid_value(f"{field}.apiVersion", owner.get("apiVersion", ""), "version must not be empty")
            )
        errors += [
            v.invalid_value(f"{field}.{part}", "", "must not be empty")
            for part in ("kind", "name", "uid")
            if not owner.get(part)
        ]
        if owner.get("apiVersion") == "v1" and owner.get("kind") == "Event":
            errors.append(v.invalid_value(field, owner, "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            this = f"{owner.get('kind')}/{owner.get('name')}"
            if controller:
                detail = (
                    "Only one reference can have Controller set to true. "
                    f'Found "true" in references for {controller} and {this}'
                )
                errors.append(v.invalid_value(field, owners, detail))
            controller = controller or this
    return errors


def _validate_finalizers(finalizers: list[str], field: str) -> v.Errors:
    errors = [
        v.invalid_value(field, finalizer, problem)
        for finalizer in finalizers
        for problem in v.is_qualified_name(finalizer)
    ]
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        detail = f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"
        errors.append(v.invalid_value(field, finalizers, detail))
    return errors


_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def settle_update(new: dict[str, Any], old: dict[str, Any]) -> None:
    """Keeps what an update never changes."""
    new.pop("managedFields", None)
    new.pop("selfLink", None)
    for key in ("uid", "namespace"):
        if not new.get(key) and key in old:
            new[key] = old[key]
    for key in ("creationTimestamp", "deletionTimestamp"):
        if key in old:
            new[key] = old[key]
    if "deletionGracePeriodSeconds" in old and "deletionGracePeriodSeconds" not in new:
        new["deletionGracePeriodSeconds"] = old["deletionGracePeriodSeconds"]


def validate_update(new: dict[str, Any], old: dict[str, Any], at: str = "metadata") -> v.Errors:
    errors: v.Errors = []
    if "deletionTimestamp" in old:
        held = old.get("finalizers") or ()
        extra = sorted({finalizer for finalizer in new.get("finalizers") or () if finalizer not in held})
        if extra:
            listed = ", ".join(f'"{finalizer}"' for finalizer in extra)
            detail = (
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}"
            )
            errors.append(v.forbidden(f"{at}.finalizers", detail))
    if new.get("generation", 0) < old.get("generation", 0):
        errors.append(v.invalid_value(f"{at}.generation", new.get("generation", 0), "must not be decremented"))
    for key in _IMMUTABLE:
        if new.get(key) != old.get(key):
            errors.append(v.invalid_value(f"{at}.{key}", new.get(key), v.IMMUTABLE))
    errors += _validate_common(new, at)
    return errors
