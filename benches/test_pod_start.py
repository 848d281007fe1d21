"""200 pods on two real nodes of this box: pods/s, and how long each waited from its POST until it was Ready. Root only.

Run with `pytest benches/test_pod_start.py --benchmark-only`, with a release build. One round: a cluster of its own, all
pods posted as fast as the API server takes them. `extra_info`: pods/s from the first POST to the last Ready; p50 and p99
of POST to Ready in seconds (all are posted at once, so the last ones wait for the first); memory of the nodes' units
(kubelet, runtime, service proxy) in KiB a pod beyond what they had before, the pods' own processes not counted.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

from kubecore.api.scheme import core
from kubecore.client.client import Client
from kubecore.client.http import HttpTransport
from kubecore.client.kubeconfig import load
from support.processes import up
from support.realnodes import IMAGES, RealNodes, processes_in

PODS = 200
UNITS = ("kubecore.kubelet.runtimes.process", "kubecore_cli kubelet", "kubecore_cli service-proxy")
PODS_A_SECOND_MIN = 5.0


def pod(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "sleep", "image": "sleep"}]},
    }


def is_ready(obj: dict[str, Any]) -> bool:
    conditions = obj.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def units_kib(cluster: RealNodes) -> int:
    total = 0
    for unit in UNITS:
        for pid in processes_in(cluster.name, *unit.split()):
            rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            total += int(rows["VmRSS"].split()[0])
    return total


async def _start_all(client: Client) -> tuple[float, list[float]]:
    """Seconds from the first POST to the last Ready, and each pod's own, sorted."""
    names = [f"pod-{number}" for number in range(PODS)]
    posted: dict[str, float] = {}
    ready: dict[str, float] = {}
    listed = await client.list(core("pods"), "default")

    async def watch() -> None:
        async for _, obj in client.watch(core("pods"), "default", resource_version=listed.resource_version):
            name = obj["metadata"]["name"]
            if name not in ready and is_ready(obj):
                ready[name] = time.monotonic()
                if len(ready) == PODS:
                    return

    watching = asyncio.create_task(watch())

    async def post(name: str) -> None:
        posted[name] = time.monotonic()
        await client.create(core("pods"), pod(name))

    await asyncio.gather(*(post(name) for name in names))
    await watching
    return max(ready.values()) - min(posted.values()), sorted(ready[name] - posted[name] for name in names)


async def _measured(cluster: RealNodes) -> dict[str, float]:
    transport = HttpTransport(load(cluster.up.kubeconfig))
    try:
        before = units_kib(cluster)
        seconds, each = await _start_all(Client(transport))
        return {
            "pods_per_second": round(PODS / seconds, 1),
            "post_to_ready_p50_seconds": round(each[PODS // 2], 2),
            "post_to_ready_p99_seconds": round(each[PODS * 99 // 100], 2),
            "units_kib_a_pod": round((units_kib(cluster) - before) / PODS, 1),
        }
    finally:
        await transport.close()


def test_pods_started_on_real_nodes(benchmark: Any, tmp_path: Path) -> None:
    images = tmp_path / "images.yaml"
    images.write_text(IMAGES)
    name = f"--cluster-name=kcb-{secrets.token_hex(3)}"
    with up(tmp_path, "--nodes=2", "--runtime=process", name, f"--images={images}") as started:
        cluster = RealNodes(started)
        figures = benchmark.pedantic(lambda: asyncio.run(_measured(cluster)), rounds=1)
        # Its own end takes the namespaces along; a killed one leaves them to the next start.
        assert started.process.stop() == 0
    benchmark.extra_info.update(figures)
    print(figures)
    assert figures["pods_per_second"] > PODS_A_SECOND_MIN
