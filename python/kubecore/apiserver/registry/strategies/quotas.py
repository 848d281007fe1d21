"""ResourceQuotas and LimitRanges: which resources can be counted, and that their numbers agree with one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubecore.api import quantity
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry.strategies.shared import validate_quantity
from kubecore.apiserver.registry.strategy import Strategy

_COMPUTE = ("cpu", "memory", "ephemeral-storage", "storage")
_COUNTED = (
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
)
QUOTA_NAMES = frozenset(
    {
        *("cpu", "memory", "ephemeral-storage"),
        *(f"{part}.{name}" for part in ("requests", "limits") for name in ("cpu", "memory", "ephemeral-storage")),
        "requests.storage",
        *_COUNTED,
    }
)
"""What a quota can limit without a group in its name."""
SCOPES = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)
_OPPOSITES = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_POD_SCOPES = frozenset(SCOPES[:4])
_BEST_EFFORT_NAMES = frozenset({"pods"})
_SELECTOR_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")


class ResourceQuotaStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        hard, scopes = spec.get("hard") or {}, spec.get("scopes") or []
        errors = _validate_amounts(hard, "spec.hard")
        for scope in scopes:
            if scope not in SCOPES:
                errors.append(v.invalid_value("spec.scopes", scopes, "unsupported scope"))
            elif any(not _scope_allows(scope, name) for name in hard):
                errors.append(v.invalid_value("spec.scopes", scopes, "unsupported scope applied to resource"))
        if any(left in scopes and right in scopes for left, right in _OPPOSITES):
            errors.append(v.invalid_value("spec.scopes", scopes, "conflicting scopes"))
        return errors + _validate_scope_selector((spec.get("scopeSelector") or {}).get("matchExpressions") or [])

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        errors = self.validate(new)
        scopes, before = (new.get("spec") or {}).get("scopes") or [], (old.get("spec") or {}).get("scopes") or []
        if sorted(scopes) != sorted(before):
            errors.append(v.invalid_value("spec.scopes", scopes, v.IMMUTABLE))
        return errors

    def validate_status_update(self, new: Object, old: Object) -> v.Errors:
        status = new.get("status") or {}
        return _validate_amounts(status.get("hard") or {}, "status.hard") + _validate_amounts(
            status.get("used") or {}, "status.used"
        )


def _scope_allows(scope: str, name: str) -> bool:
    if name not in QUOTA_NAMES or scope not in _POD_SCOPES:
        return True
    if scope == "BestEffort":
        return name in _BEST_EFFORT_NAMES
    return name == "pods" or name.rpartition(".")[2] in ("cpu", "memory", "ephemeral-storage")


def _validate_scope_selector(expressions: list[dict[str, Any]]) -> v.Errors:
    errors: v.Errors = []
    for index, expression in enumerate(expressions):
        at = f"spec.scopeSelector.matchExpressions[{index}]"
        scope, operator = expression.get("scopeName", ""), expression.get("operator", "")
        values = expression.get("values") or []
        if scope not in SCOPES:
            errors.append(v.invalid_value(f"{at}.scopeName", scope, "unsupported scope"))
        if operator not in _SELECTOR_OPERATORS:
            errors.append(v.invalid_value(f"{at}.operator", operator, "not a valid selector operator"))
        elif operator in ("In", "NotIn") and not values:
            detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            errors.append(v.required(f"{at}.values", detail))
        elif operator in ("Exists", "DoesNotExist") and values:
            detail = "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector"
            errors.append(v.invalid_value(f"{at}.values", values, detail))
    return errors


def _validate_amounts(amounts: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    for name, amount in amounts.items():
        field = f"{at}[{name}]"
        if problems := v.is_qualified_name(name):
            errors += [v.invalid_value(field, name, problem) for problem in problems]
        elif "/" not in name and name not in QUOTA_NAMES and not name.startswith(("hugepages-", "requests.hugepages-")):
            errors.append(v.invalid_value(field, name, "must be a standard resource type or fully qualified"))
            errors.append(v.invalid_value(field, name, "must be a standard resource for quota"))
        found = validate_quantity(field, amount)
        errors += found
        if not found and (name in _COUNTED or name.startswith("count/")):
            number = quantity.of(amount)
            if number != number.to_integral_value():
                errors.append(v.invalid_value(field, amount, "must be an integer"))
    return errors


class LimitRangeStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        errors: v.Errors = []
        seen: set[str] = set()
        for index, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
            at = f"spec.limits[{index}]"
            kind = limit.get("type", "")
            problems = v.is_qualified_name(kind)
            errors += [v.invalid_value(f"{at}.type", kind, problem) for problem in problems]
            if not problems and "/" not in kind and kind not in LIMIT_TYPES:
                detail = "must be a standard limit type or fully qualified"
                errors.append(v.invalid_value(f"{at}.type", kind, detail))
            if kind in seen:
                errors.append(v.duplicate(f"{at}.type", kind))
            seen.add(kind)
            errors += _validate_limit(limit, kind, at)
        return errors


_PARTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_ORDERED = (
    ("min", "max", "min", "min value {} is greater than max value {}"),
    ("min", "defaultRequest", "defaultRequest", "min value {} is greater than default request value {}"),
    ("defaultRequest", "max", "defaultRequest", "default request value {} is greater than max value {}"),
    ("defaultRequest", "default", "defaultRequest", "default request value {} is greater than default limit value {}"),
    ("min", "default", "default", "min value {} is greater than default value {}"),
    ("default", "max", "default", "default value {} is greater than max value {}"),
)
"""(smaller, larger, the field that is blamed, what is said)."""


def _validate_limit(limit: dict[str, Any], kind: str, at: str) -> v.Errors:
    errors: v.Errors = []
    parts = {part: limit.get(part) or {} for part in _PARTS}
    if kind == "Pod":
        for part in ("default", "defaultRequest"):
            if parts[part]:
                errors.append(v.forbidden(f"{at}.{part}", "may not be specified when `type` is 'Pod'"))
                parts[part] = {}
    if kind == "PersistentVolumeClaim" and "storage" not in parts["min"] and "storage" not in parts["max"]:
        detail = "either minimum or maximum storage value is required, but neither was provided"
        errors.append(v.required(f"{at}.limits", detail))
    for part in _PARTS:
        for name, amount in parts[part].items():
            errors += _validate_limit_name(kind, name, f"{at}.{part}[{name}]")
            errors += validate_quantity(f"{at}.{part}[{name}]", amount)
    if errors:
        return errors
    for name in sorted({name for part in _PARTS for name in parts[part]}):
        for smaller, larger, blamed, text in _ORDERED:
            low, high = parts[smaller].get(name), parts[larger].get(name)
            if low is not None and high is not None and quantity.of(low) > quantity.of(high):
                field = f"{at}.{blamed}[{name}]"
                errors.append(v.invalid_value(field, str(parts[blamed][name]), text.format(low, high)))
        ratio = parts["maxLimitRequestRatio"].get(name)
        if ratio is not None:
            errors += _validate_ratio(
                ratio, parts["min"].get(name), parts["max"].get(name), f"{at}.maxLimitRequestRatio[{name}]"
            )
    return errors


def _validate_ratio(ratio: Any, low: Any, high: Any, field: str) -> v.Errors:
    number = quantity.of(ratio)
    if number < 1:
        return [v.invalid_value(field, str(ratio), f"ratio {ratio} is less than 1")]
    if low is None or high is None or not quantity.of(low):
        return []
    most = quantity.of(high) / quantity.of(low)
    if number > most:
        return [v.invalid_value(field, str(ratio), f"ratio {ratio} is greater than max/min = {float(most):f}")]
    return []


def _validate_limit_name(kind: str, name: str, field: str) -> v.Errors:
    if problems := v.is_qualified_name(name):
        return [v.invalid_value(field, name, problem) for problem in problems]
    if "/" in name or name.startswith("hugepages-"):
        return []
    if name not in _COMPUTE and name not in QUOTA_NAMES:
        return [v.invalid_value(field, name, "must be a standard resource type or fully qualified")]
    if kind in ("Pod", "Container") and name not in ("cpu", "memory", "ephemeral-storage"):
        return [v.invalid_value(field, name, "must be a standard resource for containers")]
    return []


STRATEGIES: dict[tuple[str, str], Callable[..., Strategy]] = {
    ("", "resourcequotas"): ResourceQuotaStrategy,
    ("", "limitranges"): LimitRangeStrategy,
}
