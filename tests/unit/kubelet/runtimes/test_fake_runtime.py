"""The kubelet's fake runtime does what the protocol says, or tests that use it prove nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kubecore.api.clock import LoopClock
from kubecore.client import virtual_loop
from kubecore.kubelet.runtimes.protocol import (
    ContainerConfig,
    ContainerEvent,
    ContainerMetadata,
    ContainerState,
    EventKind,
    Runtime,
    RuntimeCode,
    RuntimeFailure,
    SandboxConfig,
    SandboxMetadata,
    SandboxState,
)
from support.fake_runtime import FakeRuntime, Program

if TYPE_CHECKING:
    _SHAPE: type[Runtime] = FakeRuntime

POD = SandboxConfig(metadata=SandboxMetadata(name="web", uid="u1", namespace="default"))


def _runtime() -> FakeRuntime:
    return FakeRuntime(LoopClock(asyncio.get_running_loop(), epoch_seconds=1_000))


async def _started(runtime: FakeRuntime, name: str) -> str:
    sandbox = await runtime.run_pod_sandbox(POD)
    await runtime.pull_image("busybox", None)
    made = await runtime.create_container(
        sandbox, ContainerConfig(metadata=ContainerMetadata(name=name), image="busybox")
    )
    await runtime.start_container(made)
    return made


def test_a_program_ends_when_its_time_is_over() -> None:
    async def scenario() -> None:
        runtime = _runtime()
        runtime.programs["job"] = Program(run_seconds=30, exit_code=3)
        made = await _started(runtime, "job")
        assert (await runtime.container_status(made)).state is ContainerState.RUNNING
        await asyncio.sleep(31)
        ended = await runtime.container_status(made)
        assert (ended.state, ended.exit_code, ended.reason) == (ContainerState.EXITED, 3, "Error")
        assert ended.finished_at - ended.started_at == 30 * 10**9

    virtual_loop.run(scenario())


def test_a_program_that_ignores_the_signal_is_killed_after_the_grace() -> None:
    async def scenario() -> None:
        runtime = _runtime()
        runtime.programs["deaf"] = Program(stop_seconds=None)
        made = await _started(runtime, "deaf")
        begun = asyncio.get_running_loop().time()
        await runtime.stop_container(made, 10)
        assert asyncio.get_running_loop().time() - begun == pytest.approx(10)
        assert (await runtime.container_status(made)).exit_code == 137

    virtual_loop.run(scenario())


def test_events_tell_the_life_of_a_pod_until_the_connection_breaks() -> None:
    async def scenario() -> None:
        runtime = _runtime()
        seen: list[ContainerEvent] = []

        async def listen() -> None:
            events = runtime.events()
            while True:
                seen.append(await anext(events))

        listening = asyncio.ensure_future(listen())
        await asyncio.sleep(0)
        made = await _started(runtime, "web")
        sandbox = (await runtime.container_status(made)).sandbox_id
        await runtime.stop_pod_sandbox(sandbox)
        assert (await runtime.pod_sandbox_status(sandbox)).state is SandboxState.NOTREADY
        await runtime.remove_pod_sandbox(sandbox)
        runtime.break_events()
        with pytest.raises(RuntimeFailure) as failed:
            await listening
        assert failed.value.code is RuntimeCode.UNAVAILABLE
        assert [event.kind for event in seen if event.container_id == made] == [
            EventKind.CREATED,
            EventKind.STARTED,
            EventKind.STOPPED,
            EventKind.DELETED,
        ]

    virtual_loop.run(scenario())


def test_a_failure_that_was_ordered_is_given_once() -> None:
    async def scenario() -> None:
        runtime = _runtime()
        runtime.missing_images.add("nowhere")
        runtime.fail("run_pod_sandbox", RuntimeFailure(RuntimeCode.UNKNOWN, "no address left"))
        with pytest.raises(RuntimeFailure, match="no address left"):
            await runtime.run_pod_sandbox(POD)
        assert await runtime.run_pod_sandbox(POD)
        with pytest.raises(RuntimeFailure) as failed:
            await runtime.pull_image("nowhere", None)
        assert failed.value.code is RuntimeCode.NOT_FOUND

    virtual_loop.run(scenario())
