"""The composition root: which parts a cluster has, how they are put together, whether each is a task or a process.

    options        what a cluster can be told          apiserver, loops   how each part is built
    controlplane   parts as tasks of one event loop    processes          parts as processes of their own
    machines       real nodes: network namespaces, process trees
    facade, sync   `kubecore.Cluster` for programs     running, runfile   what `kubecore up` and `down` do

Nothing below imports this; it imports everything below.
"""

from kubecore.cluster.facade import AsyncCluster, Cluster
from kubecore.cluster.options import ClusterOptions

__all__ = ["AsyncCluster", "Cluster", "ClusterOptions"]
