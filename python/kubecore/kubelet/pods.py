"""What the kubelet asks of a pod as it is written: its containers of all kinds, restart policies, names, hashes. Pure.

An init container with restartPolicy Always is a sidecar: it starts in the order of init containers, and stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from kubecore.api.meta import Object
from kubecore.kubelet.runtimes.protocol import Container, ContainerState

CONFIG_SOURCE = "kubernetes.io/config.source"
CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_MIRROR = "kubernetes.io/config.mirror"
CONFIG_SEEN = "kubernetes.io/config.seen"

GRACE_SECONDS_DEFAULT = 30
GRACE_SECONDS_MIN = 2
"""A container always gets this long between the stop signal and the kill."""


class Kind(StrEnum):
    """The list of the pod's spec that a container is in."""

    INIT = "initContainers"
    REGULAR = "containers"
    EPHEMERAL = "ephemeralContainers"


def annotations_of(pod: Object) -> Mapping[str, str]:
    return pod["metadata"].get("annotations") or {}


def is_mirror(pod: Object) -> bool:
    return CONFIG_MIRROR in annotations_of(pod)


def is_static(pod: Object) -> bool:
    """From a file. Its mirror carries the same annotations and one more."""
    return annotations_of(pod).get(CONFIG_SOURCE, "api") != "api" and not is_mirror(pod)


def title(pod: Object) -> str:
    """`web_default(uid)`: as upstream's messages name a pod."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"


def containers(pod: Object, kind: Kind) -> list[Object]:
    return pod["spec"].get(kind.value) or []


def all_containers(pod: Object) -> Iterator[tuple[Kind, Object]]:
    for kind in Kind:
        for container in containers(pod, kind):
            yield kind, container


def find_container(pod: Object, name: str) -> tuple[Kind, Object] | None:
    return next(((kind, each) for kind, each in all_containers(pod) if each["name"] == name), None)


def is_sidecar(container: Object) -> bool:
    """Of an init container."""
    return container.get("restartPolicy") == "Always"


def has_sidecars(pod: Object) -> bool:
    return any(is_sidecar(each) for each in containers(pod, Kind.INIT))


def on_host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def field_path(pod: Object, container: Object) -> str:
    """`spec.containers{app}`: the part of the pod that an event is about."""
    found = find_container(pod, container["name"])
    return f"spec.{found[0].value}{{{container['name']}}}" if found else ""


def restart_policy(pod: Object) -> str:
    return str(pod["spec"].get("restartPolicy") or "Always")


def restarts_after(pod: Object, container: Object, exit_code: int) -> bool:
    """Whether a container that ended so is started again: its own rules, its own policy, the pod's policy."""
    own = container.get("restartPolicy")
    if own:
        for rule in container.get("restartPolicyRules") or ():
            codes = rule.get("exitCodes") or {}
            listed = exit_code in (codes.get("values") or ())
            if listed == (codes.get("operator") == "In") and rule.get("action") == "Restart":
                return True
    policy = own or restart_policy(pod)
    return bool(policy == "Always" or (policy == "OnFailure" and exit_code != 0))


def restarts_when_killed(pod: Object, container: Object) -> bool:
    """Whether a container that the kubelet kills (a failed probe) is started again."""
    return bool((container.get("restartPolicy") or restart_policy(pod)) != "Never")


def should_start(pod: Object, container: Object, latest: Container | None) -> bool:
    """Whether a container that does not run is to be started. Nothing starts in a pod that is being deleted."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    if latest is None or latest.state in (ContainerState.UNKNOWN, ContainerState.CREATED):
        return True
    if latest.state is ContainerState.RUNNING:
        return False
    return restarts_after(pod, container, latest.exit_code)


def is_failed_init(latest: Container) -> bool:
    if latest.reason == "OOMKilled" or latest.state is ContainerState.UNKNOWN:
        return True
    return latest.state is ContainerState.EXITED and latest.exit_code != 0


def grace_seconds(pod: Object) -> int:
    """How long the pod's containers have to end."""
    deletion = pod["metadata"].get("deletionGracePeriodSeconds")
    if deletion is not None:
        return int(deletion)
    own = pod["spec"].get("terminationGracePeriodSeconds")
    return int(own) if own is not None else GRACE_SECONDS_DEFAULT


def container_hash(container: Object) -> str:
    """Says whether a running container is still what the pod asks for. As upstream's: name and image only, since
    nothing else of a running pod's container may change but by a resize."""
    text = json.dumps({"image": container.get("image", ""), "name": container["name"]}, separators=(",", ":"))
    return f"{_fnv1a(text.encode()):x}"


def _fnv1a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def pod_hash(pod: Any) -> str:
    """Of a static pod's content: 32 digits, used as its uid too."""
    text = json.dumps(pod, sort_keys=True, separators=(",", ":")).encode()
    return "".join(f"{_fnv1a(bytes([salt]) + text):08x}" for salt in range(4))
