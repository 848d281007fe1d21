"""`pluginConfig` of a scheduler's profile: what single plugins are told, as the kernel's settings.

In: the list as the file has it. Out: settings by the kernel's names. One reader a plugin; fields that a plugin does not
know are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kubecore.scheduler.profile import DEFAULT_PLUGINS, Refused

Object = dict[str, Any]

STRATEGIES = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")


def read_arguments(configs: list[Object], path: str) -> Object:
    """Raises Refused."""
    settings: Object = {}
    seen: set[str] = set()
    for index, config in enumerate(configs):
        at, name = f"{path}[{index}]", config.get("name", "")
        if name not in DEFAULT_PLUGINS:
            raise Refused(f"{at}.name", f'plugin "{name}" does not exist')
        if name in seen:
            raise Refused(f"{at}.name", f'Duplicate value: "{name}"')
        seen.add(name)
        if name not in READERS:
            raise Refused(f"{at}.args", f'plugin "{name}" takes no arguments here')
        arguments = {
            key: value for key, value in (config.get("args") or {}).items() if key not in ("apiVersion", "kind")
        }
        settings.update(READERS[name](arguments, f"{at}.args"))
    return settings


def _only(given: Object, known: Iterable[str], path: str) -> None:
    for field in given:
        if field not in known:
            raise Refused(f"{path}.{field}", "unknown field")


def _resources(given: list[Object] | None, path: str) -> list[Object]:
    """CPU and memory unless others are named; a weight of 0 means that none was given."""
    found = []
    for index, each in enumerate(given or ({"name": "cpu"}, {"name": "memory"})):
        weight = each.get("weight") or 1
        if not 1 <= weight <= 100:
            raise Refused(f"{path}[{index}].weight", "resource weight should be in the range [1, 100]")
        found.append({"name": each["name"], "weight": weight})
    return found


def _fit(given: Object, path: str) -> Object:
    _only(given, ("ignoredResources", "ignoredResourceGroups", "scoringStrategy"), path)
    strategy = given.get("scoringStrategy") or {}
    at = f"{path}.scoringStrategy"
    _only(strategy, ("type", "resources", "requestedToCapacityRatio"), at)
    kind = strategy.get("type") or "LeastAllocated"
    if kind not in STRATEGIES:
        raise Refused(f"{at}.type", f'Unsupported value: "{kind}"')
    shape = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or []
    if kind == "RequestedToCapacityRatio":
        _check_shape(shape, f"{at}.requestedToCapacityRatio.shape")
    return {
        "scoringStrategy": {
            "type": kind,
            "resources": _resources(strategy.get("resources"), f"{at}.resources"),
            "shape": [{"utilization": point.get("utilization", 0), "score": point.get("score", 0)} for point in shape],
        },
        "ignoredResources": given.get("ignoredResources") or [],
        "ignoredResourceGroups": given.get("ignoredResourceGroups") or [],
    }


def _check_shape(shape: list[Object], path: str) -> None:
    if not shape:
        raise Refused(path, "at least one point must be specified")
    before = -1
    for index, point in enumerate(shape):
        utilization, score = point.get("utilization", 0), point.get("score", 0)
        if not 0 <= utilization <= 100:
            raise Refused(f"{path}[{index}].utilization", "not in valid range [0-100]")
        if utilization <= before:
            raise Refused(f"{path}[{index}].utilization", "utilization values must be sorted in increasing order")
        if not 0 <= score <= 10:
            raise Refused(f"{path}[{index}].score", "not in valid range [0-10]")
        before = utilization


def _balanced(given: Object, path: str) -> Object:
    _only(given, ("resources",), path)
    return {"balancedResources": _resources(given.get("resources"), f"{path}.resources")}


def _inter_pod_affinity(given: Object, path: str) -> Object:
    _only(given, ("hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods"), path)
    weight = given.get("hardPodAffinityWeight", 1)
    if not 0 <= weight <= 100:
        raise Refused(f"{path}.hardPodAffinityWeight", "not in valid range [0-100]")
    return {
        "hardPodAffinityWeight": weight,
        "ignorePreferredTermsOfExistingPods": bool(given.get("ignorePreferredTermsOfExistingPods")),
    }


def _topology_spread(given: Object, path: str) -> Object:
    _only(given, ("defaultConstraints", "defaultingType"), path)
    kind, constraints = given.get("defaultingType") or "System", given.get("defaultConstraints") or []
    if kind not in ("System", "List"):
        raise Refused(f"{path}.defaultingType", f'Unsupported value: "{kind}"')
    if kind == "System":
        if constraints:
            raise Refused(f"{path}.defaultConstraints", "when .defaultingType is System, none can be specified")
        return {"defaultConstraints": None}
    for index, constraint in enumerate(constraints):
        if "labelSelector" in constraint:
            why = "constraint must not define a selector, as they deduced for each pod"
            raise Refused(f"{path}.defaultConstraints[{index}].labelSelector", why)
    return {"defaultConstraints": constraints}


def _node_affinity(given: Object, path: str) -> Object:
    _only(given, ("addedAffinity",), path)
    return {"addedAffinity": given.get("addedAffinity")}


def _preemption(given: Object, path: str) -> Object:
    """Every node is a candidate, so nothing depends on how many upstream would look at."""
    _only(given, ("minCandidateNodesPercentage", "minCandidateNodesAbsolute"), path)
    return {}


def _volume_binding(given: Object, path: str) -> Object:
    _only(given, ("bindTimeoutSeconds", "shape"), path)
    return {}


READERS: dict[str, Callable[[Object, str], Object]] = {
    "NodeResourcesFit": _fit,
    "NodeResourcesBalancedAllocation": _balanced,
    "InterPodAffinity": _inter_pod_affinity,
    "PodTopologySpread": _topology_spread,
    "NodeAffinity": _node_affinity,
    "DefaultPreemption": _preemption,
    "VolumeBinding": _volume_binding,
}
