"""Client-side apply: what a manifest's author asked for last time, asks for now, and what stands, made into one patch.

The last manifest is kept in the annotation that kubectl uses too, so both commands can be used on the same object.
Pure: three objects and a schema in, a strategic merge patch out (a merge patch where the kind has no schema).
Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/#how-apply-calculates-differences-and-merges-changes
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

from kubecore.api import errors, schema, scheme
from kubecore.api.meta import Object
from kubecore.api.schema import Schema
from kubecore.api.scheme import Resource
from kubecore.client import codec
from kubecore.client.client import Client

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
CONFLICT_RETRIES_MAX = 5

Outcome = Literal["created", "configured", "unchanged"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did, and the object after it."""

    outcome: Outcome
    object: Object


async def apply(client: Client, manifest: Object, *, namespace: str = "", dry_run: bool = False) -> Applied:
    """Creates the object or patches it into what the manifest says. Raises StatusError, KeyError for an unknown
    kind."""
    resource = resource_of(manifest)
    wanted = with_last_applied(manifest)
    metadata = wanted["metadata"]
    target = metadata.get("namespace") or namespace if resource.namespaced else ""
    if target:
        metadata["namespace"] = target
    for _ in range(CONFLICT_RETRIES_MAX):
        try:
            current = await client.get(resource, target, metadata["name"])
        except errors.NotFound:
            try:
                return Applied("created", await client.create(resource, wanted, namespace=target, dry_run=dry_run))
            except errors.AlreadyExists:
                continue
        patch = three_way(last_applied_of(current), wanted, current, _schema(resource))
        if not patch:
            return Applied("unchanged", current)
        kind: Literal["strategic", "merge"] = "strategic" if _schema(resource) is not None else "merge"
        try:
            after = await client.patch(resource, target, metadata["name"], patch, patch_type=kind, dry_run=dry_run)
        except errors.Conflict:
            continue
        return Applied("unchanged" if _same(current, after) else "configured", after)
    raise errors.conflict(resource.plural, resource.group, metadata["name"], "the object keeps changing")


def resource_of(manifest: Object) -> Resource:
    """The resource of a manifest's apiVersion and kind. Raises KeyError."""
    group, version = scheme.parse_api_version(str(manifest["apiVersion"]))
    return scheme.by_kind()[group, version, str(manifest["kind"])]


def with_last_applied(manifest: Object) -> Object:
    """A copy of the manifest that carries itself in the annotation, as kubectl writes it."""
    wanted = copy.deepcopy(manifest)
    annotations = wanted.setdefault("metadata", {}).get("annotations") or {}
    annotations.pop(LAST_APPLIED, None)
    plain = copy.deepcopy(wanted)
    plain["metadata"]["annotations"] = annotations
    wanted["metadata"]["annotations"] = {**annotations, LAST_APPLIED: codec.encode(plain).decode() + "\n"}
    return wanted


def last_applied_of(current: Object) -> Object:
    text = (current.get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED)
    return codec.decode(text.encode()) if text else {}


def three_way(last: Object, wanted: Object, current: Object, shape: Schema | None) -> Object:
    """The patch that brings `current` to `wanted` and removes what only `last` had. Empty if there is nothing to do."""
    return _map(last, wanted, current, shape)


def _schema(resource: Resource) -> Schema | None:
    return schema.of_kind(resource.group, resource.version, resource.kind)


def _same(before: Object, after: Object) -> bool:
    return bool(before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion"))


def _map(last: Any, wanted: dict[str, Any], current: Any, shape: Schema | None) -> dict[str, Any]:
    last = last if isinstance(last, dict) else {}
    current = current if isinstance(current, dict) else {}
    patch: dict[str, Any] = {name: None for name in last if name not in wanted and name in current}
    for name, value in wanted.items():
        if value is None:
            continue
        field = shape.field(name) if shape is not None else None
        if name not in current:
            patch[name] = value
        elif isinstance(value, dict):
            inner = _map(last.get(name), value, current[name], field)
            if inner:
                patch[name] = inner
        elif isinstance(value, list):
            patch.update(_list(name, last.get(name), value, current[name], field))
        elif value != current[name]:
            patch[name] = value
    return patch


def _list(name: str, last: Any, wanted: list[Any], current: Any, shape: Schema | None) -> dict[str, Any]:
    """The patch's entries for one list: merged by key, merged as a set, or replaced, as the schema says."""
    last = last if isinstance(last, list) else []
    current = current if isinstance(current, list) else []
    if shape is not None and shape.merge_key:
        return _keyed_list(name, shape.merge_key, last, wanted, current, shape.items())
    if shape is not None and shape.merges_primitives:
        gone = [value for value in last if value not in wanted and value in current]
        new = [value for value in wanted if value not in current]
        return ({name: new} if new else {}) | ({f"$deleteFromPrimitiveList/{name}": gone} if gone else {})
    return {} if wanted == current else {name: wanted}


def _keyed_list(
    name: str, key: str, last: list[Any], wanted: list[Any], current: list[Any], item: Schema | None
) -> dict[str, Any]:
    before, now = _by_key(last, key), _by_key(current, key)
    entries: list[dict[str, Any]] = []
    for element in wanted:
        identity = element.get(key)
        if identity not in now:
            entries.append(element)
            continue
        inner = _map(before.get(identity), element, now[identity], item)
        if inner:
            entries.append({key: identity, **inner})
    kept = _by_key(wanted, key)
    entries += [{key: identity, "$patch": "delete"} for identity in before if identity not in kept and identity in now]
    if not entries:
        return {}
    order = [{key: element[key]} for element in wanted if key in element]
    return {f"$setElementOrder/{name}": order, name: entries}


def _by_key(elements: list[Any], key: str) -> dict[Any, dict[str, Any]]:
    return {element[key]: element for element in elements if isinstance(element, dict) and key in element}
