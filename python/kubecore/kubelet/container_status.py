"""What a pod's status says of its containers: waiting, running or terminated, and what was before. Pure.

In: the pod, the runtime's containers, why containers wait (from their failed starts), the status before. Out: the
three lists of ContainerStatus. Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-states
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubecore.api.meta import Object, timestamp
from kubecore.kubelet import pods
from kubecore.kubelet.plan import Observed
from kubecore.kubelet.pods import Kind
from kubecore.kubelet.runtimes.protocol import Container, ContainerState

STATUS_FIELD = {
    Kind.INIT: "initContainerStatuses",
    Kind.REGULAR: "containerStatuses",
    Kind.EPHEMERAL: "ephemeralContainerStatuses",
}

EXIT_CODE_UNKNOWN = 137

IMAGE_ANNOTATION = "kubecore.dev/container-image"
"""On a container: the image as its pod named it; the runtime is asked for what that was resolved to."""

Waiting = Mapping[str, tuple[str, str]]
"""Container's name → (reason, message) of why it could not be started."""

Messages = Callable[[Container], str]
"""The message of a container that ended: the runtime's, and what it left behind itself."""


def container_statuses(
    pod: Object, kind: Kind, observed: Observed, before: Object, *, runtime: str, waiting: Waiting, messages: Messages
) -> list[Object]:
    """One status for each container of that kind, in the spec's order for init containers, else by name. `before`: the
    pod's status until now. `ready` and `started` are left to the caller."""
    old = {each["name"]: each for each in before.get(STATUS_FIELD[kind]) or ()}
    made = [
        _status(pod, kind, container, observed, old.get(container["name"]), runtime, waiting, messages)
        for container in pods.containers(pod, kind)
    ]
    return made if kind is Kind.INIT else sorted(made, key=lambda each: str(each["name"]))


def _status(
    pod: Object,
    kind: Kind,
    container: Object,
    observed: Observed,
    old: Object | None,
    runtime: str,
    waiting: Waiting,
    messages: Messages,
) -> Object:
    runs = [each for each in observed.containers if each.metadata.name == container["name"]][:2]
    status = _from_runtime(container, runs, old, runtime, messages) if runs else _from_memory(pod, container, old)
    latest = runs[0] if runs else None
    if kind is Kind.INIT:
        if latest is not None and latest.state is ContainerState.EXITED and latest.exit_code == 0:
            return status
        if latest is None and _was_initialized(pod, observed, container, status):
            message = (
                "Unable to get init container status from container runtime and pod has been initialized, "
                "treat it as exited normally"
            )
            status["state"] = {"terminated": {"exitCode": 0, "reason": "Completed", "message": message}}
            return status
    why = waiting.get(container["name"])
    if why is not None and pods.should_start(pod, container, latest):
        if "terminated" in status["state"]:
            status["lastState"] = status["state"]
        status["state"] = {"waiting": _without_empty({"reason": why[0], "message": why[1]})}
    return status


def _was_initialized(pod: Object, observed: Observed, container: Object, status: Object) -> bool:
    created = any(observed.latest(each["name"]) is not None for each in pods.containers(pod, Kind.REGULAR))
    return created and not pods.is_sidecar(container) and "waiting" in status["state"]


def _without_empty(fields: Mapping[str, Any]) -> Object:
    return {name: value for name, value in fields.items() if value not in ("", None)}


def _base(container: Object) -> Object:
    status: Object = {"name": container["name"], "image": container.get("image", ""), "imageID": "", "restartCount": 0}
    status |= {"state": {}, "lastState": {}}
    mounts = container.get("volumeMounts")
    if mounts:
        status["volumeMounts"] = [_volume_mount(mount) for mount in mounts]
    return status


def _volume_mount(mount: Object) -> Object:
    said: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        recursive = mount.get("recursiveReadOnly") in ("Enabled", "IfPossible")
        said |= {"readOnly": True, "recursiveReadOnly": "Enabled" if recursive else "Disabled"}
    return said


