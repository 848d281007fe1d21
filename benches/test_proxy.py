"""The service proxy's cost: writing all services, changing one, and what the first packet of a connection pays.

Run with `pytest benches/test_proxy.py --benchmark-only` as root: it makes network namespaces of its own. A sync goes from
the API's objects to the kernel's yes. The first packet is a TCP connect from a pod's namespace to a cluster address and
back; `direct` is the same without a service, the floor. Every service has one endpoint, as in upstream's figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from kubecore.proxy import NftablesBackend, NftablesOptions
from kubecore.proxy.backend import Update
from kubecore.proxy.table import ServiceTable
from support.netns import inside, namespaces
from support.services import NODE, POD_A, endpoint, endpoint_slice, network, node, service

OPTIONS = NftablesOptions(detect="ClusterCIDR", cluster_cidrs=("10.244.0.0/16",))
CIDRS = ("10.96.0.0/12",)
SIZES = (10, 1_000, 10_000)
CONNECTS = 500


def filled(count: int) -> ServiceTable:
    table = ServiceTable(NODE, lambda: None)
    table.node_updated(node())
    for number in range(count):
        name = f"service-{number}"
        table.service_changed(
            None, service(name, clusterIP=f"10.{100 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}")
        )
        table.slice_changed(None, endpoint_slice(endpoint(f"10.244.{number // 250}.{number % 250 + 1}"), of=name))
    return table


class Node:
    """A table and the kernel's copy of it, in the namespace that the thread is in."""

    def __init__(self, count: int) -> None:
        self.table = filled(count)
        self.backend = NftablesBackend(OPTIONS)
        self._runner = asyncio.Runner()
        self._turn = itertools.count(1)

    def full(self) -> None:
        self._sync(everything=True)

    def one(self) -> None:
        """One endpoint of one service moves."""
        turn = next(self._turn)
        moved = endpoint_slice(endpoint(f"10.245.{turn // 250}.{turn % 250 + 1}"), of="service-5")
        self.table.slice_changed(None, moved)
        self._sync(everything=False)

    def _sync(self, *, everything: bool) -> None:
        services = self.table.take_all() if everything else self.table.take()
        self._runner.run(self.backend.sync(Update(services, self.table.node, CIDRS, everything)))

    def close(self) -> None:
        self._runner.run(self.backend.close())
        self._runner.close()


@contextlib.contextmanager
def synced(count: int) -> Iterator[Node]:
    made = Node(count)
    try:
        made.full()
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("count", [1_000, 10_000])
def test_full_sync(benchmark: Any, count: int) -> None:
    def fresh() -> tuple[tuple[Node], dict[str, Any]]:
        if made:
            made.pop().close()
        made.append(Node(count))
        made[0]._runner.run(made[0].backend.clean_up())
        return (made[0],), {}

    made: list[Node] = []
    with namespaces("bench") as (name,), inside(name):
        benchmark.pedantic(Node.full, setup=fresh, rounds=3)
        made.pop().close()


@pytest.mark.parametrize("count", SIZES)
def test_incremental_sync(benchmark: Any, count: int) -> None:
    with namespaces("bench") as (name,), inside(name), synced(count) as here:
        benchmark.pedantic(here.one, rounds=15, warmup_rounds=2)


@pytest.mark.parametrize("count", [0, *SIZES])
def test_first_packet(benchmark: Any, count: int) -> None:
    """`count` 0: straight to the pod."""
    with network() as net:
        net.serve(net.pod_a, "a", POD_A)
        with inside(net.node), synced(count) as here:
            here.table.service_changed(None, service("web", clusterIP="10.96.0.1"))
            here.table.slice_changed(None, endpoint_slice(endpoint(POD_A)))
            here._sync(everything=False)
        target = ("10.96.0.1", 80) if count else (POD_A, 8080)

        def connect() -> None:
            client = socket.socket()
            client.connect(target)
            client.close()

        with inside(net.pod_b):
            benchmark.pedantic(connect, rounds=CONNECTS, warmup_rounds=50)
