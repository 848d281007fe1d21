"""What a DELETE does to an object: gone at once, marked and waiting for its finalizers or its grace, or nothing new.

Pure: the stored object and the options go in, the next state comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubecore.api.errors import Conflict, conflict
from kubecore.api.meta import Object, parse_timestamp, timestamp
from kubecore.apiserver.registry.metadata import FOREGROUND, ORPHAN
from kubecore.apiserver.registry.strategy import Strategy


@dataclass(slots=True)
class Deletion:
    """state: what to store, or to show as the last state if `gone`; None: nothing changes.
    value: the JSON to answer with, filled by the store."""

    state: Object | None
    gone: bool = False
    value: bytes = b""
    uid: str = ""


def plan_deletion(strategy: Strategy, old: Object, options: dict[str, Any], now_seconds: float) -> Deletion:
    """Raises Conflict if a precondition does not hold."""
    _check_preconditions(strategy, old, options.get("preconditions") or {})
    metadata = old["metadata"]
    uid = metadata.get("uid", "")
    if "deletionTimestamp" in metadata:
        return _while_pending(strategy, old, options, uid)
    grace = strategy.grace_period_seconds(old, _asked_grace(options))
    finalizers = _finalizers(strategy, metadata.get("finalizers") or [], options)
    state = {**old, "metadata": {**metadata}}
    if finalizers:
        state["metadata"]["finalizers"] = finalizers
    else:
        state["metadata"].pop("finalizers", None)
    held = strategy.is_held(state)
    if grace is None and not held:
        return Deletion(old, gone=True, uid=uid)
    _mark(state["metadata"], now_seconds, grace or 0)
    strategy.mark_deleting(state)
    return Deletion(state, gone=not held and not grace, uid=uid)


def _check_preconditions(strategy: Strategy, old: Object, preconditions: dict[str, Any]) -> None:
    metadata = old["metadata"]
    for key, name, after in (
        ("uid", "UID", "The object might have been deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "The object might have been modified"),
    ):
        wanted = preconditions.get(key)
        if wanted is not None and wanted != metadata.get(key, ""):
            why = (
                f"the {name} in the precondition ({wanted}) does not match the {name} in record "
                f"({metadata.get(key, '')}). {after}"
            )
            raise _conflict(strategy, metadata["name"], why)


def _conflict(strategy: Strategy, name: str, why: str) -> Conflict:
    """Upstream names the kind here, not the resource."""
    return conflict(strategy.resource.kind, strategy.resource.group, name, why)


def _asked_grace(options: dict[str, Any]) -> int | None:
    """Negative: at once, but with a trace (1 s)."""
    asked = options.get("gracePeriodSeconds")
    return None if asked is None else 1 if asked < 0 else int(asked)


def _while_pending(strategy: Strategy, old: Object, options: dict[str, Any], uid: str) -> Deletion:
    """Already marked: a shorter grace or another propagation policy is all that still changes anything."""
    metadata = old["metadata"]
    state = {**old, "metadata": {**metadata}}
    current = metadata.get("deletionGracePeriodSeconds")
    asked = strategy.grace_period_seconds(old, _asked_grace(options))
    if asked is None:
        state["metadata"]["finalizers"] = _finalizers(strategy, metadata.get("finalizers") or [], options)
        if not strategy.is_held(state):
            return Deletion(old, gone=True, uid=uid)
        return Deletion(None if state == old or not state["metadata"]["finalizers"] else state, uid=uid)
    if current is None or _asked_grace(options) is None or asked >= current:
        return Deletion(None, uid=uid)
    marked_seconds = parse_timestamp(metadata["deletionTimestamp"]) - current
    state["metadata"]["deletionTimestamp"] = timestamp(marked_seconds + asked)
    state["metadata"]["deletionGracePeriodSeconds"] = asked
    return Deletion(state, gone=asked == 0 and not strategy.is_held(state), uid=uid)


def _mark(metadata: dict[str, Any], now_seconds: float, grace: int) -> None:
    metadata["deletionTimestamp"] = timestamp(now_seconds + grace)
    metadata["deletionGracePeriodSeconds"] = grace
    if metadata.get("generation", 0) > 0:
        metadata["generation"] += 1


def _finalizers(strategy: Strategy, current: list[str], options: dict[str, Any]) -> list[str]:
    """The object's own, and the one that the propagation policy asks the garbage collector for."""
    if strategy.default_propagation == "Unsupported":
        return current
    policy = _policy(strategy, current, options)
    finalizers = [finalizer for finalizer in current if finalizer not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        finalizers.append(ORPHAN)
    elif policy == "Foreground":
        finalizers.append(FOREGROUND)
    return finalizers


def _policy(strategy: Strategy, current: list[str], options: dict[str, Any]) -> str:
    if (orphan := options.get("orphanDependents")) is not None:
        return "Orphan" if orphan else "Background"
    if policy := options.get("propagationPolicy"):
        return str(policy)
    if ORPHAN in current:
        return "Orphan"
    if FOREGROUND in current:
        return "Foreground"
    return strategy.default_propagation
