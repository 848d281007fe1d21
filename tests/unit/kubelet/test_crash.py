"""A kubelet that dies at any step: the next one brings the pod to the same end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kubecore.client import virtual_loop
from kubecore.client.transport import Pairs, Response
from support.fake_apiserver import FakeTransport
from support.fake_runtime import FakeRuntime, Program
from support.kubelet import World, container, pod, world

CHANGES = (
    "run_pod_sandbox",
    "stop_pod_sandbox",
    "remove_pod_sandbox",
    "create_container",
    "start_container",
    "stop_container",
    "remove_container",
    "pull_image",
)

STEPS_MAX = 80


class Cut:
    """Ends the kubelet at its n-th change of the world, before or after it took effect. Counts from when it is armed."""

    def __init__(self, step: int, *, after: bool) -> None:
        self.left = step
        self.after = after
        self.happened = asyncio.Event()
        self.gone = asyncio.Event()
        self.armed = False

    def is_now(self) -> bool:
        if not self.armed or self.happened.is_set():
            return False
        self.left -= 1
        return self.left == 0

    async def die(self) -> None:
        """The caller never hears of an answer."""
        self.happened.set()
        await self.gone.wait()
        raise asyncio.CancelledError


class CutRuntime:
    """The fake runtime, each change of which may be the kubelet's last deed."""

    def __init__(self, runtime: FakeRuntime, cut: Cut) -> None:
        self._runtime = runtime
        self._cut = cut

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._runtime, name)
        if name not in CHANGES:
            return found

        async def call(*arguments: Any) -> Any:
            now = self._cut.is_now()
            if now and not self._cut.after:
                await self._cut.die()
            answer = await found(*arguments)
            if now:
                await self._cut.die()
            return answer

        return call


class CutTransport(FakeTransport):
    """The same for what the kubelet writes to the API."""

    def __init__(self, here: World, cut: Cut) -> None:
        super().__init__(here.server)
        self._cut = cut

    async def request(
        self, method: str, path: str, query: Pairs = (), headers: Pairs = (), body: bytes = b""
    ) -> Response:
        now = method != "GET" and "/pods" in path and self._cut.is_now()
        if now and not self._cut.after:
            await self._cut.die()
        answer = await super().request(method, path, query, headers, body)
        if now:
            await self._cut.die()
        return answer


async def _restart_with(here: World, cut: Cut) -> None:
    await here.kill()
    here.start(CutTransport(here, cut), CutRuntime(here.runtime, cut))
    await here.pass_time(1)


async def _die_and_come_back(here: World, cut: Cut, seconds: float) -> bool:
    """Whether the step was reached."""
    try:
        async with asyncio.timeout(seconds):
            await cut.happened.wait()
    except TimeoutError:
        return False
    here.cancel()
    cut.gone.set()
    await here.kill()
    here.start()
    return True


def _life() -> dict[str, Any]:
    sidecar = container("mesh", restartPolicy="Always")
    return pod("web", container("app"), container("other"), initContainers=[container("one"), sidecar])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kubelet_killed_at_any_step_of_a_pods_start_brings_it_up(tmp_path: Path, after: bool) -> None:
    async def story(step: int) -> bool:
        async with world(tmp_path / f"{after}-{step}") as here:
            here.runtime.programs["one"] = Program(run_seconds=1)
            cut = Cut(step, after=after)
            await _restart_with(here, cut)
            cut.armed = True
            here.create(_life())
            cut_at_all = await _die_and_come_back(here, cut, 20)
            await here.pass_time(30)
            status = here.status()
            assert status["phase"] == "Running", step
            assert here.condition("Ready")["status"] == "True", step
            for name in ("one", "mesh", "app", "other"):
                assert here.container(name)["restartCount"] == 0, (step, name)
                assert len(here.runtime.named(name)) == 1, (step, name)
            assert len(here.runtime.sandboxes) == 1, step
            return cut_at_all

    steps = 0
    while steps < STEPS_MAX and virtual_loop.run(story(steps + 1)):
        steps += 1
    assert 10 <= steps < STEPS_MAX


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kubelet_killed_at_any_step_of_a_pods_end_takes_it_away(tmp_path: Path, after: bool) -> None:
    async def story(step: int) -> bool:
        async with world(tmp_path / f"{after}-{step}") as here:
            here.runtime.programs["one"] = Program(run_seconds=1)
            here.runtime.default_program = Program(stop_seconds=1)
            cut = Cut(step, after=after)
            await _restart_with(here, cut)
            here.create(_life())
            await here.pass_time(10)
            assert here.status()["phase"] == "Running"
            cut.armed = True
            await here.delete()
            cut_at_all = await _die_and_come_back(here, cut, 60)
            await here.pass_time(120)
            assert not here.exists(), step
            assert here.runtime.containers == {}, step
            assert here.runtime.sandboxes == {}, step
            assert here.volumes.mounted == {}, step
            return cut_at_all

    steps = 0
    while steps < STEPS_MAX and virtual_loop.run(story(steps + 1)):
        steps += 1
    assert 8 <= steps < STEPS_MAX


def test_a_new_kubelet_adopts_running_containers_and_keeps_their_counts(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["flaky"] = Program(run_seconds=1, exit_code=1)
            here.create(pod("web", container("app"), container("flaky")))
            await here.pass_time(2.2)
            here.runtime.programs["flaky"] = Program()
            await here.pass_time(60)
            before = {name: here.container(name) for name in ("app", "flaky")}
            assert before["flaky"]["restartCount"] == 2
            started = here.runtime.calls_of("start_container")
            writes = here.status_writes()
            await here.kill()
            await here.pass_time(5)
            here.start()
            await here.pass_time(60)
            assert {name: here.container(name) for name in ("app", "flaky")} == before
            assert here.runtime.calls_of("start_container") == started
            assert here.status_writes() == writes

    virtual_loop.run(story())


def test_what_ended_while_no_kubelet_ran_is_seen_by_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.create(pod("keeps"))
            here.create(pod("ends", container("job"), restartPolicy="Never"))
            here.create(pod("goes", container("gone")))
            await here.pass_time(3)
            await here.kill()
            here.runtime.exit("app", 9)
            here.runtime.exit("job", 0)
            await here.delete("goes", grace_seconds=0)
            await here.pass_time(5)
            here.start()
            await here.pass_time(60)
            assert here.container("app", "keeps")["restartCount"] == 1
            assert here.container("app", "keeps")["lastState"]["terminated"]["exitCode"] == 9
            assert here.status("ends")["phase"] == "Succeeded"
            assert here.runtime.named("gone") == []

    virtual_loop.run(story())
