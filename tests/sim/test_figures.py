"""What simulated pods use, asked from inside the process in virtual time: nobody waits for a thread."""

from __future__ import annotations

import asyncio

import pytest

from kubecore.api import errors
from kubecore.api.clock import LoopClock
from kubecore.api.metrics import NODE_METRICS, POD_METRICS
from kubecore.api.scheme import core
from kubecore.client import virtual_loop
from kubecore.cluster.controlplane import ADMIN, ControlPlane
from kubecore.cluster.options import ClusterOptions

PODS = core("pods")
USAGE = {"kwok.x-k8s.io/usage-cpu": "120m", "kwok.x-k8s.io/usage-memory": "64Mi"}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "annotations": USAGE},
    "spec": {"containers": [{"name": "app", "image": "x"}]},
}


async def figures_of_a_running_pod() -> None:
    loop = asyncio.get_running_loop()
    plane = ControlPlane(
        ClusterOptions(storage="memory", port=None, nodes=2, seed=7), clock=LoopClock(loop, epoch_seconds=1.8e9)
    )
    await plane.start()
    try:
        client = plane.client(ADMIN)
        await client.create(PODS, POD, namespace="default")
        running = await client.wait_for(
            PODS, "default", "web", lambda found: found is not None and found["status"].get("phase") == "Running"
        )
        before = loop.time()
        used = await client.list(POD_METRICS, "default")
        nodes = await client.list(NODE_METRICS)
        assert loop.time() == before, "no time passed"
        assert used.items[0]["containers"] == [{"name": "app", "usage": {"cpu": "120000000n", "memory": "65536Ki"}}]
        assert running is not None
        assert [item["metadata"]["name"] for item in nodes.items] == [running["spec"]["nodeName"]]
        with pytest.raises(errors.NotFound, match='pods "none" not found'):
            await client.get(POD_METRICS, "default", "none")
    finally:
        await plane.stop()


def test_a_part_of_the_process_is_told_what_pods_use() -> None:
    virtual_loop.run(figures_of_a_running_pod())
