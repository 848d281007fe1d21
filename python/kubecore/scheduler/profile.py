"""One profile: whose pods it decides for, which plugins run, what they weigh and what they are told.

The default is upstream's. The kernel reads a profile as JSON (`rust_core/sched/src/profile.rs`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

DEFAULT_PLUGINS: Mapping[str, int] = {
    "SchedulingGates": 1,
    "PrioritySort": 1,
    "NodeUnschedulable": 1,
    "NodeName": 1,
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodePorts": 1,
    "NodeResourcesFit": 1,
    "VolumeRestrictions": 1,
    "NodeVolumeLimits": 1,
    "VolumeBinding": 1,
    "VolumeZone": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "DefaultPreemption": 1,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
    "DefaultBinder": 1,
}
"""Upstream's default profile: every plugin and its weight, where it scores."""

SCORERS = (
    "TaintToleration",
    "NodeAffinity",
    "PodTopologySpread",
    "InterPodAffinity",
    "NodeResourcesFit",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
)
FILTERS = (
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
)


class Refused(ValueError):
    """A configuration that cannot be used: `path`, and why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}" if path else why)
        self.path = path


@dataclass(frozen=True, slots=True)
class Profile:
    """`arguments`: what the plugins are told, as the kernel writes it."""

    scheduler_name: str = "default-scheduler"
    filters: Set[str] = frozenset(FILTERS)
    weights: Mapping[str, int] = field(default_factory=lambda: DEFAULT_PLUGINS)
    preempts: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> bytes:
        """For the kernel."""
        settings = {
            "schedulerName": self.scheduler_name,
            "disabledFilters": [name for name in FILTERS if name not in self.filters],
            "weights": {name: self.weights[name] for name in SCORERS if name in self.weights},
            "preempts": self.preempts,
            **self.arguments,
        }
        return json.dumps(settings).encode()
