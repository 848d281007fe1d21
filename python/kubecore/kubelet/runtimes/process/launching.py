"""Puts a container's launch together from its record, its sandbox and the node, and starts it; and an exec into it likewise."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Sequence
from pathlib import Path

from kubecore.kubelet.cgroups import Cgroups
from kubecore.kubelet.runtimes.process import namespaces, spawn, syscalls
from kubecore.kubelet.runtimes.process.capabilities import mask_of, own_permitted
from kubecore.kubelet.runtimes.process.launch import Launch, Process
from kubecore.kubelet.runtimes.process.records import ContainerRecord, SandboxRecord
from kubecore.kubelet.runtimes.process.root import Root
from kubecore.kubelet.runtimes.process.sandboxes import Sandboxes
from kubecore.kubelet.runtimes.protocol import Mount, NamespaceMode

_ALL_BUT_PID = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWCGROUP
)


class Launcher:
    """`pid_of`: the process of a container that runs, by the container's id."""

    def __init__(
        self, directory: Path, *, cgroups: Cgroups, sandboxes: Sandboxes, pid_of: Callable[[str], int]
    ) -> None:
        self._pid_of = pid_of
        self._directory = directory
        self._cgroups = cgroups
        self._sandboxes = sandboxes
        self._permitted = own_permitted()
        # As the daemon was started, before it asked for more handles for itself.
        self._rlimits = ((resource.RLIMIT_NOFILE, *resource.getrlimit(resource.RLIMIT_NOFILE)),)

    async def launch(self, record: ContainerRecord, handles: Sequence[int]) -> spawn.Started:
        """`handles`: the container's stdout, stderr and maybe stdin; none with a terminal."""
        sandbox = self._sandboxes.get(record.container.sandbox_id)
        stdout, stderr, stdin = (*handles, -1, -1, -1)[:3]
        with namespaces.handles(self._sandboxes.folder(sandbox.sandbox.id)) as joined:
            launch = Launch(
                process=self._process(record),
                cgroup_files=self._cgroups.join_files(record.cgroup),
                join=joined,
                root=self._root(record, sandbox),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
            pid_namespace = self._pid_namespace(record, sandbox)
            try:
                return await spawn.start(launch, pid_namespace=pid_namespace)
            finally:
                if pid_namespace >= 0:
                    os.close(pid_namespace)

    async def launch_inside(
        self, record: ContainerRecord, command: Sequence[str], *, terminal: bool, handles: tuple[int, int, int]
    ) -> spawn.Started:
        """One more process in a container that runs. `handles`: its stdin, stdout, stderr; -1 for /dev/null."""
        stdin, stdout, stderr = handles
        process = self._process(record)
        container = os.pidfd_open(record.container.pid)
        try:
            launch = Launch(
                process=Process(
                    argv=tuple(command),
                    environment=process.environment,
                    working_dir=process.working_dir,
                    user=process.user,
                    group=process.group,
                    supplemental_groups=process.supplemental_groups,
                    capabilities=process.capabilities,
                    no_new_privileges=process.no_new_privileges,
                    terminal=terminal,
                    rlimits=process.rlimits,
                    oom_score_adj=process.oom_score_adj,
                ),
                cgroup_files=self._cgroups.join_files(record.cgroup),
                join=((container, _ALL_BUT_PID),),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
            return await spawn.start(launch, pid_namespace=container)
        finally:
            os.close(container)

    def _process(self, record: ContainerRecord) -> Process:
        config, security = record.config, record.config.security
        return Process(
            argv=record.argv,
            environment=record.environment,
            working_dir=record.working_dir,
            user=record.user,
            group=security.run_as_group,
            supplemental_groups=security.supplemental_groups,
            capabilities=mask_of(security.capabilities, privileged=security.privileged, permitted=self._permitted),
            no_new_privileges=security.no_new_privs,
            terminal=config.tty,
            rlimits=self._rlimits,
            oom_score_adj=config.resources.oom_score_adj,
        )

    def _root(self, record: ContainerRecord, sandbox: SandboxRecord) -> Root:
        config, security = record.config, record.config.security
        folder = f"containers/{record.container.id}"
        on_node_ipc = sandbox.config.security.namespaces.ipc is NamespaceMode.NODE
        return Root(
            directory=str(self._directory),
            mountpoint=str(self._directory / folder / "root"),
            layers=record.layers,
            upper=f"{folder}/upper",
            work=f"{folder}/work",
            readonly=security.readonly_rootfs,
            privileged=security.privileged,
            shm="/dev/shm" if on_node_ipc else str(self._sandboxes.folder(sandbox.sandbox.id) / "shm"),
            mounts=(*self._pod_files(record, sandbox), *config.mounts),
            cgroups=tuple(self._cgroups.directories(record.cgroup).items()),
            masked_paths=security.masked_paths,
            readonly_paths=security.readonly_paths,
        )

    def _pod_files(self, record: ContainerRecord, sandbox: SandboxRecord) -> list[Mount]:
        """The files of the sandbox's that the pod does not bring itself."""
        brought = {os.path.normpath(mount.container_path) for mount in record.config.mounts}
        folder = self._sandboxes.folder(sandbox.sandbox.id)
        files = {f"/etc/{name}": folder / name for name in ("resolv.conf", "hostname")}
        readonly = record.config.security.readonly_rootfs
        return [
            Mount(container_path=path, host_path=str(file), readonly=readonly)
            for path, file in files.items()
            if path not in brought and file.exists()
        ]

    def _pid_namespace(self, record: ContainerRecord, sandbox: SandboxRecord) -> int:
        options = record.config.security.namespaces
        mode = options.pid
        if mode is NamespaceMode.TARGET:
            return os.pidfd_open(self._pid_of(options.target_id))
        if mode is NamespaceMode.NODE:
            return spawn.NODE_NAMESPACE
        if mode is NamespaceMode.POD and sandbox.pause_pid:
            return os.pidfd_open(sandbox.pause_pid)
        return spawn.NEW_NAMESPACE
