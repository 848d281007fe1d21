"""Pods: what is derived at creation, what may still change afterwards, how long one may linger when deleted."""

from __future__ import annotations

from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry.environment import Environment, Write, encode_json
from kubecore.apiserver.registry.strategies import pod_scheduling, pod_spec, pod_update, pod_warnings
from kubecore.apiserver.registry.strategies.pod_qos import quality_of_service
from kubecore.apiserver.registry.strategy import Strategy, UpdateRule

SOUND_SPECS_MAX = 256
"""Specs remembered as sound, some 2 KB each; at the bound all are forgotten."""


class PodStrategy(Strategy):
    def __init__(self, resource: Resource, environment: Environment) -> None:
        super().__init__(resource, environment)
        self._sound_specs: set[bytes] = set()
        self.updates["ephemeralcontainers"] = UpdateRule(
            pod_update.prepare_for_ephemeral_containers, pod_update.validate_ephemeral_containers_update
        )
        self.updates["resize"] = UpdateRule(pod_update.prepare_for_resize, pod_update.validate_resize)

    def prepare_for_create(self, write: Write, obj: Object) -> None:
        obj["metadata"]["generation"] = 1
        spec = obj.get("spec") or {}
        pod_scheduling.merge_label_keys(spec, obj["metadata"].get("labels") or {})
        status: Object = {"phase": "Pending", "qosClass": quality_of_service(spec)}
        if spec.get("schedulingGates"):
            status["conditions"] = [
                {
                    "lastProbeTime": None,
                    "lastTransitionTime": None,
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                    "reason": "SchedulingGated",
                    "status": "False",
                    "type": "PodScheduled",
                }
            ]
        obj["status"] = status

    def validate(self, obj: Object) -> v.Errors:
        """What is right with one pod of a template is right with the next: an equal spec is not looked at again."""
        spec = obj.get("spec") or {}
        encoded = encode_json(spec)
        if encoded in self._sound_specs:
            return []
        errors = pod_spec.validate(spec, "spec")
        if not errors:
            if len(self._sound_specs) >= SOUND_SPECS_MAX:
                self._sound_specs.clear()
            self._sound_specs.add(encoded)
        return errors

    def warnings(self, obj: Object) -> list[str]:
        name = obj["metadata"].get("name", "")
        return pod_warnings.of_name(name) + pod_warnings.of_spec(obj.get("spec") or {}, "spec")

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        return pod_update.validate(new, old)

    def prepare_for_status_update(self, write: Write, new: Object, old: Object) -> None:
        new["spec"] = old["spec"]
        metadata, before = new["metadata"], old["metadata"]
        if "ownerReferences" in before:
            metadata["ownerReferences"] = before["ownerReferences"]
        else:
            metadata.pop("ownerReferences", None)
        status = new.get("status") or {}
        if not status.get("qosClass") and (qos_class := (old.get("status") or {}).get("qosClass")):
            new["status"] = {**status, "qosClass": qos_class}

    def validate_status_update(self, new: Object, old: Object) -> v.Errors:
        return pod_update.validate_status(new, old)

    def grace_period_seconds(self, obj: Object, asked: int | None) -> int:
        """Nothing waits for a pod that runs nowhere, or no longer."""
        spec = obj["spec"]
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        if asked is None:
            asked = spec.get("terminationGracePeriodSeconds", 0)
        return 1 if asked < 0 else asked
