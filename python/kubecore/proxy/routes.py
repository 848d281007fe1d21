"""Routes to other nodes' pods by those nodes' own addresses, where all nodes share one link ("host-gw").

In: Nodes by watch. Out: lines of `ip`. For a plain host without a network plugin; in `kubecore up` the fabric routes.
Routes carry a mark (`proto`) of ours: what is there with that mark and not wanted is removed, so a restart needs no
memory, and nobody else's route is ever touched.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import random
import subprocess
from collections.abc import Iterable, Mapping
from typing import Protocol

from kubecore.api.meta import Object, name_of
from kubecore.api.scheme import core
from kubecore.client import Backoff, Client, Informer
from kubecore.proxy.model import canonical_ip, family_of

log = logging.getLogger(__name__)

OURS = "133"
"""The routing protocol's number in the kernel's table; a free one (iproute2, rt_protos)."""
RETRY_FIRST_SECONDS, RETRY_LONGEST_SECONDS = 1.0, 60.0

Routes = Mapping[str, str]
"""Network → the node that leads there."""


class RouteError(Exception):
    """The kernel did not take a route: the node is not on a link of ours, say."""


def plan(nodes: Iterable[Object], own: str) -> dict[str, str]:
    """All routes that the node of that name should have. Nodes without a range or an address of its family have none."""
    wanted: dict[str, str] = {}
    for node in nodes:
        if name_of(node) == own or node["metadata"].get("deletionTimestamp"):
            continue
        spec = node.get("spec", {})
        listed = node.get("status", {}).get("addresses") or ()
        addresses = [canonical_ip(each["address"]) for each in listed if each["type"] == "InternalIP"]
        for cidr in spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ()):
            hop = next((each for each in addresses if each and family_of(each) == family_of(cidr)), "")
            if hop:
                wanted[str(ipaddress.ip_network(cidr))] = hop
    return wanted


def changes(present: Routes, wanted: Routes) -> list[str]:
    """Lines of `ip` that make one of the other."""
    lines = [f"route del {cidr} proto {OURS}" for cidr in present if cidr not in wanted]
    lines += [
        f"route replace {cidr} via {hop} proto {OURS}" for cidr, hop in wanted.items() if present.get(cidr) != hop
    ]
    return lines


class RouteTable(Protocol):
    def present(self) -> dict[str, str]:
        """Our routes as they are. Raises RouteError."""
        ...

    def apply(self, lines: Iterable[str]) -> None:
        """Raises RouteError, after it has tried all."""
        ...


class KernelRoutes:
    """Of the network namespace of that name in /run/netns; empty: of this process's."""

    def __init__(self, namespace: str = "") -> None:
        self._where = ["-n", namespace] if namespace else []

    def present(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for family in ("-4", "-6"):
            told = self._ip(family, "-j", "route", "show", "proto", OURS)
            for each in json.loads(told or "[]"):
                if "gateway" in each:
                    found[str(ipaddress.ip_network(each["dst"]))] = each["gateway"]
        return found

    def apply(self, lines: Iterable[str]) -> None:
        by_family: dict[str, list[str]] = {}
        for line in lines:
            by_family.setdefault("-6" if ":" in line else "-4", []).append(line)
        failures = []
        for family, listed in by_family.items():
            try:
                self._ip(family, "-force", "-batch", "-", text="\n".join(listed) + "\n")
            except RouteError as failure:
                failures.append(str(failure))
        if failures:
            raise RouteError("; ".join(failures))

    def _ip(self, *words: str, text: str = "") -> str:
        command = ["ip", *self._where, *words]
        try:
            done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        except OSError as missing:
            raise RouteError(f"ip: {missing}") from missing
        if done.returncode:
            raise RouteError(" ".join(done.stderr.split()))
        return done.stdout


class NodeRoutes:
    """`run` keeps the routes until cancelled; they stay when it ends, as a restart must not cut pods off."""

    def __init__(self, client: Client, node_name: str, table: RouteTable, *, randomness: random.Random) -> None:
        self._node_name = node_name
        self._table = table
        self._nodes = Informer(client, core("nodes"), randomness=random.Random(randomness.random()))
        self._nodes.add_handler(self._node_changed)
        self._changed = asyncio.Event()
        self._ready = asyncio.Event()
        self._retry = Backoff(RETRY_FIRST_SECONDS, RETRY_LONGEST_SECONDS, randomness=randomness)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        # A node says every few seconds that it lives: what leads to its pods seldom changes.
        if plan([old] if old else [], self._node_name) != plan([new] if new else [], self._node_name):
            self._changed.set()

    async def ready(self) -> None:
        await self._ready.wait()

    async def run(self) -> None:
        watching = asyncio.create_task(self._nodes.run(), name="routes nodes")
        working = asyncio.create_task(self._work(), name="routes")
        try:
            await asyncio.gather(watching, working)
        finally:
            for task in (watching, working):
                task.cancel()
            await asyncio.gather(watching, working, return_exceptions=True)

    async def _work(self) -> None:
        await self._nodes.wait_synced()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = plan(self._nodes.list(), self._node_name)
            try:
                await asyncio.to_thread(self._sync, wanted)
            except RouteError as failure:
                pause = self._retry.next()
                log.error("routes to other nodes' pods: %s; again in %.1f s", failure, pause)
                await asyncio.sleep(pause)
                self._changed.set()
            else:
                self._retry.reset()
                self._ready.set()

    def _sync(self, wanted: Routes) -> None:
        lines = changes(self._table.present(), wanted)
        if lines:
            self._table.apply(lines)
