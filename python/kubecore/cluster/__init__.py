"""The composition root: which parts a cluster has, how they are put together, whether each is a task or a process.

    options        what a cluster can be told          apiserver, loops   how each part is built
    controlplane   parts as tasks of one event loop    processes          parts as processes of their own
    machines       real nodes: network namespaces, process trees
    agent          a process that works until a signal; of a node: kubelet_agent, proxy_agent
    facade, sync   `kubecore.Cluster` for programs     running, runfile   what `kubecore up` and `down` do

Nothing below imports this; it imports everything below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kubecore.cluster.options import ClusterOptions

if TYPE_CHECKING:
    from kubecore.cluster.facade import AsyncCluster, Cluster

__all__ = ["AsyncCluster", "Cluster", "ClusterOptions"]


def __getattr__(name: str) -> Any:
    """Loaded when first used: an agent of a node does not pay for a whole cluster."""
    if name in ("AsyncCluster", "Cluster"):
        from kubecore.cluster import facade

        return getattr(facade, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
