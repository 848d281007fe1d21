"""A quarter of an hour in the life of a cluster, in virtual time, decided by one seed; writes down every change of
every object.

Run as `python tests/sim/scenario.py SEED FILE`: the whole control plane, scheduler and eight simulated nodes in this
process, without sockets or threads. FILE gets one line for each change: revision, type, resource, object.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

from kubecore.api import scheme
from kubecore.api.clock import LoopClock
from kubecore.api.scheme import Resource, core, resource
from kubecore.client import Client, codec, virtual_loop
from kubecore.cluster.controlplane import ADMIN, ControlPlane
from kubecore.cluster.options import ClusterOptions

EPOCH_SECONDS = 1_800_000_000.0
NODES = 8
STEPS = 40
NAMESPACE = "shop"

DEPLOYMENTS = resource("apps", "v1", "deployments")


class History:
    """Every change that the API shows, from the first revision on."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._changes: list[tuple[int, str, str, bytes]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *, revision: str = "1") -> None:
        kept: dict[tuple[str, str, str], Resource] = {}
        for each in scheme.resources():
            if each.served and "watch" in each.verbs:
                kept.setdefault(each.storage, each)
        self._tasks = [asyncio.create_task(self._follow(each, revision)) for each in kept.values()]

    async def _follow(self, followed: Resource, from_revision: str) -> None:
        async for batch in self._client.stream(followed, resource_version=from_revision):
            for kind, body in batch:
                assert kind != "ERROR", body
                if kind != "BOOKMARK":
                    revision = int(codec.metadata_of(body).resource_version)
                    self._changes.append((revision, kind, followed.qualified, body))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def lines(self) -> bytes:
        ordered = sorted(self._changes, key=lambda change: (change[0], change[2]))
        return b"".join(
            b"%d %s %s %s\n" % (revision, kind.encode(), of.encode(), body) for revision, kind, of, body in ordered
        )


def deployment(name: str, *, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    container = {
        "name": "main",
        "image": f"{name}:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def controller(name: str, *, replicas: int) -> dict[str, Any]:
    """A workload that nobody touches: what moves its pods is the node's death alone."""
    made = deployment(name, replicas=replicas)
    made.update(apiVersion="v1", kind="ReplicationController")
    made["spec"]["selector"] = {"app": name}
    return made


def service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


async def furnish(client: Client, sizes: dict[str, int]) -> None:
    """A namespace with Deployments of these sizes, each behind a service."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await client.create(core("namespaces"), namespace)
    for name, replicas in sizes.items():
        await client.create(DEPLOYMENTS, deployment(name, replicas=replicas))
        await client.create(core("services"), service(name))


async def revision_of(client: Client) -> str:
    """The store's revision now."""
    return (await client.list_raw(core("namespaces"))).resource_version


async def live(client: Client, agent: Any, chance: random.Random) -> None:
    """What its users do to the cluster, and its power supply."""
    names = ["cart", "till", "shelf"]
    await furnish(client, {name: chance.randint(4, 12) for name in names})
    await client.create(core("replicationcontrollers"), controller("ledger", replicas=2 * NODES))
    await asyncio.sleep(30)
    victim = f"node-{chance.randrange(NODES)}"
    agent.kill(victim)
    # Fifty seconds until it is missed, three hundred that its pods tolerate.
    for step in range(STEPS):
        name = chance.choice(names)
        action = chance.choice(("scale", "roll", "evict", "wait"))
        if action == "scale":
            await client.scale(DEPLOYMENTS, NAMESPACE, name, replicas=chance.randint(2, 20))
        elif action == "roll":
            image = [{"name": "main", "image": f"{name}:{step + 2}"}]
            change = {"spec": {"template": {"spec": {"containers": image}}}}
            await client.patch(DEPLOYMENTS, NAMESPACE, name, change, patch_type="strategic")
        elif action == "evict":
            listed = await client.list(core("pods"), NAMESPACE, label_selector=f"app={name}")
            if listed.items:
                chosen = chance.choice(listed.items)["metadata"]["name"]
                await client.delete(core("pods"), NAMESPACE, chosen)
        await asyncio.sleep(chance.uniform(5, 25))
    await agent.revive(victim)
    await asyncio.sleep(60)


async def check(client: Client) -> None:
    """Whatever happened: in the end all is as wanted."""
    listed = await client.list(core("pods"), NAMESPACE)
    ledger = [pod for pod in listed.items if pod["metadata"]["labels"]["app"] == "ledger"]
    assert [pod["status"]["phase"] for pod in ledger] == ["Running"] * 2 * NODES
    for wanted in (await client.list(DEPLOYMENTS, NAMESPACE)).items:
        name, replicas = wanted["metadata"]["name"], wanted["spec"]["replicas"]
        running = [
            pod
            for pod in listed.items
            if pod["metadata"]["labels"]["app"] == name and pod["status"]["phase"] == "Running"
        ]
        assert len(running) == replicas, f"{name}: {len(running)} of {replicas} pods run"
        assert wanted["status"]["availableReplicas"] == replicas
        endpoints = await client.get(core("endpoints"), NAMESPACE, name)
        addresses = [address["ip"] for subset in endpoints["subsets"] for address in subset["addresses"]]
        assert sorted(addresses) == sorted(pod["status"]["podIP"] for pod in running)
    for node in (await client.list(core("nodes"))).items:
        assert not node["spec"].get("taints"), node["spec"]


async def main(seed: int) -> bytes:
    clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=EPOCH_SECONDS)
    plane = ControlPlane(ClusterOptions(nodes=NODES, port=None, seed=seed), clock=clock)
    await plane.start()
    client = plane.client(ADMIN)
    history = History(client)
    history.start()
    await live(client, plane.loop("nodes"), random.Random(f"users {seed}"))
    await check(client)
    await history.stop()
    await plane.stop()
    return history.lines()


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(virtual_loop.run(main(int(sys.argv[1]))))
