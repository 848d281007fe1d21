"""Security contexts: the pod's and the container's made one, in the runtime's terms; what the node refuses.

In: a pod, a container, the image's user. Out: `ContainerSecurity`, `SandboxSecurity`, sysctls. Pure.
Source: https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
"""

from __future__ import annotations

import functools
import glob
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kubecore.api.meta import Object
from kubecore.kubelet.resources import all_containers
from kubecore.kubelet.runtimes.protocol import (
    Capabilities,
    ContainerSecurity,
    NamespaceMode,
    NamespaceOptions,
    SandboxSecurity,
)

USER_ID_MAX = 2**31 - 1

_FROM_POD = ("runAsUser", "runAsGroup", "runAsNonRoot")
"""What a container takes from its pod unless it says otherwise."""

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_THERMAL = "/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle"

SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
)
SYSCTL_FORBIDDEN = "SysctlForbidden"
_IPC_SYSCTLS = ("kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.")


class SecurityRefusal(Exception):
    """The container may not run as it would. The message is upstream's."""


def effective(pod: Object, container: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container's security context with what it takes from the pod's."""
    of_pod = pod["spec"].get("securityContext") or {}
    of_container = container.get("securityContext") or {}
    merged = {name: of_pod[name] for name in _FROM_POD if of_pod.get(name) is not None}
    merged.update({name: value for name, value in of_container.items() if value is not None})
    return merged


def formatted(pod: Object) -> str:
    """A pod in messages: `name_namespace(uid)`."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata.get('namespace', '')}({metadata.get('uid', '')})"


def verify_run_as_non_root(
    pod: Object, container: Mapping[str, Any], *, image_uid: int | None, image_user: str
) -> None:
    """Raises SecurityRefusal if the container promises not to be root and would be, or might."""
    context = effective(pod, container)
    if not context.get("runAsNonRoot"):
        return
    where = f'(pod: "{formatted(pod)}", container: {container["name"]})'
    if "runAsUser" in context:
        if context["runAsUser"] == 0:
            raise SecurityRefusal(f"container's runAsUser breaks non-root policy {where}")
        return
    if image_uid is None and image_user:
        raise SecurityRefusal(
            f"container has runAsNonRoot and image has non-numeric user ({image_user}), "
            f"cannot verify user is non-root {where}"
        )
    if image_uid == 0 or (image_uid is None and not image_user):
        raise SecurityRefusal(f"container has runAsNonRoot and image will run as root {where}")
    if image_uid is not None and not 0 <= image_uid <= USER_ID_MAX:
        raise SecurityRefusal(
            f"container has runAsNonRoot and image has an invalid user id ({image_uid}). (Must be 1-({USER_ID_MAX})): "
            f"must be between 0 and {USER_ID_MAX}, inclusive {where}"
        )


# ── in the runtime's terms ──


def namespaces(pod: Object) -> NamespaceOptions:
    spec = pod["spec"]
    pid = NamespaceMode.CONTAINER
    if spec.get("hostPID"):
        pid = NamespaceMode.NODE
    elif spec.get("shareProcessNamespace"):
        pid = NamespaceMode.POD
    return NamespaceOptions(
        network=NamespaceMode.NODE if spec.get("hostNetwork") else NamespaceMode.POD,
        ipc=NamespaceMode.NODE if spec.get("hostIPC") else NamespaceMode.POD,
        pid=pid,
    )


def supplemental_groups(pod: Object) -> tuple[int, ...]:
    """fsGroup first, then the groups that the pod names."""
    context = pod["spec"].get("securityContext") or {}
    groups = [context["fsGroup"]] if context.get("fsGroup") is not None else []
    return (*groups, *(context.get("supplementalGroups") or ()))


def groups_policy(pod: Object) -> str:
    """`Merge`: the image's own groups too. `Strict`: only what the pod names."""
    return (pod["spec"].get("securityContext") or {}).get("supplementalGroupsPolicy") or "Merge"


def container_security(
    pod: Object,
    container: Mapping[str, Any],
    *,
    image_uid: int | None = None,
    image_user: str = "",
    target_id: str = "",
) -> ContainerSecurity:
    """`target_id`: the container whose process namespace an ephemeral container joins."""
    context = effective(pod, container)
    capabilities = context.get("capabilities") or {}
    options = namespaces(pod)
    if target_id and options.pid is NamespaceMode.CONTAINER:
        options = msgspec.structs.replace(options, pid=NamespaceMode.TARGET, target_id=target_id)
    user: int | None = context.get("runAsUser", image_uid)
    is_unmasked = context.get("procMount") == "Unmasked"
    return ContainerSecurity(
        capabilities=Capabilities(add=tuple(capabilities.get("add") or ()), drop=tuple(capabilities.get("drop") or ())),
        privileged=bool(context.get("privileged")),
        namespaces=options,
        run_as_user=user,
        run_as_group=context.get("runAsGroup"),
        run_as_username="" if "runAsUser" in context else image_user,
        readonly_rootfs=bool(context.get("readOnlyRootFilesystem")),
        supplemental_groups=supplemental_groups(pod),
        supplemental_groups_policy=groups_policy(pod),
        no_new_privs=context.get("allowPrivilegeEscalation") is False,
        masked_paths=() if is_unmasked else masked_paths(),
        readonly_paths=() if is_unmasked else READONLY_PATHS,
    )


def sandbox_security(pod: Object) -> SandboxSecurity:
    return SandboxSecurity(
        namespaces=namespaces(pod),
        supplemental_groups=supplemental_groups(pod),
        privileged=any((each.get("securityContext") or {}).get("privileged") for each in all_containers(pod)),
    )


@functools.cache
def masked_paths() -> tuple[str, ...]:
    """Upstream's, with each CPU's thermal figures where the kernel has them."""
    return (*MASKED_PATHS, *sorted(glob.glob(_THERMAL)))


# ── sysctls ──


def sysctls(pod: Object) -> dict[str, str]:
    context = pod["spec"].get("securityContext") or {}
    return {each["name"]: each["value"] for each in context.get("sysctls") or ()}


def forbidden_sysctl(pod: Object, *, allowed_unsafe: Iterable[str] = ()) -> str:
    """Why the node refuses the pod (reason SysctlForbidden), or nothing. `allowed_unsafe`: names, or prefixes ending in `*`."""
    spec = pod["spec"]
    allowed = (*SAFE_SYSCTLS, *(each.replace("/", ".") for each in allowed_unsafe))
    for given in sysctls(pod):
        name = given.replace("/", ".")
        if not any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in allowed):
            return f'forbidden sysctl: "{name}" not allowlisted'
        if spec.get("hostIPC") and name.startswith(_IPC_SYSCTLS):
            return f'forbidden sysctl: "{name}" not allowed with host ipc enabled'
        if spec.get("hostNetwork") and name.startswith("net."):
            return f'forbidden sysctl: "{name}" not allowed with host net enabled'
    return ""
