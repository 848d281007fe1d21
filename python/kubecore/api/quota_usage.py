"""What one object uses of a quota: a table of evaluators by resource, and which quotas an object counts towards.

In: an object. Out: amounts by the names that a quota's `hard` uses, such as `pods`, `requests.cpu`,
`count/deployments.apps`. An evaluator also says which names it counts, what a pod must state, and how it reads scopes.
Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kubecore.api import quantity
from kubecore.api.amounts import Amounts, add, canonical, pod_amounts
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_MUST_BE_STATED = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_POD_NAMES = frozenset(
    {"pods", "count/pods", *_COMPUTE, *(f"{kind}.{name}" for kind in ("requests", "limits") for name in _COMPUTE)}
)
_ALSO_BY_PLAIN_NAME = frozenset({"configmaps", "resourcequotas", "replicationcontrollers", "secrets"})
_CLASS_INFIX = ".storageclass.storage.k8s.io/"
IGNORED = frozenset({"events", "bindings", "localsubjectaccessreviews"})
"""Namespaced resources that no quota counts."""


@dataclass(frozen=True, slots=True)
class Evaluator:
    """How one resource is counted."""

    usage: Callable[[Object], Amounts]
    counts: Callable[[str], bool]
    """Whether a name in `hard` is this evaluator's."""
    on_update: bool = False
    is_pod: bool = False


def evaluator_for(resource: Resource) -> Evaluator:
    special = _SPECIAL.get((resource.group, resource.plural))
    if special is not None:
        return special
    names = {f"count/{resource.qualified}"}
    if not resource.group and resource.plural in _ALSO_BY_PLAIN_NAME:
        names.add(resource.plural)
    one = dict.fromkeys(sorted(names), "1")
    return Evaluator(usage=lambda _: one, counts=names.__contains__)


# ── pods ──


def _is_pod_name(name: str) -> bool:
    if name in _POD_NAMES or name.startswith(("hugepages-", "requests.hugepages-")):
        return True
    return name.startswith("requests.") and "/" in name


def _compute_usage(requests: Amounts, limits: Amounts) -> Amounts:
    used: Amounts = {}
    for name, amount in requests.items():
        if name in _COMPUTE or name.startswith("hugepages-"):
            used[name] = amount
            used[f"requests.{name}"] = amount
        elif "/" in name:
            used[f"requests.{name}"] = amount
    for name, amount in limits.items():
        if name in _COMPUTE:
            used[f"limits.{name}"] = amount
    return used


def pod_usage(pod: Object) -> Amounts:
    counted = {"count/pods": "1"}
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return counted
    compute = _compute_usage(pod_amounts(pod, "requests"), pod_amounts(pod, "limits"))
    return counted | {"pods": "1"} | compute


def unstated(pod: Object, names: Iterable[str]) -> str:
    """`must specify limits.cpu for: web,sidecar; ...` for what a quota on `names` needs every container to state; empty
    if nothing."""
    required = sorted(_MUST_BE_STATED & set(names))
    whole = _stated(pod["spec"])
    missing: dict[str, list[str]] = {}
    for container in (*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())):
        stated = _stated(container) | whole
        for name in required:
            if name not in stated:
                missing.setdefault(name, []).append(container["name"])
    if not missing:
        return ""
    return "must specify " + "; ".join(f"{name} for: {','.join(sorted(who))}" for name, who in sorted(missing.items()))


def _stated(holder: dict[str, Any]) -> set[str]:
    resources = holder.get("resources") or {}
    return set(_compute_usage(resources.get("requests") or {}, resources.get("limits") or {}))


# ── services and claims ──


def service_usage(service: Object) -> Amounts:
    spec = service.get("spec", {})
    ports, kind = spec.get("ports") or (), spec.get("type")
    used = {"count/services": "1", "services": "1"}
    if kind == "NodePort":
        used["services.nodeports"] = str(len(ports))
    elif kind == "LoadBalancer":
        used["services.loadbalancers"] = "1"
        allocated = spec.get("allocateLoadBalancerNodePorts", True)
        node_ports = len(ports) if allocated else sum(1 for port in ports if port.get("nodePort"))
        used["services.nodeports"] = str(node_ports)
    return used


