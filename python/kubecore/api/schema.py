"""The shape of a kind, read from the OpenAPI that the fact table makes: which fields there are, how their lists merge.

For those who must know names and merge keys outside the server: client-side apply and the diagnosis of manifests.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from kubecore.api import codec

REFERENCE_PREFIX = "#/components/schemas/"


class Schema:
    """One node of a kind's schema. Cheap to make: it holds a reference into the document."""

    __slots__ = ("_document", "_node")

    def __init__(self, document: dict[str, Any], node: dict[str, Any]) -> None:
        self._document = document
        self._node = node

    @property
    def node(self) -> dict[str, Any]:
        """The schema object itself, with the reference followed."""
        node = self._node
        if "allOf" in node and len(node["allOf"]) == 1:
            node = node["allOf"][0]
        if "$ref" in node:
            found: dict[str, Any] = self._document[node["$ref"].removeprefix(REFERENCE_PREFIX)]
            return found
        return node

    def fields(self) -> tuple[str, ...]:
        return tuple(self.node.get("properties", ()))

    def field(self, name: str) -> Schema | None:
        """The schema of a field, or of a map's values whatever the name; None if there is no such field."""
        node = self.node
        child = node.get("properties", {}).get(name)
        if child is None:
            child = node.get("additionalProperties")
        return Schema(self._document, child) if isinstance(child, dict) else None

    def items(self) -> Schema | None:
        """The schema of a list's elements; None if this is no list."""
        child = self.node.get("items")
        return Schema(self._document, child) if isinstance(child, dict) else None

    @property
    def is_open(self) -> bool:
        """Whether any field may stand here: maps, raw extensions, JSON."""
        node = self.node
        return "properties" not in node

    @property
    def merge_key(self) -> str:
        """The key by which a strategic merge patch joins this list's elements; empty if it replaces the list."""
        outer = self._node
        if "merge" not in str(outer.get("x-kubernetes-patch-strategy", "")):
            return ""
        return str(outer.get("x-kubernetes-patch-merge-key", ""))

    @property
    def merges_primitives(self) -> bool:
        """Whether a strategic merge patch joins this list of plain values (finalizers)."""
        return "merge" in str(self._node.get("x-kubernetes-patch-strategy", "")) and not self.merge_key


@functools.cache
def _document(group: str, version: str) -> dict[str, Any]:
    schemas: dict[str, Any] = json.loads(codec.openapi_v3(group, version))["components"]["schemas"]
    return schemas


@functools.cache
def of_kind(group: str, version: str, kind: str) -> Schema | None:
    """The schema of a built-in kind; None if the fact table has no such kind in a served version."""
    path = f"apis/{group}/{version}" if group else f"api/{version}"
    if path not in (served for served, _ in codec.openapi_v3_paths()):
        return None
    document = _document(group, version)
    wanted = {"group": group, "version": version, "kind": kind}
    for node in document.values():
        if wanted in node.get("x-kubernetes-group-version-kind", ()):
            return Schema(document, node)
    return None
