"""Routes to other nodes' pods, in a namespace's own table."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from kubecore.client import Client
from kubecore.proxy.routes import KernelRoutes, NodeRoutes, plan
from support.fake_apiserver import FakeServer
from support.netns import address, ip, namespaces
from support.services import node

SECONDS = 10.0


def with_pods(name: str, at: str, *cidrs: str) -> dict[str, Any]:
    made = node(name, at, f"fd18::{at.rpartition('.')[2]}")
    made["spec"] = {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)} if cidrs else {}
    return made


def test_each_other_node_leads_to_its_pods_in_each_family() -> None:
    nodes = [
        with_pods("a", "198.18.0.11", "10.244.0.0/24"),
        with_pods("b", "198.18.0.12", "10.244.1.0/24", "fd44:0:0:1::/64"),
        with_pods("new", "198.18.0.13"),
    ]
    assert plan(nodes, "a") == {"10.244.1.0/24": "198.18.0.12", "fd44:0:0:1::/64": "fd18::12"}


class Heard(KernelRoutes):
    """Says when something was applied."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        self.loop = asyncio.get_running_loop()
        self.applied = asyncio.Event()

    def apply(self, lines: Any) -> None:
        super().apply(lines)
        self.loop.call_soon_threadsafe(self.applied.set)


async def test_the_kernels_routes_follow_the_nodes_and_nobody_elses_are_touched() -> None:
    with namespaces("routes") as (name,):
        ip("link", "add", "eth0", "type", "bridge", inside_of=name)
        ip("link", "set", "eth0", "up", inside_of=name)
        address(name, "eth0", "198.18.0.11/24")
        address(name, "eth0", "fd18::11/64")
        ip("route", "add", "10.9.0.0/16", "via", "198.18.0.1", inside_of=name)
        # Left by an earlier life: a node that is gone since.
        ip("route", "add", "10.244.7.0/24", "via", "198.18.0.17", "proto", "133", inside_of=name)
        server = FakeServer()
        server.seed("nodes", with_pods("a", "198.18.0.11", "10.244.0.0/24"))
        server.seed("nodes", with_pods("b", "198.18.0.12", "10.244.1.0/24", "fd44:0:0:1::/64"))
        table = Heard(name)
        routes = NodeRoutes(Client(server.transport()), "a", table, randomness=random.Random(1))
        task = asyncio.create_task(routes.run())
        try:
            async with asyncio.timeout(SECONDS):
                await routes.ready()
                assert table.present() == {"10.244.1.0/24": "198.18.0.12", "fd44:0:0:1::/64": "fd18::12"}
                table.applied.clear()
                server.seed("nodes", with_pods("b", "198.18.0.22", "10.244.1.0/24"))
                await table.applied.wait()
                assert table.present() == {"10.244.1.0/24": "198.18.0.22"}
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        kept = table._ip("-4", "route", "show", "10.9.0.0/16")
        assert "via 198.18.0.1" in kept
