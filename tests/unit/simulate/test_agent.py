import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kubecore.api import errors
from kubecore.api.clock import LoopClock
from kubecore.api.scheme import core
from kubecore.client import Client, virtual_loop
from kubecore.simulate import Agent, NodePlan
from support.fake_apiserver import FakeServer

DELAYED = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: slow}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: '.status.phase', operator: DoesNotExist}
  delay: {durationMilliseconds: 5000}
  next:
    event: {type: Normal, reason: Started, message: It started}
    statusTemplate: |
      phase: Running
"""


def pod(name: str, node: str = "node-0", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "main:1"}], **spec},
    }


@asynccontextmanager
async def simulating(count: int = 1, **options: Any) -> AsyncIterator[tuple[FakeServer, Agent]]:
    clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=1_800_000_000.0)
    server = FakeServer(now=clock.now)
    agent = Agent(server.transport(), clock=clock, randomness=random.Random(1), **options)
    task = asyncio.ensure_future(agent.run())
    await agent.create_nodes(NodePlan(count))
    await agent.wait_synced()
    try:
        yield server, agent
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_bound_pod_runs_with_an_address_of_its_nodes_range() -> None:
    async def scenario() -> None:
        async with simulating(2) as (server, _):
            server.seed("pods", pod("a", "node-1"))
            await asyncio.sleep(1)
            found = server.find("pods", "default", "a")
            assert found is not None
            status = found["status"]
            assert status["phase"] == "Running"
            assert status["podIP"] == "10.128.1.1"
            assert status["podIPs"] == [{"ip": "10.128.1.1"}]
            assert status["hostIP"] == "172.16.0.2"
            assert status["startTime"] == "2027-01-15T08:00:00Z"
            assert {each["type"]: each["status"] for each in status["conditions"]}["Ready"] == "True"
            assert status["containerStatuses"][0]["name"] == "main"
            assert status["containerStatuses"][0]["state"] == {"running": {"startedAt": "2027-01-15T08:00:00Z"}}

    virtual_loop.run(scenario())


def test_pods_that_are_alike_differ_in_their_addresses() -> None:
    async def scenario() -> list[str]:
        async with simulating() as (server, _):
            for number in range(5):
                server.seed("pods", pod(f"p{number}"))
            await asyncio.sleep(1)
            return sorted(each["status"]["podIP"] for each in server.all("pods"))

    assert virtual_loop.run(scenario()) == [f"10.128.0.{number}" for number in range(1, 6)]


def test_a_pod_on_the_hosts_network_has_the_hosts_address() -> None:
    async def scenario() -> str:
        async with simulating() as (server, _):
            server.seed("pods", pod("a", hostNetwork=True))
            await asyncio.sleep(1)
            found = server.find("pods", "default", "a")
            assert found is not None
            return str(found["status"]["podIP"])

    assert virtual_loop.run(scenario()) == "172.16.0.1"


def test_a_pod_marked_for_deletion_is_removed_and_its_address_is_free_again() -> None:
    async def scenario() -> None:
        async with simulating() as (server, agent):
            server.seed("pods", pod("a"))
            await asyncio.sleep(1)
            await Client(server.transport()).delete(core("pods"), "default", "a")
            assert server.find("pods", "default", "a") is not None
            await asyncio.sleep(1)
            assert server.find("pods", "default", "a") is None
            assert not agent.nodes["node-0"].taken

    virtual_loop.run(scenario())


def test_a_pod_of_a_job_completes() -> None:
    async def scenario() -> str:
        async with simulating() as (server, _):
            job = pod("a")
            job["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "j", "uid": "1"}]
            server.seed("pods", job)
            await asyncio.sleep(1)
            found = server.find("pods", "default", "a")
            assert found is not None
            return str(found["status"]["phase"])

    assert virtual_loop.run(scenario()) == "Succeeded"


def test_a_living_node_renews_its_lease_every_ten_seconds() -> None:
    async def scenario() -> tuple[list[str], int]:
        async with simulating(3) as (server, _):
            await asyncio.sleep(61)
            renewals = [each for each in server.requests if each.method == "PATCH" and "/leases/node-1" in each.path]
            return [lease["metadata"]["name"] for lease in server.all("leases")], len(renewals)

    names, renewals = virtual_loop.run(scenario())
    assert names == ["node-0", "node-1", "node-2"]
    assert 5 <= renewals <= 6


def test_a_dead_node_is_silent_and_catches_up_when_it_is_revived() -> None:
    async def scenario() -> None:
        async with simulating() as (server, agent):
            await asyncio.sleep(11)
            agent.kill("node-0")
            before = server.find("leases", "kube-node-lease", "node-0")
            server.seed("pods", pod("a"))
            await asyncio.sleep(60)
            assert server.find("leases", "kube-node-lease", "node-0") == before
            waiting = server.find("pods", "default", "a")
            assert waiting is not None
            assert "status" not in waiting
            await agent.revive("node-0")
            await asyncio.sleep(1)
            assert server.find("leases", "kube-node-lease", "node-0") != before
            running = server.find("pods", "default", "a")
            assert running is not None
            assert running["status"]["phase"] == "Running"

    virtual_loop.run(scenario())


def test_a_revived_node_is_ready_again() -> None:
    async def scenario() -> str:
        async with simulating() as (server, agent):
            agent.kill("node-0")
            node = server.find("nodes", "", "node-0")
            assert node is not None
            for condition in node["status"]["conditions"]:
                condition["status"] = "Unknown"
            server.seed("nodes", node)
            await asyncio.sleep(1)
            await agent.revive("node-0")
            await asyncio.sleep(1)
            node = server.find("nodes", "", "node-0")
            assert node is not None
            return str(node["status"]["conditions"][0]["status"])

    assert virtual_loop.run(scenario()) == "True"


def test_a_stage_of_ones_own_has_its_delay_and_its_event() -> None:
    async def scenario() -> None:
        async with simulating(stage_texts=[DELAYED]) as (server, _):
            server.seed("pods", pod("a"))
            await asyncio.sleep(4.9)
            assert "status" not in (server.find("pods", "default", "a") or {})
            await asyncio.sleep(0.2)
            assert (server.find("pods", "default", "a") or {})["status"] == {"phase": "Running"}
            assert [event["message"] for event in server.all("events")] == ["It started"]

    virtual_loop.run(scenario())


def test_a_transition_that_the_server_refuses_is_tried_again() -> None:
    async def scenario() -> str:
        async with simulating() as (server, _):
            loop = asyncio.get_running_loop()
            server.refusals.append(
                lambda request: (
                    errors.ServiceUnavailable("down") if request.path.endswith("/status") and loop.time() < 30 else None
                )
            )
            server.seed("pods", pod("a"))
            await asyncio.sleep(40)
            return str((server.find("pods", "default", "a") or {})["status"]["phase"])

    assert virtual_loop.run(scenario()) == "Running"


@pytest.mark.parametrize("count", [1, 40_000])
def test_every_node_has_a_pod_range_of_its_own(count: int) -> None:
    ranges = [node["spec"]["podCIDR"] for node in NodePlan(count).objects(now=0, kubelet_version="v1")]
    assert len(dict.fromkeys(ranges)) == count
