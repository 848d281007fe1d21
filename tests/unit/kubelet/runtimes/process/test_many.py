"""Many pods at a time: whatever order calls come in, nothing is left."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from kubecore.kubelet.cgroups import detect
from kubecore.kubelet.runtimes.protocol import NamespaceMode, NamespaceOptions, RuntimeFailure, SandboxSecurity
from support.process_runtime import Node, until

PODS = 24
SHARED = SandboxSecurity(namespaces=NamespaceOptions(pid=NamespaceMode.POD))


async def _live(node: Node, name: str, randomness: random.Random) -> None:
    """A pod's life with a step of it left out, doubled or raced here and there."""
    sandbox = await node.sandbox(name, security=randomness.choice((SandboxSecurity(), SHARED)))
    container = await node.created(sandbox, randomness.choice(("exit 3", "exec sleep 1000")))
    calls = [node.runtime.start_container(container)]
    if randomness.random() < 0.5:
        calls.append(node.runtime.stop_container(container, 0))
    if randomness.random() < 0.3:
        calls.append(node.runtime.exec_sync(container, ["true"], 5))  # type: ignore[arg-type]
    if randomness.random() < 0.3:
        calls.append(node.runtime.stop_pod_sandbox(sandbox))
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert outcome is None or not isinstance(outcome, Exception) or isinstance(outcome, RuntimeFailure), outcome
    await asyncio.gather(node.runtime.remove_pod_sandbox(sandbox), node.runtime.remove_pod_sandbox(sandbox))


def _mounts(node: Node) -> list[str]:
    lines = node.run("cat", "/proc/mounts").splitlines()
    return sorted(line.split()[1] for line in lines if str(node.root) in line.split()[1])


def _handles(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_many_pods_come_and_go_and_leave_nothing(own_pod_node: Node, seed: int) -> None:
    await own_pod_node.runtime.remove_pod_sandbox(await own_pod_node.sandbox("warm", security=SHARED))
    await _live(own_pod_node, "warm-too", random.Random(0))
    before = (_mounts(own_pod_node), _handles(own_pod_node.daemon_pid))
    await asyncio.gather(*(_live(own_pod_node, f"pod-{n}", random.Random(seed * 1000 + n)) for n in range(PODS)))
    assert await own_pod_node.runtime.list_pod_sandboxes() == []
    assert await own_pod_node.runtime.list_containers() == []
    assert detect().processes(own_pod_node.cgroup_root) == []

    async def is_clean() -> bool:
        left = (_mounts(own_pod_node), _handles(own_pod_node.daemon_pid))
        return left == before and "veth" not in own_pod_node.run("ip", "-o", "link")

    await until(is_clean)


async def _begin(node: Node, name: str, randomness: random.Random) -> None:
    for _ in range(3):
        sandbox = await node.sandbox(name, security=randomness.choice((SandboxSecurity(), SHARED)))
        container = await node.started(sandbox, "exec sleep 1000")
        if randomness.random() < 0.5:
            await node.runtime.stop_pod_sandbox(sandbox)
        if randomness.random() < 0.5:
            await node.runtime.remove_container(container)


@pytest.mark.parametrize("seed", range(4))
async def test_a_daemon_killed_at_any_step_leaves_nothing_that_the_next_does_not_know(
    own_pod_node: Node, seed: int
) -> None:
    """Every process belongs to what is listed; when that is removed, nothing is left."""
    randomness = random.Random(seed)
    await own_pod_node.runtime.remove_pod_sandbox(await own_pod_node.sandbox("warm", security=SHARED))
    await own_pod_node.created(await own_pod_node.sandbox("warm-too"), "true")
    before = _mounts(own_pod_node)
    working = [asyncio.ensure_future(_begin(own_pod_node, f"pod-{n}", random.Random(seed * 100 + n))) for n in range(6)]
    await asyncio.sleep(randomness.uniform(0.02, 0.4))
    own_pod_node.kill()
    for outcome in await asyncio.gather(*working, return_exceptions=True):
        assert outcome is None or isinstance(outcome, RuntimeFailure), outcome
    await own_pod_node.start()
    running = {each.pid for each in await own_pod_node.runtime.list_containers() if each.pid}
    assert {pid for pid in detect().processes(own_pod_node.cgroup_root) if _name_of(pid) != "pause"} <= running
    for sandbox in await own_pod_node.runtime.list_pod_sandboxes():
        await own_pod_node.runtime.remove_pod_sandbox(sandbox.id)
    assert await own_pod_node.runtime.list_containers() == []
    assert detect().processes(own_pod_node.cgroup_root) == []

    async def is_clean() -> bool:
        left = [each for each in _mounts(own_pod_node) if each not in before]
        return left == [] and "veth" not in own_pod_node.run("ip", "-o", "link")

    await until(is_clean)


def _name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
