"""What a node, its pods and their containers use: sampled, kept for a short while, and told in upstream's words.

Flows in: the runtime's figures, /proc, what lies on disk, the results of probes. Flows out: `/stats/summary`, `/stats/history`,
`/metrics/resource`, `/metrics/cadvisor`, `/metrics/probes`, answered by `StatsPages`.
"""

from kubecore.kubelet.stats.disk import PodDirectories
from kubecore.kubelet.stats.node import NodeReader
from kubecore.kubelet.stats.node_use import CgroupUse
from kubecore.kubelet.stats.pages import StatsPages
from kubecore.kubelet.stats.probe_metrics import ProbeMetrics
from kubecore.kubelet.stats.sampler import Sampler

__all__ = ["CgroupUse", "NodeReader", "PodDirectories", "ProbeMetrics", "Sampler", "StatsPages"]
