"""A Kubernetes control plane that a Python program can hold in its hand.

    import kubecore

    with kubecore.Cluster(nodes=2) as cluster:
        cluster.apply(open("deployment.yaml").read())
        cluster.wait_for("deployments", "web", lambda d: d["status"].get("readyReplicas") == 3)

Names are loaded when first used: importing kubecore costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kubecore.api.release import VERSION as __version__

if TYPE_CHECKING:
    from kubecore.cluster import AsyncCluster, Cluster, ClusterOptions


__all__ = ["AsyncCluster", "Cluster", "ClusterOptions", "__version__"]

_LAZY = ("AsyncCluster", "Cluster", "ClusterOptions")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from kubecore import cluster

        return getattr(cluster, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
