"""A Deployment's revisions: which ReplicaSet is of its present template, and what annotations tell of the others.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubecore.api.meta import Object, namespace_of
from kubecore.controllers.deployment_plan import DESIRED, MAXIMUM, REVISION, replicas_of, surge_and_unavailable
from kubecore.controllers.pods import owner_reference
from kubecore.controllers.template_hash import LABEL, same_template, template_hash

HISTORY = "deployment.kubernetes.io/revision-history"
HISTORY_LENGTH_MAX = 2000

NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
)


def revision_of(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def find_new(deployment: Object, replica_sets: Iterable[Object]) -> Object | None:
    """The oldest ReplicaSet of the present template."""
    ordered = sorted(
        replica_sets, key=lambda each: (each["metadata"].get("creationTimestamp", ""), each["metadata"]["name"])
    )
    template = deployment["spec"]["template"]
    return next((each for each in ordered if same_template(each["spec"]["template"], template)), None)


def next_revision(old: Sequence[Object]) -> int:
    return max((revision_of(each) for each in old), default=0) + 1


def size_annotations(deployment: Object) -> dict[str, str]:
    """What a ReplicaSet remembers of the Deployment's size when it was last scaled: needed to scale proportionally
    later."""
    wanted = replicas_of(deployment)
    return {DESIRED: str(wanted), MAXIMUM: str(wanted + surge_and_unavailable(deployment)[0])}


def annotations_for(deployment: Object, existing: Object | None, revision: int) -> dict[str, str]:
    """The newest ReplicaSet's annotations: the Deployment's own, its revision, and those it had before."""
    annotations = dict((existing or {}).get("metadata", {}).get("annotations") or {})
    given = deployment["metadata"].get("annotations") or {}
    annotations.update({name: value for name, value in given.items() if name not in NOT_COPIED})
    before = annotations.get(REVISION, "")
    if not before.isdecimal() or int(before) < revision:
        annotations[REVISION] = str(revision)
        if before:
            past = [part for part in annotations.get(HISTORY, "").split(",") if part] + [before]
            while len(",".join(past)) > HISTORY_LENGTH_MAX:
                del past[0]
            annotations[HISTORY] = ",".join(past)
    if existing is None:
        annotations.update(size_annotations(deployment))
    return annotations


def new_replica_set(deployment: Object, *, replicas: int, revision: int) -> Object:
    """The ReplicaSet of the present template."""
    spec = deployment["spec"]
    template = spec["template"]
    digest = template_hash(template, deployment.get("status", {}).get("collisionCount") or 0)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), LABEL: digest}
    selector = spec["selector"]
    made: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{deployment['metadata']['name']}-{digest}",
            "namespace": namespace_of(deployment),
            "labels": labels,
            "annotations": annotations_for(deployment, None, revision),
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), LABEL: digest}},
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
        },
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return made


def to_clean_up(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Old ReplicaSets beyond the history limit that are empty, the oldest revisions first."""
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    alive = sorted((each for each in old if not each["metadata"].get("deletionTimestamp")), key=revision_of)
    surplus = alive[: max(0, len(alive) - limit)]
    return [
        each
        for each in surplus
        if replicas_of(each) == 0
        and not each.get("status", {}).get("replicas")
        and each["metadata"].get("generation", 0) <= each.get("status", {}).get("observedGeneration", 0)
    ]
