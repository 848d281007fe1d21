"""A cluster in which nothing happens, does nothing: no loop polls."""

import asyncio

from kubecore.api.clock import LoopClock
from kubecore.client import virtual_loop
from kubecore.cluster.controlplane import ADMIN, ControlPlane
from kubecore.cluster.options import ClusterOptions
from sim import scenario

NODES = 3


async def quiet_minute() -> list[bytes]:
    """Every change of a minute long after a deployment has settled."""
    clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=scenario.EPOCH_SECONDS)
    plane = ControlPlane(ClusterOptions(nodes=NODES, port=None, seed=1), clock=clock)
    await plane.start()
    client = plane.client(ADMIN)
    await scenario.furnish(client, {"till": 6})
    await asyncio.sleep(120)
    history = scenario.History(client)
    history.start(revision=await scenario.revision_of(client))
    await asyncio.sleep(60)
    await history.stop()
    await plane.stop()
    return history.lines().splitlines()


def test_a_quiet_minute_shows_lease_renewals_and_nothing_else() -> None:
    changes = virtual_loop.run(quiet_minute())
    others = [change[:300] for change in changes if change.split(b" ")[2] != b"leases.coordination.k8s.io"]
    assert not others
    assert NODES * 5 <= len(changes) <= NODES * 7
