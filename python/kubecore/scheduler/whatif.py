"""What would become of pods, asked of a cluster as it is or as it might be. Nothing is changed.

In: a client to read the cluster with, or objects by hand. Out: for a pod where it would go and why, plugin by plugin and
node by node; for several, where each would go with those before it in place.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kubecore.api.meta import Object, key_of
from kubecore.api.scheme import core
from kubecore.client import Client
from kubecore.client.codec import encode
from kubecore.scheduler import messages
from kubecore.scheduler.configuration import Configuration
from kubecore.scheduler.kernel import Failure, Kernel
from kubecore.scheduler.related import RESOURCES


@dataclass(frozen=True, slots=True)
class Score:
    """0 to 100; the node's total is the sum of score times weight."""

    plugin: str
    score: int
    weight: int


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """Refused by a plugin for reasons, or scored."""

    node: str
    refused_by: str | None
    reasons: tuple[str, ...]
    scores: tuple[Score, ...]

    @property
    def total(self) -> int:
        return sum(each.score * each.weight for each in self.scores)


@dataclass(frozen=True, slots=True)
class Explanation:
    """`node`: where the pod would go. `message`: what its event would say if it went nowhere."""

    key: str
    node: str | None
    message: str
    nodes: tuple[NodeVerdict, ...]
    victims: tuple[str, ...] = ()
    nominated_node: str | None = None
    undecided: tuple[str, ...] = ()

    def refused(self) -> dict[str, list[NodeVerdict]]:
        """By plugin, in the order in which plugins run."""
        found: dict[str, list[NodeVerdict]] = {}
        for verdict in self.nodes:
            if verdict.refused_by is not None:
                found.setdefault(verdict.refused_by, []).append(verdict)
        return found

    def ranked(self) -> list[NodeVerdict]:
        """The nodes that would do: the one it would go to, then by their totals."""
        fitting = [verdict for verdict in self.nodes if verdict.refused_by is None]
        return sorted(fitting, key=lambda verdict: (verdict.node != self.node, -verdict.total, verdict.node))

    @property
    def margin(self) -> int | None:
        """By how much the chosen node beats the next; None if there is no next."""
        ranked = self.ranked()
        return ranked[0].total - ranked[1].total if self.node is not None and len(ranked) > 1 else None


@dataclass(frozen=True, slots=True)
class Placement:
    key: str
    node: str | None
    message: str = ""
    """Why nowhere."""
    victims: tuple[str, ...] = field(default=())


class WhatIf:
    """A cluster to try things in."""

    def __init__(self, configuration: Configuration | None = None) -> None:
        chosen = configuration or Configuration()
        self._kernel = Kernel(seed=chosen.seed, profiles=[profile.settings() for profile in chosen.profiles])
        self.nodes: dict[str, Object] = {}

    @classmethod
    async def of_cluster(cls, client: Client, configuration: Configuration | None = None) -> WhatIf:
        """As the API server has it now. Reads all that decisions depend on, once."""
        what_if = cls(configuration)
        for resource in RESOURCES:
            for obj in (await client.list(resource)).items:
                what_if._kernel.related_event(resource.plural, "ADDED", encode(obj))
        for node in (await client.list(core("nodes"))).items:
            what_if.add_node(node)
        what_if.add_pods((await client.list(core("pods"))).items)
        return what_if

    def add_node(self, node: Object) -> None:
        self.nodes[node["metadata"]["name"]] = node
        self._kernel.node_event("ADDED", encode(node))

    def add_nodes_like(self, name: str, count: int) -> list[str]:
        """More nodes of the kind of one that is there: its labels, taints and resources, empty."""
        made = []
        for index in range(1, count + 1):
            node = copy.deepcopy(self.nodes[name])
            new = f"{name}-more-{index}"
            node["metadata"] = {"name": new, "labels": dict(node["metadata"].get("labels") or {})}
            if "kubernetes.io/hostname" in node["metadata"]["labels"]:
                node["metadata"]["labels"]["kubernetes.io/hostname"] = new
            self.add_node(node)
            made.append(new)
        return made

    def remove_node(self, name: str) -> None:
        """The node is gone; the pods that ran there are not put anywhere else by that."""
        self._kernel.node_event("DELETED", encode(self.nodes.pop(name)))

    def add_pods(self, pods: Iterable[Object]) -> None:
        for change in self._kernel.pod_events([("ADDED", encode(pod)) for pod in pods]):
            if isinstance(change, ValueError):
                raise change

    def explain(self, pod: Object) -> Explanation:
        """The pod may be known or not; one that has a node is explained as if it had none yet."""
        asked = copy.deepcopy(pod)
        placed = asked.get("spec", {}).pop("nodeName", None)
        if placed:
            self._kernel.pod_events([("DELETED", encode(pod))])
        try:
            node, failure, verdicts = self._kernel.explain(encode(asked))
        finally:
            if placed:
                self._kernel.pod_events([("ADDED", encode(pod))])
        return Explanation(
            key=key_of(pod),
            node=node,
            message="" if node is not None else messages.failed(failure),
            nodes=tuple(
                NodeVerdict(name, refused_by, tuple(reasons), tuple(Score(*score) for score in scores))
                for name, refused_by, reasons, scores in verdicts
            ),
            victims=tuple(key for key, _, _ in failure.victims),
            nominated_node=failure.nominated_node,
            undecided=tuple(failure.undecided),
        )

    def place(self, pods: list[Object]) -> list[Placement]:
        """In the order of the queue (by priority, then as given), each with those before it in place."""
        self.add_pods(pods)
        ordered = sorted(pods, key=lambda pod: -int(pod.get("spec", {}).get("priority") or 0))
        decisions = self._kernel.schedule([key_of(pod) for pod in ordered])
        return [self._placement(*decision) for decision in decisions]

    def capacity(self, pod: Object, most: int) -> int:
        """How many more copies of the pod would fit, beside all that was placed; at most `most`. The copies stay."""
        for count in range(most):
            name = f"{pod['metadata']['name']}-copy-{count}"
            metadata = {**pod["metadata"], "name": name, "uid": name}
            (placement,) = self.place([{**pod, "metadata": metadata}])
            if placement.node is None:
                return count
        return most

    def _placement(self, key: str, node: str | None, failure: Failure | None) -> Placement:
        if failure is None:
            return Placement(key, node)
        victims = tuple(each for each, _, _ in failure.victims)
        return Placement(key, None, messages.failed(failure), victims)


def as_json(explanation: Explanation) -> dict[str, Any]:
    """For programs."""
    return {
        "pod": explanation.key,
        "node": explanation.node,
        "margin": explanation.margin,
        "message": explanation.message,
        "nominatedNode": explanation.nominated_node,
        "victims": list(explanation.victims),
        "nodes": [
            {
                "node": verdict.node,
                "refusedBy": verdict.refused_by,
                "reasons": list(verdict.reasons),
                "total": verdict.total,
                "scores": [
                    {"plugin": each.plugin, "score": each.score, "weight": each.weight} for each in verdict.scores
                ],
            }
            for verdict in explanation.nodes
        ],
    }
