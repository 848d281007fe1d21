"""Kinds whose rules fit in a row: what a field must be, and which fields stay as they were made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry.environment import Environment
from kubecore.apiserver.registry.strategies.shared import validate_immutable, validate_not_negative
from kubecore.apiserver.registry.strategy import Strategy, dig

Check = Callable[[str, Any], v.Errors]


@dataclass(frozen=True, slots=True)
class Rules:
    """`fields`: dotted path → its check. `immutable`: paths whose change is an invalid value; `fixed`: a forbidden one,
    with upstream's reason."""

    fields: dict[str, Check]
    immutable: tuple[str, ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()


def present(detail: str = "") -> Check:
    return lambda field, value: [] if value else [v.required(field, detail)]


def mandatory_data(field: str, value: Any) -> v.Errors:
    return [] if value is not None else [v.required(field, "data is mandatory")]


def shaped(shape: Callable[[str], v.Problems]) -> Check:
    return lambda field, value: v.check(field, value or "", shape)


def one_of(*known: str) -> Check:
    return lambda field, value: [] if value in known else [v.unsupported(field, value or "", known)]


def not_negative(field: str, value: Any) -> v.Errors:
    return validate_not_negative(field, value or 0)


def volume_source(field: str, value: Any) -> v.Errors:
    given = [key for key in ("inlineVolumeSpec", "persistentVolumeName") if (value or {}).get(key)]
    if not given:
        return [v.required(field, "must specify exactly one of inlineVolumeSpec and persistentVolumeName")]
    if len(given) > 1:
        return [v.forbidden(field, "must specify exactly one of inlineVolumeSpec and persistentVolumeName")]
    return []


class PlainStrategy(Strategy):
    def __init__(self, rules: Rules, resource: Resource, environment: Environment) -> None:
        super().__init__(resource, environment)
        self._rules = rules

    def validate(self, obj: Object) -> v.Errors:
        errors: v.Errors = []
        for path, check in self._rules.fields.items():
            errors += check(path, dig(obj, *path.split(".")))
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        errors: v.Errors = []
        for path in self._rules.immutable:
            errors += validate_immutable(path, dig(new, *path.split(".")), dig(old, *path.split(".")))
        for path, why in self._rules.fixed:
            if dig(new, *path.split(".")) != dig(old, *path.split(".")):
                errors.append(v.forbidden(path, why))
        return self.validate(new) + errors


_ROWS = {
    ("apps", "controllerrevisions"): Rules({"data": mandatory_data, "revision": not_negative}, immutable=("data",)),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): Rules(
        {"spec.priorityLevelConfiguration.name": present("must reference a priority level")}
    ),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): Rules({"spec.type": one_of("Exempt", "Limited")}),
    ("node.k8s.io", "runtimeclasses"): Rules({"handler": shaped(v.is_dns1123_label)}, immutable=("handler",)),
    ("storage.k8s.io", "csistoragecapacities"): Rules(
        {"storageClassName": shaped(v.is_dns1123_subdomain)}, immutable=("nodeTopology", "storageClassName")
    ),
    ("storage.k8s.io", "volumeattachments"): Rules(
        {"spec.attacher": present(), "spec.source": volume_source, "spec.nodeName": shaped(v.is_dns1123_subdomain)},
        immutable=("spec",),
    ),
    ("storage.k8s.io", "volumeattributesclasses"): Rules(
        {"driverName": present(), "parameters": present("must contain at least one key/value pair")},
        immutable=("driverName",),
        fixed=(("parameters", "updates to parameters are forbidden."),),
    ),
}

STRATEGIES: dict[tuple[str, str], Callable[[Resource, Environment], Strategy]] = {
    row: functools.partial(PlainStrategy, rules) for row, rules in _ROWS.items()
}
