"""Takes samples: every `INTERVAL_SECONDS` for the history, and when somebody asks and the last one is older than `FRESH_SECONDS`.

Flows in: the runtime's figures and lists, /proc, the pods' directories. Flows out: the last `Sample`, rates, history. A sample asks the
runtime four questions, however many pods there are. A runtime that does not answer costs the pods' figures, not the node's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from kubecore.api.clock import Clock
from kubecore.api.meta import Object, uid_of
from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerState,
    ContainerStats,
    CpuStats,
    FilesystemUsage,
    MemoryStats,
    Runtime,
    RuntimeFailure,
    Sandbox,
    SandboxState,
    SandboxStats,
)
from kubecore.kubelet.stats.disk import MEASURED_EVERY_SECONDS, PodDirectories, PodDisk
from kubecore.kubelet.stats.history import History, Point, Rates
from kubecore.kubelet.stats.node import NodeReader, on_its_filesystem
from kubecore.kubelet.stats.samples import ContainerSample, DiskUse, NodeSample, PodKey, PodSample, Sample

INTERVAL_SECONDS = 10.0
"""As cAdvisor's housekeeping in a kubelet."""
FRESH_SECONDS = 1.0
NODE_SERIES, KUBELET_SERIES = "node", "kubelet"

log = logging.getLogger(__name__)

_NANOSECONDS = 1_000_000_000
_QOS_CGROUPS = {"Guaranteed": "", "Burstable": "/burstable", "BestEffort": "/besteffort"}


