"""Where a node's kubelet listens: from the node's status, as its kubelet reported it."""

from __future__ import annotations

from typing import NamedTuple

from kubecore.api import errors
from kubecore.api.meta import Object
from kubecore.apiserver.registry.request import Request

KUBELET_PORT = 10250
SIMULATED_ANNOTATION = "kwok.x-k8s.io/node"
"""On nodes that nobody runs, ours and KWOK's."""


class Address(NamedTuple):
    host: str
    port: int


def address_of(request: Request, node_name: str, *, for_what: str) -> Address:
    """Raises NotFound for a node that is not there, ServiceUnavailable for one that is simulated (`for_what`: told then)."""
    node = request.store_for("", "v1", "nodes").get("", node_name).object
    status = node.get("status") or {}
    port = _port(node)
    if is_simulated(node):
        raise errors.ServiceUnavailable(f"{for_what} is not available: simulated nodes have no kubelet")
    addresses: list[Object] = status.get("addresses") or []
    for wanted in request.environment.kubelet_address_types:
        for address in addresses:
            if address["type"] == wanted:
                return Address(address["address"], int(port or KUBELET_PORT))
    known = " ".join(f"{{{address['type']} {address['address']}}}" for address in addresses)
    raise errors.StatusError(f"no preferred addresses found; known addresses: [{known}]", reason="")


def is_simulated(node: Object) -> bool:
    """Annotated as one, and without a kubelet's port (KWOK's can have one)."""
    return not _port(node) and SIMULATED_ANNOTATION in (node["metadata"].get("annotations") or {})


def _port(node: Object) -> int | None:
    endpoint = ((node.get("status") or {}).get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    return endpoint.get("Port")
