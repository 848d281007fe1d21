"""What controllers ask of pods: is it active, ready, available; whose is it; which to delete first; a pod from a
template."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from kubecore.api.meta import Object, parse_timestamp, uid_of
from kubecore.controllers import conditions

ORPHANS = "orphans/"
"""In the index by controller: pods of a namespace that no controller owns are under `orphans/<namespace>`."""

BY_CONTROLLER = "controller"
BY_NODE = "node"
BY_NAMESPACE = "namespace"

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def is_active(pod: Object) -> bool:
    """Neither finished nor on its way out."""
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed") and not pod["metadata"].get(
        "deletionTimestamp"
    )


def is_terminating(pod: Object) -> bool:
    """On its way out and not finished."""
    return bool(pod["metadata"].get("deletionTimestamp")) and pod.get("status", {}).get("phase") not in (
        "Succeeded",
        "Failed",
    )


def is_ready(pod: Object) -> bool:
    return conditions.status_of(pod.get("status", {}).get("conditions"), "Ready") == "True"


def ready_since(pod: Object) -> float:
    """When the pod became ready, in seconds since the epoch; 0 if unknown."""
    condition = conditions.find(pod.get("status", {}).get("conditions"), "Ready") or {}
    since = condition.get("lastTransitionTime")
    return parse_timestamp(since) if since else 0.0


def is_available(pod: Object, *, min_ready_seconds: int, now: float) -> bool:
    """Ready for at least that long."""
    if not is_ready(pod):
        return False
    return min_ready_seconds == 0 or ready_since(pod) + min_ready_seconds <= now


def controller_uid(pod: Object) -> str:
    for reference in pod["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return ""


def by_controller(pod: Object) -> Iterable[str]:
    return (controller_uid(pod) or ORPHANS + pod["metadata"]["namespace"],)


def by_node(pod: Object) -> Iterable[str]:
    node = pod.get("spec", {}).get("nodeName")
    return (node,) if node else ()


def by_namespace(obj: Object) -> Iterable[str]:
    return (obj["metadata"].get("namespace", ""),)


def owner_reference(owner: Object) -> Object:
    """The reference by which a controller owns what it makes."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def from_template(template: Object, owner: Object) -> Object:
    """The pod that a controller creates."""
    metadata: Object = {"generateName": f"{owner['metadata']['name']}-", "ownerReferences": [owner_reference(owner)]}
    given: Mapping[str, Any] = template.get("metadata") or {}
    metadata.update({name: given[name] for name in ("labels", "annotations", "finalizers") if given.get(name)})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec", {})}


_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_order(pods: Iterable[Object], *, related_per_node: Mapping[str, int], now: float) -> list[Object]:
    """Pods of one owner, those to delete first in front.

    Unassigned before assigned, Pending before Unknown before Running, unready before ready, cheap
    (`pod-deletion-cost`) before dear, from crowded nodes (pods of related owners) before lonely ones, ready for a
    short time before ready for long (by powers of two, so that pods of an age are all alike), restarted often before
    rarely, young before old.
    """

    def rank(pod: Object) -> tuple[Any, ...]:
        status, metadata = pod.get("status", {}), pod["metadata"]
        node = pod.get("spec", {}).get("nodeName", "")
        ready = is_ready(pod)
        restarts = max((each.get("restartCount", 0) for each in status.get("containerStatuses") or ()), default=0)
        return (
            bool(node),
            _PHASE_RANK.get(status.get("phase", ""), 0),
            ready,
            _cost(metadata),
            -related_per_node.get(node, 0),
            _age_bucket(ready_since(pod), now) if ready else 0,
            -restarts,
            _age_bucket(parse_timestamp(metadata["creationTimestamp"]), now),
            metadata["uid"],
        )

    return sorted(pods, key=rank)


def _cost(metadata: Mapping[str, Any]) -> int:
    text = (metadata.get("annotations") or {}).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _age_bucket(since: float, now: float) -> int:
    """The power of two of an age; an unknown time counts as the youngest."""
    if not since or now - since < 1:
        return 0
    return 1 + int(math.log2(now - since))
