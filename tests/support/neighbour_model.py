"""What pods mean to one another, as a person would write it from upstream's documents: ports, spreading, affinity.

Each function looks at every node and every pod again, each time it is asked. Sources: the concept pages on topology spread constraints and
on assigning pods to nodes, KEP-895, KEP-3022 (minDomains), KEP-3094 (inclusion policies), KEP-3243 (matchLabelKeys), KEP-2249 (namespaces).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Object = dict[str, Any]
Running = Mapping[str, list[Object]]
"""The pods on each node, by its name."""

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def labels_of(thing: Object) -> dict[str, str]:
    labels: dict[str, str] = thing["metadata"].get("labels", {})
    return labels


def namespace_of(pod: Object) -> str:
    return str(pod["metadata"]["namespace"])


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """No selector selects nothing, an empty one everything."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for each in selector.get("matchExpressions", ()):
        value = labels.get(each["key"])
        holds = {
            "In": lambda value=value, each=each: value in each["values"],
            "NotIn": lambda value=value, each=each: value not in each["values"],
            "Exists": lambda value=value: value is not None,
            "DoesNotExist": lambda value=value: value is None,
        }[each["operator"]]
        if not holds():
            return False
    return True


# ── host ports ──


def host_ports(pod: Object) -> list[tuple[str, str, int]]:
    sidecars = [each for each in pod["spec"].get("initContainers", ()) if each.get("restartPolicy") == "Always"]
    return [
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
        for container in [*sidecars, *pod["spec"]["containers"]]
        for port in container.get("ports", ())
        if port.get("hostPort", 0) > 0
    ]


def ports_refusal(pod: Object, there: list[Object]) -> list[str]:
    taken = [port for other in there for port in host_ports(other)]
    for address, protocol, number in host_ports(pod):
        for other_address, other_protocol, other_number in taken:
            same_address = address == other_address or "0.0.0.0" in (address, other_address)
            if same_address and (protocol, number) == (other_protocol, other_number):
                return ["node(s) didn't have free ports for the requested pod ports"]
    return []


# ── spreading ──


def constraints_of(pod: Object, action: str) -> list[Object]:
    """With the pod's own values of `matchLabelKeys` in the selector."""
    found = []
    for constraint in pod["spec"].get("topologySpreadConstraints", ()):
        if constraint["whenUnsatisfiable"] != action:
            continue
        selector = constraint.get("labelSelector")
        if selector is not None:
            own = {key: labels_of(pod)[key] for key in constraint.get("matchLabelKeys", ()) if key in labels_of(pod)}
            expressions = [{"key": key, "operator": "In", "values": [value]} for key, value in own.items()]
            selector = {**selector, "matchExpressions": [*selector.get("matchExpressions", ()), *expressions]}
        found.append({**constraint, "labelSelector": selector})
    return found


def count_matching(constraint: Object, pod: Object, there: list[Object]) -> int:
    """Pods of the same namespace that match; not those being deleted. An empty selector counts none."""
    selector = constraint["labelSelector"]
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return 0
    return sum(
        namespace_of(other) == namespace_of(pod)
        and "deletionTimestamp" not in other["metadata"]
        and selects(selector, labels_of(other))
        for other in there
    )


Includes = Callable[[Object, Object], bool]
"""(constraint, node): whether the node counts for the constraint, by its inclusion policies."""


def spread_refusal(
    pod: Object, node: Object, nodes: Mapping[str, Object], running: Running, includes: Includes
) -> list[str]:
    constraints = constraints_of(pod, "DoNotSchedule")
    keys = [constraint["topologyKey"] for constraint in constraints]
    for constraint in constraints:
        key = constraint["topologyKey"]
        if key not in labels_of(node):
            return ["node(s) didn't match pod topology spread constraints (missing required label)"]
        counts: dict[str, int] = {}
        for name, other in nodes.items():
            if all(each in labels_of(other) for each in keys) and includes(constraint, other):
                domain = labels_of(other)[key]
                counts[domain] = counts.get(domain, 0) + count_matching(constraint, pod, running.get(name, []))
        smallest = min(counts.values()) if len(counts) >= constraint.get("minDomains", 1) else 0
        own = selects(constraint["labelSelector"], labels_of(pod))
        if counts.get(labels_of(node)[key], 0) + own - smallest > constraint["maxSkew"]:
            return ["node(s) didn't match pod topology spread constraints"]
    return []


