"""The service proxy and cluster DNS: what makes a Service's address and name work on a node.

In: services, endpoint slices, nodes. Out: rules of the kernel (or connections of our own), routes to other nodes' pods,
answers to names.
"""

from kubecore.proxy.backend import Backend, BackendError
from kubecore.proxy.conntrack import Conntrack
from kubecore.proxy.nftables import NftablesBackend, NftablesOptions
from kubecore.proxy.proxy import IDENTITY, Pace, ServiceProxy
from kubecore.proxy.routes import KernelRoutes, NodeRoutes
from kubecore.proxy.userspace import UserspaceBackend

__all__ = [
    "IDENTITY",
    "Backend",
    "BackendError",
    "Conntrack",
    "KernelRoutes",
    "NftablesBackend",
    "NftablesOptions",
    "NodeRoutes",
    "Pace",
    "ServiceProxy",
    "UserspaceBackend",
]
