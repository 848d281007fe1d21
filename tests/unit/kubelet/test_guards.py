"""A kubelet with its guards and its real probes: what they decide reaches pods and the node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kubecore.api.clock import LoopClock
from kubecore.client import virtual_loop
from kubecore.kubelet.guards import guard
from kubecore.kubelet.kubelet import Kubelet
from kubecore.kubelet.probes import ProbeManager
from kubecore.kubelet.runtimes.protocol import CpuStats, ExecResult, MemoryStats
from kubecore.kubelet.seams import Rooms
from kubecore.kubelet.stats.probe_metrics import ProbeMetrics
from kubecore.kubelet.stats.samples import DiskUse, NodeSample, Processes, Sample, Swap
from support.fake_apiserver import FakeServer
from support.fake_runtime import FakeRuntime
from support.kubelet import EPOCH_SECONDS, World, container, pod

MIB, GIB = 1 << 20, 1 << 30


class Guarded(World):
    """`available_bytes`: of the node's memory. `exit_code`: of commands in containers."""

    available_bytes = 4 * GIB
    exit_code = 0

    def _rooms(self, kubelet: Kubelet) -> Rooms:
        probes = ProbeManager(
            kubelet.runtime,
            pods=kubelet.pods,
            recorder=kubelet.recorder,
            wake=kubelet.wake,
            clock=kubelet.clock,
            randomness=random.Random(1),
            metrics=ProbeMetrics(),
        )
        rooms = super()._rooms(kubelet)
        rooms.probes = probes
        return guard(kubelet, rooms, sample=self.sample)

    async def sample(self) -> Sample:
        now = round(self.clock.now() * 1e9)
        cpu = CpuStats(timestamp=now, usage_core_nanoseconds=0)
        used = 8 * GIB - self.available_bytes
        memory = MemoryStats(
            timestamp=now,
            usage_bytes=used,
            working_set_bytes=used,
            rss_bytes=used,
            available_bytes=self.available_bytes,
        )
        disk = DiskUse(now, 0, 0, 90 * GIB, 100 * GIB, 1000, 1000)
        node = NodeSample(now, 0, cpu, memory, (), disk, None, Swap(now, 0, 0), Processes(now, 1000, 1), cpu, memory, 0)
        return Sample(now, node, (), 0.0)

    def node_condition(self, kind: str) -> dict:
        node = self.server.find("nodes", "", "node-0")
        return next(each for each in node["status"]["conditions"] if each["type"] == kind)


@asynccontextmanager
async def _world(directory: Path, **configuration) -> AsyncIterator[Guarded]:
    clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=EPOCH_SECONDS)
    runtime = FakeRuntime(clock)
    made = Guarded(FakeServer(now=clock.now), runtime, directory, configuration)
    runtime.exec_answer = lambda _container, _command: ExecResult(stdout=b"", stderr=b"", exit_code=made.exit_code)
    made.start()
    await made.pass_time(100)
    try:
        yield made
    finally:
        await made.kill()


def test_a_node_short_of_memory_says_so_evicts_and_refuses(tmp_path: Path) -> None:
    async def story() -> None:
        async with _world(tmp_path) as here:
            here.create(pod())
            await here.pass_time(5)
            assert here.node_condition("MemoryPressure")["status"] == "False"
            here.available_bytes = 50 * MIB
            await here.pass_time(12)
            status = here.status()
            assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
            assert status["message"].startswith("The node was low on resource: memory. Threshold quantity: 100Mi,")
            assert here.condition("DisruptionTarget")["reason"] == "TerminationByKubelet"
            await here.pass_time(12)
            condition = here.node_condition("MemoryPressure")
            assert (condition["status"], condition["reason"]) == ("True", "KubeletHasInsufficientMemory")
            here.create(pod("late"))
            await here.pass_time(2)
            assert here.status("late")["reason"] == "Evicted"
            assert here.status("late")["message"] == "Pod was rejected: The node had condition: [MemoryPressure]. "
            assert here.runtime.calls_of("create_container") == 1

    virtual_loop.run(story())


def test_a_node_that_goes_down_ends_its_pods_and_is_not_ready(tmp_path: Path) -> None:
    async def story() -> None:
        async with _world(tmp_path, shutdownGracePeriod="30s", shutdownGracePeriodCriticalPods="10s") as here:
            here.create(pod())
            await here.pass_time(5)
            await here.kubelet.shut_down()
            status = here.status()
            assert (status["phase"], status["reason"]) == ("Failed", "Terminated")
            assert status["message"] == "Pod was terminated in response to imminent node shutdown."
            await here.pass_time(12)
            ready = here.node_condition("Ready")
            assert (ready["status"], ready["reason"]) == ("False", "KubeletNotReady")
            assert ready["message"] == "node is shutting down"

    virtual_loop.run(story())


