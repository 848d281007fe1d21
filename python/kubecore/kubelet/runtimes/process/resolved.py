"""What a container is, once its configuration, its image and its sandbox are taken together. Pure."""

from __future__ import annotations

import os
import signal
import time

import msgspec

from kubecore.kubelet.runtimes.process import capabilities
from kubecore.kubelet.runtimes.process.images import StoredImage
from kubecore.kubelet.runtimes.process.records import ContainerRecord, SandboxRecord
from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerConfig,
    ContainerState,
    LinuxResources,
    RuntimeCode,
    RuntimeFailure,
)


def resolve(
    container_id: str, sandbox: SandboxRecord, config: ContainerConfig, image: StoredImage, layers: tuple[str, ...]
) -> ContainerRecord:
    """A created container. Fails with INVALID_ARGUMENT for what no container can be made of."""
    _check_capabilities(config)
    command = config.command or image.entrypoint
    args = config.args if config.args or config.command else image.command
    if not command and not args:
        raise RuntimeFailure(RuntimeCode.INVALID_ARGUMENT, "failed to generate spec: no command specified")
    environment: list[tuple[str, str]] = [*image.environment]
    if sandbox.config.hostname:
        environment.append(("HOSTNAME", sandbox.config.hostname))
    stop_signal = config.stop_signal or image.stop_signal or "SIGTERM"
    directory = sandbox.config.log_directory
    container = Container(
        id=container_id,
        sandbox_id=sandbox.sandbox.id,
        metadata=config.metadata,
        state=ContainerState.CREATED,
        created_at=time.time_ns(),
        image=config.image,
        image_ref=image.digests[0] if image.digests else image.id,
        image_id=image.id,
        labels=config.labels,
        annotations=config.annotations,
        mounts=config.mounts,
        log_path=os.path.join(directory, config.log_path) if directory and config.log_path else "",
        resources=config.resources,
        stop_signal=stop_signal,
    )
    return ContainerRecord(
        container=container,
        config=config,
        cgroup=f"{sandbox.cgroup}/{container_id}",
        layers=layers,
        argv=(*command, *args),
        environment=(*environment, *config.envs),
        user=_user(config, image),
        working_dir=config.working_dir or image.working_dir or "/",
        stop_signal=_signal_number(stop_signal),
    )


def _user(config: ContainerConfig, image: StoredImage) -> str:
    security = config.security
    if security.run_as_user is not None:
        return str(security.run_as_user)
    return security.run_as_username or image.user


def _check_capabilities(config: ContainerConfig) -> None:
    try:
        capabilities.mask_of(config.security.capabilities, privileged=config.security.privileged, permitted=0)
    except capabilities.UnknownCapability as unknown:
        raise RuntimeFailure(RuntimeCode.INVALID_ARGUMENT, f"failed to generate spec: {unknown}") from unknown


def merged(old: LinuxResources, new: LinuxResources) -> LinuxResources:
    """0 and "" mean: as it was."""
    given = {name: value for name, value in msgspec.structs.asdict(new).items() if value}
    return msgspec.structs.replace(old, **given)


def _signal_number(name: str) -> int:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`."""
    if name.isdigit():
        return int(name)
    base, plus, offset = name.upper().removeprefix("SIG").partition("+")
    number = getattr(signal, f"SIG{base}", None)
    if number is None:
        raise RuntimeFailure(RuntimeCode.INVALID_ARGUMENT, f'failed to parse stop signal: unknown signal "{name}"')
    return int(number) + (int(offset) if plus else 0)
