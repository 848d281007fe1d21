"""A small world for access tests: stored objects in memory, a policy that can be changed, a clock that stands still."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from kubecore.api import scheme
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.access.tokens import ServiceAccountTokens
from kubecore.apiserver.registry.admission import AdmissionRequest, Operation, User

NOW = 1_700_000_000.0
RBAC = "rbac.authorization.k8s.io"


class World:
    """`StorageReader` and `PolicySource` over a dictionary."""

    def __init__(self, *objects: Object) -> None:
        self.stored: dict[tuple[str, str, str], Object] = {}
        self.changes = 0
        self.now = NOW
        for obj in objects:
            self.put(obj)

    def put(self, obj: Object) -> Object:
        group, version = scheme.parse_api_version(obj["apiVersion"])
        resource = scheme.by_kind()[group, version, obj["kind"]]
        self.stored[_key(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])] = obj
        self.changes += 1
        return obj

    def drop(self, plural: str, namespace: str, name: str, *, group: str = "") -> None:
        del self.stored[f"{plural}.{group}", namespace, name]
        self.changes += 1

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self.stored.get(_key(resource, namespace if resource.namespaced else "", name))

    def list(self, resource: Resource, namespace: str = "") -> list[Object]:
        wanted = f"{resource.plural}.{resource.group}"
        return [
            obj
            for (plural, where, _), obj in sorted(self.stored.items())
            if plural == wanted and namespace in ("", where)
        ]

    def epoch(self) -> int:
        return self.changes

    def objects(self, plural: str) -> list[Object]:
        return self.list(scheme.resource(RBAC, "v1", plural))

    def tokens(self, **options: Any) -> ServiceAccountTokens:
        return ServiceAccountTokens(lambda: KEY_PEM, self, now=lambda: self.now, randomness=random.Random(1), **options)


def _key(resource: Resource, namespace: str, name: str) -> tuple[str, str, str]:
    return f"{resource.plural}.{resource.group}", namespace, name


def make(kind: str, name: str, namespace: str = "", *, api_version: str = "v1", **fields: Any) -> Object:
    """An object with a uid made of its name."""
    metadata: dict[str, Any] = {"name": name, "uid": f"uid-of-{name}"}
    if namespace:
        metadata["namespace"] = namespace
    metadata |= fields.pop("metadata", {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def rbac(kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    return make(kind, name, namespace, api_version=f"{RBAC}/v1", **fields)


def rule(
    verbs: str, resources: str = "", groups: Iterable[str] = ("",), *, names: str = "", urls: str = ""
) -> dict[str, list[str]]:
    if urls:
        return {"verbs": verbs.split(), "nonResourceURLs": urls.split()}
    made = {"verbs": verbs.split(), "apiGroups": list(groups), "resources": resources.split()}
    return made | ({"resourceNames": names.split()} if names else {})


def binding(name: str, role: str, *subjects: tuple[str, str], namespace: str = "", cluster_role: bool = True) -> Object:
    return rbac(
        "RoleBinding" if namespace else "ClusterRoleBinding",
        name,
        namespace,
        roleRef={"apiGroup": RBAC, "kind": "ClusterRole" if cluster_role else "Role", "name": role},
        subjects=[{"kind": kind, "name": who} for kind, who in subjects],
    )


ALICE = User("alice", "", ("system:authenticated",))


def admission_request(
    world: World,
    obj: Object | None,
    *,
    operation: Operation = "CREATE",
    old: Object | None = None,
    resource: Resource | None = None,
    subresource: str = "",
    user: User = ALICE,
    namespace: str | None = None,
    dry_run: bool = False,
) -> AdmissionRequest:
    """One mutation of `obj` (or `old`, if there is no object) as the registry would hand it to a plugin."""
    subject = obj if obj is not None else old
    assert subject is not None
    if resource is None:
        resource = scheme.by_kind()[(*scheme.parse_api_version(subject["apiVersion"]), subject["kind"])]
    metadata = subject["metadata"]
    return AdmissionRequest(
        user=user,
        operation=operation,
        resource=resource,
        subresource=subresource,
        namespace=metadata.get("namespace", "") if namespace is None else namespace,
        name=metadata.get("name", ""),
        object=obj,
        old_object=old,
        options={},
        dry_run=dry_run,
        storage=world,
    )


def _key_pem() -> bytes:
    from kubecore.apiserver.access.certificates import Certificates

    return Certificates().service_account_key_pem


KEY_PEM = _key_pem()
