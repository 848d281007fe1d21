from __future__ import annotations

import ipaddress
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubecore.api.scheme import core
from kubecore.client import Client, virtual_loop
from kubecore.controllers.node_ipam import NoRangeLeft, RangePool, pools
from support.controllers import World, world

SMALL = {"allocate_node_cidrs": True, "cluster_cidr": "10.244.0.0/22", "service_cidr": "10.96.0.0/12"}


def node(name: str, *ranges: str) -> dict[str, Any]:
    spec = {"podCIDR": ranges[0], "podCIDRs": list(ranges)} if ranges else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}


def run(scenario: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def main() -> None:
        async with world("node-ipam-controller", **options) as seen:
            await scenario(seen)

    virtual_loop.run(main())


def ranges_of(seen: World) -> dict[str, list[str]]:
    return {each["metadata"]["name"]: each["spec"].get("podCIDRs", []) for each in seen.server.all("nodes")}


def test_each_node_gets_a_range_of_its_own() -> None:
    async def scenario(seen: World) -> None:
        for number in range(3):
            seen.create("nodes", node(f"node-{number}"))
        await seen.pass_time(1)
        assert ranges_of(seen) == {
            "node-0": ["10.244.0.0/24"],
            "node-1": ["10.244.1.0/24"],
            "node-2": ["10.244.2.0/24"],
        }
        assert all(each["spec"]["podCIDR"] == each["spec"]["podCIDRs"][0] for each in seen.server.all("nodes"))

    run(scenario, **SMALL)


def test_a_range_that_a_node_came_with_is_given_to_nobody_else() -> None:
    async def scenario(seen: World) -> None:
        seen.create("nodes", node("old", "10.244.0.0/24"))
        await seen.pass_time(1)
        seen.create("nodes", node("new"))
        await seen.pass_time(1)
        assert ranges_of(seen)["new"] == ["10.244.1.0/24"]

    run(scenario, **SMALL)


def test_when_all_ranges_are_taken_the_node_says_so_and_gets_the_one_of_a_deleted_node() -> None:
    async def scenario(seen: World) -> None:
        for number in range(5):
            seen.create("nodes", node(f"node-{number}"))
            await seen.pass_time(1)
        assert ranges_of(seen)["node-4"] == []
        assert seen.events("CIDRNotAvailable") == ["Node node-4 status is now: CIDRNotAvailable"]
        await Client(seen.server.transport()).delete(core("nodes"), "", "node-1")
        await seen.pass_time(60)
        assert ranges_of(seen)["node-4"] == ["10.244.1.0/24"]

    run(scenario, **SMALL)


def test_without_allocation_nodes_are_left_alone() -> None:
    async def scenario(seen: World) -> None:
        seen.create("nodes", node("node-0"))
        await seen.pass_time(60)
        assert ranges_of(seen) == {"node-0": []}

    run(scenario, allocate_node_cidrs=False, cluster_cidr="10.244.0.0/16")


def test_two_families_give_two_ranges() -> None:
    async def scenario(seen: World) -> None:
        seen.create("nodes", node("node-0"))
        await seen.pass_time(1)
        assert ranges_of(seen) == {"node-0": ["10.244.0.0/24", "fd00:10:244::/64"]}

    run(scenario, allocate_node_cidrs=True, cluster_cidr="10.244.0.0/16,fd00:10:244::/56")


@pytest.mark.parametrize(
    ("cluster", "mask", "why"),
    [
        ("10.244.0.0/25", 24, "no part of"),
        ("10.0.0.0/7", 24, "more than"),
        ("10.0.0.0/16,10.1.0.0/16", 24, "different families"),
    ],
)
def test_networks_that_cannot_be_cut_are_refused(cluster: str, mask: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pools(cluster, "", {4: mask, 6: 64})


@given(st.lists(st.sampled_from(["take", "give back the oldest"]), max_size=40), st.integers(0, 3))
def test_no_range_is_ever_two_nodes_nor_a_service_s(steps: list[str], services: int) -> None:
    service_network = ipaddress.ip_network(f"10.0.{services * 2}.0/23")
    (pool,) = pools("10.0.0.0/21", str(service_network), {4: 24, 6: 64})
    held: list[Any] = []
    for step in steps:
        if step == "take":
            try:
                held.append(pool.take())
            except NoRangeLeft:
                assert len(held) == 8 - 2
        elif held:
            pool.release(held.pop(0))
        assert not any(a.overlaps(b) for index, a in enumerate(held) for b in [*held[index + 1 :], service_network])


def test_a_range_rests_before_it_is_used_again() -> None:
    pool = RangePool(ipaddress.ip_network("10.244.0.0/22"), 24)
    first = pool.take()
    pool.release(first)
    assert pool.take() != first
