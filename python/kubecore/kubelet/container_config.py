"""From a pod and one of its containers to what the runtime is asked to make.

In: the pod, what the worker knows of the container to come, the pod's mounted volumes, the node's facts. Out:
`SandboxConfig` and `ContainerConfig`, complete. What cannot be made is a ConfigurationFailure: the container waits with
CreateContainerConfigError and upstream's words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from kubecore.api.meta import Object
from kubecore.kubelet.environment import Around, Environment, expand_command, expand_with
from kubecore.kubelet.pod_cgroups import PodCgroups
from kubecore.kubelet.resources import Enforcement, container_resources
from kubecore.kubelet.runtimes.protocol import (
    ContainerConfig,
    ContainerMetadata,
    LinuxResources,
    Mount,
    MountPropagation,
    SandboxConfig,
)
from kubecore.kubelet.seams import ConfigurationFailure, ContainerContext
from kubecore.kubelet.security import (
    SecurityRefusal,
    container_security,
    sandbox_security,
    sysctls,
    verify_run_as_non_root,
)
from kubecore.kubelet.volumes import SubPathFailure, VolumeManager
from kubecore.kubelet.volumes.manager import WRITTEN, kind_of

log = logging.getLogger(__name__)

ETC_HOSTS = "/etc/hosts"

PROPAGATIONS = {
    "None": MountPropagation.PRIVATE,
    "HostToContainer": MountPropagation.HOST_TO_CONTAINER,
    "Bidirectional": MountPropagation.BIDIRECTIONAL,
}


class ContainerSettings:
    """The `ContainerSettings` of the kubelet's seams. `cgroups` None: a machine without, nothing is limited."""

    def __init__(
        self,
        *,
        environment: Environment,
        volumes: VolumeManager,
        cgroups: PodCgroups | None,
        enforcement: Enforcement,
        allocatable: Callable[[], Mapping[str, Any] | None],
    ) -> None:
        self._environment = environment
        self._volumes = volumes
        self._cgroups = cgroups
        self._enforcement = enforcement
        self._allocatable = allocatable

    async def prepare(self, pod: Object, sandbox: SandboxConfig) -> SandboxConfig:
        parent = ""
        if self._cgroups is not None:
            try:
                parent = self._cgroups.ensure(pod)
            except OSError as failure:
                raise ConfigurationFailure(f"unable to ensure pod container exists: {failure}") from failure
        return msgspec.structs.replace(
            sandbox, security=sandbox_security(pod), sysctls=sysctls(pod), cgroup_parent=parent
        )

    async def container(self, pod: Object, container: Object, context: ContainerContext) -> ContainerConfig:
        uid, user = context.image.uid, context.image.username
        if uid is None and not user:
            uid = 0  # An image that names nobody runs as root.
        try:
            verify_run_as_non_root(pod, container, image_uid=uid, image_user=user)
        except SecurityRefusal as refusal:
            raise ConfigurationFailure(str(refusal)) from refusal
        around = Around(
            pod_ips=context.pod_ips,
            host_ips=context.host_ips,
            allocatable=self._allocatable(),
            read_file=lambda volume, path: self._volumes.read_file(pod, volume, path),
        )
        pairs = await self._environment.of(pod, container, around)
        variables = dict(pairs)
        command, arguments = expand_command(container, variables)
        return ContainerConfig(
            metadata=ContainerMetadata(name=container["name"], attempt=context.attempt),
            image=context.image_ref,
            command=command,
            args=arguments,
            working_dir=container.get("workingDir") or "",
            envs=tuple(pairs),
            mounts=(*self._mounts(pod, container, variables), *_added(container, context.mounts)),
            labels=context.labels,
            annotations=context.annotations,
            log_path=context.log_path,
            stdin=bool(container.get("stdin")),
            stdin_once=bool(container.get("stdinOnce")),
            tty=bool(container.get("tty")),
            resources=container_resources(pod, container, self._enforcement),
            security=container_security(pod, container, image_uid=uid, image_user=user, target_id=context.target_id),
        )

    def resources(self, pod: Object, container: Object) -> LinuxResources:
        return container_resources(pod, container, self._enforcement)

    async def resize(self, pod: Object) -> None:
        if self._cgroups is not None:
            self._cgroups.ensure(pod)

    async def container_stopped(self, uid: str, container_id: str) -> None:
        """Nothing: parts of volumes are mounted per container name and serve its next attempt; they go with the pod."""

    async def release(self, uid: str) -> None:
        if self._cgroups is not None and not await asyncio.to_thread(self._cgroups.remove, uid):
            log.warning("the cgroup of pod %s is still in use", uid)

    # ── mounts ──

    def _mounts(self, pod: Object, container: Object, variables: Mapping[str, str]) -> list[Mount]:
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        mounts = []
        for index, wanted in enumerate(container.get("volumeMounts") or ()):
            place = self._place(pod, container, wanted, index, variables)
            readonly = bool(wanted.get("readOnly")) or kind_of(volumes[wanted["name"]]) in WRITTEN
            mounts.append(
                Mount(
                    container_path=_absolute(wanted["mountPath"]),
                    host_path=str(place),
                    readonly=readonly,
                    recursive_read_only=wanted.get("recursiveReadOnly") in ("Enabled", "IfPossible"),
                    propagation=PROPAGATIONS[wanted.get("mountPropagation") or "None"],
                )
            )
        return mounts

    def _place(
        self, pod: Object, container: Object, wanted: Mapping[str, Any], index: int, variables: Mapping[str, str]
    ) -> Path:
        name = wanted["name"]
        try:
            place = self._volumes.path(pod, name)
        except KeyError:
            raise ConfigurationFailure(
                f'cannot find volume "{name}" to mount into container "{container["name"]}"'
            ) from None
        part = wanted.get("subPath") or ""
        if wanted.get("subPathExpr"):
            part = _expanded(wanted["subPathExpr"], variables)
        if not part:
            return place
        try:
            return self._volumes.bind_part(pod, name=name, path=part, container=container["name"], index=index)
        except SubPathFailure as failure:
            raise ConfigurationFailure(str(failure)) from failure
        except OSError as failure:
            # What exactly is wrong is for the node's log: it could tell the pod's owner about the node's files.
            log.warning("subPath of pod %s: %s", pod["metadata"]["uid"], failure)
            raise ConfigurationFailure(
                f'failed to prepare subPath for volumeMount "{name}" of container "{container["name"]}"'
            ) from failure


def _expanded(expression: str, variables: Mapping[str, str]) -> str:
    """Every variable must have a value."""
    missing: set[str] = set()

    def value_of(name: str) -> str:
        value = variables.get(name, "")
        if not value:
            missing.add(name)
        return value

    text = expand_with(expression, value_of)
    if missing:
        raise ConfigurationFailure(f"missing value for {', '.join(sorted(missing))}")
    return text


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _added(container: Object, mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """The kubelet's own mounts, but for /etc/hosts where the container brings its own."""
    own = {wanted["mountPath"] for wanted in container.get("volumeMounts") or ()}
    return tuple(mount for mount in mounts if mount.container_path != ETC_HOSTS or ETC_HOSTS not in own)
