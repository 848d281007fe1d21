"""A cluster in which nothing happens, does nothing: no loop polls."""

import asyncio
import collections
import re

from kubecore.api.clock import LoopClock
from kubecore.client import virtual_loop
from kubecore.client.client import Client
from kubecore.cluster.controlplane import ADMIN, ControlPlane
from kubecore.cluster.options import ClusterOptions
from sim import scenario

NODES = 3
REQUESTS = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


async def quiet_minute() -> tuple[list[bytes], collections.Counter[str]]:
    """Every change of a minute long after a deployment has settled, and how often which request was made in it."""
    clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=scenario.EPOCH_SECONDS)
    plane = ControlPlane(ClusterOptions(nodes=NODES, port=None, seed=1), clock=clock)
    await plane.start()
    client = plane.client(ADMIN)
    await scenario.furnish(client, {"till": 6})
    # Settled, and between two turns of the leases.
    await asyncio.sleep(120.5)
    history = scenario.History(client)
    history.start(revision=await scenario.revision_of(client))
    # The history's own watches begin before the counting does.
    await asyncio.sleep(0.001)
    before = await requests_of(client)
    await asyncio.sleep(60)
    made = await requests_of(client) - before
    await history.stop()
    await plane.stop()
    return history.lines().splitlines(), made


async def requests_of(client: Client) -> collections.Counter[str]:
    """From the server's own metrics: `VERB resource`, how often."""
    answer = await client.transport.request("GET", "/metrics")
    counted: collections.Counter[str] = collections.Counter()
    for labels, count in REQUESTS.findall(answer.body.decode()):
        label = dict(LABEL.findall(labels))
        counted[f"{label['verb']} {label['resource'] or 'metrics'}"] += int(float(count))
    return counted


def test_a_quiet_minute_shows_lease_renewals_and_nothing_else() -> None:
    changes, made = virtual_loop.run(quiet_minute())
    others = [change[:300] for change in changes if change.split(b" ")[2] != b"leases.coordination.k8s.io"]
    assert not others
    assert NODES * 5 <= len(changes) <= NODES * 7
    # The first look at the metrics is seen by the second.
    assert made.pop("GET metrics") == 1
    assert made == {"PATCH leases": len(changes)}
