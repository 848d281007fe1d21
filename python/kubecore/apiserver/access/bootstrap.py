"""Upstream's default roles and bindings as objects, and how a start brings stored ones back to them.

In: the rows of `bootstrap_policy` and `bootstrap_controllers`. Out: objects to create, and for what is stored already,
the object to write instead or None. As upstream: rules, subjects and labels that are missing come back, what somebody
added stays, and an object whose autoupdate annotation is `false` is left alone.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from kubecore.api import codec, scheme
from kubecore.api.meta import Object, name_of, namespace_of, timestamp
from kubecore.apiserver.access.bootstrap_controllers import CONTROLLERS, NAMESPACED_BINDINGS, NAMESPACED_ROLES
from kubecore.apiserver.access.bootstrap_policy import (
    CLUSTER_ROLE_BINDINGS,
    COMPONENT_ROLES,
    USER_ROLES,
    BindingRow,
    RoleRow,
    Rule,
)
from kubecore.apiserver.access.rbac import aggregate
from kubecore.apiserver.access.rules import missing_rights
from kubecore.apiserver.storage.protocol import Storage

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
CONTROLLER_PREFIX = "system:controller:"


def default_objects() -> list[tuple[str, Object]]:
    """(plural, object) of every default role and binding: roles before the bindings that name them."""
    cluster_roles = [_role("ClusterRole", row, "") for row in _cluster_role_rows()]
    _fill_in_aggregated(cluster_roles)
    bindings = [_binding("ClusterRoleBinding", row, "", "ClusterRole") for row in _cluster_binding_rows()]
    return [
        *(("clusterroles", role) for role in cluster_roles),
        *(("clusterrolebindings", binding) for binding in bindings),
        *(("roles", _role("Role", row, namespace)) for namespace, rows in NAMESPACED_ROLES.items() for row in rows),
        *(
            ("rolebindings", _binding("RoleBinding", row, namespace, "Role"))
            for namespace, rows in NAMESPACED_BINDINGS.items()
            for row in rows
        ),
    ]


def reconciled(stored: Object, wanted: Object) -> Object | None:
    """What to store in place of `stored`, or None if it is complete or must not be touched."""
    if (stored["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false":
        return None
    metadata = dict(stored["metadata"])
    for field in ("labels", "annotations"):
        metadata[field] = {**(metadata.get(field) or {}), **wanted["metadata"][field]}
    merged: dict[str, Any] = {**stored, "metadata": metadata}
    if "roleRef" in wanted:
        merged["subjects"] = _union(stored.get("subjects") or (), wanted.get("subjects") or ())
    elif "aggregationRule" in wanted:
        selectors = (stored.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
        wanted_selectors = wanted["aggregationRule"]["clusterRoleSelectors"]
        merged["aggregationRule"] = {"clusterRoleSelectors": _union(selectors, wanted_selectors)}
        if not stored.get("rules"):
            merged["rules"] = wanted["rules"]
    else:
        rules = list(stored.get("rules") or ())
        # Most often nothing changed, and comparing is far cheaper than judging what covers what.
        missing = [rule for rule in wanted["rules"] if rule not in rules and missing_rights(rules, [rule])]
        merged["rules"] = rules + missing
    return None if merged == _with_defaults(stored) else merged


def binding_must_be_replaced(stored: Object, wanted: Object) -> bool:
    """A binding's roleRef never changes: one that names another role is deleted and made again, unless protected."""
    protected = (stored["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false"
    return "roleRef" in wanted and stored.get("roleRef") != wanted["roleRef"] and not protected


def _with_defaults(stored: Object) -> Object:
    """The stored object with the empty lists that a merge writes out."""
    metadata = dict(stored["metadata"])
    for field in ("labels", "annotations"):
        metadata[field] = metadata.get(field) or {}
    listed: dict[str, Any] = {field: stored.get(field) or [] for field in ("subjects", "rules") if field in stored}
    return {**stored, "metadata": metadata, **listed}


def _union(kept: Iterable[Any], wanted: Iterable[Any]) -> list[Any]:
    found = list(kept)
    found.extend(entry for entry in wanted if entry not in found)
    return found


def _cluster_role_rows() -> Iterator[RoleRow]:
    yield from USER_ROLES
    yield from COMPONENT_ROLES
    for name, rules in CONTROLLERS.items():
        yield RoleRow(CONTROLLER_PREFIX + name, rules)


def _cluster_binding_rows() -> Iterator[BindingRow]:
    yield from CLUSTER_ROLE_BINDINGS
    for name in CONTROLLERS:
        yield BindingRow(CONTROLLER_PREFIX + name, CONTROLLER_PREFIX + name, service_accounts=f"kube-system/{name}")


def _fill_in_aggregated(cluster_roles: list[Object]) -> None:
    rules = aggregate(cluster_roles)
    for role in cluster_roles:
        if "aggregationRule" in role:
            role["rules"] = list(rules[role["metadata"]["name"]])


def _metadata(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = {"kubernetes.io/bootstrapping": "rbac-defaults", **labels}
    metadata["annotations"] = {AUTOUPDATE: "true"}
    return metadata


def _role(kind: str, row: RoleRow, namespace: str) -> Object:
    labels = {f"{GROUP}/aggregate-to-{row.aggregate_to}": "true"} if row.aggregate_to else {}
    role: Object = {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": _metadata(row.name, namespace, labels),
        "rules": [_rule(rule) for rule in row.rules],
    }
    if row.aggregated_from:
        selector = {"matchLabels": {f"{GROUP}/aggregate-to-{row.aggregated_from}": "true"}}
        role["aggregationRule"] = {"clusterRoleSelectors": [selector]}
    return role


def _rule(rule: Rule) -> dict[str, list[str]]:
    if rule.urls:
        return {"nonResourceURLs": sorted(rule.urls.split()), "verbs": sorted(rule.verbs.split())}
    fields = {
        "apiGroups": ["" if group == "core" else group for group in sorted(rule.groups.split())],
        "resources": sorted(rule.resources.split()),
        "verbs": sorted(rule.verbs.split()),
    }
    fields["apiGroups"].sort()
    if rule.names:
        fields["resourceNames"] = sorted(rule.names.split())
    return fields


def _binding(kind: str, row: BindingRow, namespace: str, role_kind: str) -> Object:
    subjects: list[dict[str, str]] = [
        *({"kind": "Group", "apiGroup": GROUP, "name": name} for name in row.groups.split()),
        *({"kind": "User", "apiGroup": GROUP, "name": name} for name in row.users.split()),
    ]
    for account in row.service_accounts.split():
        account_namespace, _, name = account.partition("/")
        subjects.append({"kind": "ServiceAccount", "name": name, "namespace": account_namespace})
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": _metadata(row.name, namespace, {}),
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": row.role},
        "subjects": subjects,
    }


def ensure(storage: Storage, *, now: float, randomness: random.Random) -> int:
    """Brings the stored policy to the defaults: at each start, before the first request. Gives how many objects it
    wrote."""
    written = 0
    for plural, wanted in default_objects():
        resource = scheme.resource(GROUP, "v1", plural)
        key = resource.key(namespace_of(wanted), name_of(wanted))
        stored = storage.get(key)
        if stored is not None and binding_must_be_replaced(stored.object, wanted):
            storage.delete(key)
            stored = None
        if stored is None:
            value, splice = codec.encode(_created(wanted, now, randomness))
            storage.create(key, value, splice=splice)
        elif (better := reconciled(stored.object, wanted)) is not None:
            value, splice = codec.encode(better)
            storage.update(key, value, splice=splice, expected=stored.revision)
        else:
            continue
        written += 1
    return written


def _created(wanted: Object, now: float, randomness: random.Random) -> Object:
    metadata = {
        **wanted["metadata"],
        "uid": str(uuid.UUID(int=randomness.getrandbits(128), version=4)),
        "creationTimestamp": timestamp(now),
    }
    return {**wanted, "metadata": metadata}
