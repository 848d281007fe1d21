"""What one resource adds to the generic path: how it is prepared, judged and deleted. The base does what most resources need.

A strategy is made once for its resource. `prepare_...` may change the new object; `validate...` only judges it; `written` and
`deleted` hear of it after the store has it (allocators). Old objects are shared: never change one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry import kinds
from kubecore.apiserver.registry.environment import Environment, Write


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """How one endpoint of an object (the object itself, `/status`, `/resize`, ...) may change it."""

    prepare: Callable[[Write, Object, Object], None]
    validate: Callable[[Object, Object], v.Errors]


class Strategy:
    """Rules of one resource."""

    name_shape: Callable[[str], v.Problems] = staticmethod(v.is_dns1123_subdomain)
    allows_unconditional_update = True
    allows_create_on_update = False
    empty_status: Object | None = None
    """What a new object's status is; None: whatever the client wrote stays (resources without /status, nodes)."""

    def __init__(self, resource: Resource, environment: Environment) -> None:
        self.resource = resource
        self.environment = environment
        self.counts_generations = (resource.group, resource.plural) in kinds.COUNTS_GENERATIONS
        self.default_propagation = kinds.DEFAULT_PROPAGATION.get((resource.group, resource.plural), "Background")
        self.ttl_seconds = kinds.TTL_SECONDS.get((resource.group, resource.plural), 0)
        self.returns_deleted = (resource.group, resource.plural) in kinds.RETURNS_DELETED
        self.has_status = any(subresource.name == "status" for subresource in resource.subresources)
        if self.has_status and type(self).empty_status is None:
            self.empty_status = kinds.EMPTY_STATUS.get((resource.group, resource.plural), {})
        self.updates: dict[str, UpdateRule] = {"": UpdateRule(self.prepare_for_update, self.validate_update)}
        if self.has_status:
            self.updates["status"] = UpdateRule(self.prepare_for_status_update, self.validate_status_update)
        if any(subresource.name == "scale" for subresource in resource.subresources):
            self.updates["scale"] = self.updates[""]

    # ── create ──

    def prepare_for_create(self, write: Write, obj: Object) -> None:
        """Drops what only the server sets and fills what it derives."""
        if self.has_status and self.empty_status is not None:
            obj["status"] = dict(self.empty_status)
        if self.counts_generations:
            obj["metadata"]["generation"] = 1

    def validate_create(self, write: Write, obj: Object) -> v.Errors:
        """For what a new object must be beyond `validate`."""
        return self.validate(obj)

    def validate(self, obj: Object) -> v.Errors:
        return []

    def authorize(self, write: Write, new: Object, old: Object | None) -> None:
        """Refuses what the user may not grant. Raises Forbidden."""

    def warnings(self, obj: Object) -> list[str]:
        return []

    # ── update ──

    def prepare_for_update(self, write: Write, new: Object, old: Object) -> None:
        """Keeps the status, bumps the generation when anything but metadata and status changed."""
        if self.has_status:
            keep(new, old, "status")
        if self.counts_generations and differs(new, old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        return self.validate(new)

    def prepare_for_status_update(self, write: Write, new: Object, old: Object) -> None:
        """Only status changes; labels and owners stay too."""
        for key in list(new):
            if key not in STATUS_PARTS and key not in old:
                del new[key]
        for key in old:
            if key not in STATUS_PARTS:
                new[key] = old[key]

    def validate_status_update(self, new: Object, old: Object) -> v.Errors:
        return []

    # ── delete ──

    def grace_period_seconds(self, obj: Object, asked: int | None) -> int | None:
        """How long the object may linger once it is marked; None: this resource knows no grace."""
        return None

    def is_held(self, obj: Object) -> bool:
        """Whether finalizers keep an object that is being deleted."""
        return bool(obj["metadata"].get("finalizers"))

    def mark_deleting(self, obj: Object) -> None:
        """More that changes when an object that lingers is marked as deleted."""

    # ── afterwards ──

    def written(self, new: Object, old: Object | None) -> None:
        """The store has it (never called for a dry run)."""

    def deleted(self, old: Object) -> None:
        """The store no longer has it."""


STATUS_PARTS = frozenset({"apiVersion", "kind", "metadata", "status"})


def keep(new: Object, old: Object, key: str) -> None:
    """The old value of one top-level field, or its absence."""
    if key in old:
        new[key] = old[key]
    else:
        new.pop(key, None)


def differs(new: Object, old: Object) -> bool:
    """Whether anything but metadata, status, apiVersion and kind differs."""
    return any(new.get(key) != old.get(key) for key in (*new, *old) if key not in STATUS_PARTS)


def dig(obj: Any, *path: str | int) -> Any:
    """A nested value, None if a part is missing."""
    for part in path:
        if isinstance(part, int):
            obj = obj[part] if isinstance(obj, list) and len(obj) > part else None
        else:
            obj = obj.get(part) if isinstance(obj, dict) else None
        if obj is None:
            return None
    return obj
