"""The API server's front: its life, what it decides about a request, and the pages that are no resource's.

    server     start, listen, stop                 discovery, openapi   which kinds there are
    app        who asks, may they, the answer      health, metrics      how it does
    door       the seam to Rust                    local, wakeups       requests from inside the process
    forward    requests that kubelets and pods answer; dial: how they are reached
    metrics_api, node_figures, kubelet_summary     what nodes and pods use, asked of kubelets

Rust owns sockets, GET, LIST and WATCH (rust_core/wire); docs/design/wire.md tells how the two play together.
"""

from kubecore.apiserver.wire.dial import Dialer, HostDialer
from kubecore.apiserver.wire.forward import Forwarder
from kubecore.apiserver.wire.kubelet_summary import summary_fetcher
from kubecore.apiserver.wire.local import LocalTransport
from kubecore.apiserver.wire.metrics_api import MetricsApi
from kubecore.apiserver.wire.node_figures import NodeFigures
from kubecore.apiserver.wire.served import ServedResources, parse_runtime_config
from kubecore.apiserver.wire.server import APIServer, PostStartHook
from kubecore.apiserver.wire.token_issuer import token_issuer_routes

__all__ = [
    "APIServer",
    "Dialer",
    "Forwarder",
    "HostDialer",
    "LocalTransport",
    "MetricsApi",
    "NodeFigures",
    "PostStartHook",
    "ServedResources",
    "parse_runtime_config",
    "summary_fetcher",
    "token_issuer_routes",
]
