"""Node shutdown: who is ended when, with how much grace."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from kubecore.api.component_config import Duration
from kubecore.client import virtual_loop
from kubecore.kubelet.configuration import KubeletConfiguration, PriorityGracePeriod
from kubecore.kubelet.seams import Eviction
from kubecore.kubelet.shutdown import NodeShutdown
from support.pods import pod_of

NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}}
TWO_STEPS = KubeletConfiguration(shutdown_grace_period=Duration(30), shutdown_grace_period_critical_pods=Duration(10))


@dataclass
class World:
    """Pods that take their time to end."""

    configuration: KubeletConfiguration
    pods: list[dict]
    takes_seconds: float = 1.0
    ended: list[tuple[float, str, int | None]] = field(default_factory=list)
    evictions: list[Eviction] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)

    def shutdown(self) -> NodeShutdown:
        return NodeShutdown(self.configuration, pods=lambda: self.pods, evict=self.evict, recorder=self, node=NODE)

    async def evict(self, uid: str, eviction: Eviction) -> None:
        self.evictions.append(eviction)
        self.ended.append((asyncio.get_running_loop().time(), uid.removeprefix("uid-of-"), eviction.grace_seconds))
        await asyncio.sleep(self.takes_seconds)

    def event(self, regarding, event_type: str, reason: str, message: str) -> None:
        self.events.append((reason, message))


def _shut_down(world: World) -> NodeShutdown:
    shutdown = world.shutdown()
    virtual_loop.run(shutdown.shut_down())
    return shutdown


def test_critical_pods_end_last() -> None:
    pods = [pod_of(name="critical", priority=2_000_000_000), pod_of(name="a"), pod_of(name="b", priority=1000)]
    world = World(TWO_STEPS, pods)
    shutdown = _shut_down(world)
    assert world.ended == [(0.0, "a", 20), (0.0, "b", 20), (1.0, "critical", 10)]
    assert world.events == [("NodeShutdown", "Shutdown manager detected shutdown event")]
    assert shutdown.problems() == ["node is shutting down"]


def test_a_pod_with_less_grace_keeps_it() -> None:
    world = World(TWO_STEPS, [pod_of(terminationGracePeriodSeconds=5)])
    _shut_down(world)
    assert world.ended == [(0.0, "web", 5)]


def test_pods_that_do_not_end_are_not_waited_for_beyond_their_time() -> None:
    pods = [pod_of(name="slow"), pod_of(name="critical", priority=2_000_000_000)]
    world = World(TWO_STEPS, pods, takes_seconds=3600)
    _shut_down(world)
    assert [(when, name) for when, name, _ in world.ended] == [(0.0, "slow"), (20.0, "critical")]


def test_groups_of_priorities_end_from_the_lowest() -> None:
    rows = [(100_000, 10), (10_000, 180), (1000, 120), (0, 60)]
    periods = tuple(
        PriorityGracePeriod(priority=priority, shutdown_grace_period_seconds=seconds) for priority, seconds in rows
    )
    configuration = KubeletConfiguration(shutdown_grace_period_by_pod_priority=periods)
    priorities = {"below": -5, "zero": 0, "middle": 5000, "at": 10_000, "top": 2_000_000_000}
    names = [
        pod_of(name=name, priority=priority, terminationGracePeriodSeconds=500) for name, priority in priorities.items()
    ]
    world = World(configuration, names)
    _shut_down(world)
    assert [(name, grace) for _, name, grace in world.ended] == [
        ("below", 60),
        ("zero", 60),
        ("middle", 120),
        ("at", 180),
        ("top", 10),
    ]


def test_pods_are_told_why_they_ended() -> None:
    world = World(TWO_STEPS, [pod_of()])
    _shut_down(world)
    eviction = world.evictions[0]
    assert eviction.reason == "Terminated"
    assert eviction.message == "Pod was terminated in response to imminent node shutdown."
    assert eviction.conditions[0]["type"] == "DisruptionTarget"


def test_a_node_that_goes_down_takes_no_pod() -> None:
    world = World(TWO_STEPS, [])
    assert world.shutdown().admit(pod_of(), []) is None
    refused = _shut_down(world).admit(pod_of(), [])
    assert refused is not None
    assert (refused.reason, refused.message) == ("NodeShutdown", "Pod was rejected as the node is shutting down.")


def test_without_a_grace_period_there_is_no_graceful_shutdown() -> None:
    assert not World(KubeletConfiguration(), []).shutdown().is_configured
    assert World(TWO_STEPS, []).shutdown().is_configured
