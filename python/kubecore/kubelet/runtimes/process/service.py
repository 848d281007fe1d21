"""The calls of the protocol, on this node's processes: sandboxes, containers, images, figures, events, streams.

In: arguments as the protocol has them. Out: its results, or RuntimeFailure. One event loop, no locks: what must not be
interleaved has no await in it.
"""

from __future__ import annotations

import asyncio
import collections
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kubecore.api.release import VERSION
from kubecore.kubelet.cgroups import Cgroups
from kubecore.kubelet.runtimes.process import figures, hostroot, namespaces, references, spawn
from kubecore.kubelet.runtimes.process.containers import Containers
from kubecore.kubelet.runtimes.process.images import HOST, Images, Row, StoredImage, tree_size
from kubecore.kubelet.runtimes.process.logs import Attached, LogWriter
from kubecore.kubelet.runtimes.process.network import PodNetwork
from kubecore.kubelet.runtimes.process.sandboxes import Sandboxes
from kubecore.kubelet.runtimes.protocol import (
    Condition,
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerStats,
    EventKind,
    FilesystemUsage,
    Image,
    LinuxResources,
    RegistryAuth,
    RuntimeCode,
    RuntimeFailure,
    Sandbox,
    SandboxConfig,
    SandboxStats,
    Version,
)

EVENTS_MAX = 4096
"""Events that wait for one slow reader; beyond, its connection is closed and it lists again."""


class Subscription:
    """One reader of events."""

    def __init__(self) -> None:
        self._waiting: collections.deque[ContainerEvent] = collections.deque()
        self._wake = asyncio.Event()
        self.lost = False

    def give(self, event: ContainerEvent) -> None:
        if len(self._waiting) >= EVENTS_MAX:
            self.lost = True
        else:
            self._waiting.append(event)
        self._wake.set()

    async def next(self) -> ContainerEvent | None:
        """None: events were lost."""
        while not self._waiting and not self.lost:
            self._wake.clear()
            await self._wake.wait()
        return None if self.lost else self._waiting.popleft()


@dataclass(frozen=True)
class Opened:
    """A stream that was begun. `handles` by name, for the caller to hand on and close. `child`: the process of an exec; `over`: done when
    the container that was attached to has ended. `copies`: of its output, to be cut when nobody reads them any more."""

    handles: dict[str, int]
    child: spawn.Child | None = None
    over: asyncio.Task[None] | None = None
    copies: tuple[Attached, ...] = ()
    closes_stdin_of: str = ""