def spread_scores(
    pod: Object,
    feasible: list[str],
    nodes: Mapping[str, Object],
    running: Running,
    includes: Includes,
    default_selector: Object | None,
) -> dict[str, int]:
    """0 to 100 for each feasible node. `default_selector`: whom the default constraints count, where they apply."""
    needs_all_keys = bool(pod["spec"].get("topologySpreadConstraints"))
    constraints = constraints_of(pod, "ScheduleAnyway")
    if not needs_all_keys and default_selector is not None:
        constraints = [
            {"topologyKey": HOST, "maxSkew": 3, "labelSelector": default_selector},
            {"topologyKey": ZONE, "maxSkew": 5, "labelSelector": default_selector},
        ]
    if not constraints:
        return dict.fromkeys(feasible, 0)

    def complete(name: str) -> bool:
        return not needs_all_keys or all(each["topologyKey"] in labels_of(nodes[name]) for each in constraints)

    considered = [name for name in feasible if complete(name)]
    costs = dict.fromkeys(considered, 0.0)
    for constraint in constraints:
        key = constraint["topologyKey"]
        domains = {labels_of(nodes[name]).get(key) for name in considered}
        size = len(considered) if key == HOST else len(domains)
        for name in considered:
            domain = labels_of(nodes[name]).get(key)
            if domain is None:
                continue
            members = [name]
            if key != HOST:
                members = [
                    other
                    for other in nodes
                    if labels_of(nodes[other]).get(key) == domain
                    and complete(other)
                    and includes(constraint, nodes[other])
                ]
            count = sum(count_matching(constraint, pod, running.get(each, [])) for each in members)
            costs[name] += count * math.log(size + 2) + (constraint["maxSkew"] - 1)
    rounded = {name: math.floor(cost + 0.5) for name, cost in costs.items()}
    least, most = min(rounded.values(), default=0), max(rounded.values(), default=0)
    scores = {name: 100 * (most + least - cost) // most if most else 100 for name, cost in rounded.items()}
    return {name: scores.get(name, 0) for name in feasible}


# ── affinity ──


def terms_of(pod: Object, kind: str, when: str) -> list[Object]:
    return list(pod["spec"].get("affinity", {}).get(kind, {}).get(when, ()))


def term_matches(term: Object, owner: Object, other: Object, namespaces: Mapping[str, dict[str, str]]) -> bool:
    """`owner` has the term. Without namespaces and a selector of namespaces its own is meant."""
    names, selector = term.get("namespaces", []), term.get("namespaceSelector")
    if not names and selector is None:
        names = [namespace_of(owner)]
    in_namespace = namespace_of(other) in names or selects(selector, namespaces.get(namespace_of(other), {}))
    return in_namespace and selects(term.get("labelSelector"), labels_of(other))


def pods_with_node(nodes: Mapping[str, Object], running: Running) -> Iterator[tuple[Object, Object]]:
    for name, node in nodes.items():
        for other in running.get(name, []):
            yield other, node


def share_domain(key: str, node: Object, other: Object) -> bool:
    return key in labels_of(node) and labels_of(node)[key] == labels_of(other).get(key)


def affinity_refusal(
    pod: Object, node: Object, nodes: Mapping[str, Object], running: Running, namespaces: Mapping[str, dict[str, str]]
) -> list[str]:
    everybody = list(pods_with_node(nodes, running))

    def matches_all(other: Object) -> bool:
        return all(term_matches(term, pod, other, namespaces) for term in wanted)

    wanted = terms_of(pod, "podAffinity", REQUIRED)
    if wanted:
        if any(term["topologyKey"] not in labels_of(node) for term in wanted):
            return ["node(s) didn't match pod affinity rules"]
        friends = [(other, where) for other, where in everybody if matches_all(other)]
        near = all(any(share_domain(term["topologyKey"], node, where) for _, where in friends) for term in wanted)
        known = any(term["topologyKey"] in labels_of(where) for term in wanted for _, where in friends)
        is_first = not known and matches_all(pod)
        if not near and not is_first:
            return ["node(s) didn't match pod affinity rules"]
    for term in terms_of(pod, "podAntiAffinity", REQUIRED):
        for other, where in everybody:
            if term_matches(term, pod, other, namespaces) and share_domain(term["topologyKey"], node, where):
                return ["node(s) didn't match pod anti-affinity rules"]
    for other, where in everybody:
        for term in terms_of(other, "podAntiAffinity", REQUIRED):
            if term_matches(term, other, pod, namespaces) and share_domain(term["topologyKey"], node, where):
                return ["node(s) didn't satisfy existing pods anti-affinity rules"]
    return []


def affinity_scores(
    pod: Object,
    feasible: list[str],
    nodes: Mapping[str, Object],
    running: Running,
    namespaces: Mapping[str, dict[str, str]],
) -> dict[str, int]:
    """0 to 100. A pod that must be near others draws them with a weight of 1 for each of its terms."""
    sums = dict.fromkeys(feasible, 0)

    def add(term: Object, weight: int, where: Object) -> None:
        for name in feasible:
            if share_domain(term["topologyKey"], nodes[name], where):
                sums[name] += weight

    for other, where in pods_with_node(nodes, running):
        for owner, target in ((pod, other), (other, pod)):
            for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
                for weighted in terms_of(owner, kind, PREFERRED):
                    if term_matches(weighted["podAffinityTerm"], owner, target, namespaces):
                        add(weighted["podAffinityTerm"], sign * weighted["weight"], where)
        for term in terms_of(other, "podAffinity", REQUIRED):
            if term_matches(term, other, pod, namespaces):
                add(term, 1, where)
    least, most = min(sums.values()), max(sums.values())
    if least == most:
        return dict.fromkeys(feasible, 0)
    return {name: int(100 * ((each - least) / (most - least))) for name, each in sums.items()}
