"""AlwaysPullImages (off by default): every image is pulled with the pod's own credentials, never taken from what a node
holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubecore.api.meta import Object
from kubecore.apiserver.access.admission.refusal import is_pod, refusal
from kubecore.apiserver.registry.admission import AdmissionRequest, BasePlugin

ALWAYS = "Always"
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


class AlwaysPullImages(BasePlugin):
    name = "AlwaysPullImages"

    def mutate(self, request: AdmissionRequest) -> None:
        if request.object is not None and _concerned(request):
            for holder, field, _ in _pull_policies(request.object):
                holder[field] = ALWAYS

    def validate(self, request: AdmissionRequest) -> None:
        if request.object is None or not _concerned(request):
            return
        wrong = [
            f'{path}: Unsupported value: "{holder.get(field, "")}": supported values: "{ALWAYS}"'
            for holder, field, path in _pull_policies(request.object)
            if holder.get(field) != ALWAYS
        ]
        if wrong:
            raise refusal(request, wrong[0] if len(wrong) == 1 else "[" + ", ".join(wrong) + "]")


def _concerned(request: AdmissionRequest) -> bool:
    """New pods, and updates that bring another image: an old pod must stay updatable."""
    if not is_pod(request):
        return False
    if request.operation == "CREATE":
        return True
    if request.operation != "UPDATE" or request.object is None or request.old_object is None:
        return False
    return not set(_images(request.object)) <= set(_images(request.old_object))


def _images(pod: Object) -> Iterator[str]:
    for containers in _CONTAINER_LISTS:
        for container in pod["spec"].get(containers) or ():
            yield container.get("image", "")
    for volume in pod["spec"].get("volumes") or ():
        if "image" in volume:
            yield volume["image"].get("reference", "")


def _pull_policies(pod: Object) -> Iterator[tuple[dict[str, Any], str, str]]:
    """(what holds the policy, its field, the field's path) of every container and image volume."""
    for containers in _CONTAINER_LISTS:
        for index, container in enumerate(pod["spec"].get(containers) or ()):
            yield container, "imagePullPolicy", f"spec.{containers}[{index}].imagePullPolicy"
    for index, volume in enumerate(pod["spec"].get("volumes") or ()):
        if "image" in volume:
            yield volume["image"], "pullPolicy", f"spec.volumes[{index}].image.pullPolicy"
