"""Preemption as a person would write it from upstream's documents: every node, every set of victims again.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/ and KEP-268. Where candidates are equal in all
that counts, the kernel draws its usual lots; the model says which nodes are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from support.neighbour_model import labels_of, namespace_of, selects
from support.scheduling_model import Model

Object = dict[str, Any]

UNRESOLVABLE = {
    "node(s) were unschedulable",
    "node(s) had untolerated taint(s)",
    "node(s) didn't match Pod's node affinity/selector",
    "node(s) didn't match pod topology spread constraints (missing required label)",
    "node(s) didn't match pod affinity rules",
}


def priority_of(pod: Object) -> int:
    return int(pod["spec"].get("priority", 0))


def started(pod: Object) -> str:
    return str(pod.get("status", {}).get("startTime", "~"))


def importance(pod: Object) -> tuple[int, str, str]:
    """Sorts the most important first."""
    return -priority_of(pod), started(pod), f"{namespace_of(pod)}/{pod['metadata']['name']}"


def breaks_budget(pods: list[Object], budgets: list[Object]) -> list[bool]:
    left = [budget["status"]["disruptionsAllowed"] for budget in budgets]
    broken = []
    for pod in pods:
        breaks = False
        for index, budget in enumerate(budgets):
            if namespace_of(budget) == namespace_of(pod) and selects(budget["spec"]["selector"], labels_of(pod)):
                left[index] -= 1
                breaks = breaks or left[index] < 0
        broken.append(breaks)
    return broken


@dataclass(frozen=True)
class Candidate:
    node: str
    victims: tuple[str, ...]
    cost: tuple[int, int, int, int]
    earliest_start: str


def without(model: Model, name: str, gone: list[Object]) -> Model:
    """The cluster with these pods gone from a node."""
    running = {**model.running, name: [pod for pod in model.running.get(name, []) if pod not in gone]}
    return Model(model.seed, "", model.nodes, running, {}, model.namespaces, model.together)


def can_be_helped(model: Model, pod: Object, node: Object) -> bool:
    reasons = model.refusal(pod, node)
    allocatable = model.allocatable(node["metadata"]["name"])
    hopeless = any(
        reason.startswith("Insufficient ") and model.own_requests(pod)[reason[13:]] > allocatable.get(reason[13:], 0)
        for reason in reasons
    )
    return bool(reasons) and not hopeless and not UNRESOLVABLE & set(reasons)


def candidate(model: Model, pod: Object, name: str, budgets: list[Object]) -> Candidate | None:
    node = model.nodes[name]
    less = sorted(
        (each for each in model.running.get(name, []) if priority_of(each) < priority_of(pod)), key=importance
    )
    if not less or without(model, name, less).refusal(pod, node):
        return None
    gone = list(less)
    broken = breaks_budget(less, budgets)
    violations = 0
    for breaks in (True, False):
        for each, each_breaks in zip(less, broken, strict=True):
            if each_breaks is not breaks:
                continue
            spared = [other for other in gone if other is not each]
            if without(model, name, spared).refusal(pod, node):
                violations += breaks
            else:
                gone = spared
    victims = sorted(gone, key=importance)
    priorities = [priority_of(each) for each in victims]
    highest = max(priorities)
    return Candidate(
        name,
        tuple(f"{namespace_of(each)}/{each['metadata']['name']}" for each in victims),
        (violations, highest, sum(each + 2**31 for each in priorities), len(victims)),
        min(started(each) for each in victims if priority_of(each) == highest),
    )


def best_candidates(model: Model, pod: Object, budgets: list[Object]) -> list[Candidate]:
    """Those among which only lots decide; empty if evicting does not help anywhere."""
    found = [
        each
        for name, node in model.nodes.items()
        if can_be_helped(model, pod, node) and (each := candidate(model, pod, name, budgets)) is not None
    ]
    if not found:
        return []
    least = min(each.cost for each in found)
    found = [each for each in found if each.cost == least]
    latest = max(each.earliest_start for each in found)
    return [each for each in found if each.earliest_start == latest]
