"""Turns decisions into bindings: many at a time, each through the API, each with its own outcome.

In: (key, node, uid). Out: for each whether the server took it. A binding whose outcome is unknown (the connection
broke) counts as failed: if it did take effect, the pod's own event says so, and a second binding is refused by the
server (Conflict).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kubecore.api.errors import StatusError
from kubecore.api.meta import split_key
from kubecore.api.scheme import core
from kubecore.client import Client, TransportError, requests

log = logging.getLogger(__name__)

BATCH_MAX = 256
"""Bindings in one batch."""


@dataclass(frozen=True, slots=True)
class Binding:
    """`uid`: if another pod has the name by now, the server refuses."""

    key: str
    node: str
    uid: str


Outcome = StatusError | TransportError | None
"""None: bound."""


async def bind(client: Client, bindings: Sequence[Binding]) -> list[Outcome]:
    """At most BATCH_MAX bindings, as one batch; outcomes in the same order."""
    pods = core("pods")
    batch = []
    for binding in bindings:
        namespace, name = split_key(binding.key)
        batch.append(requests.bind(pods, namespace, name, node=binding.node, uid=binding.uid))
    try:
        outcomes = await client.try_all(batch)
    except TransportError as failure:
        log.warning("%d bindings: no answer (%s); they are tried again", len(batch), failure)
        return [failure] * len(batch)
    return list(outcomes)
