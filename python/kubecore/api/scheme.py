"""Which resources there are: GVK ↔ GVR, scope, verbs, short names. Read from the fact table, never written here."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from typing import Any

from kubecore.api import codec


@dataclass(frozen=True, slots=True)
class Subresource:
    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """One row of the fact table. `storage`: the (group, version, plural) under which objects are kept."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...] = ()
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    storage: tuple[str, str, str] = field(default=("", "", ""))
    served: bool = True

    def __hash__(self) -> int:
        """By name: resources are keys of many tables, and no two have the same."""
        return hash((self.group, self.version, self.plural))

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`deployments.apps`, `pods`: as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of a collection or an object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def key_prefix(self, namespace: str = "") -> str:
        """The storage prefix of all objects, or of one namespace's; ends with a slash."""
        group, _, plural = self.storage
        prefix = f"/registry/{group or 'core'}/{plural}/"
        return f"{prefix}{namespace}/" if namespace else prefix

    def key(self, namespace: str, name: str) -> str:
        return f"{self.key_prefix(namespace if self.namespaced else '')}{name}"


def _resource(row: dict[str, Any]) -> Resource:
    group, version, plural = row["group"], row["version"], row["plural"]
    return Resource(
        group=group,
        version=version,
        plural=plural,
        singular=row["singular"],
        kind=row["kind"],
        namespaced=row["namespaced"],
        verbs=tuple(row["verbs"]),
        short_names=tuple(row.get("shortNames", ())),
        categories=tuple(row.get("categories", ())),
        subresources=tuple(
            Subresource(s["name"], s["group"], s["version"], s["kind"], tuple(s["verbs"]))
            for s in row.get("subresources", ())
        ),
        storage=tuple(row["storage"]) if row.get("storage") else (group, version, plural),
        served=row.get("served", True),
    )


@functools.cache
def resources() -> tuple[Resource, ...]:
    """All of them, those not served by default too, in the fact table's order."""
    return tuple(_resource(row) for row in json.loads(codec.resources()))


@functools.cache
def by_plural() -> dict[tuple[str, str, str], Resource]:
    """(group, version, plural) → Resource."""
    return {(r.group, r.version, r.plural): r for r in resources()}


@functools.cache
def by_kind() -> dict[tuple[str, str, str], Resource]:
    """(group, version, kind) → Resource."""
    return {(r.group, r.version, r.kind): r for r in resources()}


def resource(group: str, version: str, plural: str) -> Resource:
    """Raises KeyError if the table has none."""
    return by_plural()[group, version, plural]


def core(plural: str) -> Resource:
    """A resource of the core group, v1: `core("pods")`."""
    return resource("", "v1", plural)


@functools.cache
def _by_word() -> dict[str, list[Resource]]:
    words: dict[str, list[Resource]] = {}
    for found in resources():
        if found.served:
            for word in dict.fromkeys((found.plural, found.singular, found.kind.lower(), *found.short_names)):
                words.setdefault(word, []).append(found)
    for choices in words.values():
        choices.sort(key=lambda r: (r.group != "", r.group != "apps", r.group))
    return words


def find(word: str) -> Resource | None:
    """The served resource that a person means: `pods`, `po`, `Deployment`, `deployments.apps`, `deployments.v1.apps`.

    Where groups share a name the core group wins, then apps, as in kubectl.
    """
    name, _, rest = word.lower().partition(".")
    for found in _by_word().get(name, ()):
        if not rest or rest in (found.group, f"{found.version}.{found.group}"):
            return found
    return None


def parse_api_version(api_version: str) -> tuple[str, str]:
    """`apps/v1` → (`apps`, `v1`); `v1` → (``, `v1`)."""
    group, _, version = api_version.rpartition("/")
    return group, version
