"""What the scheduler reads: tolerations, affinity, topology spread, gates. Validation, and label keys made part of selectors."""

from __future__ import annotations

from typing import Any

from kubecore.api import labels
from kubecore.api import validation as v

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NODE_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def merge_label_keys(spec: dict[str, Any], own: dict[str, str]) -> None:
    """`matchLabelKeys` and `mismatchLabelKeys` become expressions with the pod's own values. Without a selector nothing
    is selected, so nothing is added. Sources: KEP-3633, KEP-3243."""
    affinity = spec.get("affinity") or {}
    terms = list(spec.get("topologySpreadConstraints") or ())
    for part in ("podAffinity", "podAntiAffinity"):
        given = affinity.get(part) or {}
        terms += [weighted.get("podAffinityTerm") or {} for weighted in given.get(_PREFERRED) or ()]
        terms += given.get(_REQUIRED) or ()
    for term in terms:
        selector = term.get("labelSelector")
        if selector is None:
            continue
        more = [
            {"key": key, "operator": operator, "values": [own[key]]}
            for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
            for key in term.get(field) or ()
            if key in own
        ]
        if more:
            term["labelSelector"] = {
                **selector,
                "matchExpressions": [*(selector.get("matchExpressions") or ()), *more],
            }


def validate_tolerations(tolerations: list[dict[str, Any]], at: str) -> v.Errors:
    errors: v.Errors = []
    for index, toleration in enumerate(tolerations):
        path = f"{at}[{index}]"
        key, operator = toleration.get("key", ""), toleration.get("operator", "")
        value, effect = toleration.get("value", ""), toleration.get("effect", "")
        if key and (problems := v.is_qualified_name(key)):
            errors += [v.invalid_value(f"{path}.key", key, problem) for problem in problems]
        if not key and operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(v.invalid_value(f"{path}.operator", operator, detail))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(v.invalid_value(f"{path}.effect", effect, detail))
        if operator in ("Equal", ""):
            if problems := v.is_label_value(value):
                errors.append(v.invalid_value(f"{path}.operator", value, ";".join(problems)))
        elif operator == "Exists":
            if value:
                detail = "value must be empty when `operator` is 'Exists'"
                errors.append(v.invalid_value(f"{path}.operator", toleration, detail))
        else:
            errors.append(v.unsupported(f"{path}.operator", operator, ("Equal", "Exists")))
        if effect and effect not in EFFECTS:
            errors.append(v.unsupported(f"{path}.effect", effect, EFFECTS))
    return errors


