"""Objects as they travel through Python: the plain dictionaries that JSON gives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
"""One Kubernetes object. Objects from a cache are shared: never change one you did not make."""


def name_of(obj: Object) -> str:
    return str(obj.get("metadata", {}).get("name", ""))


def namespace_of(obj: Object) -> str:
    return str(obj.get("metadata", {}).get("namespace", ""))


def uid_of(obj: Object) -> str:
    return str(obj.get("metadata", {}).get("uid", ""))


def labels_of(obj: Object) -> dict[str, str]:
    return obj.get("metadata", {}).get("labels") or {}


def key_of(obj: Object) -> str:
    """`namespace/name`, or `name` if cluster-scoped: what queues and caches use."""
    metadata = obj.get("metadata", {})
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def split_key(key: str) -> tuple[str, str]:
    """The (namespace, name) of a `key_of`; namespace is empty if cluster-scoped."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def controller_of(obj: Object) -> dict[str, Any] | None:
    """The owner reference with `controller: true`."""
    for reference in obj.get("metadata", {}).get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def timestamp(seconds: float) -> str:
    """`metav1.Time`: whole seconds, UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(seconds: float) -> str:
    """`metav1.MicroTime`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str) -> float:
    """Seconds since the epoch of a `metav1.Time` or `MicroTime`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
