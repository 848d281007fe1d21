"""What one pod costs the interpreter from POST to Running: a whole cluster in this process, as tasks.

Run with `pytest benches/test_pod_path.py --benchmark-only`. The figure is processor time of the one thread that runs
Python here (the API server's part included), so a busy machine stretches it little. `extra_info` has it by stage, each
without the stages it calls: µs a pod. What is in no row is the event loop, the client's own requests, and the watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubecore.api.errors import AlreadyExists
from kubecore.api.scheme import core
from kubecore.apiserver.wire.app import App
from kubecore.client import EventRecorder, requests
from kubecore.client.informer import Informer, RawInformer
from kubecore.client.reflector import Reflector
from kubecore.cluster.collector import settle
from kubecore.cluster.controlplane import ADMIN, ControlPlane
from kubecore.cluster.options import ClusterOptions
from kubecore.controllers.base import Controller
from kubecore.scheduler.scheduler import Scheduler
from kubecore.simulate.player import Player

PODS = 2_000
NODES = 1_000
BATCH = 100

CONTAINER = {
    "name": "pause",
    "image": "registry.k8s.io/pause:3.10.1",
    "ports": [{"containerPort": 80}],
    "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}, "limits": {"cpu": "100m", "memory": "500Mi"}},
}


def pod(name: str) -> dict[str, Any]:
    """scheduler_perf's pod-default."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [CONTAINER]},
    }


class Stages:
    """Time of this thread by stage. A stage within a stage counts for itself only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._running: list[str] = []
        self._since = 0.0

    def _turn(self) -> None:
        now = time.thread_time()
        if self._running:
            stage = self._running[-1]
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now

    def timed(self, function: Callable[..., Any], name_of: Callable[..., str]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> Any:
            name = name_of(*args)
            self._turn()
            self._running.append(name)
            self.counts[name] = self.counts.get(name, 0) + 1
            try:
                return function(*args, **keywords)
            finally:
                self._turn()
                self._running.pop()

        return call


def _decision(_: App, call: Any) -> str:
    what = "/".join(part for part in (call.resource, call.subresource) if part)
    return f"server: {call.verb} {what}"


STAGES: tuple[tuple[type[Any], str, Callable[..., str]], ...] = (
    (App, "decide", _decision),
    (Informer, "apply", lambda informer, _: f"informer with handlers: {informer.resource.plural}"),
    (RawInformer, "apply", lambda informer, _: f"raw informer: {informer.resource.plural}"),
    (Scheduler, "_on_pods", lambda *_: "scheduler: pods' events"),
    (Scheduler, "_sort_out", lambda *_: "scheduler: decisions sorted out"),
    (Scheduler, "_bound", lambda *_: "scheduler: bound is said"),
    (EventRecorder, "_correlate", lambda *_: "events: counted"),
    (EventRecorder, "_request", lambda *_: "events: written down"),
    (Player, "consider", lambda *_: "simulated nodes: stage chosen"),
    (Player, "_transition", lambda *_: "simulated nodes: status made"),
    (Reflector, "_deliver", lambda *_: "reflectors"),
    (Controller, "_enqueue", lambda *_: "controllers: enqueue"),
)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    measured = Stages()
    for owner, name, name_of in STAGES:
        monkeypatch.setattr(owner, name, measured.timed(getattr(owner, name), name_of))
    return measured


async def nodes_settled(cluster: ControlPlane) -> None:
    """Every node is ready and untainted: what comes from now on is the pods' doing."""
    informer = cluster.loop("nodes")._node_informer
    changed = asyncio.Event()
    informer.add_handler(lambda old, new: changed.set())
    while not all(
        node.get("status", {}).get("conditions") and not node["spec"].get("taints") for node in informer.list()
    ):
        changed.clear()
        await changed.wait()


async def running(options: ClusterOptions, stages: Stages) -> float:
    """Seconds of this thread for `PODS` pods until all are Running and nothing is left to do."""
    cluster = ControlPlane(options)
    await cluster.start()
    client = cluster.client(ADMIN)
    pods = cluster.loop("nodes")._pod_informer
    reached = asyncio.Event()
    seen: set[str] = set()

    def see(_: Any, new: Any) -> None:
        if new is not None and new["status"]["phase"] == "Running":
            seen.add(new["metadata"]["name"])
            if len(seen) == PODS:
                reached.set()

    pods.add_handler(see)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    # Without it no pod is admitted, and its controller may not have come to it yet.
    with contextlib.suppress(AlreadyExists):
        await client.create(core("serviceaccounts"), account)
    await nodes_settled(cluster)
    settle()
    stages.seconds.clear()
    stages.counts.clear()
    sent = [requests.create(core("pods"), pod(f"pod-{number:06d}")) for number in range(PODS)]
    started = time.thread_time()
    for start in range(0, PODS, BATCH):
        outcomes = await client.try_all(sent[start : start + BATCH])
        assert not any(outcomes), outcomes
        await asyncio.sleep(0)
    async with asyncio.timeout(120):
        await reached.wait()
    spent = time.thread_time() - started
    await cluster.stop()
    return spent


@pytest.mark.parametrize("storage", ["memory", "embedded"])
def test_a_pod_from_post_to_running(benchmark: Any, tmp_path: Path, stages: Stages, storage: Any) -> None:
    spent: list[float] = []
    before = gc.get_threshold()

    def once() -> None:
        directory = tmp_path / str(len(spent))
        options = ClusterOptions(nodes=NODES, port=0, storage=storage, data_dir=directory)
        spent.append(asyncio.run(running(options, stages)))

    try:
        benchmark.pedantic(once, rounds=1)
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
    per_pod = {name: round(seconds / PODS * 1e6, 1) for name, seconds in stages.seconds.items()}
    benchmark.extra_info["us_per_pod"] = round(min(spent) / PODS * 1e6, 1)
    benchmark.extra_info["stages"] = dict(sorted(per_pod.items(), key=lambda row: -row[1]))
    benchmark.extra_info["calls"] = stages.counts
