"""RuntimeClass: a pod names a class that exists, and takes its overhead and its scheduling rules.

Source: https://kubernetes.io/docs/concepts/containers/runtime-class/
"""

from __future__ import annotations

from typing import Any

from kubecore.api import quantity, scheme
from kubecore.api.meta import Object
from kubecore.apiserver.access.admission.refusal import is_pod, refusal
from kubecore.apiserver.registry.admission import AdmissionRequest, BasePlugin


class RuntimeClass(BasePlugin):
    name = "RuntimeClass"

    def mutate(self, request: AdmissionRequest) -> None:
        if (pod := _created_pod(request)) is None or (found := _class_of(request, pod)) is None:
            return
        spec = pod["spec"]
        if overhead := _overhead_of(found):
            if spec.get("overhead") and not _same(spec["overhead"], overhead):
                raise refusal(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = overhead
        scheduling = found.get("scheduling") or {}
        if wanted := scheduling.get("nodeSelector"):
            spec["nodeSelector"] = _merged_selector(request, spec.get("nodeSelector") or {}, wanted)
        given = spec.get("tolerations") or []
        added = [each for each in scheduling.get("tolerations") or () if each not in given]
        if added:
            spec["tolerations"] = [*given, *added]

    def validate(self, request: AdmissionRequest) -> None:
        if (pod := _created_pod(request)) is None:
            return
        found = _class_of(request, pod)
        wanted, given = _overhead_of(found) if found else {}, pod["spec"].get("overhead")
        if wanted and not _same(given or {}, wanted):
            raise refusal(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
        if given is not None and not wanted:
            why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            raise refusal(request, why)


def _created_pod(request: AdmissionRequest) -> Object | None:
    return request.object if request.operation == "CREATE" and is_pod(request) else None


def _class_of(request: AdmissionRequest, pod: Object) -> Object | None:
    name = pod["spec"].get("runtimeClassName")
    if name is None:
        return None
    found = request.storage.get(scheme.resource("node.k8s.io", "v1", "runtimeclasses"), "", name)
    if found is None:
        raise refusal(request, f'pod rejected: RuntimeClass "{name}" not found')
    return found


def _overhead_of(runtime_class: Object) -> dict[str, Any]:
    return dict((runtime_class.get("overhead") or {}).get("podFixed") or {})


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """By value: 1000m is 1."""
    return one.keys() == other.keys() and all(quantity.of(one[name]) == quantity.of(other[name]) for name in one)


def _merged_selector(request: AdmissionRequest, given: dict[str, str], wanted: dict[str, str]) -> dict[str, str]:
    for key, value in wanted.items():
        if given.get(key, value) != value:
            raise refusal(
                request,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {given[key]}",
            )
    return {**given, **wanted}
