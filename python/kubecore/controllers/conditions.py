"""Conditions of a status: lists of `{type, status, reason, message, lastTransitionTime, …}` treated as values."""

from __future__ import annotations

from collections.abc import Sequence

from kubecore.api.meta import Object

Conditions = Sequence[Object]


def find(conditions: Conditions | None, condition_type: str) -> Object | None:
    return next((condition for condition in conditions or () if condition["type"] == condition_type), None)


def status_of(conditions: Conditions | None, condition_type: str) -> str:
    """`True`, `False` or `Unknown`; empty if there is no such condition."""
    condition = find(conditions, condition_type)
    return condition["status"] if condition else ""


def put(conditions: Conditions | None, condition: Object) -> list[Object]:
    """The list with that condition in it; an older one of its type is replaced and its transition time kept if the
    status is the same."""
    old = find(conditions, condition["type"])
    if old and old["status"] == condition["status"] and "lastTransitionTime" in old:
        condition = {**condition, "lastTransitionTime": old["lastTransitionTime"]}
    kept = [other for other in conditions or () if other["type"] != condition["type"]]
    return [*kept, condition]


def without(conditions: Conditions | None, condition_type: str) -> list[Object]:
    return [condition for condition in conditions or () if condition["type"] != condition_type]
