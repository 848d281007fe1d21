"""Label selectors as objects carry them: `{matchLabels, matchExpressions}`. Selector strings are the codec's."""

from __future__ import annotations

from typing import Any

from kubecore.api import validation as v

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def matches(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    """A `metav1.LabelSelector` against labels: None selects nothing, an empty one everything."""
    if selector is None:
        return False
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(_satisfies(expression, labels) for expression in selector.get("matchExpressions") or ())


def _satisfies(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    return key not in labels


def is_empty(selector: dict[str, Any] | None) -> bool:
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def matches_simple(selector: dict[str, str] | None, labels: dict[str, str]) -> bool:
    """A plain map, as services and replication controllers have it. An empty one selects nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in (selector or {}).items())


def to_text(selector: dict[str, Any] | None) -> str:
    """The selector as a query string has it, in upstream's order: sorted by key."""
    if not selector:
        return ""
    parts = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key, operator = expression["key"], expression["operator"]
        values = ",".join(sorted(expression.get("values") or ()))
        text = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }[operator]
        parts.append((key, text))
    return ",".join(text for _, text in sorted(parts))


def validate_labels(labels: dict[str, str], field: str) -> v.Errors:
    """Keys and values of `metadata.labels`, a selector's map, ..."""
    errors: v.Errors = []
    for key, value in labels.items():
        if problems := v.is_qualified_name(key):
            errors.extend(v.invalid_value(field, key, problem) for problem in problems)
        if problems := v.is_label_value(value):
            errors.extend(v.invalid_value(field, value, problem) for problem in problems)
    return errors


def validate_selector(selector: dict[str, Any], field: str) -> v.Errors:
    """A `metav1.LabelSelector`."""
    errors = validate_labels(selector.get("matchLabels") or {}, f"{field}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        at = f"{field}.matchExpressions[{index}]"
        operator, values = expression.get("operator", ""), expression.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                errors.append(v.required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                errors.append(v.forbidden(f"{at}.values", detail))
        else:
            errors.append(v.invalid_value(f"{at}.operator", operator, "not a valid selector operator"))
        errors.extend(v.check(f"{at}.key", expression.get("key", ""), v.is_qualified_name))
        for position, value in enumerate(values):
            errors.extend(v.check(f"{at}.values[{position}]", value, v.is_label_value))
    return errors
