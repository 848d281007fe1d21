"""Requests for each verb, as values: what `Client` sends one at a time, a loop can collect and send as one batch.

Pure functions: (resource, names, object, options) in, `Request` out.
"""

from __future__ import annotations

from typing import Any, Literal

from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.client import codec
from kubecore.client.transport import Request

PatchType = Literal["json", "merge", "strategic", "apply"]

PATCH_MEDIA_TYPES: dict[PatchType, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}

JSON_ACCEPT = ("accept", "application/json")
JSON_HEADERS = (JSON_ACCEPT, ("content-type", "application/json"))


def options(**given: str | int | bool | None) -> list[tuple[str, str]]:
    """Query parameters in Kubernetes' camelCase; None and the empty string are left out. `continue_` is `continue`."""
    query = []
    for name, value in given.items():
        if value is None or value == "":
            continue
        first, *rest = name.rstrip("_").split("_")
        text = ("true" if value else "false") if isinstance(value, bool) else str(value)
        query.append((first + "".join(word.capitalize() for word in rest), text))
    return query


def get(resource: Resource, namespace: str, name: str, *, resource_version: str = "") -> Request:
    return Request("GET", resource.path(namespace, name), options(resource_version=resource_version), (JSON_ACCEPT,))


def create(
    resource: Resource,
    obj: Object,
    *,
    namespace: str = "",
    subresource: str = "",
    name: str = "",
    dry_run: bool = False,
    field_manager: str = "",
) -> Request:
    """`name` only with a subresource (bindings, evictions, tokens)."""
    namespace = namespace or obj.get("metadata", {}).get("namespace", "")
    query = options(dry_run="All" if dry_run else "", field_manager=field_manager)
    path = resource.path(namespace, name, subresource)
    return Request("POST", path, query, JSON_HEADERS, codec.encode(obj))


def update(
    resource: Resource, obj: Object, *, subresource: str = "", dry_run: bool = False, field_manager: str = ""
) -> Request:
    metadata = obj["metadata"]
    path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
    query = options(dry_run="All" if dry_run else "", field_manager=field_manager)
    return Request("PUT", path, query, JSON_HEADERS, codec.encode(obj))


def patch(
    resource: Resource,
    namespace: str,
    name: str,
    body: Any,
    *,
    patch_type: PatchType = "merge",
    subresource: str = "",
    field_manager: str = "",
    force: bool = False,
    dry_run: bool = False,
) -> Request:
    query = options(dry_run="All" if dry_run else "", field_manager=field_manager, force=force or None)
    headers = (JSON_ACCEPT, ("content-type", PATCH_MEDIA_TYPES[patch_type]))
    return Request("PATCH", resource.path(namespace, name, subresource), query, headers, codec.encode(body))


def delete_options(
    *,
    grace_period_seconds: int | None = None,
    propagation_policy: str = "",
    uid: str = "",
    resource_version: str = "",
    dry_run: bool = False,
) -> Object:
    """A `meta/v1.DeleteOptions`."""
    body: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if grace_period_seconds is not None:
        body["gracePeriodSeconds"] = grace_period_seconds
    if propagation_policy:
        body["propagationPolicy"] = propagation_policy
    preconditions = {name: value for name, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
    if preconditions:
        body["preconditions"] = preconditions
    if dry_run:
        body["dryRun"] = ["All"]
    return body


def delete(
    resource: Resource,
    namespace: str,
    name: str,
    *,
    grace_period_seconds: int | None = None,
    propagation_policy: str = "",
    uid: str = "",
    resource_version: str = "",
    dry_run: bool = False,
) -> Request:
    """`uid` and `resource_version` are preconditions."""
    body = delete_options(
        grace_period_seconds=grace_period_seconds,
        propagation_policy=propagation_policy,
        uid=uid,
        resource_version=resource_version,
        dry_run=dry_run,
    )
    return Request("DELETE", resource.path(namespace, name), (), JSON_HEADERS, codec.encode(body))


def bind(pods: Resource, namespace: str, name: str, *, node: str, uid: str = "") -> Request:
    """Assigns a pod to a node. `uid`: the binding fails if the pod is another by then."""
    metadata = {"name": name, "namespace": namespace}
    if uid:
        metadata["uid"] = uid
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": metadata,
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }
    return create(pods, binding, namespace=namespace, name=name, subresource="binding")


def evict(pods: Resource, namespace: str, name: str, *, grace_period_seconds: int | None = None) -> Request:
    eviction: Object = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    }
    if grace_period_seconds is not None:
        eviction["deleteOptions"] = {"gracePeriodSeconds": grace_period_seconds}
    return create(pods, eviction, namespace=namespace, name=name, subresource="eviction")
