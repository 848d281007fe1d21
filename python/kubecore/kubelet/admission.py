"""Whether the node takes a pod: resources, labels, taints, host ports; then what other rooms say. Pure.

A pod that the node does not take fails with upstream's reason: the scheduler may have decided on an older state, or the pod
was bound by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kubecore.api import amounts, quantity
from kubecore.api.meta import Object, labels_of
from kubecore.kubelet import pods, resources
from kubecore.kubelet.seams import Rejection

MILLI = {"cpu"}
"""Counted in thousandths in messages."""


def admit(pod: Object, others: Sequence[Object], node: Object | None) -> Rejection | None:
    """`others`: the pods that take the node's resources already. A node that is not known yet takes everybody."""
    if node is None:
        return None
    for check in (fits, _matches_node, _ports_free, _tolerates):
        rejection = check(pod, others, node)
        if rejection is not None:
            return rejection
    return None


def number_of(name: str, amount: Any) -> int:
    exact = quantity.of(amount)
    return int((exact * 1000).to_integral_value("ROUND_CEILING")) if name in MILLI else quantity.value(amount)


def fits(pod: Object, others: Sequence[Object], node: Object) -> Rejection | None:
    """None: there is room beside the others."""
    allocatable = node.get("status", {}).get("allocatable") or {}
    if not allocatable:
        return None
    if "pods" in allocatable and len(others) + 1 > quantity.value(allocatable["pods"]):
        return _short("pods", 1, len(others), quantity.value(allocatable["pods"]))
    wanted = amounts.pod_amounts(pod, "requests")
    for name, amount in wanted.items():
        asked = number_of(name, amount)
        if asked == 0 or (name not in allocatable and "/" not in name and not name.startswith("hugepages-")):
            continue
        used = sum(number_of(name, amounts.pod_amounts(each, "requests").get(name, "0")) for each in others)
        capacity = number_of(name, allocatable.get(name, "0"))
        if asked > capacity - used:
            return _short(name, asked, used, capacity)
    return None


def _short(name: str, asked: int, used: int, capacity: int) -> Rejection:
    message = f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {capacity}"
    return Rejection(f"OutOf{name}", message)


def _failed(predicate: str, why: str) -> Rejection:
    return Rejection(predicate, f"Predicate {predicate} failed: {why}")


def _matches_node(pod: Object, others: Sequence[Object], node: Object) -> Rejection | None:
    spec = pod["spec"]
    if spec.get("nodeName") and spec["nodeName"] != node["metadata"]["name"]:
        return _failed("NodeName", "node(s) didn't match the requested node name")
    if not _node_selected(spec, node):
        return _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    return None


def _node_selected(spec: Object, node: Object) -> bool:
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term_matches(term: Object, node: Object) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    values = {"metadata.name": node["metadata"]["name"]}
    return all(_satisfies(each, labels_of(node)) for each in expressions) and all(
        _satisfies(each, values) for each in fields
    )


_OPERATORS: dict[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, values: value is not None,
    "DoesNotExist": lambda value, values: value is None,
    "Gt": lambda value, values: _is_number(value) and int(value or 0) > int(values[0]),
    "Lt": lambda value, values: _is_number(value) and int(value or 0) < int(values[0]),
}


def _is_number(text: str | None) -> bool:
    return text is not None and text.lstrip("-").isdecimal()


def _satisfies(expression: Object, values: dict[str, str]) -> bool:
    return _OPERATORS[expression["operator"]](values.get(expression["key"]), expression.get("values") or ())


def _host_ports(pod: Object) -> Iterable[tuple[str, str, int]]:
    for _, container in pods.all_containers(pod):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"]


def _ports_free(pod: Object, others: Sequence[Object], node: Object) -> Rejection | None:
    taken = [port for each in others for port in _host_ports(each)]
    for address, protocol, number in _host_ports(pod):
        for other_address, other_protocol, other_number in taken:
            anywhere = "0.0.0.0" in (address, other_address) or address == other_address
            if (protocol, number) == (other_protocol, other_number) and anywhere:
                return _failed("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    return None


def _tolerates(pod: Object, others: Sequence[Object], node: Object) -> Rejection | None:
    """Only taints that would evict it; a static pod stays anyway."""
    if pods.is_static(pod) or resources.is_static(pod):
        return None
    for taint in node.get("spec", {}).get("taints") or ():
        if taint["effect"] == "NoExecute" and not any(
            _tolerated(taint, each) for each in pod["spec"].get("tolerations") or ()
        ):
            return _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None


def _tolerated(taint: Object, toleration: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")
