"""How the API server opens a connection to a kubelet, a pod or a service: the seam by which it reaches another network.

On a plain host that is the host's network. Where nodes are network namespaces of one box, the cluster injects a dialler whose
sockets are made in theirs (cluster/machines).
"""

from __future__ import annotations

import socket
from typing import Protocol


class Dialer(Protocol):
    """Safe to call from any thread, and from several at once."""

    def dial(self, host: str, port: int, *, timeout_seconds: float) -> socket.socket:
        """A connected TCP socket in blocking mode, without a timeout of its own. `host` is an address, or a name that the
        API server's own host resolves. Blocks for as long as `timeout_seconds`. Raises OSError (TimeoutError among
        them)."""
        ...


class HostDialer:
    """The network that this process is in."""

    def dial(self, host: str, port: int, *, timeout_seconds: float) -> socket.socket:
        made = socket.create_connection((host, port), timeout=timeout_seconds)
        made.settimeout(None)
        return made
