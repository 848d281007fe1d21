"""What a Deployment's status says of its ReplicaSets: pure. The words are upstream's, because programs and people
look for them."""

from __future__ import annotations

from collections.abc import Sequence

from kubecore.api.meta import Object, parse_timestamp, timestamp
from kubecore.controllers import conditions
from kubecore.controllers.deployment_plan import desired_total, max_unavailable, replicas_of, status_number, total

NO_DEADLINE = 2**31 - 1
PROGRESSING = "Progressing"
NEW_AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"


def condition(kind: str, status: str, reason: str, message: str, *, now: float) -> Object:
    at = timestamp(now)
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": at,
        "lastTransitionTime": at,
    }


def put(listed: Sequence[Object] | None, new: Object) -> list[Object]:
    """As `conditions.put`, but a condition of the same status and reason stays as it was."""
    old = conditions.find(listed, new["type"])
    if old and (old["status"], old.get("reason")) == (new["status"], new["reason"]):
        return list(listed or ())
    return conditions.put(listed, new)


def has_deadline(deployment: Object) -> bool:
    return deployment["spec"].get("progressDeadlineSeconds") not in (None, NO_DEADLINE)


def counts(deployment: Object, replica_sets: Sequence[Object], new: Object | None, *, now: float) -> Object:
    """The numbers and the Available condition; other conditions as they were."""
    available = total(replica_sets, "availableReplicas")
    numbers = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": total(replica_sets),
        "updatedReplicas": status_number(new, "replicas") if new else 0,
        "readyReplicas": total(replica_sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, desired_total(replica_sets) - available),
        "collisionCount": deployment.get("status", {}).get("collisionCount"),
    }
    status: Object = {name: number for name, number in numbers.items() if number}
    status["terminatingReplicas"] = total(replica_sets, "terminatingReplicas")
    enough = available >= replicas_of(deployment) - max_unavailable(deployment)
    noted = condition(
        "Available",
        "True" if enough else "False",
        "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        now=now,
    )
    status["conditions"] = put(deployment.get("status", {}).get("conditions"), noted)
    return status


def is_complete(deployment: Object, status: Object) -> bool:
    """All replicas are of the newest template, and available."""
    wanted = replicas_of(deployment)
    reported = {"status": status}
    numbers = [status_number(reported, name) for name in ("updatedReplicas", "replicas", "availableReplicas")]
    generation = int(deployment["metadata"].get("generation", 0))
    return numbers == [wanted] * 3 and status_number(reported, "observedGeneration") >= generation


def has_progressed(old: Object, new: Object) -> bool:
    def outdated(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return any(new.get(name, 0) > old.get(name, 0) for name in grown) or outdated(new) < outdated(old)


def deadline(deployment: Object) -> float | None:
    """When the rollout will have timed out, if it makes no progress until then."""
    current = conditions.find(deployment.get("status", {}).get("conditions"), PROGRESSING)
    if not has_deadline(deployment) or current is None or current.get("reason") in (NEW_AVAILABLE, TIMED_OUT):
        return None
    return parse_timestamp(current["lastUpdateTime"]) + float(deployment["spec"]["progressDeadlineSeconds"])


def rollout(deployment: Object, replica_sets: Sequence[Object], new: Object | None, *, now: float) -> Object:
    """The status with the Progressing and ReplicaFailure conditions too."""
    status = counts(deployment, replica_sets, new, now=now)
    old = deployment.get("status", {})
    current = conditions.find(old.get("conditions"), PROGRESSING)
    if not has_deadline(deployment):
        status["conditions"] = conditions.without(status["conditions"], PROGRESSING)
    elif not (
        status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and current is not None
        and current.get("reason") == NEW_AVAILABLE
    ):
        status["conditions"] = _progress(deployment, status, current, new, now=now)
    failure = _failure(replica_sets, new)
    listed = status["conditions"]
    status["conditions"] = put(listed, failure) if failure else conditions.without(listed, "ReplicaFailure")
    return status


def _progress(
    deployment: Object, status: Object, current: Object | None, new: Object | None, *, now: float
) -> list[Object]:
    listed: list[Object] = status["conditions"]
    name = new["metadata"]["name"] if new else deployment["metadata"]["name"]
    subject = f'{"ReplicaSet" if new else "Deployment"} "{name}"'
    if is_complete(deployment, status):
        done = condition(PROGRESSING, "True", NEW_AVAILABLE, f"{subject} has successfully progressed.", now=now)
        return put(listed, done)
    if has_progressed(deployment.get("status", {}), status):
        moving = condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{subject} is progressing.", now=now)
        # The same condition again, but its update time starts the deadline anew.
        return conditions.put(listed, moving)
    due = deadline(deployment)
    if (due is not None and now > due) or (current is not None and current.get("reason") == TIMED_OUT):
        late = condition(PROGRESSING, "False", TIMED_OUT, f"{subject} has timed out progressing.", now=now)
        return put(listed, late)
    return listed


def _failure(replica_sets: Sequence[Object], new: Object | None) -> Object | None:
    """The newest ReplicaSet's failure to create pods, else any other's."""
    for replica_set in ([new] if new else []) + list(replica_sets):
        found = conditions.find(replica_set.get("status", {}).get("conditions"), "ReplicaFailure")
        if found:
            return {**found, "lastUpdateTime": found.get("lastTransitionTime")}
    return None