def claim_usage(claim: Object) -> Amounts:
    spec = claim.get("spec", {})
    storage = canonical((spec.get("resources") or {}).get("requests") or {}).get("storage")
    used = {"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1"}
    storage_class = spec.get("storageClassName") or ""
    if storage_class:
        used[f"{storage_class}{_CLASS_INFIX}persistentvolumeclaims"] = "1"
    if storage is not None:
        used["requests.storage"] = storage
        if storage_class:
            used[f"{storage_class}{_CLASS_INFIX}requests.storage"] = storage
    return used


_SPECIAL: dict[tuple[str, str], Evaluator] = {
    ("", "pods"): Evaluator(pod_usage, _is_pod_name, is_pod=True),
    ("", "services"): Evaluator(
        service_usage,
        frozenset({"count/services", "services", "services.nodeports", "services.loadbalancers"}).__contains__,
        on_update=True,
    ),
    ("", "persistentvolumeclaims"): Evaluator(
        claim_usage,
        lambda name: (
            name in ("count/persistentvolumeclaims", "persistentvolumeclaims", "requests.storage")
            or _CLASS_INFIX in name
        ),
        on_update=True,
    ),
}


def increase(new: Amounts, old: Amounts) -> Amounts:
    """What `new` uses more than `old`; what shrinks is the quota controller's to give back."""
    grown: Amounts = {}
    for name, amount in new.items():
        difference = quantity.of(amount) - quantity.of(old.get(name, "0"))
        if difference > 0:
            grown[name] = add({name: amount}, {name: _minus(old[name])})[name] if name in old else amount
    return grown


def _minus(amount: str) -> str:
    return amount if quantity.of(amount) == 0 else f"-{amount}"


# ── scopes ──


def in_scope(quota: Object, obj: Object, *, is_pod: bool) -> bool:
    """Whether every scope of the quota holds for the object. Scopes are about pods: with any, nothing else counts."""
    return all(is_pod and _holds(selector, obj) for selector in _selectors(quota))


def _selectors(quota: Object) -> Iterator[dict[str, Any]]:
    spec = quota.get("spec", {})
    for scope in spec.get("scopes") or ():
        yield {"scopeName": scope, "operator": "Exists"}
    yield from (spec.get("scopeSelector") or {}).get("matchExpressions") or ()


def _holds(selector: dict[str, Any], pod: Object) -> bool:
    spec, scope = pod["spec"], selector["scopeName"]
    if scope == "PriorityClass":
        return _priority_class_holds(selector, spec.get("priorityClassName") or "")
    found = {
        "Terminating": spec.get("activeDeadlineSeconds") is not None,
        "NotTerminating": spec.get("activeDeadlineSeconds") is None,
        "BestEffort": _is_best_effort(spec),
        "NotBestEffort": not _is_best_effort(spec),
        "CrossNamespacePodAffinity": _crosses_namespaces(spec),
    }
    return found.get(scope, False)


def _priority_class_holds(selector: dict[str, Any], name: str) -> bool:
    values = selector.get("values") or ()
    return {
        "Exists": name != "",
        "DoesNotExist": name == "",
        "In": name in values,
        "NotIn": name not in values,
    }.get(selector["operator"], False)


def _is_best_effort(spec: dict[str, Any]) -> bool:
    """No container, nor the pod itself, asks for cpu or memory."""
    holders = [spec, *(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return not any(
        quantity.of(amount) > 0
        for holder in holders
        for kind in ("requests", "limits")
        for name, amount in ((holder.get("resources") or {}).get(kind) or {}).items()
        if name in ("cpu", "memory")
    )


def _crosses_namespaces(spec: dict[str, Any]) -> bool:
    affinity = spec.get("affinity") or {}
    for field in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(field) or {}
        terms = [
            *(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ()),
            *(
                weighted.get("podAffinityTerm") or {}
                for weighted in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
            ),
        ]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False