def _from_runtime(
    container: Object, runs: Sequence[Container], old: Object | None, runtime: str, messages: Messages
) -> Object:
    latest = runs[0]
    status = _base(container)
    status |= {
        "image": latest.annotations.get(IMAGE_ANNOTATION) or latest.image,
        "imageID": latest.image_ref,
        "containerID": f"{runtime}://{latest.id}",
        "restartCount": latest.metadata.attempt,
        "state": _state(latest, old, runtime, messages),
    }
    if len(runs) > 1:
        status["lastState"] = _state(runs[1], None, runtime, messages)
    elif old is not None:
        status["lastState"] = _remembered(latest, old, runtime)
    _add_resources(status, container, latest)
    return status


def _remembered(latest: Container, old: Object, runtime: str) -> Object:
    """What the runtime has forgotten of the run before."""
    ended = (old.get("state") or {}).get("terminated")
    if ended and old.get("containerID") != f"{runtime}://{latest.id}":
        return {"terminated": ended}
    return dict(old.get("lastState") or {})


def _add_resources(status: Object, container: Object, latest: Container) -> None:
    resources = container.get("resources") or {}
    if resources.get("requests"):
        status["allocatedResources"] = resources["requests"]
    status["resources"] = {name: resources[name] for name in ("limits", "requests") if resources.get(name)}
    if latest.user is not None:
        user: Object = {"uid": latest.user.uid, "gid": latest.user.gid}
        user["supplementalGroups"] = list(latest.user.supplemental_groups)
        status["user"] = {"linux": user}
    if (container.get("lifecycle") or {}).get("stopSignal"):
        status["stopSignal"] = container["lifecycle"]["stopSignal"]


def _state(seen: Container, old: Object | None, runtime: str, messages: Messages) -> Object:
    if seen.state is ContainerState.RUNNING:
        return {"running": {"startedAt": timestamp(seen.started_at / 1e9)}}
    if seen.state is ContainerState.EXITED:
        return {"terminated": _terminated(seen, runtime, messages)}
    if seen.state is ContainerState.UNKNOWN and old is not None and "running" in (old.get("state") or {}):
        message = "The container could not be located when the pod was terminated"
        return {"terminated": _lost(message)}
    return {"waiting": {}}


def _terminated(seen: Container, runtime: str, messages: Messages) -> Object:
    reason = seen.reason or ("Completed" if seen.exit_code == 0 else "Error")
    return _without_empty(
        {
            "exitCode": seen.exit_code,
            "reason": reason,
            "message": messages(seen),
            # One that never ran has upstream's zero time.
            "startedAt": timestamp(seen.started_at / 1e9),
            "finishedAt": timestamp(seen.finished_at / 1e9),
            "containerID": f"{runtime}://{seen.id}",
        }
    )


def _lost(message: str) -> Object:
    return {"exitCode": EXIT_CODE_UNKNOWN, "reason": "ContainerStatusUnknown", "message": message}


def _from_memory(pod: Object, container: Object, old: Object | None) -> Object:
    """The runtime knows no container of that name: it has not been made yet, or has been forgotten."""
    status = _base(container)
    if old is not None and "terminated" in (old.get("state") or {}):
        return {**old, "lastState": old.get("lastState") or {}}
    reason = "PodInitializing" if pods.containers(pod, Kind.INIT) else "ContainerCreating"
    status["state"] = {"waiting": {"reason": reason}}
    if old is None:
        return status
    status["restartCount"] = old.get("restartCount", 0)
    status["lastState"] = old.get("lastState") or {}
    if "running" in (old.get("state") or {}) and "terminated" not in status["lastState"]:
        message = "The container could not be located when the pod was deleted.  The container used to be Running"
        status["lastState"] = {"terminated": _lost(message)}
        if not pod["metadata"].get("deletionTimestamp"):
            status["restartCount"] += 1
    return status


def attempts_told(status: Object, name: str) -> int:
    """How often a container has run, as far as the pod's status tells."""
    for field in STATUS_FIELD.values():
        for each in status.get(field) or ():
            if each["name"] == name:
                last = "terminated" in (each.get("lastState") or {})
                ran = last or "waiting" not in (each.get("state") or {"waiting": {}})
                return int(each.get("restartCount", 0)) + (1 if ran else 0)
    return 0


def ended_for_good(statuses: Sequence[Object]) -> list[Object]:
    """For a pod that has ended: whoever is not known to have ended is said to have been lost."""
    message = "The container could not be located when the pod was terminated"
    gone = {"state": {"terminated": _lost(message)}, "ready": False, "started": False}
    return [status if "terminated" in status["state"] else {**status, **gone} for status in statuses]
