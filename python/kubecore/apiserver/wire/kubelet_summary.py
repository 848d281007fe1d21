"""Reads a kubelet's summary: dials the node, shows the API server's client certificate, asks one question.

Flows in: a Node. Flows out: the summary's bytes. Bound: `SUMMARY_SIZE_MAX_BYTES`. The kubelet's own certificate is not verified unless a CA
is given, as upstream without `--kubelet-certificate-authority`.
"""

from __future__ import annotations

import http.client
import socket
import ssl

from kubecore.api.meta import Object, name_of
from kubecore.apiserver.wire.dial import Dialer
from kubecore.apiserver.wire.node_figures import FetchSummary

PATH = "/stats/summary?only_cpu_and_memory=true"
KUBELET_PORT = 10250
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS", "Hostname")
"""Addresses before names: the dialler's network need not know the node by name."""
SUMMARY_SIZE_MAX_BYTES = 32 << 20


def summary_fetcher(dialer: Dialer, tls: ssl.SSLContext) -> FetchSummary:
    def fetch(node: Object, timeout_seconds: float) -> bytes:
        host, port = kubelet_address(node)
        with dialer.dial(host, port, timeout_seconds=timeout_seconds) as plain:
            plain.settimeout(timeout_seconds)
            with tls.wrap_socket(plain, server_hostname=host) as connection:
                return _ask(connection, f"{host}:{port}")

    return fetch


def kubelet_address(node: Object) -> tuple[str, int]:
    """Raises OSError if the node has told none."""
    status = node.get("status", {})
    addresses = {each["type"]: each["address"] for each in reversed(status.get("addresses") or ())}
    host = next((addresses[kind] for kind in ADDRESS_TYPES if kind in addresses), None)
    if host is None:
        raise OSError(f"no preferred addresses found for node {name_of(node)}")
    port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port") or KUBELET_PORT
    return host, port


def _ask(connection: socket.socket, host: str) -> bytes:
    request = f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    connection.sendall(request.encode())
    response = http.client.HTTPResponse(connection, method="GET")
    try:
        response.begin()
        body = response.read(SUMMARY_SIZE_MAX_BYTES)
    except http.client.HTTPException as error:
        raise OSError(f"the kubelet's answer cannot be read: {error!r}") from error
    if response.status != http.client.OK:
        raise OSError(f"the kubelet answers {response.status}: {body[:200].decode(errors='replace')}")
    return body
