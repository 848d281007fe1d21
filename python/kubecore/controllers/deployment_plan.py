"""How far each ReplicaSet of a Deployment is to be scaled now: pure arithmetic over the Deployment and its ReplicaSets.

Out: what to scale, as (ReplicaSet, replicas) pairs, at most one step; the informer's next news leads to the next step.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from kubecore.api.meta import Object

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
REVISION = "deployment.kubernetes.io/revision"

Scaling = list[tuple[Object, int]]


def replicas_of(owner: Object) -> int:
    return int(owner["spec"].get("replicas", 1))


def status_number(owner: Object, name: str) -> int:
    return int(owner.get("status", {}).get(name) or 0)


def total(replica_sets: Iterable[Object], name: str = "replicas") -> int:
    """A number of the status, summed up."""
    return sum(status_number(replica_set, name) for replica_set in replica_sets)


def desired_total(replica_sets: Iterable[Object]) -> int:
    return sum(replicas_of(replica_set) for replica_set in replica_sets)


def is_rolling(deployment: Object) -> bool:
    return bool(deployment["spec"].get("strategy", {}).get("type", "RollingUpdate") == "RollingUpdate")


def _resolve(value: int | str, replicas: int, *, round_up: bool) -> int:
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * replicas / 100
    return math.ceil(share) if round_up else math.floor(share)


def surge_and_unavailable(deployment: Object) -> tuple[int, int]:
    """maxSurge (rounded up) and maxUnavailable (rounded down) in pods; both are never 0, or nothing could move."""
    if not is_rolling(deployment):
        return 0, 0
    rolling = deployment["spec"].get("strategy", {}).get("rollingUpdate") or {}
    replicas = replicas_of(deployment)
    surge = _resolve(rolling.get("maxSurge", "25%"), replicas, round_up=True)
    unavailable = _resolve(rolling.get("maxUnavailable", "25%"), replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, replicas) if replicas else unavailable


def max_unavailable(deployment: Object) -> int:
    if not is_rolling(deployment) or replicas_of(deployment) == 0:
        return 0
    return min(surge_and_unavailable(deployment)[1], replicas_of(deployment))


def new_replica_set_size(deployment: Object, replica_sets: Sequence[Object], current: int) -> int:
    """How many replicas the newest ReplicaSet may have beside the others."""
    wanted = replicas_of(deployment)
    if not is_rolling(deployment):
        return wanted
    surge, _ = surge_and_unavailable(deployment)
    room = wanted + surge - desired_total(replica_sets)
    if room <= 0:
        return current
    return current + min(room, wanted - current)


def roll(deployment: Object, new: Object, old: Sequence[Object]) -> Scaling:
    """One step of a rolling update: up with the new, else down with the old."""
    wanted, current = replicas_of(deployment), replicas_of(new)
    if current > wanted:
        return [(new, wanted)]
    if current < wanted:
        size = new_replica_set_size(deployment, [*old, new], current)
        if size != current:
            return [(new, size)]
    return _scale_down_old(deployment, new, old)


def _scale_down_old(deployment: Object, new: Object, old: Sequence[Object]) -> Scaling:
    """Takes as many old pods as availability allows: unhealthy ones first, then from the oldest ReplicaSet on."""
    if desired_total(old) == 0:
        return []
    everything = [*old, new]
    min_available = replicas_of(deployment) - max_unavailable(deployment)
    new_unavailable = replicas_of(new) - status_number(new, "availableReplicas")
    budget = desired_total(everything) - min_available - new_unavailable
    if budget <= 0:
        return []
    sizes = {id(replica_set): replicas_of(replica_set) for replica_set in old}
    ordered = sorted(old, key=_by_age)
    cleaned = 0
    for replica_set in ordered:
        size = sizes[id(replica_set)]
        unhealthy = size - status_number(replica_set, "availableReplicas")
        take = min(budget - cleaned, max(unhealthy, 0))
        sizes[id(replica_set)] = size - take
        cleaned += take
    spare = total(everything, "availableReplicas") - min_available
    for replica_set in ordered:
        if spare <= 0:
            break
        take = min(sizes[id(replica_set)], spare)
        sizes[id(replica_set)] -= take
        spare -= take
    return [
        (replica_set, sizes[id(replica_set)])
        for replica_set in ordered
        if sizes[id(replica_set)] != replicas_of(replica_set)
    ]


def resize(deployment: Object, new: Object | None, old: Sequence[Object]) -> Scaling:
    """When the Deployment was resized, or is paused: one active ReplicaSet takes it all, several take each their
    share."""
    everything = [*old, new] if new is not None else list(old)
    active = [each for each in everything if replicas_of(each) > 0]
    if len(active) <= 1:
        only = active[0] if active else new or max(old, key=_by_age, default=None)
        return [(only, replicas_of(deployment))] if only is not None else []
    if new is not None and _is_saturated(deployment, new):
        return [(each, 0) for each in old if replicas_of(each) > 0]
    return _scale_proportionally(deployment, active) if is_rolling(deployment) else []


def _is_saturated(deployment: Object, new: Object) -> bool:
    wanted = replicas_of(deployment)
    desired = (new["metadata"].get("annotations") or {}).get(DESIRED)
    return desired == str(wanted) and replicas_of(new) == status_number(new, "availableReplicas") == wanted


def _scale_proportionally(deployment: Object, active: Sequence[Object]) -> Scaling:
    surge, _ = surge_and_unavailable(deployment)
    allowed = replicas_of(deployment) + surge if replicas_of(deployment) > 0 else 0
    to_add = allowed - desired_total(active)
    if to_add > 0:
        ordered = sorted(active, key=lambda each: (-replicas_of(each), _negated_age(each)))
    else:
        ordered = sorted(active, key=lambda each: (-replicas_of(each), _by_age(each)))
    sizes, added = [], 0
    for replica_set in ordered:
        share = _share(replica_set, deployment, surge, to_add, added) if to_add else 0
        sizes.append(replicas_of(replica_set) + share)
        added += share
    sizes[0] = max(0, sizes[0] + to_add - added)
    return list(zip(ordered, sizes, strict=True))


def _share(replica_set: Object, deployment: Object, surge: int, to_add: int, added: int) -> int:
    """The part of `to_add` that falls to this ReplicaSet: its replicas over the Deployment's size when it was last
    scaled."""
    size = replicas_of(replica_set)
    if size == 0:
        return 0
    annotations = replica_set["metadata"].get("annotations") or {}
    if replicas_of(deployment) == 0:
        fraction = -size
    else:
        before = int(annotations.get(MAXIMUM) or status_number(deployment, "replicas"))
        if before <= 0:
            return 0
        new_size = size * (replicas_of(deployment) + surge) / before
        fraction = _round_half_away(new_size) - size
    left = to_add - added
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _round_half_away(number: float) -> int:
    return math.floor(number + 0.5) if number >= 0 else math.ceil(number - 0.5)


def _by_age(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("creationTimestamp", ""), obj["metadata"]["name"]


def _negated_age(obj: Object) -> tuple[tuple[int, ...], str]:
    """Sorts the youngest first."""
    created = obj["metadata"].get("creationTimestamp", "")
    return tuple(-ord(letter) for letter in created), obj["metadata"]["name"]
