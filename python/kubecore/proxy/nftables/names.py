"""Names in our tables, in the shape of upstream's nftables mode, so that whoever can read those can read ours.

A name starts with what it is, then a hash of the rest (two names that were cut differ still), then words for people.
"""

from __future__ import annotations

import hashlib
from typing import Final

from kubecore.proxy.model import Endpoint, ServicePort

TABLE: Final = "kubecore-proxy"

SERVICE_IPS: Final = "service-ips"
NODE_PORTS: Final = "service-nodeports"
NO_ENDPOINT_SERVICES: Final = "no-endpoint-services"
NO_ENDPOINT_NODE_PORTS: Final = "no-endpoint-nodeports"
FIREWALL_IPS: Final = "firewall-ips"
CLUSTER_IPS: Final = "cluster-ips"
NODE_PORT_IPS: Final = "nodeport-ips"

MARK: Final = "mark-for-masquerade"
REJECT: Final = "reject-chain"

NAME_MAX: Final = 256 - 16
"""Bytes that the kernel takes for a name, less the longest word in front."""


def _hashed(name: str) -> str:
    return f"{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}-{name}"[:NAME_MAX]


def service(port: ServicePort) -> str:
    """What follows `service-`, `local-`, `external-`, `firewall-`."""
    return _hashed(f"{port.namespace}/{port.name}/{port.protocol.lower()}/{port.port_name}")


def endpoint(port: ServicePort, to: Endpoint) -> str:
    """What follows `endpoint-`, `affinity-`. Colons are not for names."""
    address = to.ip.replace(":", ".")
    return _hashed(f"{port.namespace}/{port.name}/{port.protocol.lower()}/{port.port_name}__{address}/{to.port}")


def is_of_a_service(chain: str) -> bool:
    """Chains of services and endpoints have a slash, those of the table itself have none."""
    return "/" in chain


def is_affinity(name: str) -> bool:
    return name.startswith("affinity-")