def validate_affinity(affinity: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    if node := affinity.get("nodeAffinity"):
        errors += _validate_node_affinity(node, f"{at}.nodeAffinity")
    for part in ("podAffinity", "podAntiAffinity"):
        if pod := affinity.get(part):
            for index, term in enumerate(pod.get(_REQUIRED) or ()):
                errors += _validate_pod_term(term, f"{at}.{part}.{_REQUIRED}[{index}]")
            for index, weighted in enumerate(pod.get(_PREFERRED) or ()):
                path = f"{at}.{part}.{_PREFERRED}[{index}]"
                errors += _validate_weight(weighted, path)
                errors += _validate_pod_term(weighted.get("podAffinityTerm") or {}, f"{path}.podAffinityTerm")
    return errors


def _validate_node_affinity(affinity: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    if (required := affinity.get(_REQUIRED)) is not None:
        path = f"{at}.{_REQUIRED}.nodeSelectorTerms"
        terms = required.get("nodeSelectorTerms") or ()
        if not terms:
            errors.append(v.required(path, "must have at least one node selector term"))
        for index, term in enumerate(terms):
            errors += validate_node_term(term, f"{path}[{index}]")
    for index, preferred in enumerate(affinity.get(_PREFERRED) or ()):
        path = f"{at}.{_PREFERRED}[{index}]"
        errors += _validate_weight(preferred, path)
        errors += validate_node_term(preferred.get("preference") or {}, f"{path}.preference")
    return errors


def _validate_weight(term: dict[str, Any], at: str) -> v.Errors:
    weight = term.get("weight", 0)
    return [] if 1 <= weight <= 100 else [v.invalid_value(f"{at}.weight", weight, "must be in the range 1-100")]


def validate_node_term(term: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        path = f"{at}.matchExpressions[{index}]"
        errors += _validate_node_operator(expression, path)
        errors += v.check(f"{path}.key", expression.get("key", ""), v.is_qualified_name)
    for index, expression in enumerate(term.get("matchFields") or ()):
        path = f"{at}.matchFields[{index}]"
        operator, values, key = (
            expression.get("operator", ""),
            expression.get("values") or [],
            expression.get("key", ""),
        )
        if operator not in ("In", "NotIn"):
            errors.append(v.invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
        elif len(values) != 1:
            detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            errors.append(v.required(f"{path}.values", detail))
        if key != "metadata.name":
            errors.append(v.invalid_value(f"{path}.key", key, "not a valid field selector key"))
        else:
            for position, value in enumerate(values):
                errors += v.check(f"{path}.values[{position}]", value, v.is_dns1123_subdomain)
    return errors


def _validate_node_operator(expression: dict[str, Any], at: str) -> v.Errors:
    operator, values = expression.get("operator", ""), expression.get("values") or ()
    if operator not in _NODE_OPERATORS:
        return [v.invalid_value(f"{at}.operator", operator, "not a valid selector operator")]
    if operator in ("In", "NotIn") and not values:
        return [v.required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")]
    if operator in ("Exists", "DoesNotExist") and values:
        return [v.forbidden(f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")]
    if operator in ("Gt", "Lt") and len(values) != 1:
        return [v.required(f"{at}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")]
    return []


def _validate_pod_term(term: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    for part in ("labelSelector", "namespaceSelector"):
        if (selector := term.get(part)) is not None:
            errors += labels.validate_selector(selector, f"{at}.{part}")
    for name in term.get("namespaces") or ():
        errors += v.check(f"{at}.namespace", name, v.is_dns1123_label)
    key = term.get("topologyKey", "")
    if not key:
        errors.append(v.required(f"{at}.topologyKey", "can not be empty"))
    return errors + v.check(f"{at}.topologyKey", key, v.is_qualified_name)


def validate_spread(constraints: list[dict[str, Any]], at: str) -> v.Errors:
    errors: v.Errors = []
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        path = f"{at}[{index}]"
        skew, key = constraint.get("maxSkew", 0), constraint.get("topologyKey", "")
        action = constraint.get("whenUnsatisfiable", "")
        if skew <= 0:
            errors.append(v.invalid_value(f"{path}.maxSkew", skew, v.POSITIVE))
        if not key:
            errors.append(v.required(f"{path}.topologyKey", "can not be empty"))
        else:
            errors += v.check(f"{path}.topologyKey", key, v.is_qualified_name)
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            errors.append(v.unsupported(f"{path}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway")))
        if (key, action) in seen:
            errors.append(v.duplicate(f"{path}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        seen.add((key, action))
        domains = constraint.get("minDomains")
        if domains is not None and domains <= 0:
            errors.append(v.invalid_value(f"{path}.minDomains", domains, v.POSITIVE))
        if domains is not None and action != "DoNotSchedule":
            detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
            errors.append(v.invalid_value(f"{path}.minDomains", domains, detail))
        if (selector := constraint.get("labelSelector")) is not None:
            errors += labels.validate_selector(selector, f"{path}.labelSelector")
    return errors


def validate_gates(gates: list[dict[str, Any]], at: str) -> v.Errors:
    errors: v.Errors = []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name", "")
        errors += v.check(f"{at}[{index}]", name, v.is_qualified_name)
        if name in seen:
            errors.append(v.duplicate(f"{at}[{index}]", name))
        seen.add(name)
    return errors
