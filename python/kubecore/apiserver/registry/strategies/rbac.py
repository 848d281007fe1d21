"""Roles and bindings: nobody grants what they do not have (asked of the access room), and a binding never changes its role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubecore.api import labels
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry.environment import Write
from kubecore.apiserver.registry.strategy import Strategy

GROUP = "rbac.authorization.k8s.io"


def _is_upkeep(new: Object, old: Object) -> bool:
    """Only what the garbage collector writes changes. A label is more: it can make a role a part of another."""

    def rest(obj: Object) -> Object:
        kept = {key: value for key, value in obj["metadata"].items() if key not in ("finalizers", "ownerReferences")}
        return {**obj, "metadata": kept}

    return rest(new) == rest(old)


class RoleStrategy(Strategy):
    """Role and ClusterRole."""

    name_shape = staticmethod(v.is_path_segment)

    def validate(self, obj: Object) -> v.Errors:
        errors: v.Errors = []
        for index, rule in enumerate(obj.get("rules") or ()):
            errors += _validate_rule(rule, f"rules[{index}]", namespaced=self.resource.namespaced)
        aggregation = (obj.get("aggregationRule") or {}).get("clusterRoleSelectors")
        if obj.get("aggregationRule") is not None:
            field = "aggregationRule.clusterRoleSelectors"
            if not aggregation:
                detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
                errors.append(v.required(field, detail))
            for index, selector in enumerate(aggregation or ()):
                errors += labels.validate_selector(selector, f"{field}[{index}]")
        return errors

    def authorize(self, write: Write, new: Object, old: Object | None) -> None:
        checker = self.environment.escalation
        if checker is None or (old is not None and _is_upkeep(new, old)):
            return
        if new.get("aggregationRule") or (old or {}).get("aggregationRule"):
            checker.check_aggregation(write.user, self.resource, write.name)
        checker.check_rules(write.user, self.resource, write.namespace, write.name, new.get("rules") or [])


def _validate_rule(rule: dict[str, Any], at: str, *, namespaced: bool) -> v.Errors:
    errors: v.Errors = []
    if not rule.get("verbs"):
        errors.append(v.required(f"{at}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        field = f"{at}.nonResourceURLs"
        if namespaced:
            errors.append(v.invalid_value(field, urls, "namespaced rules cannot apply to non-resource URLs"))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(v.invalid_value(field, urls, detail))
        return errors
    if not rule.get("apiGroups"):
        errors.append(v.required(f"{at}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        errors.append(v.required(f"{at}.resources", "resource rules must supply at least one resource"))
    return errors


class BindingStrategy(Strategy):
    """RoleBinding and ClusterRoleBinding."""

    name_shape = staticmethod(v.is_path_segment)

    def validate(self, obj: Object) -> v.Errors:
        reference = obj.get("roleRef") or {}
        errors: v.Errors = []
        if reference.get("apiGroup", "") != GROUP:
            errors.append(v.unsupported("roleRef.apiGroup", reference.get("apiGroup", ""), (GROUP,)))
        known = ("Role", "ClusterRole") if self.resource.namespaced else ("ClusterRole",)
        if reference.get("kind", "") not in known:
            errors.append(v.unsupported("roleRef.kind", reference.get("kind", ""), known))
        if not reference.get("name"):
            errors.append(v.required("roleRef.name"))
        else:
            errors += v.check("roleRef.name", reference["name"], v.is_path_segment)
        for index, subject in enumerate(obj.get("subjects") or ()):
            errors += _validate_subject(subject, f"subjects[{index}]", namespaced=self.resource.namespaced)
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        errors = self.validate(new)
        if new.get("roleRef") != old.get("roleRef"):
            errors.append(v.invalid_value("roleRef", new.get("roleRef"), "cannot change roleRef"))
        return errors

    def authorize(self, write: Write, new: Object, old: Object | None) -> None:
        checker = self.environment.escalation
        if checker is None or (old is not None and _is_upkeep(new, old)):
            return
        checker.check_binding(write.user, self.resource, write.namespace, write.name, new["roleRef"])


def _validate_subject(subject: dict[str, Any], at: str, *, namespaced: bool) -> v.Errors:
    errors: v.Errors = []
    name, kind, group = subject.get("name", ""), subject.get("kind", ""), subject.get("apiGroup", "")
    if not name:
        errors.append(v.required(f"{at}.name"))
    if kind == "ServiceAccount":
        if name:
            errors += v.check(f"{at}.name", name, v.is_dns1123_subdomain)
        if group:
            errors.append(v.unsupported(f"{at}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            errors.append(v.required(f"{at}.namespace"))
    elif kind in ("User", "Group"):
        if not name:
            errors.append(v.invalid_value(f"{at}.name", name, f"{kind.lower()} name cannot be empty"))
        if group != GROUP:
            errors.append(v.unsupported(f"{at}.apiGroup", group, (GROUP,)))
    else:
        errors.append(v.unsupported(f"{at}.kind", kind, ("ServiceAccount", "User", "Group")))
    return errors


STRATEGIES: dict[tuple[str, str], Callable[..., Strategy]] = {
    (GROUP, "roles"): RoleStrategy,
    (GROUP, "clusterroles"): RoleStrategy,
    (GROUP, "rolebindings"): BindingStrategy,
    (GROUP, "clusterrolebindings"): BindingStrategy,
}
