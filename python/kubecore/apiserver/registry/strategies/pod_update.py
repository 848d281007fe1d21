"""What may change of a pod that exists: its images, its deadline, more tolerations; its status; debug containers; its size."""

from __future__ import annotations

from typing import Any

from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry.environment import Write
from kubecore.apiserver.registry.strategies.pod_containers import (
    validate_ephemeral_containers,
    validate_resources,
)
from kubecore.apiserver.registry.strategies.pod_qos import quality_of_service
from kubecore.apiserver.registry.strategies.pod_scheduling import validate_tolerations
from kubecore.apiserver.registry.strategies.pod_spec import SECONDS_MAX
from kubecore.apiserver.registry.strategies.pod_volumes import validate_volumes
from kubecore.apiserver.registry.strategy import keep

_MUTABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_MIRROR = "kubernetes.io/config.mirror"


def validate(new: Object, old: Object) -> v.Errors:
    """An update of the pod itself."""
    errors = _validate_annotations(new, old)
    spec, before = new.get("spec") or {}, old["spec"]
    if spec == before:
        return errors
    for part in ("containers", "initContainers"):
        current, previous = spec.get(part) or [], before.get(part) or []
        if len(current) != len(previous):
            return [*errors, v.forbidden(f"spec.{part}", "pod updates may not add or remove containers")]
        for index, container in enumerate(current):
            image = container.get("image", "")
            field = f"spec.{part}[{index}].image"
            if not image:
                errors.append(v.required(field))
            elif image != image.strip():
                errors.append(v.invalid_value(field, image, "must not have leading or trailing whitespace"))
    errors += _validate_deadline(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    tolerations = spec.get("tolerations") or []
    if tolerations != (before.get("tolerations") or []):
        errors += _validate_added_tolerations(tolerations, before.get("tolerations") or [])
    if _without_mutable(spec, before) != before:
        changed = sorted(key for key in {*spec, *before} if spec.get(key) != before.get(key))
        errors.append(
            v.forbidden(
                "spec", f"pod updates may not change fields other than {_MUTABLE}\nchanged: {', '.join(changed)}"
            )
        )
    return errors


def _validate_annotations(new: Object, old: Object) -> v.Errors:
    after = new["metadata"].get("annotations") or {}
    before = old["metadata"].get("annotations") or {}
    if after.get(_MIRROR) == before.get(_MIRROR):
        return []
    verb = "remove or update" if _MIRROR in before else "add"
    return [v.forbidden(f"metadata.annotations[{_MIRROR}]", f"may not {verb} mirror pod annotation")]


def _validate_deadline(new: int | None, old: int | None) -> v.Errors:
    """It may appear, and shrink."""
    field = "spec.activeDeadlineSeconds"
    if new is None:
        if old is None:
            return []
        return [v.invalid_value(field, None, "must not update from a positive integer to nil value")]
    if not 0 <= new <= SECONDS_MAX:
        return [v.invalid_value(field, new, v.range_problem(0, SECONDS_MAX))]
    if old is not None and old < new:
        return [v.invalid_value(field, new, "must be less than or equal to previous value")]
    return []


def _validate_added_tolerations(new: list[dict[str, Any]], old: list[dict[str, Any]]) -> v.Errors:
    def timeless(toleration: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    kept = [timeless(toleration) for toleration in new]
    if any(timeless(toleration) not in kept for toleration in old):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        return [v.forbidden("spec.tolerations", detail)]
    return validate_tolerations(new, "spec.tolerations")


def _without_mutable(spec: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The new spec with the old values where change is allowed."""
    munged = {**spec}
    for part in ("containers", "initContainers"):
        if part in spec and part in before:
            munged[part] = [
                {**container, "image": previous.get("image", "")}
                for container, previous in zip(spec[part], before[part], strict=True)
            ]
    for key in ("activeDeadlineSeconds", "tolerations"):
        keep(munged, before, key)
    if before.get("terminationGracePeriodSeconds", 0) < 0 and munged.get("terminationGracePeriodSeconds") == 1:
        keep(munged, before, "terminationGracePeriodSeconds")
    if before.get("schedulingGates") and not before.get("nodeName"):
        _allow_while_gated(munged, before)
    return munged


def _allow_while_gated(munged: dict[str, Any], before: dict[str, Any]) -> None:
    """A gated pod may lose gates and gain node selectors."""
    gates = munged.get("schedulingGates") or []
    if all(gate in before["schedulingGates"] for gate in gates):
        keep(munged, before, "schedulingGates")
    previous, current = before.get("nodeSelector") or {}, munged.get("nodeSelector") or {}
    if all(current.get(key) == value for key, value in previous.items()):
        keep(munged, before, "nodeSelector")


# ───────────────────────────── status ─────────────────────────────


def validate_status(new: Object, old: Object) -> v.Errors:
    errors = _validate_annotations(new, old)
    status, before = new.get("status") or {}, old.get("status") or {}
    nominated = status.get("nominatedNodeName", "")
    if nominated and nominated != before.get("nominatedNodeName"):
        errors += v.check("status.nominatedNodeName", nominated, v.is_dns1123_subdomain)
    qos, qos_before = status.get("qosClass"), before.get("qosClass")
    if qos_before and qos != qos_before:
        errors.append(v.invalid_value("status.qosClass", qos, v.IMMUTABLE))
    policy = old["spec"].get("restartPolicy")
    if policy != "Always":
        for part in ("containerStatuses", "initContainerStatuses"):
            errors += _validate_transitions(status.get(part) or [], before.get(part) or [], part, policy)
    return errors


def _validate_transitions(
    new: list[dict[str, Any]], old: list[dict[str, Any]], part: str, policy: str | None
) -> v.Errors:
    """What ended for good stays ended."""
    errors: v.Errors = []
    by_name = {status.get("name"): status for status in new}
    for index, before in enumerate(old):
        ended = (before.get("state") or {}).get("terminated")
        if ended is None or (ended.get("exitCode", 0) != 0 and policy == "OnFailure"):
            continue
        after = by_name.get(before.get("name"))
        if after is not None and (after.get("state") or {}).get("terminated") is None:
            detail = "may not be transitioned to non-terminated state"
            errors.append(v.forbidden(f"status.{part}[{index}].state", detail))
    return errors


# ───────────────────────────── ephemeral containers ─────────────────────────────


def _count(new: Object, old: Object) -> None:
    if new["spec"] != old["spec"]:
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _keep_metadata(new: Object, old: Object) -> None:
    """Subresources of the spec leave labels and annotations alone."""
    for key in ("labels", "annotations", "finalizers", "ownerReferences"):
        keep(new["metadata"], old["metadata"], key)


def prepare_for_ephemeral_containers(write: Write, new: Object, old: Object) -> None:
    spec = {**old["spec"]}
    keep(spec, new.get("spec") or {}, "ephemeralContainers")
    new["spec"] = spec
    keep(new, old, "status")
    _keep_metadata(new, old)
    _count(new, old)


def validate_ephemeral_containers_update(new: Object, old: Object) -> v.Errors:
    spec, at = new["spec"], "spec.ephemeralContainers"
    current, previous = spec.get("ephemeralContainers") or [], old["spec"].get("ephemeralContainers") or []
    _, volumes = validate_volumes(spec.get("volumes") or [], "spec.volumes")
    others = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    errors = validate_ephemeral_containers(current, others, volumes, at)
    by_name = {container.get("name"): container for container in current}
    for before in previous:
        after = by_name.get(before["name"])
        if after is None:
            errors.append(v.forbidden(at, f'existing ephemeral containers "{before["name"]}" may not be removed\n'))
        elif after != before:
            errors.append(v.forbidden(at, f'existing ephemeral containers "{before["name"]}" may not be changed\n'))
    return errors


# ───────────────────────────── resize ─────────────────────────────


def prepare_for_resize(write: Write, new: Object, old: Object) -> None:
    """Only the containers' resources and resize policies change."""
    spec, before = new.get("spec") or {}, old["spec"]
    sized = {**before}
    for part in ("containers", "initContainers"):
        current, previous = spec.get(part) or [], before.get(part) or []
        if [container.get("name") for container in current] != [container["name"] for container in previous]:
            return  # validation refuses it
        if previous:
            sized[part] = [_resized(container, after) for container, after in zip(previous, current, strict=True)]
    new["spec"] = sized
    keep(new, old, "status")
    _keep_metadata(new, old)
    _count(new, old)


def _resized(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    container = {**before}
    for key in ("resources", "resizePolicy"):
        keep(container, after, key)
    return container


def validate_resize(new: Object, old: Object) -> v.Errors:
    spec, before = new.get("spec") or {}, old["spec"]
    errors: v.Errors = []
    for part in ("containers", "initContainers"):
        current, previous = spec.get(part) or [], before.get(part) or []
        if [container.get("name") for container in current] != [container["name"] for container in previous]:
            return [v.forbidden(f"spec.{part}", "containers may not be renamed or reordered on resize")]
        for index, container in enumerate(current):
            at = f"spec.{part}[{index}].resources"
            if resources := container.get("resources"):
                errors += validate_resources(resources, at)
            errors += _validate_kept_resources(container, previous[index], at)
    if not errors and quality_of_service(spec) != quality_of_service(before):
        errors.append(
            v.invalid_value("spec", quality_of_service(spec), "Pod QOS Class may not change as a result of resizing")
        )
    return errors


def _validate_kept_resources(container: dict[str, Any], before: dict[str, Any], at: str) -> v.Errors:
    """Only cpu and memory resize, and neither is removed."""
    errors: v.Errors = []
    for part in ("limits", "requests"):
        current = (container.get("resources") or {}).get(part) or {}
        previous = (before.get("resources") or {}).get(part) or {}
        for name in sorted({*current, *previous}):
            if name not in ("cpu", "memory") and current.get(name) != previous.get(name):
                errors.append(v.forbidden(f"{at}.{part}", "only cpu and memory resources are mutable"))
            elif name in previous and name not in current:
                errors.append(v.forbidden(f"{at}.{part}", f"resource {part} cannot be removed"))
    return errors
