"""Simulated nodes: no kubelet runs for them, stages say what happens (KWOK's Stage format).

`Agent` runs all of them; `NodePlan` says how many and of what size.
"""

from kubecore.simulate.agent import IDENTITY, Agent
from kubecore.simulate.nodes import NodePlan
from kubecore.simulate.stages import StageError

__all__ = ["IDENTITY", "Agent", "NodePlan", "StageError"]
