"""Long random runs of the scheduler against a server that refuses, forgets its history and loses answers, in virtual time.

What must hold at every moment: no node is over, no pod is bound twice. What must hold in the end: whoever fits has a node, nobody else
does, and nothing is left half done.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from kubecore.api import errors
from kubecore.api.clock import LoopClock
from kubecore.client import Client, Request, Response, TransportError, virtual_loop
from kubecore.scheduler import Scheduler, WhatIf
from support.fake_apiserver import FakeServer, FakeTransport, split

Object = dict[str, Any]

RUNS = 20
STEPS = 120
FAULTY = 0.06
"""Of requests, while there are faults."""


class FaultyTransport(FakeTransport):
    """Loses answers: what was asked is done, and nobody hears of it."""

    def __init__(self, server: FakeServer, choose: random.Random) -> None:
        super().__init__(server)
        self._choose = choose
        self.has_faults = True

    async def batch(self, requests: Sequence[Request]) -> list[Response]:
        answers = await super().batch(requests)
        if self.has_faults and self._choose.random() < FAULTY:
            raise TransportError("the connection broke")
        return answers


class Run:
    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.server = FakeServer(seed=seed)
        self.server.refusals.append(self._refuse)
        self.transport = FaultyTransport(self.server, self.choose)
        self.bindings: Counter[str] = Counter()
        self.made = 0
        self.scheduler: Scheduler | None = None
        self.task: asyncio.Task[None] | None = None

    def _refuse(self, request: Request) -> errors.StatusError | None:
        if self.transport.has_faults and request.method != "GET" and self.choose.random() < FAULTY:
            return errors.InternalError("the store is away")
        return None

    # ── the scheduler ──

    def start(self, *, afresh: bool) -> None:
        if self.scheduler is None or afresh:
            clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=1_800_000_000)
            self.scheduler = Scheduler(Client(self.transport), clock=clock, randomness=random.Random(1))
        self.task = asyncio.ensure_future(self.scheduler.run())

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    # ── what happens ──

    def node(self) -> None:
        name = f"node-{self.choose.randint(0, 5)}"
        labels = {"kubernetes.io/hostname": name, "zone": self.choose.choice("ab")}
        self.server.seed(
            "nodes",
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": labels},
                "spec": {"unschedulable": self.choose.random() < 0.1},
                "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "6"}},
            },
        )

    def pod(self) -> None:
        self.made += 1
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": self.choose.choice(["1", "2", "3"])}}}
        spec: Object = {
            "schedulerName": "default-scheduler",
            "containers": [container],
            "priority": self.choose.choice([0, 0, 5, 9]),
            "terminationGracePeriodSeconds": self.choose.choice([0, 30]),
        }
        app = {"matchLabels": {"app": self.choose.choice("ab")}}
        shape = self.choose.random()
        if shape < 0.2:
            term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": app}
            spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        elif shape < 0.4:
            constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
            spec["topologySpreadConstraints"] = [{**constraint, "labelSelector": app}]
        elif shape < 0.5:
            container["ports"] = [{"containerPort": 80, "hostPort": 80}]
        metadata = {"name": f"pod-{self.made}", "namespace": "default", "labels": {"app": self.choose.choice("ab")}}
        self.server.seed(
            "pods",
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}},
        )

    def delete_pod(self) -> None:
        if pods := self.server.all("pods"):
            name = self.choose.choice(pods)["metadata"]["name"]
            self.server.handle(Request("DELETE", f"/api/v1/namespaces/default/pods/{name}"))

    def end_pods(self, share: float) -> None:
        """A kubelet: pods that are being deleted are gone after a while, and so are those of nodes that are gone."""
        nodes = {node["metadata"]["name"] for node in self.server.all("nodes")}
        for pod in self.server.all("pods"):
            node = pod["spec"].get("nodeName")
            is_leaving = "deletionTimestamp" in pod["metadata"] or (node is not None and node not in nodes)
            if is_leaving and self.choose.random() < share:
                path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}"
                self.server.handle(Request("DELETE", path, body=b'{"gracePeriodSeconds":0}'))

    def delete_node(self) -> None:
        if nodes := self.server.all("nodes"):
            self.server.handle(Request("DELETE", f"/api/v1/nodes/{self.choose.choice(nodes)['metadata']['name']}"))

    async def step(self) -> None:
        what = self.choose.random()
        if what < 0.5:
            self.pod()
        elif what < 0.6:
            self.delete_pod()
        elif what < 0.72:
            self.node()
        elif what < 0.75:
            self.delete_node()
        elif what < 0.8:
            self.server.forget_history()
        elif what < 0.84:
            await self.stop()
            self.start(afresh=self.choose.random() < 0.5)
        self.end_pods(0.3)
        await asyncio.sleep(self.choose.choice([0, 0, 0.01, 0.5, 3]))
        self.check()

    # ── what must hold ──

    def check(self) -> None:
        used: Counter[str] = Counter()
        count: Counter[str] = Counter()
        for pod in self.server.all("pods"):
            if node := pod["spec"].get("nodeName"):
                used[node] += int(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"])
                count[node] += 1
        assert all(cpu <= 4 for cpu in used.values()), used
        assert all(pods <= 6 for pods in count.values()), count

    def check_bindings(self) -> None:
        """The server would refuse a second node; what is asked here is that nobody was told to have one twice."""
        events = [event for event in self.server.all("events") if event["reason"] == "Scheduled"]
        told = Counter(event["regarding"]["uid"] for event in events)
        assert all(times == 1 for times in told.values())

    def check_end(self) -> None:
        what_if = WhatIf()
        for node in self.server.all("nodes"):
            what_if.add_node(node)
        pods = self.server.all("pods")
        what_if.add_pods(pods)
        for pod in pods:
            if "nodeName" not in pod["spec"]:
                explanation = what_if.explain(pod)
                assert explanation.node is None, f"{explanation.key} is lost: {explanation.node} would do"
                assert explanation.nominated_node is None, f"{explanation.key} could make room and does not"
        assert self.scheduler is not None
        assert self.scheduler.kernel.stats()["assumed"] == 0
        assert self.scheduler.queue.counts()["in flight"] == 0
        assert len(self.scheduler.queue) == sum("nodeName" not in pod["spec"] for pod in pods)


@pytest.mark.parametrize("seed", range(RUNS))
def test_no_pod_is_lost_none_bound_twice_and_no_node_is_over_whatever_fails(seed: int) -> None:
    async def scenario() -> Run:
        run = Run(seed)
        for _ in range(4):
            run.node()
        run.start(afresh=True)
        for _ in range(STEPS):
            await run.step()
        run.transport.has_faults = False
        # Long enough for pods that nothing woke: they get a turn after five minutes all the same.
        for _ in range(80):
            run.end_pods(1.0)
            await asyncio.sleep(10)
            run.check()
        run.check_bindings()
        run.check_end()
        await run.stop()
        return run

    run = virtual_loop.run(scenario())
    paths = Counter(split(request.path)[4] or request.method for request in run.server.requests)
    assert paths["binding"] > 10
