from typing import Any

from kubecore.api.scheme import core
from kubecore.client import Client
from support.controllers import World, run, world


def pod(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [], **spec}}


def names(here: World) -> list[str]:
    return [each["metadata"]["name"] for each in here.server.all("pods")]


def test_pods_of_a_node_that_is_gone_go_after_a_quarantine() -> None:
    async def scenario() -> None:
        async with world("pod-garbage-collector-controller") as here:
            for node in ("stays", "goes"):
                here.server.seed("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
                here.server.seed("pods", pod(f"on-{node}", nodeName=node))
            await here.pass_time(1)
            await Client(here.server.transport()).delete(core("nodes"), "", "goes")
            await here.pass_time(39)
            assert names(here) == ["on-goes", "on-stays"]
            await here.pass_time(2)
            assert names(here) == ["on-stays"]

    run(scenario())


def test_a_node_that_comes_back_in_time_keeps_its_pods() -> None:
    async def scenario() -> None:
        async with world("pod-garbage-collector-controller") as here:
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}
            here.server.seed("pods", pod("p", nodeName="a"))
            await here.pass_time(20)
            here.server.seed("nodes", node)
            await here.pass_time(100)
            assert names(here) == ["p"]

    run(scenario())


def test_a_pod_deleted_before_it_had_a_node_goes_at_once() -> None:
    async def scenario() -> None:
        async with world("pod-garbage-collector-controller") as here:
            leaving = pod("p")
            leaving["metadata"]["deletionTimestamp"] = here.server.now_text()
            here.server.seed("pods", leaving)
            await here.pass_time(1)
            assert names(here) == []

    run(scenario())


def test_a_node_that_vanishes_twice_is_waited_for_twice() -> None:
    async def scenario() -> None:
        async with world("pod-garbage-collector-controller") as here:
            here.server.seed("pods", pod("first", nodeName="a"))
            await here.pass_time(60)
            assert names(here) == []
            here.server.seed("pods", pod("second", nodeName="a"))
            await here.pass_time(20)
            assert names(here) == ["second"]
            await here.pass_time(21)
            assert names(here) == []

    run(scenario())
