"""The seam between the Service controller and whatever makes load balancers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kubecore.api.meta import Object


class LoadBalancerError(Exception):
    """The provider could not do it now; it is asked again later."""


class LoadBalancerProvider(Protocol):
    """`ensure` and `delete` may come again for what is done already, and for several services at a time."""

    async def start(self, services: Sequence[Object]) -> None:
        """Comes once, before all else, with all services there are: what was given before is in their status."""
        ...

    async def ensure(self, service: Object, nodes: Sequence[Object]) -> list[Object]:
        """Makes the load balancer as the service wants it now; gives its addresses: `{"ip": ...}` or `{"hostname":
        ...}`. Raises LoadBalancerError."""
        ...

    async def delete(self, service: Object) -> None:
        """Raises LoadBalancerError."""
        ...
