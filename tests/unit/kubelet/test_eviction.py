"""What is scarce, who goes first, what is said: in virtual time, on made-up figures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from kubecore.api.clock import LoopClock
from kubecore.client import virtual_loop
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.eviction import EvictionManager
from kubecore.kubelet.eviction_ranking import over_local_limit, ranked
from kubecore.kubelet.eviction_thresholds import ThresholdFailure, thresholds_of
from kubecore.kubelet.runtimes.protocol import CpuStats, LinuxResources, MemoryStats
from kubecore.kubelet.seams import Eviction
from kubecore.kubelet.stats.samples import (
    ContainerSample,
    DiskUse,
    NodeSample,
    PodKey,
    PodSample,
    Processes,
    Sample,
    Swap,
)
from support.pods import amounts, container_of, pod_of

MIB, GIB = 1 << 20, 1 << 30
CPU = CpuStats(timestamp=0, usage_core_nanoseconds=0)
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}}


def _disk(used: int = 0, *, available: int = 90 * GIB, capacity: int = 100 * GIB, inodes: int = 0) -> DiskUse:
    return DiskUse(1, used, inodes, available, capacity, inodes_free=1000, inodes=1000)


def _memory(working_set: int, *, available: int = 0, timestamp: int = 1) -> MemoryStats:
    return MemoryStats(
        timestamp=timestamp,
        usage_bytes=working_set,
        working_set_bytes=working_set,
        rss_bytes=working_set,
        available_bytes=available,
    )


def _container(name: str = "main", *, memory: int = 0, rootfs: int = 0, logs: int = 0) -> ContainerSample:
    figures = _memory(memory)
    return ContainerSample(
        id=name,
        name=name,
        image="i",
        started_at=0,
        cgroup="",
        resources=LinuxResources(),
        cpu=CPU,
        memory=figures,
        process_count=1,
        rootfs=_disk(rootfs),
        logs=_disk(logs),
    )


def _figures(pod, *containers: ContainerSample, processes: int = 1, **more) -> PodSample:
    memory = _memory(sum(each.memory.working_set_bytes for each in containers))
    key = PodKey("default", pod["metadata"]["name"], pod["metadata"]["uid"])
    return PodSample(key, 0, "", CPU, memory, processes, 0, (), containers, **more)


@dataclass
class World:
    clock: LoopClock
    configuration: KubeletConfiguration = field(default_factory=KubeletConfiguration)
    available: int = 4 * GIB
    disk: DiskUse = field(default_factory=_disk)
    processes: int = 100
    pods: list[dict] = field(default_factory=list)
    figures: list[PodSample] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    evicted: list[tuple[str, Eviction]] = field(default_factory=list)
    freed: int = 0
    on_free: Callable[[], None] = lambda: None
    on_evict: Callable[[], None] = lambda: None

    def manager(self) -> EvictionManager:
        return EvictionManager(
            thresholds_of(self.configuration),
            sample=self.sample,
            pods=lambda: self.pods,
            evict=self.evict,
            free_images=self.free,
            recorder=self,
            node=NODE,
            clock=self.clock,
            transition_seconds=float(self.configuration.eviction_pressure_transition_period),
            soft_grace_seconds_max=self.configuration.eviction_max_pod_grace_period,
        )

    async def sample(self) -> Sample:
        now = round(self.clock.now() * 1e9)
        memory = _memory(8 * GIB - self.available, available=self.available, timestamp=now)
        node = NodeSample(
            now,
            0,
            CPU,
            memory,
            (),
            self.disk,
            None,
            Swap(now, 0, 0),
            Processes(now, 1000, self.processes),
            CPU,
            memory,
            0,
        )
        return Sample(now, node, tuple(self.figures), 0.0)

    async def evict(self, uid: str, eviction: Eviction) -> None:
        self.evicted.append((uid, eviction))
        self.pods = [pod for pod in self.pods if pod["metadata"]["uid"] != uid]
        self.on_evict()

    async def free(self) -> None:
        self.freed += 1
        self.on_free()

    def event(self, regarding, event_type: str, reason: str, message: str) -> None:
        self.events.append((regarding["metadata"]["name"], reason, message))

    def add(self, pod, *containers: ContainerSample, **more) -> None:
        self.pods.append(pod)
        self.figures.append(_figures(pod, *containers, **more))


def _in_time(main: Callable[[World], object]) -> None:
    async def run() -> None:
        await main(World(LoopClock(asyncio.get_running_loop(), epoch_seconds=1_800_000_000.0)))

    virtual_loop.run(run())


def _conditions(manager: EvictionManager) -> dict[str, bool]:
    return {condition.type: condition.status for condition in manager.conditions()}


def test_a_node_that_has_enough_leaves_its_pods_alone() -> None:
    async def main(world: World) -> None:
        world.add(pod_of(), _container(memory=GIB))
        manager = world.manager()
        assert not await manager.look()
        assert _conditions(manager) == {"MemoryPressure": False, "DiskPressure": False, "PIDPressure": False}
        assert [each.reason for each in manager.conditions()] == [
            "KubeletHasSufficientMemory",
            "KubeletHasNoDiskPressure",
            "KubeletHasSufficientPID",
        ]

    _in_time(main)


def test_short_of_memory_the_pod_that_exceeds_its_request_goes_and_is_told_why() -> None:
    async def main(world: World) -> None:
        modest = pod_of(container_of(**amounts(requests={"memory": "1Gi"})), name="modest")
        greedy = pod_of(container_of(**amounts(requests={"memory": "100Mi"})), name="greedy")
        world.add(modest, _container(memory=900 * MIB))
        world.add(greedy, _container(memory=200 * MIB))
        world.available = 50 * MIB
        manager = world.manager()
        assert await manager.look()
        [(uid, eviction)] = world.evicted
        assert uid == "uid-of-greedy"
        assert eviction.reason == "Evicted"
        assert eviction.message == (
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
            "Container main was using 200Mi, request is 100Mi, has larger consumption of memory. "
        )
        assert eviction.grace_seconds == 1
        assert eviction.conditions[0]["type"] == "DisruptionTarget"
        assert eviction.conditions[0]["reason"] == "TerminationByKubelet"
        assert world.events[0] == ("node-0", "EvictionThresholdMet", "Attempting to reclaim memory")
        assert world.events[1][:2] == ("greedy", "Evicted")
        assert _conditions(manager)["MemoryPressure"]

    _in_time(main)


def test_one_pod_at_a_time_until_it_is_enough() -> None:
    async def main(world: World) -> None:
        for name in ("a", "b", "c"):
            world.add(pod_of(name=name), _container(memory=GIB))
        world.available = 10 * MIB

        def enough() -> None:
            world.available += 60 * MIB

        world.on_evict = enough
        running = asyncio.ensure_future(world.manager().run())
        await asyncio.sleep(60)
        running.cancel()
        assert [uid for uid, _ in world.evicted] == ["uid-of-a", "uid-of-b"]

    _in_time(main)


def test_pressure_stays_for_the_transition_period() -> None:
    async def main(world: World) -> None:
        world.available = 10 * MIB
        manager = world.manager()
        await manager.look()
        world.available = 4 * GIB
        await asyncio.sleep(299)
        await manager.look()
        assert _conditions(manager)["MemoryPressure"]
        await asyncio.sleep(2)
        assert not _conditions(manager)["MemoryPressure"]

    _in_time(main)


def test_a_soft_threshold_waits_and_gives_more_grace() -> None:
    async def main(world: World) -> None:
        world.configuration = KubeletConfiguration(
            eviction_hard={},
            eviction_soft={"memory.available": "1Gi"},
            eviction_soft_grace_period={"memory.available": "1m30s"},
            eviction_max_pod_grace_period=20,
        )
        world.add(pod_of(), _container(memory=GIB))
        world.available = GIB // 2
        manager = world.manager()
        assert not await manager.look()
        assert _conditions(manager)["MemoryPressure"]
        await asyncio.sleep(60)
        assert not await manager.look()
        await asyncio.sleep(40)
        assert await manager.look()
        assert world.evicted[0][1].grace_seconds == 20

    _in_time(main)


def test_the_least_that_must_be_reclaimed_is_reclaimed() -> None:
    async def main(world: World) -> None:
        world.configuration = KubeletConfiguration(
            eviction_hard={"memory.available": "100Mi"}, eviction_minimum_reclaim={"memory.available": "500Mi"}
        )
        world.add(pod_of(name="a"), _container(memory=GIB))
        world.add(pod_of(name="b"), _container(memory=GIB))
        world.available = 50 * MIB
        manager = world.manager()
        assert await manager.look()
        world.available = 300 * MIB
        await asyncio.sleep(1)
        assert await manager.look()
        world.available = 700 * MIB
        await asyncio.sleep(1)
        assert not await manager.look()

    _in_time(main)


def test_short_of_disk_images_go_before_pods() -> None:
    async def main(world: World) -> None:
        world.add(pod_of(), _container(rootfs=5 * GIB))
        world.disk = _disk(available=GIB)

        def enough() -> None:
            world.disk = _disk(available=50 * GIB)

        world.on_free = enough
        manager = world.manager()
        assert not await manager.look()
        assert (world.freed, world.evicted) == (1, [])
        assert world.events == [("node-0", "EvictionThresholdMet", "Attempting to reclaim ephemeral-storage")]
        assert _conditions(manager)["DiskPressure"]

    _in_time(main)


def test_short_of_disk_whoever_keeps_most_goes() -> None:
    async def main(world: World) -> None:
        world.add(pod_of(name="small"), _container(rootfs=GIB))
        world.add(pod_of(name="large"), _container(rootfs=5 * GIB, logs=GIB))
        world.disk = _disk(available=GIB)
        assert await world.manager().look()
        [(uid, eviction)] = world.evicted
        assert uid == "uid-of-large"
        assert eviction.message == (
            "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 1Gi. "
            "Container main was using 6Gi, request is 0, has larger consumption of ephemeral-storage. "
        )

    _in_time(main)


def test_short_of_process_ids_the_lower_priority_goes() -> None:
    async def main(world: World) -> None:
        world.configuration = KubeletConfiguration(eviction_hard={"pid.available": "10%"})
        world.add(pod_of(name="important", priority=100), processes=500)
        world.add(pod_of(name="plain"), processes=2)
        world.processes = 950
        assert await world.manager().look()
        [(uid, eviction)] = world.evicted
        assert uid == "uid-of-plain"
        assert eviction.message == "The node was low on resource: pids. Threshold quantity: 100, available: 50. "

    _in_time(main)


def test_critical_and_static_pods_are_never_evicted() -> None:
    async def main(world: World) -> None:
        world.add(pod_of(name="critical", priority=2_000_000_000), _container(memory=GIB))
        static = pod_of(name="static", metadata={"annotations": {"kubernetes.io/config.source": "file"}})
        world.add(static, _container(memory=GIB))
        world.available = 10 * MIB
        assert not await world.manager().look()
        assert world.evicted == []

    _in_time(main)


def test_under_memory_pressure_best_effort_pods_are_refused() -> None:
    async def main(world: World) -> None:
        world.available = 10 * MIB
        manager = world.manager()
        await manager.look()
        refused = manager.admit(pod_of(), [])
        assert refused is not None
        assert (refused.reason, refused.message) == ("Evicted", "The node had condition: [MemoryPressure]. ")
        assert manager.admit(pod_of(container_of(**amounts(requests={"memory": "1Mi"}))), []) is None
        tolerating = [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}]
        assert manager.admit(pod_of(tolerations=tolerating), []) is None
        assert manager.admit(pod_of(priority=2_000_000_000), []) is None

    _in_time(main)


def test_under_disk_pressure_all_but_critical_pods_are_refused() -> None:
    async def main(world: World) -> None:
        world.disk = _disk(available=GIB)
        manager = world.manager()
        await manager.look()
        assert manager.admit(pod_of(container_of(**amounts(requests={"memory": "1Mi"}))), []) is not None
        assert manager.admit(pod_of(priority=2_000_000_000), []) is None

    _in_time(main)


def test_figures_that_are_not_newer_are_not_acted_on_twice() -> None:
    async def main(world: World) -> None:
        world.add(pod_of(name="a"), _container(memory=GIB))
        world.add(pod_of(name="b"), _container(memory=GIB))
        world.available = 10 * MIB
        manager = world.manager()
        assert await manager.look()
        assert not await manager.look()

    _in_time(main)


def test_a_pod_without_figures_goes_first_then_excess_then_priority_then_amount() -> None:
    request = amounts(requests={"memory": "1Gi"})
    pods = {
        "within": pod_of(container_of(**request), name="within"),
        "above-important": pod_of(name="above-important", priority=10),
        "above-much": pod_of(name="above-much"),
        "above-little": pod_of(name="above-little"),
        "unknown": pod_of(name="unknown", priority=1000),
    }
    used = {"within": 512, "above-important": 2048, "above-much": 1024, "above-little": 10}
    figures = {f"uid-of-{name}": _figures(pods[name], _container(memory=amount * MIB)) for name, amount in used.items()}
    order = [pod["metadata"]["name"] for pod in ranked(pods.values(), "memory", figures)]
    assert order == ["unknown", "above-much", "above-little", "above-important", "within"]


def test_a_pod_that_keeps_more_than_it_said_is_evicted_at_any_time() -> None:
    volumes = [{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}]
    pod = pod_of(volumes=volumes)
    figures = _figures(pod, volumes={"cache": _disk(2 * MIB)})
    assert over_local_limit(pod, figures) == 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '
    limit = amounts(limits={"ephemeral-storage": "1Gi"})
    limited = pod_of(container_of(**limit))
    whole_pod = _figures(limited, ephemeral_storage=_disk(2 * GIB))
    said = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "
    assert over_local_limit(limited, whole_pod) == said
    one = _figures(limited, _container(rootfs=GIB, logs=MIB))
    assert over_local_limit(limited, one) == 'Container main exceeded its local ephemeral storage limit "1Gi". '
    assert over_local_limit(limited, _figures(limited, _container(rootfs=MIB))) == ""


def test_the_defaults_are_upstreams_and_may_be_replaced_or_merged() -> None:
    def hard(**fields) -> dict[str, int]:
        found = thresholds_of(KubeletConfiguration(**fields))
        return {each.signal: each.amount.of(1000 * MIB) for each in found}

    assert hard()["memory.available"] == 100 * MIB
    assert hard()["imagefs.available"] == 150 * MIB
    assert hard(eviction_hard={"memory.available": "5%"}) == {"memory.available": 50 * MIB}
    merged = hard(eviction_hard={"memory.available": "5%"}, merge_default_eviction_settings=True)
    assert (merged["memory.available"], merged["nodefs.available"]) == (50 * MIB, 100 * MIB)
    assert hard(eviction_hard={"memory.available": "0%"}) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eviction_hard": {"memory.used": "1Gi"}}, "unsupported eviction signal memory.used"),
        ({"eviction_hard": {"memory.available": "-1Mi"}}, "must be positive"),
        ({"eviction_hard": {"memory.available": "many"}}, "memory.available: many"),
        ({"eviction_hard": {"memory.available": "200%"}}, "between 0% and 100%"),
        ({"eviction_soft": {"memory.available": "1Gi"}}, "grace period must be specified"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(fields, message) -> None:
    with pytest.raises(ThresholdFailure, match=message):
        thresholds_of(KubeletConfiguration(**fields))
