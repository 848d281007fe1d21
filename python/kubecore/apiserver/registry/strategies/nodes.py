"""Nodes: the spec's identity (podCIDR, providerID) can be set once; status is the kubelet's, and may come with the node."""

from __future__ import annotations

import ipaddress
from typing import Any

from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry.environment import Write
from kubecore.apiserver.registry.strategies.shared import validate_quantity
from kubecore.apiserver.registry.strategy import Strategy, dig, keep

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class NodeStrategy(Strategy):
    def prepare_for_create(self, write: Write, obj: Object) -> None:
        """A node keeps the status it is created with."""

    def validate(self, obj: Object) -> v.Errors:
        return _validate_spec(obj.get("spec") or {}) + _validate_status(obj.get("status") or {})

    def prepare_for_update(self, write: Write, new: Object, old: Object) -> None:
        keep(new, old, "status")

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        return _validate_spec(new.get("spec") or {}) + self._validate_identity(new, old)

    def validate_status_update(self, new: Object, old: Object) -> v.Errors:
        return _validate_status(new.get("status") or {})

    def _validate_identity(self, new: Object, old: Object) -> v.Errors:
        errors: v.Errors = []
        before, after = dig(old, "spec", "podCIDRs"), dig(new, "spec", "podCIDRs")
        if before and before != after:
            errors.append(v.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
        before, after = dig(old, "spec", "providerID"), dig(new, "spec", "providerID")
        if before and before != after:
            errors.append(
                v.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
            )
        return errors


def _validate_spec(spec: dict[str, Any]) -> v.Errors:
    errors: v.Errors = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        at = f"metadata.taints[{index}]"
        key, value, effect = taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")
        errors += v.check(f"{at}.key", key, v.is_qualified_name)
        errors += v.check(f"{at}.value", value, v.is_label_value)
        if not effect:
            errors.append(v.required(f"{at}.effect"))
        elif effect not in TAINT_EFFECTS:
            errors.append(v.unsupported(f"{at}.effect", effect, TAINT_EFFECTS))
        if (key, effect) in seen:
            errors.append(v.duplicate(at, taint))
            errors[-1].detail = "taints must be unique by key and effect pair"
        seen.add((key, effect))
    for index, text in enumerate(spec.get("podCIDRs") or ()):
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            errors.append(v.invalid_value(f"spec.podCIDRs[{index}]", text, detail))
    return errors


def _validate_status(status: dict[str, Any]) -> v.Errors:
    errors: v.Errors = []
    for part in ("capacity", "allocatable"):
        for name, amount in (status.get(part) or {}).items():
            errors += validate_quantity(f"status.{part}.{name}", amount)
    return errors
