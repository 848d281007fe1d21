"""When probes are tried, when they settle, what they say: in virtual time, on a scripted container."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from kubecore.api.clock import LoopClock
from kubecore.client import virtual_loop
from kubecore.kubelet.probes import ProbeManager
from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerMetadata,
    ContainerState,
    ExecResult,
    RuntimeCode,
    RuntimeFailure,
)
from kubecore.kubelet.seams import ProbeKind
from kubecore.kubelet.stats.probe_metrics import ProbeMetrics
from support.pods import container_of, pod_of

START = 1_800_000_000.0
EXEC = {"exec": {"command": ["check", "$(NAME)"]}}


@dataclass
class World:
    """A pod, its container, and what exec answers: an exit code, or something raised."""

    pod: dict
    clock: LoopClock
    containers: dict[str, Container] = field(default_factory=dict)
    phase: str = "Running"
    answer: Callable[[], int] = lambda: 0
    output: bytes = b"out"
    probed_at: list[float] = field(default_factory=list)
    commands: list[tuple[str, ...]] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    woken: list[float] = field(default_factory=list)
    metrics: ProbeMetrics = field(default_factory=ProbeMetrics)

    # ── as the kubelet's pods ──

    def get(self, uid: str):
        return self.pod

    def status(self, uid: str):
        return {"phase": self.phase, "podIP": "10.244.0.5"}

    def sandbox(self, uid: str):
        return None

    def container(self, uid: str, name: str, *, previous: bool = False):
        return self.containers.get(name)

    # ── as the runtime ──

    async def exec_sync(self, container_id: str, command, timeout_seconds: float) -> ExecResult:
        self.probed_at.append(self.since())
        self.commands.append(tuple(command))
        return ExecResult(stdout=self.output, stderr=b"", exit_code=self.answer())

    # ── as the recorder ──

    def event(self, regarding, event_type: str, reason: str, message: str, *, field_path: str = "") -> None:
        self.events.append((field_path, reason, message))

    # ── what the test does ──

    def since(self) -> float:
        return round(self.clock.now() - START, 3)

    def runs(self, container_id: str = "c1", name: str = "main", *, started_before: float = 0.0) -> None:
        started = int((self.clock.now() - started_before) * 1e9)
        self.containers[name] = Container(
            id=container_id,
            sandbox_id="s",
            metadata=ContainerMetadata(name=name),
            state=ContainerState.RUNNING,
            created_at=started,
            started_at=started,
            image="i",
            image_ref="i",
            image_id="i",
        )


async def _world(container: dict, *, warm: bool = True, **pod) -> tuple[World, ProbeManager]:
    """`warm`: the kubelet has run for a while, so that its first probes are not spread."""
    clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=START)
    world = World(pod_of(container, **pod), clock)
    manager = ProbeManager(
        world,
        pods=world,
        recorder=world,
        wake=lambda uid: world.woken.append(world.since()),
        clock=clock,
        randomness=random.Random(1),
        metrics=world.metrics,
    )
    if warm:
        await asyncio.sleep(1000)
    return world, manager


def _probed(kind: str, **fields) -> dict:
    return container_of(env=[{"name": "NAME", "value": "me"}], **{kind: {**EXEC, **fields}})


def test_a_container_is_ready_when_its_probe_succeeds() -> None:
    async def main() -> None:
        world, manager = await _world(_probed("readinessProbe", periodSeconds=10))
        manager.add(world.pod)
        await asyncio.sleep(3)
        assert manager.result(ProbeKind.READINESS, "c1") is None
        world.runs()
        await asyncio.sleep(7.5)
        assert manager.result(ProbeKind.READINESS, "c1") is True
        assert world.probed_at == [1010.0]
        assert world.commands == [("check", "me")]
        assert world.woken == [1010.0]
        await manager.close()

    virtual_loop.run(main())


def test_whoever_asks_for_a_readiness_makes_the_probe_look_at_once() -> None:
    async def main() -> None:
        world, manager = await _world(_probed("readinessProbe", periodSeconds=10))
        manager.add(world.pod)
        await asyncio.sleep(3)
        world.runs()
        assert manager.result(ProbeKind.READINESS, "c1") is None
        await asyncio.sleep(0.1)
        assert manager.result(ProbeKind.READINESS, "c1") is True
        await asyncio.sleep(20)
        assert world.probed_at == [1003.0, 1013.0, 1023.0]
        await manager.close()

    virtual_loop.run(main())


def test_results_settle_after_as_many_as_their_threshold() -> None:
    async def main() -> None:
        container = _probed("readinessProbe", periodSeconds=1, successThreshold=2, failureThreshold=3)
        world, manager = await _world(container)
        world.runs()
        manager.add(world.pod)
        seen = []
        for answers in ([0], [0], [1], [1], [0], [1], [1], [1], [0], [0]):
            world.answer = answers.pop
            await asyncio.sleep(1)
            seen.append(manager._results[ProbeKind.READINESS, "c1"])
        assert seen == [False, True, True, True, True, True, True, False, False, True]
        assert [event[1:] for event in world.events] == [("Unhealthy", "Readiness probe failed: out")] * 5
        assert {event[0] for event in world.events} == {"spec.containers{main}"}
        await manager.close()

    virtual_loop.run(main())


def test_liveness_that_fails_wakes_the_pod_and_waits_for_a_new_container() -> None:
    async def main() -> None:
        world, manager = await _world(_probed("livenessProbe", periodSeconds=5, failureThreshold=2))
        world.runs()
        world.answer = lambda: 1
        manager.add(world.pod)
        await asyncio.sleep(1)
        assert manager.result(ProbeKind.LIVENESS, "c1") is True
        await asyncio.sleep(30)
        assert manager.result(ProbeKind.LIVENESS, "c1") is False
        assert world.probed_at == [1000.0, 1005.0]
        assert world.woken == [1005.0]
        world.runs("c2")
        world.answer = lambda: 0
        await asyncio.sleep(10)
        assert manager.result(ProbeKind.LIVENESS, "c2") is True
        assert manager.result(ProbeKind.LIVENESS, "c1") is None
        assert world.woken == [1005.0]
        await manager.close()

    virtual_loop.run(main())


def test_nothing_is_probed_before_the_initial_delay() -> None:
    async def main() -> None:
        world, manager = await _world(_probed("livenessProbe", periodSeconds=4, initialDelaySeconds=10))
        world.runs()
        manager.add(world.pod)
        await asyncio.sleep(17)
        assert world.probed_at == [1012.0, 1016.0]
        await manager.close()

    virtual_loop.run(main())


def test_liveness_and_readiness_wait_for_the_startup_probe() -> None:
    async def main() -> None:
        container = container_of(
            startupProbe={"exec": {"command": ["startup"]}, "periodSeconds": 2, "failureThreshold": 10},
            livenessProbe={"exec": {"command": ["liveness"]}, "periodSeconds": 1},
            readinessProbe={"exec": {"command": ["readiness"]}, "periodSeconds": 1},
        )
        world, manager = await _world(container)
        world.runs()
        world.answer = lambda: 1
        manager.add(world.pod)
        await asyncio.sleep(5)
        assert set(world.commands) == {("startup",)}
        assert manager.result(ProbeKind.STARTUP, "c1") is None
        world.answer = lambda: 0
        await asyncio.sleep(2.5)
        assert manager.result(ProbeKind.STARTUP, "c1") is True
        world.commands.clear()
        await asyncio.sleep(5)
        assert set(world.commands) == {("liveness",), ("readiness",)}
        await manager.close()

    virtual_loop.run(main())


def test_a_startup_probe_that_never_succeeds_fails_once_and_for_all() -> None:
    async def main() -> None:
        world, manager = await _world(_probed("startupProbe", periodSeconds=1, failureThreshold=3))
        world.runs()
        world.answer = lambda: 1
        manager.add(world.pod)
        await asyncio.sleep(10)
        assert manager.result(ProbeKind.STARTUP, "c1") is False
        assert len(world.probed_at) == 3
        assert world.events[0][2] == "Startup probe failed: out"
        await manager.close()

    virtual_loop.run(main())


def test_a_pod_on_its_way_out_is_asked_only_whether_it_is_ready() -> None:
    async def main() -> None:
        container = container_of(
            livenessProbe={"exec": {"command": ["liveness"]}, "periodSeconds": 1},
            readinessProbe={"exec": {"command": ["readiness"]}, "periodSeconds": 1},
        )
        world, manager = await _world(container)
        world.runs()
        manager.add(world.pod)
        await asyncio.sleep(2)
        world.answer = lambda: 1
        world.commands.clear()
        manager.stop_liveness_and_startup(world.pod["metadata"]["uid"])
        await asyncio.sleep(5)
        assert set(world.commands) == {("readiness",)}
        assert manager._results[ProbeKind.READINESS, "c1"] is False
        world.commands.clear()
        manager.remove(world.pod["metadata"]["uid"])
        await asyncio.sleep(5)
        assert world.commands == []
        assert manager.result(ProbeKind.READINESS, "c1") is None

    virtual_loop.run(main())


def test_an_adopted_container_keeps_what_was_known_until_a_probe_speaks() -> None:
    async def main() -> None:
        world, manager = await _world(_probed("readinessProbe", periodSeconds=10, failureThreshold=1), warm=False)
        world.runs(started_before=60)
        world.answer = lambda: 1
        manager.add(world.pod)
        assert manager.result(ProbeKind.READINESS, "c1") is None
        await asyncio.sleep(0)
        assert world.probed_at == []
        await asyncio.sleep(10)
        assert 0 < world.probed_at[0] < 10
        assert manager.result(ProbeKind.READINESS, "c1") is False
        assert world.woken == world.probed_at[:1]
        await manager.close()

    virtual_loop.run(main())


def test_a_container_that_stopped_is_not_ready() -> None:
    async def main() -> None:
        world, manager = await _world(_probed("readinessProbe", periodSeconds=1))
        world.runs()
        manager.add(world.pod)
        await asyncio.sleep(1)
        assert manager.result(ProbeKind.READINESS, "c1") is True
        world.containers["main"] = msgspec.structs.replace(world.containers["main"], state=ContainerState.EXITED)
        await asyncio.sleep(1)
        assert manager._results[ProbeKind.READINESS, "c1"] is False
        world.phase = "Failed"
        await asyncio.sleep(1)
        probes = len(world.probed_at)
        world.phase = "Running"
        world.runs("c2")
        await asyncio.sleep(5)
        assert len(world.probed_at) == probes
        await manager.close()

    virtual_loop.run(main())


def test_a_probe_that_cannot_be_carried_out_is_tried_three_times_and_says_nothing_of_the_container() -> None:
    async def main() -> None:
        def broken() -> int:
            raise RuntimeFailure(RuntimeCode.NOT_FOUND, "no such container")

        world, manager = await _world(_probed("livenessProbe", periodSeconds=10, failureThreshold=1))
        world.runs()
        world.answer = broken
        manager.add(world.pod)
        await asyncio.sleep(1)
        assert len(world.probed_at) == 3
        assert manager.result(ProbeKind.LIVENESS, "c1") is True
        said = (
            "Liveness probe errored and resulted in unknown state: rpc error: code = NotFound desc = no such container"
        )
        assert world.events == [("spec.containers{main}", "Unhealthy", said)]
        await manager.close()

    virtual_loop.run(main())


def test_a_command_that_takes_too_long_has_failed() -> None:
    async def main() -> None:
        def late() -> int:
            raise RuntimeFailure(RuntimeCode.DEADLINE_EXCEEDED, "deadline")

        world, manager = await _world(_probed("livenessProbe", failureThreshold=1, timeoutSeconds=5))
        world.runs()
        world.answer = late
        manager.add(world.pod)
        await asyncio.sleep(1)
        assert world.events[0][2] == 'Liveness probe failed: command timed out: "check me" timed out after 5s'
        assert manager.result(ProbeKind.LIVENESS, "c1") is False
        await manager.close()

    virtual_loop.run(main())


def test_a_sidecar_is_probed_like_a_container() -> None:
    async def main() -> None:
        sidecar = {
            **_probed("readinessProbe", periodSeconds=1, failureThreshold=1),
            "name": "side",
            "restartPolicy": "Always",
        }
        plain = {**_probed("readinessProbe"), "name": "init"}
        world, manager = await _world(container_of(), initContainers=[plain, sidecar])
        world.runs("s1", "side")
        world.runs("i1", "init")
        world.answer = lambda: 1
        manager.add(world.pod)
        await asyncio.sleep(2)
        assert {event[0] for event in world.events} == {"spec.initContainers{side}"}
        await manager.close()

    virtual_loop.run(main())


def test_probes_are_counted() -> None:
    async def main() -> None:
        world, manager = await _world(_probed("livenessProbe", periodSeconds=1))
        world.runs()
        manager.add(world.pod)
        await asyncio.sleep(2.5)
        text = world.metrics.text().decode()
        labels = 'container="main",namespace="default",pod="web",pod_uid="uid-of-web",probe_type="Liveness"'
        assert f'prober_probe_total{{{labels},result="successful"}} 3' in text
        manager.remove(world.pod["metadata"]["uid"])
        assert "uid-of-web" not in world.metrics.text().decode()

    virtual_loop.run(main())