class ProcessRuntime:
    def __init__(
        self,
        directory: Path,
        *,
        cgroups: Cgroups,
        cgroup_root: str,
        rows: tuple[Row, ...] = (),
        hidden: tuple[str, ...] = (),
        bridge: str = "pods",
        mtu: int = 1500,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._directory = directory
        self._cgroups = cgroups
        self._writer = LogWriter(asyncio.get_running_loop())
        self._subscriptions: set[Subscription] = set()
        self._images = Images(directory, rows, hidden=hidden)
        self._network = PodNetwork(directory, bridge=bridge, mtu=mtu)
        self._sandboxes = Sandboxes(
            directory, cgroups=cgroups, cgroup_root=cgroup_root, network=self._network, tell=self._tell
        )
        self._containers = Containers(
            directory,
            cgroups=cgroups,
            sandboxes=self._sandboxes,
            images=self._images,
            writer=self._writer,
            tell=self._tell,
        )
        self._layers = figures.WritableLayers(directory)
        # One image is unpacked at a time, and nothing is swept meanwhile: its layers are nobody's until it is stored.
        self._importing = asyncio.Lock()

    async def recover(self) -> None:
        """What an earlier daemon left. After the machine itself was started again a pid says nothing any more."""
        same_boot = _is_same_boot(self._directory)
        await self._sandboxes.recover(adopt=same_boot)
        await self._containers.recover(adopt=same_boot)

    def close(self) -> None:
        """Containers go on, with what is mounted for them. What is logged is written."""
        self._writer.close()
        if not self._containers.all():
            hostroot.unmount_bases(self._directory)

    def subscribe(self) -> Subscription:
        subscription = Subscription()
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    # ── the runtime itself ──

    async def version(self) -> Version:
        return Version(runtime_name="kubecore-process", runtime_version=VERSION)

    async def status(self) -> tuple[Condition, ...]:
        return (Condition(type="RuntimeReady", status=True), self._network.condition())

    async def update_runtime_config(self, pod_cidr: str) -> None:
        ranges = [each for each in pod_cidr.split(",") if each and ":" not in each]
        if ranges:
            self._network.set_range(ranges[0], in_use=self._sandboxes.have_addresses())

    # ── sandboxes ──

    async def run_pod_sandbox(self, config: SandboxConfig) -> str:
        return await self._sandboxes.run(config)

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        await asyncio.gather(*(self._containers.stop(each, 0) for each in self._containers.of_sandbox(sandbox_id)))
        await self._sandboxes.stop(sandbox_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        await self.stop_pod_sandbox(sandbox_id)
        await asyncio.gather(*(self.remove_container(each) for each in self._containers.of_sandbox(sandbox_id)))
        self._sandboxes.remove(sandbox_id)

    async def list_pod_sandboxes(self) -> list[Sandbox]:
        return self._sandboxes.all()

    async def pod_sandbox_status(self, sandbox_id: str) -> Sandbox:
        return self._sandboxes.get(sandbox_id).sandbox

    # ── containers ──

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        return self._containers.create(sandbox_id, config)

    async def start_container(self, container_id: str) -> None:
        await self._containers.start(container_id)

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        await self._containers.stop(container_id, timeout_seconds)

    async def remove_container(self, container_id: str) -> None:
        await self._containers.remove(container_id)
        self._layers.forget(container_id)

    async def list_containers(self) -> list[Container]:
        return self._containers.all()

    async def container_status(self, container_id: str) -> Container:
        return self._containers.get(container_id).container

    async def update_container_resources(self, container_id: str, resources: LinuxResources) -> None:
        self._containers.update_resources(container_id, resources)

    async def reopen_container_log(self, container_id: str) -> None:
        await self._containers.reopen_log(container_id)

    # ── figures ──

    async def container_stats(self, container_id: str) -> ContainerStats:
        self._containers.get(container_id)
        (stats,) = await self._stats([container_id])
        return stats

    async def list_container_stats(self) -> list[ContainerStats]:
        return await self._stats([each.id for each in self._containers.all()])

    async def list_pod_sandbox_stats(self) -> list[SandboxStats]:
        stats = await self.list_container_stats()
        found: list[SandboxStats] = []
        for sandbox in self._sandboxes.all():
            await asyncio.sleep(0)
            own = tuple(each for each in stats if each.sandbox_id == sandbox.id)
            record = self._sandboxes.find(sandbox.id)
            if record is None:
                continue
            found.append(figures.sandbox_stats(record, self._sandboxes.folder(sandbox.id), self._cgroups, own))
        return found

    async def _stats(self, container_ids: Sequence[str]) -> list[ContainerStats]:
        """One by one, so that whatever else the daemon does goes on between two of them. What was removed meanwhile is left out."""
        if stale := self._layers.stale(container_ids):
            await asyncio.to_thread(self._layers.count, stale)
        found: list[ContainerStats] = []
        for container_id in container_ids:
            await asyncio.sleep(0)
            record = self._containers.find(container_id)
            if record is not None:
                found.append(figures.container_stats(record, self._cgroups, self._layers))
        return found

    # ── images ──

    async def list_images(self) -> list[Image]:
        return self._images.all()

    async def image_status(self, image: str) -> Image | None:
        found = self._images.find(image)
        return found.as_image() if found else None

    async def pull_image(self, image: str, auth: RegistryAuth | None) -> str:
        wanted, row = self._images.row_of(image)
        if row is None:
            # Imported: there is nowhere to look for a newer one.
            stored = self._images.stored(wanted)
        elif row.layout:
            stored = await self._import(row.layout, wanted)
        else:
            size_bytes = 0 if row.root == HOST else (await asyncio.to_thread(tree_size, Path(row.root)))[0]
            stored = self._images.pull_row(wanted, row, root_bytes=size_bytes)
        return stored.digests[-1] if stored.digests else stored.id

    async def import_image(self, layout: str, name: str) -> str:
        """An OCI image layout on this node becomes the image of that name; gives its id."""
        try:
            wanted = references.parse(name)
        except references.InvalidReference as invalid:
            raise RuntimeFailure(RuntimeCode.INVALID_ARGUMENT, str(invalid)) from invalid
        return (await self._import(layout, wanted)).id

    async def remove_image(self, image: str) -> None:
        self._images.remove(image)
        async with self._importing:
            await asyncio.to_thread(self._images.sweep, self._containers.layers())

    async def image_filesystem(self) -> FilesystemUsage:
        return await asyncio.to_thread(self._images.usage)

    async def _import(self, layout: str, wanted: references.Reference) -> StoredImage:
        """In a process of its own: unpacking takes as long as it takes."""
        async with self._importing:
            return self._images.store(await self._unpack(layout, wanted), wanted)

    async def _unpack(self, layout: str, wanted: references.Reference) -> StoredImage:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kubecore.kubelet.runtimes.process.layout",
            layout,
            str(self._directory),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        if process.returncode:
            reason = errors.decode(errors="replace").strip().splitlines()[-1:] or ["it was ended"]
            message = f'failed to pull and unpack image "{wanted}": {layout}: {reason[0]}'
            raise RuntimeFailure(RuntimeCode.UNKNOWN, message)
        return msgspec.json.decode(output, type=StoredImage)

    # ── streams ──

    async def open_exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> Opened:
        record, _ = self._containers.running(container_id)
        if not command:
            raise RuntimeFailure(RuntimeCode.INVALID_ARGUMENT, "command cannot be empty")
        inside: dict[str, int] = {}
        outside: dict[str, int] = {}
        wanted = {"stdin": stdin, "stdout": stdout, "stderr": stderr} if not tty else {}
        for name, is_wanted in wanted.items():
            if is_wanted:
                read, write = os.pipe2(os.O_CLOEXEC)
                inside[name], outside[name] = (read, write) if name == "stdin" else (write, read)
        try:
            handles = (inside.get("stdin", -1), inside.get("stdout", -1), inside.get("stderr", -1))
            started = await self._containers.launcher.launch_inside(record, command, terminal=tty, handles=handles)
        except (spawn.StartFailed, OSError) as failed:
            for handle in outside.values():
                os.close(handle)
            message = f"failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: {failed}: unknown"
            raise RuntimeFailure(RuntimeCode.UNKNOWN, message) from failed
        finally:
            for handle in inside.values():
                os.close(handle)
        if started.terminal >= 0:
            outside["terminal"] = started.terminal
        return Opened(outside, started.child)

    async def open_attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> Opened:
        record, living = self._containers.running(container_id)
        streams = living.streams
        handles: dict[str, int] = {}
        if record.config.tty and streams.terminal < 0:
            # Another daemon had it, and it went with that one.
            raise RuntimeFailure(RuntimeCode.FAILED_PRECONDITION, "the container's terminal is lost")
        if record.config.tty:
            handles["terminal"] = os.dup(streams.terminal)
        elif stdin and streams.stdin >= 0:
            handles["stdin"] = os.dup(streams.stdin)
        wanted = {"stdout": stdout, "stderr": stderr}
        copies: list[Attached] = []
        for output in streams.outputs:
            if wanted.get(output.stream):
                read, write = os.pipe2(os.O_CLOEXEC)
                handles[output.stream] = read
                copies.append(Attached(write))
                output.attach(copies[-1])
        closes = container_id if stdin and record.config.stdin_once else ""
        return Opened(handles, over=living.ended, closes_stdin_of=closes, copies=tuple(copies))

    def close_stdin(self, container_id: str) -> None:
        """After the first attach to a container that reads its input once."""
        self._containers.close_stdin(container_id)

    async def open_port_forward(self, sandbox_id: str, port: int) -> Opened:
        record = self._sandboxes.get(sandbox_id)
        refused: list[str] = []
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with namespaces.inside_network(record.sandbox.network_namespace):
                connection = socket.socket(family, socket.SOCK_STREAM)
            connection.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(connection, (address, port))
            except OSError as failed:
                connection.close()
                refused.append(f"dial {address}:{port}: connect: {os.strerror(failed.errno or 0).lower()}")
            else:
                return Opened({"connection": connection.detach()})
        raise RuntimeFailure(
            RuntimeCode.UNKNOWN,
            f"failed to execute portforward in network namespace {record.sandbox.network_namespace!r}: failed to connect to "
            f'localhost:{port} inside namespace "{sandbox_id}", IPv4: {refused[0]} IPv6: {refused[1]}',
        )

    # ── within ──

    def _tell(self, kind: EventKind, container_id: str, sandbox_id: str, pod_uid: str) -> None:
        event = ContainerEvent(
            kind=kind, container_id=container_id, sandbox_id=sandbox_id, pod_uid=pod_uid, created_at=time.time_ns()
        )
        for subscription in self._subscriptions:
            subscription.give(event)


def _is_same_boot(directory: Path) -> bool:
    """Whether what is written here was written since the machine started. From now on it is."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    file = directory / "boot"
    same = file.exists() and file.read_text() == boot
    file.write_text(boot)
    return same
