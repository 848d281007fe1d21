"""A fake server, a controller manager and simulated kubelets around it, in virtual time."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from kubecore.api.clock import LoopClock
from kubecore.client import virtual_loop
from kubecore.controllers.manager import ControllerManager
from support.fake_apiserver import FakeServer

EPOCH_SECONDS = 1_800_000_000.0

Object = dict[str, Any]


class World:
    """What a test sees: the server, the running manager, time."""

    def __init__(self, server: FakeServer, manager: ControllerManager) -> None:
        self.server = server
        self.manager = manager

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def create(self, plural: str, obj: Object) -> Object:
        return self.server.seed(plural, {**obj, "metadata": {"generation": 1, **obj["metadata"]}})

    def change(self, plural: str, namespace: str, name: str, how: Callable[[Object], None]) -> None:
        """As a client would: a changed spec has a new generation."""
        obj = self.server.find(plural, namespace, name)
        assert obj is not None
        before = obj.get("spec")
        changed = copy.deepcopy(obj)
        how(changed)
        if changed.get("spec") != before:
            changed["metadata"]["generation"] = obj["metadata"].get("generation", 1) + 1
        self.server.seed(plural, changed)

    def run_pods(self, namespace: str = "default", *, ready: bool = True) -> None:
        """Every pod that is not running yet, runs."""
        for number, pod in enumerate(self.server.all("pods", namespace)):
            if pod.get("status", {}).get("phase") != "Running" and not pod["metadata"].get("deletionTimestamp"):
                self.server.seed("pods", running(pod, number, ready=ready, now=self.server.now_text()))

    def events(self, reason: str) -> list[str]:
        return [event["message"] for event in self.server.all("events") if event["reason"] == reason]


def running(pod: Object, number: int, *, ready: bool, now: str) -> Object:
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": now}
    ip = f"10.0.{number // 250}.{number % 250 + 1}"
    spec = {**pod["spec"], "nodeName": pod["spec"].get("nodeName", "node-0")}
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]}
    return {**pod, "spec": spec, "status": status}


@asynccontextmanager
async def world(*controllers: str, **options: Any) -> AsyncIterator[World]:
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop, epoch_seconds=EPOCH_SECONDS)
    server = FakeServer(now=clock.now)
    manager = ControllerManager(
        lambda _: server.transport(),
        clock=clock,
        randomness=random.Random(1),
        controllers=controllers,
        options=options,
    )
    task = asyncio.ensure_future(manager.run())
    await manager.wait_synced()
    try:
        yield World(server, manager)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


run = virtual_loop.run


def replica_set(name: str, *, replicas: int, kind: str = "ReplicaSet", labels: dict[str, str] | None = None) -> Object:
    labels = labels or {"app": name}
    selector: Object = labels if kind == "ReplicationController" else {"matchLabels": labels}
    return {
        "apiVersion": "v1" if kind == "ReplicationController" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": selector,
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "main:1"}]}},
        },
    }


def deployment(name: str, *, replicas: int = 3, image: str = "main:1", **spec: Any) -> Object:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}},
            **spec,
        },
    }
