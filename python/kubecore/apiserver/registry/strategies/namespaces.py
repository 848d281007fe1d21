"""Namespaces: the finalizer `kubernetes` holds one until the namespace controller has emptied it and calls /finalize."""

from __future__ import annotations

from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry.environment import Environment, Write
from kubecore.apiserver.registry.strategy import Strategy, UpdateRule, keep

FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    name_shape = staticmethod(v.is_dns1123_label)

    def __init__(self, resource: Resource, environment: Environment) -> None:
        super().__init__(resource, environment)
        self.updates["finalize"] = UpdateRule(self._prepare_to_finalize, self._validate_finalizers)

    def prepare_for_create(self, write: Write, obj: Object) -> None:
        obj["status"] = {"phase": "Active"}
        spec = obj["spec"] = {**(obj.get("spec") or {})}
        finalizers = spec.get("finalizers") or []
        if FINALIZER not in finalizers:
            spec["finalizers"] = [*finalizers, FINALIZER]
        _label(obj)

    def validate(self, obj: Object) -> v.Errors:
        return _check_finalizers(obj, "spec.finalizers")

    def prepare_for_update(self, write: Write, new: Object, old: Object) -> None:
        keep(new, old, "status")
        keep(new, old, "spec")
        _label(new)

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        return []

    def validate_status_update(self, new: Object, old: Object) -> v.Errors:
        phase = (new.get("status") or {}).get("phase")
        deleting = "deletionTimestamp" in new["metadata"]
        if deleting and phase != "Terminating":
            detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            return [v.invalid_value("status.Phase", phase, detail)]
        if not deleting and phase != "Active":
            return [v.invalid_value("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")]
        return []

    def _prepare_to_finalize(self, write: Write, new: Object, old: Object) -> None:
        keep(new, old, "status")

    def _validate_finalizers(self, new: Object, old: Object) -> v.Errors:
        return _check_finalizers(new, "spec.finalizers[{}]")

    def is_held(self, obj: Object) -> bool:
        return bool(obj["metadata"].get("finalizers") or (obj.get("spec") or {}).get("finalizers"))

    def mark_deleting(self, obj: Object) -> None:
        obj["metadata"].pop("deletionGracePeriodSeconds", None)
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}


def _check_finalizers(obj: Object, field: str) -> v.Errors:
    """field: `{}` stands for the finalizer's place."""
    return [
        v.invalid_value(field.format(index), finalizer, problem)
        for index, finalizer in enumerate((obj.get("spec") or {}).get("finalizers") or ())
        for problem in _finalizer_problems(finalizer)
    ]


def _finalizer_problems(finalizer: str) -> v.Problems:
    if problems := v.is_qualified_name(finalizer):
        return problems
    if "/" not in finalizer and finalizer != FINALIZER:
        return ("name is neither a standard finalizer name nor is it fully qualified",)
    return ()


def _label(obj: Object) -> None:
    """Every namespace can be selected by its name."""
    metadata = obj["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), NAME_LABEL: metadata.get("name", "")}
