"""Turns decisions into bindings: many at a time, each through the API, each with its own outcome.

In: (key, node, uid). Out: for each whether the server took it. If the connection broke, the pod is read until the server
says what became of it: were the room given to somebody else meanwhile, the node might be over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kubecore.api.errors import NotFound, StatusError
from kubecore.api.meta import split_key, uid_of
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


FIND_OUT_SECONDS = 1.0
"""Between two questions after a lost answer. They go on until there is one: without a server nothing is bound anyway."""

Outcome = StatusError | TransportError | None
"""None: bound."""


async def bind(client: Client, bindings: Sequence[Binding]) -> list[Outcome]:
    """At most BATCH_MAX bindings, as one batch; outcomes in the same order."""
    pods = core("pods")
    batch = []
    for binding in bindings:
        namespace, name = split_key(binding.key)
        batch.append(requests.bind(pods, namespace, name, node=binding.node, uid=binding.uid))
    outcomes: list[Outcome]
    try:
        outcomes = list(await client.try_all(batch))
    except TransportError as failure:
        log.warning("%d bindings: no answer (%s)", len(batch), failure)
        outcomes = [failure] * len(batch)
    return [
        await _find_out(client, binding, outcome) if isinstance(outcome, TransportError) else outcome
        for binding, outcome in zip(bindings, outcomes, strict=True)
    ]


async def _find_out(client: Client, binding: Binding, lost: TransportError) -> Outcome:
    """What became of a binding whose answer was lost."""
    namespace, name = split_key(binding.key)
    while True:
        try:
            pod = await client.get(core("pods"), namespace, name)
        except NotFound as gone:
            return gone
        except (StatusError, TransportError) as failure:
            log.warning("what became of the binding of %s: %s", binding.key, failure)
            await asyncio.sleep(FIND_OUT_SECONDS)
            continue
        is_bound = pod["spec"].get("nodeName") == binding.node and uid_of(pod) == binding.uid
        return None if is_bound else lost
