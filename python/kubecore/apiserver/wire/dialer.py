"""How the API server reaches kubelets, pods and services: one call, injected.

By default it is an ordinary connect from this process. Where nodes live in network namespaces of their own, whoever builds the
cluster passes a dialler that makes the socket inside one of them.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

DIAL_TIMEOUT_SECONDS = 30.0
"""Upstream's."""


class Dialer(Protocol):
    """Runs on the forwarder's own event loop. Cancelling it gives the connection up."""

    async def __call__(self, host: str, port: int) -> socket.socket:
        """A connected, non-blocking TCP socket; whoever asked closes it. `host` is an address or a name. Raises OSError (TimeoutError
        after `DIAL_TIMEOUT_SECONDS` is added by the caller)."""
        ...


async def dial(host: str, port: int) -> socket.socket:
    """The default: from the network of this process; the first address of `host` that answers."""
    loop = asyncio.get_running_loop()
    refused: OSError = OSError(f"no address for {host}")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            refused = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise refused
