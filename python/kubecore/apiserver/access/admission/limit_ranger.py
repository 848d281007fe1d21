"""LimitRanger: a namespace's LimitRanges give containers their defaults and hold containers, pods and claims to their
bounds.

Source: https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from kubecore.api import quantity
from kubecore.api.amounts import Amounts, canonical, pod_amounts
from kubecore.api.meta import Object
from kubecore.api.scheme import core
from kubecore.apiserver.access.admission.refusal import is_pod, is_resize, refusal
from kubecore.apiserver.access.authorize import go_errors
from kubecore.apiserver.registry.admission import AdmissionRequest, BasePlugin

ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger(BasePlugin):
    name = "LimitRanger"

    def mutate(self, request: AdmissionRequest) -> None:
        if request.object is None or request.operation != "CREATE" or not is_pod(request):
            return
        for limit_range in _limit_ranges(request):
            _give_defaults(request.object, limit_range)

    def validate(self, request: AdmissionRequest) -> None:
        obj, problems = request.object, _problems_of(request)
        if obj is None or problems is None:
            return
        for limit_range in _limit_ranges(request):
            broken = list(problems(obj, limit_range))
            if broken:
                raise refusal(request, go_errors(list(dict.fromkeys(broken))))


def _problems_of(request: AdmissionRequest) -> Callable[[Object, Object], Iterator[str]] | None:
    """The check that a request needs, if any. A pod's resources change by `resize` only."""
    if is_resize(request):
        return _pod_problems
    if is_pod(request):
        return _pod_problems if request.operation == "CREATE" else None
    if request.resource.plural == "persistentvolumeclaims" and not request.subresource:
        return _claim_problems if request.operation in ("CREATE", "UPDATE") else None
    return None


def _limit_ranges(request: AdmissionRequest) -> list[Object]:
    return request.storage.list(core("limitranges"), request.namespace)


def _items(limit_range: Object, kind: str) -> Iterator[dict[str, Any]]:
    for item in limit_range["spec"].get("limits") or ():
        if item.get("type") == kind:
            yield item


# ── defaults ──


def _give_defaults(pod: Object, limit_range: Object) -> None:
    defaults: dict[str, Amounts] = {"limits": {}, "requests": {}}
    for item in _items(limit_range, "Container"):
        defaults["limits"] |= item.get("default") or {}
        defaults["requests"] |= item.get("defaultRequest") or {}
    said = [
        text
        for field, called in (("containers", "container"), ("initContainers", "init container"))
        for container in pod["spec"].get(field) or ()
        for text in _fill_in(container, defaults, called)
    ]
    if said:
        annotations = pod["metadata"].get("annotations") or {}
        pod["metadata"]["annotations"] = {**annotations, ANNOTATION: "LimitRanger plugin set: " + "; ".join(said)}


def _fill_in(container: dict[str, Any], defaults: Mapping[str, Amounts], called: str) -> Iterator[str]:
    resources = dict(container.get("resources") or {})
    for kind in ("requests", "limits"):
        given = resources.get(kind) or {}
        missing = {name: amount for name, amount in defaults[kind].items() if name not in given}
        if missing:
            resources[kind] = {**given, **missing}
            yield f"{', '.join(sorted(missing))} {kind[:-1]} for {called} {container['name']}"
    if resources:
        container["resources"] = resources


# ── bounds ──


def _pod_problems(pod: Object, limit_range: Object) -> Iterator[str]:
    containers = [*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())]
    for item in _items(limit_range, "Container"):
        for container in containers:
            resources = container.get("resources") or {}
            yield from _problems(
                item, canonical(resources.get("requests") or {}), canonical(resources.get("limits") or {})
            )
    for item in _items(limit_range, "Pod"):
        yield from _problems(item, pod_amounts(pod, "requests"), pod_amounts(pod, "limits"))


def _claim_problems(claim: Object, limit_range: Object) -> Iterator[str]:
    requests = canonical((claim["spec"].get("resources") or {}).get("requests") or {})
    for item in _items(limit_range, "PersistentVolumeClaim"):
        for name, bound in sorted((item.get("min") or {}).items()):
            yield from _below(item["type"], name, bound, requests, {})
        for name, bound in sorted((item.get("max") or {}).items()):
            yield from _request_above(item["type"], name, bound, requests)


def _problems(item: Mapping[str, Any], requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, bound in sorted((item.get("min") or {}).items()):
        yield from _below(item["type"], name, bound, requests, limits)
    for name, bound in sorted((item.get("max") or {}).items()):
        yield from _above(item["type"], name, bound, requests, limits)
    for name, bound in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        yield from _ratio_above(item["type"], name, bound, requests, limits)


def _below(kind: str, name: str, bound: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    least, said = quantity.of(bound), f"minimum {name} usage per {kind} is {quantity.canonical(bound)}"
    if name not in requests:
        yield f"{said}.  No request is specified"
    elif quantity.of(requests[name]) < least:
        yield f"{said}, but request is {requests[name]}"
    elif name in limits and quantity.of(limits[name]) < least:
        yield f"{said}, but limit is {limits[name]}"


def _above(kind: str, name: str, bound: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    most, said = quantity.of(bound), f"maximum {name} usage per {kind} is {quantity.canonical(bound)}"
    if name not in limits:
        yield f"{said}.  No limit is specified"
    elif quantity.of(limits[name]) > most:
        yield f"{said}, but limit is {limits[name]}"
    elif name in requests and quantity.of(requests[name]) > most:
        yield f"{said}, but request is {requests[name]}"


def _request_above(kind: str, name: str, bound: str, requests: Amounts) -> Iterator[str]:
    said = f"maximum {name} usage per {kind} is {quantity.canonical(bound)}"
    if name not in requests:
        yield f"{said}.  No request is specified"
    elif quantity.of(requests[name]) > quantity.of(bound):
        yield f"{said}, but request is {requests[name]}"


def _ratio_above(kind: str, name: str, bound: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    said = f"{name} max limit to request ratio per {kind} is {quantity.canonical(bound)}"
    if not _amount(requests, name):
        yield f"{said}, but no request is specified or request is 0"
    elif not _amount(limits, name):
        yield f"{said}, but no limit is specified or limit is 0"
    elif (ratio := _amount(limits, name) / _amount(requests, name)) > quantity.of(bound):
        yield f"{said}, but provided ratio is {ratio:.6f}"


def _amount(amounts: Amounts, name: str) -> Decimal:
    return quantity.of(amounts.get(name, "0"))
