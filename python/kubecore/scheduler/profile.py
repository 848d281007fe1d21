"""Whose pods are ours, and which events may help a pod that a plugin refused.

One profile, upstream's default: the plugins and weights are the kernel's table.
Source: https://kubernetes.io/docs/reference/scheduling/config/
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

Happening = Literal[
    "node added", "node removed", "node allocatable", "node labels", "node taints", "pod came", "pod left"
]
"""What may make room for a pod that waits. The first five are the kernel's words for a node's change."""

NODE_HAPPENINGS: Mapping[str, Happening] = {
    "added": "node added",
    "removed": "node removed",
    "allocatable": "node allocatable",
    "labels": "node labels",
    "taints": "node taints",
}

HELPS: Mapping[str, Set[Happening]] = {
    "NodeUnschedulable": frozenset(("node added", "node taints")),
    "NodeName": frozenset(("node added",)),
    "TaintToleration": frozenset(("node added", "node taints")),
    "NodeAffinity": frozenset(("node added", "node labels")),
    "NodePorts": frozenset(("node added", "pod left")),
    "NodeResourcesFit": frozenset(("node added", "node allocatable", "pod left")),
    "PodTopologySpread": frozenset(
        ("node added", "node removed", "node labels", "node taints", "pod came", "pod left")
    ),
    "InterPodAffinity": frozenset(("node added", "node labels", "pod came", "pod left")),
}
"""By plugin. A pod that no plugin refused (there was no node) waits for a node."""

NO_NODES_HELP: Set[Happening] = frozenset(("node added",))


@dataclass(frozen=True, slots=True)
class Profile:
    """`seed` decides between equally good nodes."""

    scheduler_name: str = "default-scheduler"
    seed: int = 0
    helps: Mapping[str, Set[Happening]] = field(default_factory=lambda: HELPS)

    def helped_by(self, plugins: tuple[str, ...]) -> Set[Happening]:
        """What may help a pod that these plugins refused."""
        if not plugins:
            return NO_NODES_HELP
        return frozenset[Happening]().union(*(self.helps.get(plugin, frozenset()) for plugin in plugins))
