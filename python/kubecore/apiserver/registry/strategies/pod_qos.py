"""A pod's quality of service class, from its requests and limits.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
"""

from __future__ import annotations

from typing import Any

from kubecore.api import quantity

_COUNTED = ("cpu", "memory")


def quality_of_service(spec: dict[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort."""
    anything, guaranteed = False, True
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container.get("resources")
        if not resources:
            guaranteed = False
            continue
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in _COUNTED:
            request, limit = _amount(requests, name), _amount(limits, name)
            anything = anything or bool(request or limit)
            if not limit or (request or limit) != limit:
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _amount(amounts: dict[str, Any], name: str) -> Any:
    """None if absent, zero or not a quantity (validation tells that)."""
    if name not in amounts:
        return None
    try:
        return quantity.of(amounts[name]) or None
    except quantity.QuantityError:
        return None
