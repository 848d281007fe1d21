"""Kinds that are stored and not acted on yet: their first rules, so that a mistake is told today."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubecore.api import labels
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry.environment import Environment, Write
from kubecore.apiserver.registry.strategies.shared import validate_immutable, validate_quantity
from kubecore.apiserver.registry.strategy import Strategy, UpdateRule, keep

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_DECISIONS = ("Approved", "Denied")


class CertificateSigningRequestStrategy(Strategy):
    """Who asks is written down by the server; only /approval approves or denies."""

    def __init__(self, resource: Resource, environment: Environment) -> None:
        super().__init__(resource, environment)
        self.updates["approval"] = UpdateRule(self._prepare_to_decide, self._validate_decision)

    def prepare_for_create(self, write: Write, obj: Object) -> None:
        super().prepare_for_create(write, obj)
        user, spec = write.user, {**(obj.get("spec") or {})}
        asked = {
            "username": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra.items()},
        }
        for key, value in asked.items():
            spec.pop(key, None)
            if value:
                spec[key] = value
        obj["spec"] = spec

    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors: v.Errors = []
        if not spec.get("request"):
            errors.append(v.invalid_value("spec.request", "", "PEM block type must be CERTIFICATE REQUEST"))
        if not spec.get("usages"):
            errors.append(v.required("spec.usages"))
        signer = spec.get("signerName", "")
        if not signer:
            errors.append(v.required("spec.signerName"))
        elif "/" not in signer:
            detail = 'must be a fully qualified domain and path of the form "example.com/signer-name"'
            errors.append(v.invalid_value("spec.signerName", signer, detail))
        return errors

    def prepare_for_update(self, write: Write, new: Object, old: Object) -> None:
        super().prepare_for_update(write, new, old)
        keep(new, old, "spec")

    def prepare_for_status_update(self, write: Write, new: Object, old: Object) -> None:
        """The signer's part: the certificate and its own conditions."""
        keep(new, old, "spec")
        conditions = [one for one in _conditions(new) if one.get("type") not in _DECISIONS]
        decided = [one for one in _conditions(old) if one.get("type") in _DECISIONS]
        _set_conditions(new, {**(new.get("status") or {})}, [*decided, *conditions])

    def _prepare_to_decide(self, write: Write, new: Object, old: Object) -> None:
        conditions = _conditions(new)
        now = self.environment.now()
        for condition in conditions:
            condition["lastUpdateTime"] = condition.get("lastUpdateTime") or now
            condition["lastTransitionTime"] = condition.get("lastTransitionTime") or now
        keep(new, old, "spec")
        _set_conditions(new, {**(old.get("status") or {})}, conditions)

    def _validate_decision(self, new: Object, old: Object) -> v.Errors:
        kinds = [one.get("type") for one in _conditions(new)]
        if all(kind in kinds for kind in _DECISIONS):
            detail = "Approved and Denied conditions are mutually exclusive"
            return [v.invalid_value("status.conditions", "Denied", detail)]
        return [
            v.forbidden("status.conditions", f'updates may not remove a condition of type "{one["type"]}"')
            for one in _conditions(old)
            if one.get("type") in _DECISIONS and one["type"] not in kinds
        ]


def _conditions(obj: Object) -> list[dict[str, Any]]:
    return list((obj.get("status") or {}).get("conditions") or ())


def _set_conditions(obj: Object, status: Object, conditions: list[dict[str, Any]]) -> None:
    status.pop("conditions", None)
    if conditions:
        status["conditions"] = conditions
    obj["status"] = status


class HorizontalPodAutoscalerStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors: v.Errors = []
        least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
        if least is not None and least < 1:
            errors.append(v.invalid_value("spec.minReplicas", least, "must be greater than or equal to 1"))
        if most < 1:
            errors.append(v.invalid_value("spec.maxReplicas", most, "must be greater than 0"))
        if least is not None and most < least:
            errors.append(v.invalid_value("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
        target = spec.get("scaleTargetRef") or {}
        for key in ("kind", "name"):
            if not target.get(key):
                errors.append(v.required(f"spec.scaleTargetRef.{key}"))
            else:
                errors += v.check(f"spec.scaleTargetRef.{key}", target[key], v.is_path_segment)
        return errors


class PersistentVolumeClaimStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors = _validate_access_modes(spec.get("accessModes") or [])
        requests = (spec.get("resources") or {}).get("requests") or {}
        if "storage" not in requests:
            errors.append(v.required("spec.resources[storage]"))
        else:
            errors += validate_quantity("spec.resources[storage]", requests["storage"])
        if (selector := spec.get("selector")) is not None:
            errors += labels.validate_selector(selector, "spec.selector")
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        errors = self.validate(new)
        frozen = ("accessModes", "selector", "storageClassName", "volumeMode", "dataSource")
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        if any(spec.get(key) != before.get(key) for key in frozen):
            detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            errors.append(v.forbidden("spec", detail))
        return errors


def _validate_access_modes(modes: list[str]) -> v.Errors:
    if not modes:
        return [v.required("spec.accessModes", "at least 1 access mode is required")]
    return [v.unsupported("spec.accessModes", mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]


class PersistentVolumeStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors: v.Errors = []
        modes, capacity = spec.get("accessModes") or [], spec.get("capacity") or {}
        if not modes:
            errors.append(v.required("spec.accessModes"))
        errors += [v.unsupported("spec.accessModes", mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
        if not capacity:
            errors.append(v.required("spec.capacity"))
        for name, amount in capacity.items():
            errors += validate_quantity(f"spec.capacity[{name}]", amount)
        policy = spec.get("persistentVolumeReclaimPolicy", "")
        known = ("Delete", "Recycle", "Retain")
        if policy and policy not in known:
            errors.append(v.unsupported("spec.persistentVolumeReclaimPolicy", policy, known))
        return errors


class StorageClassStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        errors: v.Errors = []
        if not obj.get("provisioner"):
            errors.append(v.required("provisioner"))
        policy, mode = obj.get("reclaimPolicy", ""), obj.get("volumeBindingMode", "")
        if policy not in ("Delete", "Retain"):
            errors.append(v.unsupported("reclaimPolicy", policy, ("Delete", "Retain")))
        if mode not in ("Immediate", "WaitForFirstConsumer"):
            known = ("Immediate", "WaitForFirstConsumer")
            errors.append(v.unsupported("volumeBindingMode", mode, known) if mode else v.required("volumeBindingMode"))
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        errors = self.validate(new)
        for key in ("parameters", "provisioner", "reclaimPolicy"):
            if new.get(key) != old.get(key):
                errors.append(v.forbidden(key, f"updates to {key} are forbidden."))
        return errors + validate_immutable(
            "volumeBindingMode", new.get("volumeBindingMode"), old.get("volumeBindingMode")
        )


class NetworkPolicyStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors = labels.validate_selector(spec.get("podSelector") or {}, "spec.podSelector")
        known = ("Egress", "Ingress")
        for index, kind in enumerate(spec.get("policyTypes") or ()):
            if kind not in known:
                errors.append(v.unsupported(f"spec.policyTypes[{index}]", kind, known))
        return errors


class IngressStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
        errors: v.Errors = []
        if not rules and backend is None:
            detail = "either `defaultBackend` or `rules` must be specified"
            errors.append(v.invalid_value("spec", rules, detail))
        if backend is not None:
            errors += _validate_backend(backend, "spec.defaultBackend")
        for index, rule in enumerate(rules):
            if host := rule.get("host"):
                errors += v.check(f"spec.rules[{index}].host", host.removeprefix("*."), v.is_dns1123_subdomain)
            for position, path in enumerate((rule.get("http") or {}).get("paths") or ()):
                errors += _validate_path(path, f"spec.rules[{index}].http.paths[{position}]")
        return errors


def _validate_path(path: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    kind, text = path.get("pathType", ""), path.get("path", "")
    if not kind:
        errors.append(v.required(f"{at}.pathType", "pathType must be specified"))
    elif kind not in PATH_TYPES:
        errors.append(v.unsupported(f"{at}.pathType", kind, PATH_TYPES))
    if (text or kind != "ImplementationSpecific") and not text.startswith("/"):
        errors.append(v.invalid_value(f"{at}.path", text, "must be an absolute path"))
    return errors + _validate_backend(path.get("backend") or {}, f"{at}.backend")


def _validate_backend(backend: dict[str, Any], at: str) -> v.Errors:
    service = backend.get("service") or {}
    if backend.get("resource") is not None:
        if not service:
            return []
        return [v.invalid_value(at, "", "cannot set both resource and service backends")]
    if not service.get("name"):
        return [v.required(f"{at}.name")]
    errors = v.check(f"{at}.service.name", service["name"], v.is_dns1035_label)
    port = service.get("port") or {}
    if port.get("name"):
        return errors + v.check(f"{at}.service.port.name", port["name"], v.is_port_name)
    number = port.get("number", 0)
    if not number:
        return [*errors, v.required(f"{at}", "port name or number is required")]
    return errors + [v.invalid_value(f"{at}.service.port.number", number, p) for p in v.is_port_number(number)]


STRATEGIES: dict[tuple[str, str], Callable[..., Strategy]] = {
    ("", "persistentvolumeclaims"): PersistentVolumeClaimStrategy,
    ("", "persistentvolumes"): PersistentVolumeStrategy,
    ("autoscaling", "horizontalpodautoscalers"): HorizontalPodAutoscalerStrategy,
    ("certificates.k8s.io", "certificatesigningrequests"): CertificateSigningRequestStrategy,
    ("networking.k8s.io", "ingresses"): IngressStrategy,
    ("networking.k8s.io", "networkpolicies"): NetworkPolicyStrategy,
    ("storage.k8s.io", "storageclasses"): StorageClassStrategy,
}
