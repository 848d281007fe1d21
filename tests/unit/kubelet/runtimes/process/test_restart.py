"""Who dies and what goes on: the kubelet, the daemon."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubecore.kubelet.cgroups import detect
from kubecore.kubelet.runtimes.process import connect, spawn
from kubecore.kubelet.runtimes.protocol import (
    ContainerEvent,
    ContainerSecurity,
    ContainerState,
    EventKind,
    LinuxResources,
    NamespaceMode,
    NamespaceOptions,
    RuntimeFailure,
    SandboxSecurity,
    SandboxState,
)
from support.process_runtime import Node, log_lines, until


async def test_another_client_finds_what_the_first_left(own_node: Node) -> None:
    container = await own_node.started(await own_node.sandbox(), "exec sleep 1000")
    await own_node.runtime.close()
    other = connect(own_node.socket)
    (found,) = await other.list_containers()
    assert (found.id, found.state) == (container, ContainerState.RUNNING)
    await other.close()


async def test_a_daemon_that_was_killed_leaves_containers_running_and_the_next_adopts_them(own_pod_node: Node) -> None:
    sandbox = await own_pod_node.sandbox(security=SandboxSecurity())
    container = await own_pod_node.started(
        sandbox, "i=0; while test ! -e /tmp/end; do i=$((i+1)); echo line $i; sleep 0.02; done; echo last; exit 6"
    )
    before = await own_pod_node.runtime.container_status(container)
    await own_pod_node.says(container, "line 3")
    own_pod_node.kill()
    await own_pod_node.start()
    after = await own_pod_node.runtime.container_status(container)
    assert after == before
    assert (await own_pod_node.runtime.pod_sandbox_status(sandbox)).state is SandboxState.READY
    # Who makes the file may be ended with the container that looks for it.
    await own_pod_node.runtime.exec_sync(container, ["touch", "/tmp/end"], 10)
    ended = await own_pod_node.ended(container)
    lines = [text for _, _, text in log_lines(ended.log_path)]
    assert lines[-1] == "last"
    numbers = [int(line.split()[1]) for line in lines[:-1]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert ended.exit_code == 6


async def test_what_ended_while_no_daemon_ran_has_exited_and_says_why(own_node: Node) -> None:
    container = await own_node.started(await own_node.sandbox(), "exec sleep 1000")
    pid = (await own_node.runtime.container_status(container)).pid
    own_node.kill()
    os.kill(pid, 9)
    await own_node.start()
    ended = await own_node.ended(container)
    assert (ended.state, ended.reason, ended.pid) == (ContainerState.EXITED, "Error", 0)
    # Who reaps orphans on this machine decides whether there is a code left to read.
    assert ended.exit_code == 137 or "its exit code is not known" in ended.message


async def test_a_pid_that_belongs_to_somebody_else_is_not_adopted(own_node: Node) -> None:
    own = os.getpid()
    assert spawn.adopt(own, spawn.start_ticks(own) + 1) is None
    assert spawn.start_ticks(1 << 22) == 0
    assert own_node.daemon_pid


async def test_images_and_addresses_are_known_again(own_pod_node: Node) -> None:
    sandbox = await own_pod_node.sandbox(security=SandboxSecurity())
    await own_pod_node.runtime.pull_image("busybox", None)
    images = await own_pod_node.runtime.list_images()
    own_pod_node.kill()
    await own_pod_node.start()
    assert await own_pod_node.runtime.list_images() == images
    other = await own_pod_node.sandbox("other", security=SandboxSecurity())
    first, second = [(await own_pod_node.runtime.pod_sandbox_status(each)).ips for each in (sandbox, other)]
    assert first != second


async def test_after_the_nodes_own_start_sandboxes_are_not_ready_and_containers_have_exited(own_pod_node: Node) -> None:
    in_pod = await own_pod_node.sandbox("in-pod", security=SandboxSecurity())
    on_node = await own_pod_node.sandbox("on-node")
    container = await own_pod_node.started(on_node, "exec sleep 1000")
    pid = (await own_pod_node.runtime.container_status(container)).pid
    own_pod_node.kill()
    for held in (f"{in_pod}/net", f"{on_node}/ipc"):
        own_pod_node.run("umount", str(own_pod_node.root / "sandboxes" / held))
    (own_pod_node.root / "boot").write_text("another")
    await own_pod_node.start()
    states = {each.id: each.state for each in await own_pod_node.runtime.list_pod_sandboxes()}
    assert states == {in_pod: SandboxState.NOTREADY, on_node: SandboxState.NOTREADY}
    ended = await own_pod_node.runtime.container_status(container)
    assert (ended.state, ended.exit_code) == (ContainerState.EXITED, 255)
    os.kill(pid, 9)


async def test_an_unreadable_record_is_swept(own_node: Node) -> None:
    sandbox = await own_node.sandbox()
    own_node.kill()
    _spoil(own_node.root / "sandboxes" / sandbox / "record")
    await own_node.start()
    assert await own_node.runtime.list_pod_sandboxes() == []
    assert not (own_node.root / "sandboxes" / sandbox).exists()


async def _next(events: AsyncIterator[ContainerEvent]) -> ContainerEvent:
    return await anext(events)


def _spoil(file: Path) -> None:
    file.write_bytes(b"\xc1 half a rec")


async def test_events_tell_a_containers_life(own_node: Node) -> None:
    events = own_node.runtime.events()
    first = asyncio.ensure_future(_next(events))
    await own_node.runtime.version()

    async def subscribed() -> bool:
        sandbox = await own_node.sandbox()
        await own_node.runtime.remove_pod_sandbox(sandbox)
        return first.done()

    await until(subscribed)
    sandbox = await own_node.sandbox("told")
    container = await own_node.started(sandbox, "exit 0")
    await own_node.ended(container)
    await own_node.runtime.remove_pod_sandbox(sandbox)
    seen = [first.result()]
    while not (seen[-1].container_id == sandbox and seen[-1].kind is EventKind.DELETED):
        seen.append(await anext(events))
    assert [event.kind for event in seen if event.container_id == container] == [
        EventKind.CREATED,
        EventKind.STARTED,
        EventKind.STOPPED,
        EventKind.DELETED,
    ]
    assert {event.pod_uid for event in seen if event.sandbox_id == sandbox} == {"uid-told"}


async def test_a_sandbox_whose_shared_pids_were_lost_is_not_ready(own_pod_node: Node) -> None:
    shared = NamespaceOptions(pid=NamespaceMode.POD)
    sandbox = await own_pod_node.sandbox(security=SandboxSecurity(namespaces=shared))
    container = await own_pod_node.started(sandbox, "exec sleep 1000", security=ContainerSecurity(namespaces=shared))
    holder = min(detect().processes(f"{own_pod_node.cgroup_root}/{sandbox}"))
    os.kill(holder, 9)
    assert (await own_pod_node.ended(container)).exit_code == 137

    async def is_not_ready() -> bool:
        return (await own_pod_node.runtime.pod_sandbox_status(sandbox)).state is SandboxState.NOTREADY

    await until(is_not_ready)


async def test_a_memory_limit_that_is_too_low_to_start_says_so(own_node: Node) -> None:
    container = await own_node.created(
        await own_node.sandbox(), "true", resources=LinuxResources(memory_limit_bytes=4096)
    )
    with pytest.raises(RuntimeFailure, match="OOM-killed"):
        await own_node.runtime.start_container(container)
