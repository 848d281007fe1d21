"""Sandboxes: a pod's namespaces, network, shared memory and resolver file; made, stopped, removed, found again.

In: `SandboxConfig`. Out: a folder for each (`namespaces`' files, shm, resolv.conf, hostname) that containers join, an address
in the pods' network, and the `Sandbox` that the kubelet sees. Containers are not known here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from kubecore.kubelet.cgroups import Cgroups
from kubecore.kubelet.runtimes.process import namespaces, pause, spawn, syscalls
from kubecore.kubelet.runtimes.process.netlink import Netlink
from kubecore.kubelet.runtimes.process.network import PodNetwork
from kubecore.kubelet.runtimes.process.records import Records, SandboxRecord
from kubecore.kubelet.runtimes.protocol import (
    DNSConfig,
    EventKind,
    NamespaceMode,
    RuntimeCode,
    RuntimeFailure,
    Sandbox,
    SandboxConfig,
    SandboxState,
)

Tell = Callable[[EventKind, str, str, str], None]
"""(kind, container's id, sandbox's id, pod's uid)"""
_SHM_OPTIONS = "mode=1777,size=65536k"
_logger = logging.getLogger(__name__)


class Sandboxes:
    def __init__(self, directory: Path, *, cgroups: Cgroups, cgroup_root: str, network: PodNetwork, tell: Tell) -> None:
        self.records: Records[SandboxRecord] = Records(directory / "sandboxes", SandboxRecord)
        self.network = network
        self._cgroups = cgroups
        self._cgroup_root = cgroup_root
        self._tell = tell
        self._known: dict[str, SandboxRecord] = {}
        self._pauses: dict[str, spawn.Child] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    async def recover(self, *, adopt: bool) -> None:
        """After a restart: what still holds its namespaces is ready, the rest is not. `adopt`: pids are those of this boot."""
        self._known = self.records.load(_release)
        for sandbox_id, record in self._known.items():
            if record.sandbox.state is not SandboxState.READY:
                self._clear(record)
                continue
            if record.pause_pid and adopt:
                holder = spawn.adopt(record.pause_pid, record.pause_started_ticks)
                if holder is not None:
                    self._watch_pause(sandbox_id, holder)
            if self._has_lost(record):
                await self.stop(sandbox_id)
        ports = {key: (each.address, each.config.port_mappings) for key, each in self._known.items() if each.address}
        await self.network.restore_ports(ports)

    def _has_lost(self, record: SandboxRecord) -> bool:
        """A namespace is gone: the node was started again, or the process that held the shared one ended."""
        folder = self.folder(record.sandbox.id)
        held = [folder / kind for kind in namespaces.FLAGS]
        lost_pids = bool(record.pause_pid) and record.sandbox.id not in self._pauses
        return lost_pids or any(each.exists() and not os.path.ismount(each) for each in held)

    def have_addresses(self) -> bool:
        return any(record.address for record in self._known.values())

    def all(self) -> list[Sandbox]:
        return [record.sandbox for record in self._known.values()]

    def find(self, sandbox_id: str) -> SandboxRecord | None:
        return self._known.get(sandbox_id)

    def get(self, sandbox_id: str) -> SandboxRecord:
        record = self.find(sandbox_id)
        if record is None:
            message = f'an error occurred when try to find sandbox "{sandbox_id}": not found'
            raise RuntimeFailure(RuntimeCode.NOT_FOUND, message)
        return record

    def pod_uid(self, sandbox_id: str) -> str:
        """ "" for a sandbox whose record was lost."""
        record = self._known.get(sandbox_id)
        return record.config.metadata.uid if record else ""

    def folder(self, sandbox_id: str) -> Path:
        return self.records.folder(sandbox_id)

    async def run(self, config: SandboxConfig) -> str:
        options = config.security.namespaces
        on_node_network = options.network is NamespaceMode.NODE
        if not on_node_network and not self.network.addresses.pod_cidr:
            raise RuntimeFailure(
                RuntimeCode.UNKNOWN,
                "failed to setup network for sandbox: the node has no pod range yet",
            )
        sandbox_id = secrets.token_hex(32)
        folder = self.records.make(sandbox_id)
        own_cgroup = not config.cgroup_parent
        record = SandboxRecord(
            sandbox=Sandbox(
                id=sandbox_id,
                metadata=config.metadata,
                state=SandboxState.NOTREADY,
                created_at=time.time_ns(),
                labels=config.labels,
                annotations=config.annotations,
                network_namespace="" if on_node_network else str(folder / "net"),
                namespaces=options,
            ),
            config=config,
            cgroup=config.cgroup_parent or f"{self._cgroup_root}/{sandbox_id}",
            own_cgroup=own_cgroup,
        )
        # Before anything is made: whoever comes after this daemon knows what to clear away.
        self.records.save(sandbox_id, record)
        try:
            record = self._make(record, folder)
            if record.address:
                # On the node's own network a host port is the container's own doing.
                await self.network.map_ports(sandbox_id, record.address, config.port_mappings)
        except BaseException:
            self._take_down(sandbox_id, folder)
            self.records.remove(sandbox_id)
            raise
        self._set(record)
        uid = config.metadata.uid
        self._tell(EventKind.CREATED, sandbox_id, sandbox_id, uid)
        self._tell(EventKind.STARTED, sandbox_id, sandbox_id, uid)
        return sandbox_id

    async def stop(self, sandbox_id: str) -> None:
        """Its network and namespaces go; containers have been ended by the caller."""
        record = self._known.get(sandbox_id)
        if record is None or record.sandbox.state is not SandboxState.READY:
            return
        stopped = msgspec.structs.replace(record.sandbox, state=SandboxState.NOTREADY, ips=())
        self._set(msgspec.structs.replace(record, sandbox=stopped, address="", pause_pid=0))
        holder = self._pauses.pop(sandbox_id, None)
        if holder is not None:
            holder.signal(signal.SIGKILL)
            await holder.ended
            self._cgroups.remove(f"{record.cgroup}/{sandbox_id}")
        try:
            await self.network.map_ports(sandbox_id, "", ())
        finally:
            self._take_down(sandbox_id, self.folder(sandbox_id))
        self._tell(EventKind.STOPPED, sandbox_id, sandbox_id, record.config.metadata.uid)

    def remove(self, sandbox_id: str) -> None:
        """A stopped one without containers."""
        record = self._known.pop(sandbox_id, None)
        if record is None:
            return
        if record.own_cgroup and not self._cgroups.remove(record.cgroup):
            _logger.warning("the cgroup %s of a removed sandbox is still in use", record.cgroup)
        _release(self.folder(sandbox_id))
        self.records.remove(sandbox_id)
        self._tell(EventKind.DELETED, sandbox_id, sandbox_id, record.config.metadata.uid)

    def _clear(self, record: SandboxRecord) -> None:
        """What a daemon that died while it made this one, or took it down, may have left."""
        holder = f"{record.cgroup}/{record.sandbox.id}"
        self._cgroups.kill(holder)
        self._cgroups.remove(holder)
        _release(self.folder(record.sandbox.id))

    def _set(self, record: SandboxRecord) -> None:
        self._known[record.sandbox.id] = record
        self.records.save(record.sandbox.id, record)

    def _make(self, record: SandboxRecord, folder: Path) -> SandboxRecord:
        config, sandbox = record.config, record.sandbox
        options = config.security.namespaces
        if record.own_cgroup:
            self._cgroups.make(record.cgroup)
        kinds: tuple[str, ...] = () if options.network is NamespaceMode.NODE else ("net", "uts")
        if options.ipc is not NamespaceMode.NODE:
            kinds += ("ipc",)
            shm = folder / "shm"
            shm.mkdir()
            hardened = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
            syscalls.mount("shm", str(shm), "tmpfs", hardened, _SHM_OPTIONS)
        _write_names(folder, config)
        address = ""
        inside: list[Netlink] = []

        def within() -> None:
            if "net" in kinds:
                socket = Netlink()
                inside.append(socket)
                socket.set_up(socket.index_of("lo"))

        namespaces.make(folder, kinds, hostname=config.hostname, sysctls=config.sysctls, inside=within)
        if inside:
            address = self.network.addresses.allocate(each.address for each in self._known.values() if each.address)
            namespace = os.open(folder / "net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.network.connect(sandbox.id, namespace, inside[0], address)
            finally:
                inside[0].close()
                os.close(namespace)
        pid = self._hold_pids(sandbox.id, record.cgroup) if options.pid is NamespaceMode.POD else 0
        ready = msgspec.structs.replace(sandbox, state=SandboxState.READY, ips=(address,) if address else ())
        return msgspec.structs.replace(
            record,
            sandbox=ready,
            address=address,
            pause_pid=pid,
            pause_started_ticks=spawn.start_ticks(pid) if pid else 0,
        )

    def _hold_pids(self, sandbox_id: str, cgroup: str) -> int:
        """Process 1 of a shared pid namespace, which reaps whom nobody else does. A fork of ours: it executes nothing."""
        path = f"{cgroup}/{sandbox_id}"
        self._cgroups.make(path)
        files = self._cgroups.join_files(path)
        root = self.folder(sandbox_id) / "pause"
        root.mkdir()
        pid = spawn.fork_into(spawn.NEW_NAMESPACE, lambda: pause.hold(files, str(root)))
        self._watch_pause(sandbox_id, spawn.Child(pid, os.pidfd_open(pid), own=True))
        return pid

    def _watch_pause(self, sandbox_id: str, child: spawn.Child) -> None:
        self._pauses[sandbox_id] = child
        child.ended.add_done_callback(lambda _: self._pause_ended(sandbox_id))

    def _pause_ended(self, sandbox_id: str) -> None:
        """The kernel has killed everything in the namespace: this sandbox can start no more containers."""
        if self._pauses.pop(sandbox_id, None) is not None:
            stopping = asyncio.ensure_future(self.stop(sandbox_id))
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)

    def _take_down(self, sandbox_id: str, folder: Path) -> None:
        # The kernel takes both ends of the veth pair away with the namespace, in its own time: deleting one here would hold the
        # loop for a grace period of the kernel's.
        _release(folder)
        holder = self._pauses.pop(sandbox_id, None)
        if holder is not None:
            holder.signal(signal.SIGKILL)


def _release(folder: Path) -> None:
    """What is mounted in a sandbox's folder."""
    namespaces.release(folder)
    namespaces.unmount(folder / "shm")


def _write_names(folder: Path, config: SandboxConfig) -> None:
    if config.hostname:
        (folder / "hostname").write_text(config.hostname + "\n")
    if config.dns is not None:
        (folder / "resolv.conf").write_text(resolver_file(config.dns))
    elif os.path.exists("/etc/resolv.conf"):
        (folder / "resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())


def resolver_file(dns: DNSConfig) -> str:
    lines = [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"nameserver {server}" for server in dns.servers]
    lines += [f"options {' '.join(dns.options)}"] if dns.options else []
    return "".join(f"{line}\n" for line in lines)
