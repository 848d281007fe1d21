"""pods/binding, and its older form bindings: the scheduler's decision becomes `spec.nodeName`."""

from __future__ import annotations

from typing import Any

from kubecore.api import errors
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry import answers, requests
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.request import Request

_SUCCESS = answers.success(code=201)


def create(request: Request) -> Result:
    call = request.call
    options = requests.write_options(call)
    binding = requests.read_object(call, "", "v1", "Binding", options, request.warnings)
    metadata = binding.get("metadata") or {}
    if metadata.get("namespace", call.namespace) != call.namespace:
        raise errors.BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    name = call.name or metadata.get("name", "")
    if metadata.get("name", "") not in ("", name) or not name:
        raise errors.BadRequest("name in URL does not match name in Binding object")
    _validate(binding)
    store = request.store_for("", "v1", "pods")
    write = request.write(options)
    write.name, write.subresource = name, "binding"
    store.admit("CREATE", write, binding)
    store.rewrite(write, lambda pod: bind(pod, binding, request.environment.now()))
    return request.answer_other(_SUCCESS, 201)


def _validate(binding: Object) -> None:
    """Upstream tells these as plain errors, not as Invalid."""
    target = binding.get("target") or {}
    found: v.Errors = []
    if target.get("kind", "") not in ("", "Node"):
        found.append(v.unsupported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        found.append(v.required("target.name"))
    if found:
        raise errors.StatusError(", ".join(repr(error) for error in found), reason="")


def bind(pod: Object, binding: Object, now: str) -> Object:
    """The pod on its node. Raises Conflict if it cannot be bound (any more)."""
    metadata, spec = pod["metadata"], pod["spec"]
    name = metadata["name"]
    given = binding.get("metadata") or {}
    if given.get("uid") and given["uid"] != metadata["uid"]:
        raise errors.conflict(
            "pods/binding",
            "",
            name,
            f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {metadata['uid']}",
        )
    if "deletionTimestamp" in metadata:
        raise errors.conflict("pods/binding", "", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise errors.conflict("pods/binding", "", name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise errors.conflict("pods/binding", "", name, f"pod {name} has non-empty .spec.schedulingGates")
    bound_metadata = {**metadata}
    for key in ("annotations", "labels"):
        if given.get(key):
            bound_metadata[key] = {**(metadata.get(key) or {}), **given[key]}
    status = {**(pod.get("status") or {})}
    status.pop("nominatedNodeName", None)
    status["conditions"] = _scheduled(status.get("conditions") or [], now)
    return {
        **pod,
        "metadata": bound_metadata,
        "spec": {**spec, "nodeName": binding["target"]["name"]},
        "status": status,
    }


def _scheduled(conditions: list[dict[str, Any]], now: str) -> list[dict[str, Any]]:
    condition = {"lastProbeTime": None, "lastTransitionTime": now, "status": "True", "type": "PodScheduled"}
    for index, existing in enumerate(conditions):
        if existing["type"] == "PodScheduled":
            if existing.get("status") == "True":
                condition["lastTransitionTime"] = existing.get("lastTransitionTime", now)
            return [*conditions[:index], condition, *conditions[index + 1 :]]
    return [*conditions, condition]
