"""What a cluster can be told at its start: the flags of `kubecore up`, and the keyword arguments of `kubecore.Cluster`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kubecore.scheduler import Configuration

SERVICE_CIDR = "10.96.0.0/12"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """All have defaults that make a cluster of one simulated node, kept nowhere.

    data_dir: where state and certificates live; None: only in memory (or, with `parts="processes"`, in a temporary directory).
    storage: `embedded` needs a data_dir; `memory` keeps no objects over a restart.
    port: 0 takes a free one; None opens no socket at all (in-process clients only).
    kubeconfig: a file to write; None: none, unless `merge_kubeconfig`.
    parts: `tasks` in this process, or a process for each.
    cluster_name: of real nodes' network namespaces; with a number where a living cluster has it already.
    runtime: of the nodes. `process`: each is a machine of its own network, pids and mounts, its containers real processes
    (root only; see docs/design/nodes.md).
    images: the table of local images for real nodes.
    """

    nodes: int = 1
    runtime: Literal["simulated", "process"] = "simulated"
    cluster_name: str = "kubecore"
    data_dir: Path | None = None
    storage: Literal["embedded", "memory"] = "memory"
    bind_address: str = "127.0.0.1"
    port: int | None = 0
    kubeconfig: Path | None = None
    merge_kubeconfig: bool = False
    service_cidr: str = SERVICE_CIDR
    node_cidr: str = "198.18.0.0/24"
    cluster_cidr: str = "10.244.0.0/16"
    node_cidr_mask_size: int = 24
    allocate_node_cidrs: bool = False
    """Whether the controllers give each node a pod range out of `cluster_cidr`; always so for real nodes."""
    load_balancer_cidr: str = ""
    """Addresses for Services of type LoadBalancer; empty: the usual ones for real nodes, no provider otherwise."""
    outside_cidr: str = "203.0.113.0/24"
    images: Path | None = None
    service_node_port_range: range = range(30000, 32768)
    parts: Literal["tasks", "processes"] = "tasks"
    controllers: str = "*"
    scheduler: bool = True
    scheduler_configuration: Configuration | None = None
    authorization_mode: str = "RBAC"
    anonymous_auth: bool = True
    enable_admission_plugins: str = ""
    disable_admission_plugins: str = ""
    token_auth_file: Path | None = None
    runtime_config: str = ""
    node_monitor_grace_seconds: float = 50.0
    default_not_ready_toleration_seconds: int = 300
    default_unreachable_toleration_seconds: int = 300
    node_lease_renew_seconds: float = 10.0
    verbose: bool = False
    """Real nodes log more than warnings, each unit to a file of its own."""
    network_namespace: Path | None = None
    network_address: str = ""
    """Of the API server: a network beside the host's in which it serves, and by which it reaches kubelets."""
    seed: int | None = None
    """Of all randomness; None: the system's."""
