"""What the runtime has, kept by its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from kubecore.api.clock import LoopClock
from kubecore.client import virtual_loop
from kubecore.kubelet.containers import whole
from kubecore.kubelet.runtime_view import RuntimeView
from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    RuntimeCode,
    RuntimeFailure,
    SandboxConfig,
    SandboxMetadata,
    labels_of,
)
from support.fake_runtime import FakeRuntime

POD = {"name": "web", "namespace": "default", "uid": "u1"}


class Here:
    def __init__(self) -> None:
        self.clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=1_800_000_000.0)
        self.runtime = FakeRuntime(self.clock)
        self.woken: list[str] = []
        self.view = RuntimeView(self.runtime, self.woken.append, self.clock)

    async def make(self) -> str:
        metadata = SandboxMetadata(name="web", uid="u1", namespace="default")
        sandbox = await self.runtime.run_pod_sandbox(SandboxConfig(metadata=metadata, labels=labels_of(POD)))
        await self.runtime.pull_image("web:1", None)
        config = ContainerConfig(metadata=ContainerMetadata(name="app"), image="web:1", labels=labels_of(POD, "app"))
        return await self.runtime.create_container(sandbox, config)

    def state(self) -> ContainerState | None:
        found = self.view.pod("u1").latest("app")
        return found.state if found is not None else None


@asynccontextmanager
async def here() -> AsyncIterator[Here]:
    made = Here()
    task = asyncio.ensure_future(made.view.run())
    await asyncio.sleep(0.1)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_events_keep_it_current_and_wake_the_pod() -> None:
    async def story() -> None:
        async with here() as at:
            made = await at.make()
            await asyncio.sleep(0.1)
            assert at.state() is ContainerState.CREATED
            await at.runtime.start_container(made)
            await asyncio.sleep(0.1)
            assert at.state() is ContainerState.RUNNING
            at.runtime.exit("app", 1)
            await asyncio.sleep(0.1)
            assert at.state() is ContainerState.EXITED
            await at.runtime.remove_container(made)
            await asyncio.sleep(0.1)
            assert at.state() is None
            assert set(at.woken) == {"u1"}
            assert at.runtime.calls_of("list_containers") == 0

    virtual_loop.run(story())


def test_what_happened_while_the_events_were_broken_is_found_by_listing() -> None:
    async def story() -> None:
        async with here() as at:
            made = await at.make()
            await at.runtime.start_container(made)
            await asyncio.sleep(2)
            at.runtime.break_events()
            await asyncio.sleep(0)
            at.runtime.exit("app", 1)
            at.woken.clear()
            await asyncio.sleep(3)
            assert at.state() is ContainerState.EXITED
            assert at.woken == ["u1"]

    virtual_loop.run(story())


def test_an_answer_that_was_overtaken_is_dropped() -> None:
    class Late(FakeRuntime):
        late: Container | None = None

        async def container_status(self, container_id: str) -> Container:
            return self.late or await super().container_status(container_id)

    async def story() -> None:
        at = Here()
        at.runtime = Late(at.clock)
        at.view = RuntimeView(at.runtime, at.woken.append, at.clock)
        made = await at.make()
        await at.runtime.start_container(made)
        running = at.runtime.containers[made]
        at.runtime.exit("app", 1)
        await at.view.relist()
        at.runtime.late = msgspec.structs.replace(running)
        await at.view.refresh(made)
        assert at.state() is ContainerState.EXITED

    virtual_loop.run(story())


def test_a_runtime_that_is_not_seen_for_long_is_a_problem() -> None:
    async def story() -> None:
        async with here() as at:
            await asyncio.sleep(100)
            assert at.view.problems(at.clock.monotonic()) == []
            at.runtime.fail("list_pod_sandboxes", RuntimeFailure(RuntimeCode.UNAVAILABLE, "away"), times=100)
            await asyncio.sleep(300)
            (problem,) = at.view.problems(at.clock.monotonic())
            assert problem.startswith("PLEG is not healthy: pleg was last seen active ")

    virtual_loop.run(story())


def test_a_change_under_way_is_not_given_up_half_way() -> None:
    async def story() -> None:
        done: list[str] = []

        async def change() -> None:
            await asyncio.sleep(1)
            done.append("changed")

        task = asyncio.ensure_future(whole(change()))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert done == ["changed"]
        assert task.cancelled()

    virtual_loop.run(story())
