"""Small kinds by which parts agree: Lease, Event, PriorityClass, PodDisruptionBudget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubecore.api import labels
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry.environment import Write
from kubecore.apiserver.registry.strategies.shared import validate_immutable, validate_not_negative
from kubecore.apiserver.registry.strategies.workloads import validate_int_or_percent
from kubecore.apiserver.registry.strategy import Strategy

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_SYSTEM_PREFIX = "system-"
_EVENT_TEXT_MAX = {"reportingInstance": 128, "action": 128, "reason": 128, "message": 1024}

_OF_OLD_EVENTS = ("firstTimestamp", "lastTimestamp", "count", "source")


class LeaseStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors: v.Errors = []
        duration = spec.get("leaseDurationSeconds")
        if duration is not None and duration <= 0:
            errors.append(v.invalid_value("spec.leaseDurationSeconds", duration, "must be greater than 0"))
        errors += validate_not_negative("spec.leaseTransitions", spec.get("leaseTransitions") or 0)
        if spec.get("preferredHolder") and not spec.get("strategy"):
            detail = "may only be specified if `strategy` is defined"
            errors.append(v.forbidden("spec.preferredHolder", detail))
        return errors


class EventStrategy(Strategy):
    """Stored as `v1`. An event with eventTime is a new one, and held to more; `events.k8s.io` takes no other."""

    def validate_create(self, write: Write, obj: Object) -> v.Errors:
        errors = self.validate(obj)
        if write.group != "events.k8s.io":
            return errors
        if not obj.get("eventTime"):
            errors.append(v.required("eventTime"))
        if obj.get("type") not in ("Normal", "Warning"):
            errors.append(v.invalid_value("type", "", f"has invalid value: {obj.get('type', '')}"))
        errors += [v.invalid_value(field, "", "needs to be unset") for field in _OF_OLD_EVENTS if obj.get(field)]
        return errors

    def validate(self, obj: Object) -> v.Errors:
        namespace = obj["metadata"].get("namespace", "")
        about = (obj.get("involvedObject") or {}).get("namespace", "")
        mismatch = v.invalid_value("involvedObject.namespace", about, "does not match event.namespace")
        if not obj.get("eventTime"):
            return [mismatch] if namespace != about and (about or namespace != "default") else []
        errors: v.Errors = []
        if not about and namespace not in ("default", "kube-system"):
            errors.append(mismatch)
        controller = obj.get("reportingComponent", "")
        if not controller:
            errors.append(v.required("reportingController"))
        errors += v.check("reportingController", controller, v.is_qualified_name)
        for field, most in _EVENT_TEXT_MAX.items():
            text = obj.get(field, "")
            if not text and field != "message":
                errors.append(v.required(field))
            if len(text) > most:
                errors.append(v.invalid_value(field, "", f"can have at most {most} characters"))
        return errors


class PriorityClassStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        name, value = obj["metadata"].get("name", ""), obj.get("value", 0)
        errors: v.Errors = []
        if name.startswith(_SYSTEM_PREFIX):
            problem = _system_problem(name, value, global_default=bool(obj.get("globalDefault")))
            if problem:
                detail = f"priority class names with '{_SYSTEM_PREFIX}' prefix are reserved for system use only. error: {problem}"
                errors.append(v.forbidden("metadata.name", detail))
        elif value > HIGHEST_USER_PRIORITY:
            detail = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
            errors.append(v.forbidden("value", detail))
        policy = obj.get("preemptionPolicy")
        known = ("PreemptLowerPriority", "Never")
        if policy is not None and policy not in known:
            errors.append(
                v.unsupported("preemptionPolicy", policy, known) if policy else v.required("preemptionPolicy")
            )
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        errors: v.Errors = []
        if new.get("value", 0) != old.get("value", 0):
            errors.append(v.forbidden("value", "may not be changed in an update."))
        policy = new.get("preemptionPolicy")
        return errors + validate_immutable("preemptionPolicy", policy, old.get("preemptionPolicy"))


def _system_problem(name: str, value: int, *, global_default: bool) -> str:
    wanted = SYSTEM_PRIORITIES.get(name)
    if wanted is None:
        return f"{name} is not a known system priority class"
    if value != wanted:
        return f"value of {name} PriorityClass must be {wanted}"
    return f"globalDefault of {name} PriorityClass must be false" if global_default else ""


class PodDisruptionBudgetStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors: v.Errors = []
        if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
            errors.append(v.invalid_value("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
        for key in ("minAvailable", "maxUnavailable"):
            if (amount := spec.get(key)) is not None:
                errors += _validate_share(f"spec.{key}", amount)
        if spec.get("selector") is not None:
            errors += labels.validate_selector(spec["selector"], "spec.selector")
        policy = spec.get("unhealthyPodEvictionPolicy")
        known = ("AlwaysAllow", "IfHealthyBudget")
        if policy is not None and policy not in known:
            errors.append(v.unsupported("spec.unhealthyPodEvictionPolicy", policy, known))
        return errors

    def validate_status_update(self, new: Object, old: Object) -> v.Errors:
        status = new.get("status") or {}
        errors: v.Errors = []
        for key in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
            errors += validate_not_negative(f"status.{key}", status.get(key, 0))
        return errors


def _validate_share(field: str, amount: Any) -> v.Errors:
    errors = validate_int_or_percent(field, amount)
    if not errors and isinstance(amount, str) and int(amount[:-1]) > 100:
        errors.append(v.invalid_value(field, amount, "must not be greater than 100%"))
    return errors


STRATEGIES: dict[tuple[str, str], Callable[..., Strategy]] = {
    ("coordination.k8s.io", "leases"): LeaseStrategy,
    ("", "events"): EventStrategy,
    ("scheduling.k8s.io", "priorityclasses"): PriorityClassStrategy,
    ("policy", "poddisruptionbudgets"): PodDisruptionBudgetStrategy,
}
