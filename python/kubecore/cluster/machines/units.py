"""What a machine runs: the files and command lines of its three units, the process runtime, the kubelet, the service proxy.

Everything is written below the node's state directory, as an administrator would write it: kubeconfigs with certificates of
their own, a KubeletConfiguration, a KubeProxyConfiguration.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubecore.apiserver.access import kubeconfig
from kubecore.apiserver.access.certificates import Certificates, write_atomically
from kubecore.apiserver.access.signing import KeyPair
from kubecore.cluster.machines.supervisor import Unit

KUBELET_PORT = 10250
CLUSTER_DOMAIN = "cluster.local"
LEASE_RENEWALS_MISSED = 4
"""A lease lasts four of its renewals, as upstream's kubelet has it."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a machine is told about itself and its cluster. `state`: its disk. `sockets`: a short directory of its own.
    `server`: the API server as nodes reach it. `static_pods`: a directory of manifests, or None."""

    name: str
    ip: str
    cgroup: str
    state: Path
    sockets: Path
    server: str
    cluster_dns: str
    cluster_cidr: str
    lease_renew_seconds: float
    hidden: tuple[Path, ...] = ()
    images: Path | None = None
    static_pods: Path | None = None
    verbose: bool = False

    @property
    def runtime_socket(self) -> Path:
        return self.sockets / "runtime.sock"

    def log(self, unit: str) -> Path:
        return self.state / "log" / f"{unit}.log"


def write(node: Node, certificates: Certificates) -> list[Unit]:
    """Writes the units' files; gives the units in the order in which they start."""
    for directory in (node.state / "log", node.sockets):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    runtime = [
        *("-m", "kubecore.kubelet.runtimes.process"),
        f"--socket={node.runtime_socket}",
        f"--root={node.state / 'runtime'}",
        f"--cgroup-root={node.cgroup}/runtime",
        # Keys and state of the cluster are no container's business, even where its image is this box's own root.
        *(f"--hide={path}" for path in node.hidden),
        *([f"--images={node.images}"] if node.images is not None else []),
        *(["--verbose"] if node.verbose else []),
    ]
    kubelet = [
        *("-m", "kubecore_cli", "kubelet"),
        f"--kubeconfig={_kubeconfig(node, certificates, 'kubelet', certificates.node(node.name))}",
        f"--config={_kubelet_configuration(node, certificates)}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.ip}",
        f"--root-dir={node.state / 'kubelet'}",
        *(["--verbose"] if node.verbose else []),
    ]
    proxier = certificates.client("system:kube-proxy")
    proxy = [
        *("-m", "kubecore_cli", "service-proxy"),
        f"--kubeconfig={_kubeconfig(node, certificates, 'service-proxy', proxier)}",
        f"--config={_proxy_configuration(node)}",
        f"--hostname-override={node.name}",
        *(["--verbose"] if node.verbose else []),
    ]
    commands = {"runtime": runtime, "kubelet": kubelet, "service-proxy": proxy}
    return [Unit(name, [sys.executable, *command], str(node.log(name))) for name, command in commands.items()]


def _kubeconfig(node: Node, certificates: Certificates, unit: str, client: KeyPair) -> Path:
    path = node.state / f"{unit}.conf"
    kubeconfig.write(path, kubeconfig.document(server=node.server, ca_pem=certificates.ca_pem, client=client))
    return path


def _kubelet_configuration(node: Node, certificates: Certificates) -> Path:
    serving = certificates.kubelet_serving(node.name, [node.ip])
    pki = node.state / "pki"
    pki.mkdir(mode=0o700, exist_ok=True)
    for name, content, mode in (
        ("ca.crt", certificates.ca_pem, 0o644),
        ("kubelet.crt", serving.certificate_pem, 0o644),
        ("kubelet.key", serving.key_pem, 0o600),
    ):
        write_atomically(pki / name, content, mode=mode)
    lease_seconds = max(1, round(node.lease_renew_seconds * LEASE_RENEWALS_MISSED))
    return _yaml(
        node.state / "kubelet.yaml",
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": node.ip,
            "port": KUBELET_PORT,
            "tlsCertFile": str(pki / "kubelet.crt"),
            "tlsPrivateKeyFile": str(pki / "kubelet.key"),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{node.runtime_socket}",
            "cgroupRoot": node.cgroup,
            "clusterDNS": [node.cluster_dns],
            "clusterDomain": CLUSTER_DOMAIN,
            "nodeLeaseDurationSeconds": lease_seconds,
            "podLogsDir": str(node.state / "log" / "pods"),
            **({"staticPodPath": str(node.static_pods)} if node.static_pods is not None else {}),
        },
    )


def _proxy_configuration(node: Node) -> Path:
    return _yaml(
        node.state / "service-proxy.yaml",
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": node.cluster_cidr,
            "hostnameOverride": node.name,
        },
    )


def _yaml(path: Path, document: dict[str, Any]) -> Path:
    import yaml

    write_atomically(path, yaml.safe_dump(document, sort_keys=False).encode(), mode=0o600)
    return path