def test_without_a_grace_period_pods_outlive_their_kubelet(tmp_path: Path) -> None:
    async def story() -> None:
        async with _world(tmp_path) as here:
            here.create(pod())
            await here.pass_time(5)
            await here.kubelet.shut_down()
            assert here.status()["phase"] == "Running"

    virtual_loop.run(story())


def test_a_sysctl_that_the_node_does_not_allow_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with _world(tmp_path, allowedUnsafeSysctls=["kernel.msg*"]) as here:
            for name, sysctl in (("allowed", "kernel.msgmax"), ("refused", "kernel.sem")):
                here.create(pod(name, securityContext={"sysctls": [{"name": sysctl, "value": "1"}]}))
            await here.pass_time(5)
            assert here.status("allowed")["phase"] == "Running"
            status = here.status("refused")
            assert (status["phase"], status["reason"]) == ("Failed", "SysctlForbidden")
            assert status["message"].endswith('forbidden sysctl: "kernel.sem" not allowlisted')

    virtual_loop.run(story())


def _probed(**probes):
    return pod(
        "web",
        container("app", **{f"{kind}Probe": {"exec": {"command": ["check"]}, **more} for kind, more in probes.items()}),
    )


def test_a_pod_is_ready_while_its_probe_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with _world(tmp_path) as here:
            here.exit_code = 1
            here.create(_probed(readiness={"periodSeconds": 5, "failureThreshold": 1}))
            await here.pass_time(7)
            assert (here.condition("Ready")["status"], here.container("app")["ready"]) == ("False", False)
            here.exit_code = 0
            await here.pass_time(6)
            assert (here.condition("Ready")["status"], here.container("app")["ready"]) == ("True", True)
            here.exit_code = 1
            await here.pass_time(6)
            assert here.condition("Ready")["status"] == "False"
            assert "Readiness probe failed: " in here.events("Unhealthy")

    virtual_loop.run(story())


def test_a_container_whose_liveness_fails_is_restarted(tmp_path: Path) -> None:
    async def story() -> None:
        async with _world(tmp_path) as here:
            here.create(_probed(liveness={"periodSeconds": 5, "failureThreshold": 2}))
            await here.pass_time(12)
            assert here.container("app")["restartCount"] == 0
            here.exit_code = 1
            await here.pass_time(11)
            here.exit_code = 0
            await here.pass_time(20)
            assert here.container("app")["restartCount"] == 1
            assert here.events("Killing") == ["Container app failed liveness probe, will be restarted"]

    virtual_loop.run(story())


def test_a_container_has_started_when_its_startup_probe_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with _world(tmp_path) as here:
            here.exit_code = 1
            here.create(_probed(startup={"periodSeconds": 1, "failureThreshold": 100}, liveness={"periodSeconds": 1}))
            await here.pass_time(20)
            assert here.container("app")["started"] is False
            assert here.condition("Ready")["status"] == "False"
            here.exit_code = 0
            await here.pass_time(3)
            assert here.container("app")["started"] is True
            assert (here.condition("Ready")["status"], here.container("app")["restartCount"]) == ("True", 0)

    virtual_loop.run(story())


def test_a_kubelet_that_comes_back_does_not_take_readiness_away(tmp_path: Path) -> None:
    async def story() -> None:
        async with _world(tmp_path) as here:
            here.create(_probed(readiness={"periodSeconds": 10}))
            await here.pass_time(30)
            assert here.condition("Ready")["status"] == "True"
            since = here.condition("Ready")["lastTransitionTime"]
            await here.kill()
            here.start()
            await here.pass_time(30)
            assert here.condition("Ready")["status"] == "True"
            assert here.condition("Ready")["lastTransitionTime"] == since

    virtual_loop.run(story())


def test_what_has_started_need_not_start_again_under_a_new_kubelet(tmp_path: Path) -> None:
    async def story() -> None:
        async with _world(tmp_path) as here:
            startup = {"periodSeconds": 1, "failureThreshold": 1}
            here.create(_probed(startup=startup, readiness={"periodSeconds": 5, "failureThreshold": 100}))
            await here.pass_time(20)
            assert here.condition("Ready")["status"] == "True"
            await here.kill()
            here.exit_code = 1
            here.start()
            await here.pass_time(60)
            assert (here.container("app")["started"], here.container("app")["restartCount"]) == (True, 0)
            assert not [said for said in here.events("Unhealthy") if said.startswith("Startup")]

    virtual_loop.run(story())
