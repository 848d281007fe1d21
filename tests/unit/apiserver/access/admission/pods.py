"""Pods for admission tests, as the registry hands them to plugins: decoded and defaulted."""

from __future__ import annotations

from typing import Any

from kubecore.api.meta import Object

from ..worlds import make


def container(
    name: str = "web", *, requests: dict[str, str] | None = None, limits: dict[str, str] | None = None, **fields: Any
) -> dict[str, Any]:
    resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    return {"name": name, "image": f"{name}:1", "resources": resources} | fields


def pod(*containers: dict[str, Any], name: str = "web", metadata: dict[str, Any] | None = None, **spec: Any) -> Object:
    return make(
        "Pod", name, "shop", metadata=metadata or {}, spec={"containers": list(containers or [container()]), **spec}
    )
