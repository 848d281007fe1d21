"""What every cluster has when it is ready: the system namespaces, the system priority classes, the `kubernetes` Service.

Each is made through the API like anything else, by the server's own identity; what is there already stays as it is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from kubecore.api.errors import from_status
from kubecore.apiserver.wire.door import Reply
from kubecore.apiserver.wire.response import decode_json, encode_json

IDENTITY = "system:apiserver"
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
PRIORITY_CLASSES: tuple[dict[str, Any], ...] = (
    {
        "metadata": {"name": "system-node-critical"},
        "value": 2_000_001_000,
        "description": "Used for system critical pods that must not be moved from their current node.",
    },
    {
        "metadata": {"name": "system-cluster-critical"},
        "value": 2_000_000_000,
        "description": (
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."
        ),
    },
)
_EXISTS = 409

Ask = Callable[[str, str, bytes], Reply]
"""(method, path, body) → the answer, as `IDENTITY`."""


def ensure_namespaces(ask: Ask) -> None:
    for name in NAMESPACES:
        _ensure(ask, "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def ensure_priority_classes(ask: Ask) -> None:
    for row in PRIORITY_CLASSES:
        obj = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **row}
        _ensure(ask, "/apis/scheduling.k8s.io/v1/priorityclasses", obj)


def ensure_kubernetes_service(ask: Ask, *, service_cidr: str, address: str, port: int) -> None:
    """The Service through which pods reach this server: the first address of the service network. `address`, `port`:
    where it listens; a loopback address is no endpoint, because nobody else could reach it."""
    network = ipaddress.ip_network(service_cidr.split(",")[0].strip())
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": str(network.network_address + 1),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    }
    _ensure(ask, "/api/v1/namespaces/default/services", service)
    if port and _is_reachable(address):
        _publish_address(ask, address, port)


def _publish_address(ask: Ask, address: str, port: int) -> None:
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
    }
    family = "IPv6" if ipaddress.ip_address(address).version == 6 else "IPv4"
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": ports,
    }
    _replace(ask, "/api/v1/namespaces/default/endpoints", endpoints)
    _replace(ask, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", endpoint_slice)


def _ensure(ask: Ask, path: str, obj: dict[str, Any]) -> bool:
    """True if it was made now. Raises a StatusError if it can neither be made nor is there."""
    name = obj["metadata"]["name"]
    if ask("GET", f"{path}/{name}", b"").status == 200:
        return False
    reply = ask("POST", path, encode_json(obj))
    if reply.status >= 400 and reply.status != _EXISTS:
        raise from_status(decode_json(reply.body), code=reply.status)
    return True


def _replace(ask: Ask, path: str, obj: dict[str, Any]) -> None:
    """Makes it, or gives it this state: the address may have changed since the last start."""
    if _ensure(ask, path, obj):
        return
    reply = ask("PUT", f"{path}/{obj['metadata']['name']}", encode_json(obj))
    if reply.status >= 400:
        raise from_status(decode_json(reply.body), code=reply.status)


def _is_reachable(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return not (ip.is_loopback or ip.is_unspecified or ip.is_link_local)
