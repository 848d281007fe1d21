"""Signs of life: each living node renews its Lease every ten seconds, as a kubelet does; many nodes' renewals travel
as one batch.

In an interval, nodes take turns in TURNS groups, so that five thousand nodes are a steady trickle and not a wave.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from kubecore.api import errors
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, micro_timestamp
from kubecore.api.scheme import resource
from kubecore.client import Client, Request, TransportError, requests
from kubecore.simulate.nodes import SimulatedNode

log = logging.getLogger(__name__)

NAMESPACE = "kube-node-lease"
RENEW_SECONDS = 10.0
DURATION_SECONDS = 40
TURNS = 10
FRESH_MAX = 500
"""New nodes in one turn, beside those whose turn it is."""


class Leases:
    """Renews for those of `nodes` that are alive."""

    def __init__(
        self,
        client: Client,
        nodes: Mapping[str, SimulatedNode],
        *,
        clock: Clock,
        renew_seconds: float = RENEW_SECONDS,
        duration_seconds: int = DURATION_SECONDS,
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._clock = clock
        self._renew_seconds = renew_seconds
        self._duration_seconds = duration_seconds
        self._leases = resource("coordination.k8s.io", "v1", "leases")

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        turn, due = 0, loop.time()
        while True:
            await self.renew(self._due(turn))
            turn = (turn + 1) % TURNS
            # The rhythm does not drift by the time that the writes take; after a long stall it starts anew.
            due = max(due + self._renew_seconds / TURNS, loop.time())
            await asyncio.sleep(due - loop.time())

    def _due(self, turn: int) -> list[SimulatedNode]:
        """Those whose turn it is, and those that came since the last turn: a kubelet makes its Lease when it starts."""
        nodes = list(self._nodes.values())
        fresh = [node for place, node in enumerate(nodes) if not node.has_lease and place % TURNS != turn]
        return nodes[turn::TURNS] + fresh[:FRESH_MAX]

    async def renew(self, nodes: list[SimulatedNode]) -> None:
        """Those alive; a Lease that is not there is made."""
        living = [node for node in nodes if node.alive]
        if not living:
            return
        now = micro_timestamp(self._clock.now())
        batch = [self._renewal(node, now) if node.has_lease else self._creation(node, now) for node in living]
        try:
            outcomes = await self._client.try_all(batch)
        except TransportError as failure:
            # The next turn is the next try.
            log.warning("renewing %d leases: %s", len(batch), failure)
            return
        for node, outcome in zip(living, outcomes, strict=True):
            node.has_lease = outcome is None or isinstance(outcome, errors.AlreadyExists)
            if outcome is not None and not isinstance(outcome, errors.AlreadyExists | errors.NotFound):
                log.warning("lease of %s: %s", node.name, outcome)

    def _renewal(self, node: SimulatedNode, now: str) -> Request:
        return requests.patch(self._leases, NAMESPACE, node.name, {"spec": {"renewTime": now}})

    def _creation(self, node: SimulatedNode, now: str) -> Request:
        owner = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.uid}
        lease: Object = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": node.name, "namespace": NAMESPACE, "ownerReferences": [owner]},
            "spec": {
                "holderIdentity": node.name,
                "leaseDurationSeconds": self._duration_seconds,
                "renewTime": now,
            },
        }
        return requests.create(self._leases, lease)