class Sampler:
    def __init__(
        self,
        runtime: Runtime,
        node: NodeReader,
        pods: Callable[[], Iterable[Object]],
        directories: PodDirectories,
        *,
        clock: Clock,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        """pods: those that the kubelet knows, for their class of service."""
        self.rates = Rates()
        self.history = History()
        self.machine = node.machine
        self._runtime = runtime
        self._node = node
        self._pods = pods
        self._directories = directories
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._last: tuple[float, Sample] | None = None
        self._disks: dict[str, tuple[float, PodDisk]] = {}
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Samples for the history and measures disks, until cancelled."""
        while True:
            sample = await self.take()
            self._note_history(sample)
            await self.measure_disks()
            await asyncio.sleep(self._interval_seconds)

    async def fresh(self) -> Sample:
        """The last sample if it is young, else a new one."""
        last = self._last
        if last is not None and self._clock.monotonic() - last[0] < FRESH_SECONDS:
            return last[1]
        return await self.take()

    async def take(self) -> Sample:
        async with self._turn:
            started = time.thread_time()
            pods, image_filesystem, failure = await self._ask_runtime()
            node = self._node.read(image_filesystem)
            self._note_rates(node, pods)
            cost_seconds = time.thread_time() - started
            sample = Sample(node.timestamp, node, pods, cost_seconds, failure)
            self._last = (self._clock.monotonic(), sample)
        return sample

    async def measure_disks(self) -> None:
        """Walks the directories of those pods whose turn it is, in a thread."""
        if self._last is None:
            return
        sample, now = self._last[1], self._clock.monotonic()
        keys = {pod.key.uid: pod.key for pod in sample.pods}
        self._disks = {uid: known for uid, known in self._disks.items() if uid in keys}
        for uid, key in keys.items():
            measured_at, _ = self._disks.get(uid, (-MEASURED_EVERY_SECONDS, None))
            if now - measured_at >= MEASURED_EVERY_SECONDS:
                disk = await asyncio.to_thread(self._directories.measure, key, sample.timestamp)
                self._disks[uid] = (now, disk)

    async def _ask_runtime(self) -> tuple[tuple[PodSample, ...], FilesystemUsage | None, str]:
        try:
            figures = await self._runtime.list_pod_sandbox_stats()
            sandboxes = {sandbox.id: sandbox for sandbox in await self._runtime.list_pod_sandboxes()}
            containers = {container.id: container for container in await self._runtime.list_containers()}
            image_filesystem = await self._runtime.image_filesystem()
        except RuntimeFailure as failure:
            log.warning("the runtime gives no figures: %s", failure.message)
            return (), None, failure.message
        classes = {uid_of(pod): pod.get("status", {}).get("qosClass", "") for pod in self._pods()}
        image_room = on_its_filesystem(image_filesystem)
        pods = []
        for stats in figures:
            sandbox = sandboxes.get(stats.id)
            # A pod may have an old sandbox beside its own, until that is collected.
            if sandbox is not None and sandbox.state is SandboxState.READY:
                cgroup = f"/kubepods{_QOS_CGROUPS.get(classes.get(stats.metadata.uid, ''), '')}/pod{stats.metadata.uid}"
                pods.append(self._pod(stats, sandbox, containers, cgroup, image_room))
        pods.sort(key=lambda pod: (pod.key.namespace, pod.key.name))
        return tuple(pods), image_filesystem, ""

    def _pod(
        self,
        stats: SandboxStats,
        sandbox: Sandbox,
        containers: dict[str, Container],
        cgroup: str,
        image_room: DiskUse | None,
    ) -> PodSample:
        key = PodKey(stats.metadata.namespace, stats.metadata.name, stats.metadata.uid)
        _, disk = self._disks.get(key.uid, (0.0, PodDisk()))
        samples = tuple(
            _container(figures, containers[figures.id], cgroup, image_room, disk.logs.get(figures.metadata.name))
            for figures in sorted(stats.containers, key=lambda each: each.metadata.name)
            if figures.id in containers and containers[figures.id].state is ContainerState.RUNNING
        )
        return PodSample(
            key=key,
            started_at=sandbox.created_at,
            cgroup=cgroup,
            cpu=stats.cpu or _cpu_together([each.cpu for each in samples]),
            memory=stats.memory or _memory_together([each.memory for each in samples]),
            process_count=stats.process_count or sum(each.process_count for each in samples),
            network_timestamp=stats.network_timestamp,
            interfaces=stats.interfaces,
            containers=samples,
            volumes=disk.volumes,
            ephemeral_storage=_ephemeral(disk, samples, image_room),
        )

    def _note_rates(self, node: NodeSample, pods: tuple[PodSample, ...]) -> None:
        counters: dict[str, CpuStats | None] = {NODE_SERIES: node.cpu, KUBELET_SERIES: node.kubelet_cpu}
        for pod in pods:
            counters[pod.key.uid] = pod.cpu
            counters.update({container.id: container.cpu for container in pod.containers})
        for name, cpu in counters.items():
            if cpu is not None:
                self.rates.note(name, cpu.timestamp, cpu.usage_core_nanoseconds)
        self.rates.keep(counters)

    def _note_history(self, sample: Sample) -> None:
        points = {NODE_SERIES: self._point(NODE_SERIES, sample.node.cpu, sample.node.memory, 0)}
        for pod in sample.pods:
            points[pod.key.uid] = self._point(pod.key.uid, pod.cpu, pod.memory, pod.started_at)
            for container in pod.containers:
                name = f"{pod.key.uid}/{container.name}"
                points[name] = self._point(container.id, container.cpu, container.memory, container.started_at)
        self.history.note({name: point for name, point in points.items() if point is not None})

    def _point(self, counter: str, cpu: CpuStats | None, memory: MemoryStats | None, started_at: int) -> Point | None:
        if cpu is None or memory is None:
            return None
        rate = self.rates.nanocores(counter, started_at=started_at)
        return Point(cpu.timestamp // _NANOSECONDS, rate and rate[0], memory.working_set_bytes)


def _container(
    stats: ContainerStats, container: Container, cgroup: str, image_room: DiskUse | None, logs: DiskUse | None
) -> ContainerSample:
    layer = stats.writable_layer
    rootfs = None
    if layer is not None and image_room is not None:
        rootfs = replace(
            image_room, timestamp=layer.timestamp, used_bytes=layer.used_bytes, inodes_used=layer.inodes_used
        )
    return ContainerSample(
        id=container.id,
        name=container.metadata.name,
        image=container.image,
        started_at=container.started_at or container.created_at,
        cgroup=f"{cgroup}/{container.id}",
        cpu=stats.cpu,
        memory=stats.memory,
        process_count=stats.process_count,
        resources=container.resources,
        rootfs=rootfs,
        logs=logs,
    )


def _cpu_together(figures: Sequence[CpuStats | None]) -> CpuStats | None:
    known = [each for each in figures if each is not None]
    if not known:
        return None
    return CpuStats(
        timestamp=max(each.timestamp for each in known),
        usage_core_nanoseconds=sum(each.usage_core_nanoseconds for each in known),
    )


def _memory_together(figures: Sequence[MemoryStats | None]) -> MemoryStats | None:
    known = [each for each in figures if each is not None]
    if not known:
        return None
    return MemoryStats(
        timestamp=max(each.timestamp for each in known),
        usage_bytes=sum(each.usage_bytes for each in known),
        working_set_bytes=sum(each.working_set_bytes for each in known),
        rss_bytes=sum(each.rss_bytes for each in known),
        swap_bytes=sum(each.swap_bytes for each in known),
        page_faults=sum(each.page_faults for each in known),
        major_page_faults=sum(each.major_page_faults for each in known),
    )


def _ephemeral(disk: PodDisk, containers: tuple[ContainerSample, ...], image_room: DiskUse | None) -> DiskUse | None:
    """Logs, volumes that end with the pod, and what containers wrote, on the filesystem where they are."""
    layers = [each.rootfs for each in containers if each.rootfs is not None]
    places = [*disk.logs.values(), *layers]
    room = next(iter(places), image_room)
    if room is None:
        return None
    return replace(
        room,
        used_bytes=disk.ephemeral_bytes + sum(layer.used_bytes for layer in layers),
        inodes_used=disk.ephemeral_inodes + sum(layer.inodes_used for layer in layers),
    )
