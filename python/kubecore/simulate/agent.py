"""All simulated nodes of a cluster: one informer for their pods, one for themselves, one player, one rhythm of
leases. No kubelet runs for them.

In: nodes that carry the annotation `kwok.x-k8s.io/node: fake`, made by `create_nodes` or by anybody, and the pods
bound to them. Out: their pods' lives by stages, and signs of life. `kill` makes a node fall silent as if its power
were cut; `revive` brings it back. Whoever may annotate a node can do the same from outside: see
`nodes.POWER_ANNOTATION`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence

from kubecore.api import errors
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, key_of, timestamp
from kubecore.api.scheme import core
from kubecore.client import Client, EventRecorder, Informer, Transport, requests
from kubecore.simulate import nodes, stages
from kubecore.simulate.leases import RENEW_SECONDS, Leases
from kubecore.simulate.nodes import NodePlan, SimulatedNode
from kubecore.simulate.player import Item, Player
from kubecore.simulate.template import Function

log = logging.getLogger(__name__)

IDENTITY = "system:kubecore:node-simulator"
"""Needs: nodes create get list watch delete, nodes/status patch, pods list watch patch delete, pods/status patch,
leases create patch, events create patch."""

KUBELET_VERSION = "v1.35.0"
BY_NODE = "node"
CREATE_BATCH = 500


class Agent:
    """Run `run` as a task."""

    def __init__(
        self,
        transport: Transport,
        *,
        clock: Clock,
        randomness: random.Random,
        stage_texts: Sequence[str] = (),
        lease_renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        """`stage_texts`: YAML of Stages to play instead of the built-in ones. Raises StageError."""
        self._client = Client(transport)
        self._transport = transport
        self._clock = clock
        self._nodes: dict[str, SimulatedNode] = {}
        self._recorder = EventRecorder(self._client, component="kwok", clock=clock)
        functions = self._functions()
        played = [stage for text in stage_texts for stage in stages.load(text, functions)]
        self._player = Player(
            self._client,
            self._recorder,
            played or stages.builtin(("node-fast", "pod-fast"), functions),
            find=self._find,
            plays=self._plays,
            clock=clock,
            randomness=randomness,
        )
        self._leases = Leases(self._client, self._nodes, clock=clock, renew_seconds=lease_renew_seconds)
        self._node_informer = Informer(self._client, core("nodes"), randomness=random.Random(randomness.random()))
        self._pod_informer = Informer(
            self._client,
            core("pods"),
            randomness=random.Random(randomness.random()),
            field_selector="spec.nodeName!=",
            indexers={BY_NODE: _by_node},
        )
        self._node_informer.add_handler(self._node_changed)
        self._pod_informer.add_handler(self._pod_changed)

    async def run(self) -> None:
        """Until cancelled."""
        tasks = [asyncio.create_task(self._node_informer.run(), name="simulated nodes")]
        try:
            await self._node_informer.wait_synced()
            loops = (self._pod_informer, self._player, self._leases, self._recorder)
            tasks += [asyncio.create_task(each.run(), name=f"simulated {type(each).__name__}") for each in loops]
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def wait_synced(self) -> None:
        await self._node_informer.wait_synced()
        await self._pod_informer.wait_synced()

    # ── what tests and demos do ──

    async def create_nodes(self, plan: NodePlan) -> list[str]:
        """Makes the nodes; those that exist already stay. Gives their names. Raises the first other failure."""
        made = plan.objects(now=self._clock.now(), kubelet_version=KUBELET_VERSION)
        for start in range(0, len(made), CREATE_BATCH):
            batch = [requests.create(core("nodes"), node) for node in made[start : start + CREATE_BATCH]]
            for outcome in await self._client.try_all(batch):
                if outcome is not None and not isinstance(outcome, errors.AlreadyExists):
                    raise outcome
        return [node["metadata"]["name"] for node in made]

    def kill(self, name: str) -> None:
        """The node says nothing more and does nothing more; what runs on it is not told. Raises KeyError."""
        self._nodes[name].alive = False
        for pod in self._pod_informer.by_index(BY_NODE, name):
            self._player.forget(core("pods"), key_of(pod))

    async def revive(self, name: str) -> None:
        """The node says that it lives and catches up with what was asked of it meanwhile. Raises KeyError."""
        node = self._nodes[name]
        # The dead renew nothing.
        node.alive = True
        await self._leases.renew([node])
        self._power_up(name)

    def _power_up(self, name: str) -> None:
        self._nodes[name].alive = True
        found = self._node_informer.get(name)
        if found is not None:
            self._player.consider(core("nodes"), found)
        for pod in list(self._pod_informer.by_index(BY_NODE, name)):
            self._player.consider(core("pods"), pod)

    @property
    def nodes(self) -> Mapping[str, SimulatedNode]:
        return self._nodes

    # ── what informers say ──

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._nodes.pop(old["metadata"]["name"], None)
            return
        if not nodes.is_managed(new):
            return
        name = new["metadata"]["name"]
        known = self._nodes.get(name)
        if known is None or known.uid != new["metadata"].get("uid", ""):
            self._nodes[name] = nodes.from_object(new)
            for pod in list(self._pod_informer.by_index(BY_NODE, name)):
                self._pod_changed(None, pod)
        powered = nodes.is_powered(new)
        if not powered and self._nodes[name].alive:
            self.kill(name)
        elif powered and old is not None and not nodes.is_powered(old):
            self._power_up(name)
        self._player.consider(core("nodes"), new)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        node = self._nodes.get(pod["spec"].get("nodeName", ""))
        if node is None:
            return
        uid = pod["metadata"]["uid"]
        if new is None:
            node.give_back(uid)
            self._player.forget(core("pods"), key_of(pod))
            return
        address = new.get("status", {}).get("podIP")
        if address and not new["spec"].get("hostNetwork") and uid not in node.by_pod:
            node.keep(uid, address)
        self._player.consider(core("pods"), new)

    def _find(self, item: Item) -> Object | None:
        resource, key = item
        return (self._node_informer if resource.kind == "Node" else self._pod_informer).get(key)

    def _plays(self, obj: Object) -> bool:
        name = obj["metadata"]["name"] if obj["kind"] == "Node" else obj["spec"].get("nodeName", "")
        node = self._nodes.get(name)
        return node is not None and node.alive

    # ── what templates may call ──

    def _functions(self) -> dict[str, Function]:
        return {
            "Now": self._now,
            "now": self._now,
            "NodeConditions": lambda: nodes.conditions(self._clock.now()),
            "NodeIP": lambda: "",
            "NodeName": lambda: "",
            "NodePort": lambda: 0,
            "NodeIPWith": self._node_address,
            "PodIP": lambda: "",
            "PodIPWith": self._pod_address,
            "Version": lambda: KUBELET_VERSION,
        }

    def _now(self) -> str:
        return timestamp(self._clock.now())

    def _node_address(self, name: str) -> str:
        node = self._nodes.get(name)
        return node.address if node else ""

    def _pod_address(self, node_name: str, host_network: bool, uid: str, *_: str) -> str:
        node = self._nodes[node_name]
        return node.address if host_network else node.take(uid)


def _by_node(pod: Object) -> tuple[str, ...]:
    return (pod["spec"].get("nodeName", ""),)
