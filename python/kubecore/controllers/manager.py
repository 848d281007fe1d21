"""Runs the controllers that were asked for, each as itself.

In: a way to get a transport for an identity, and options. Out: tasks. One informer for each resource serves all
controllers; it reads as `system:kube-controller-manager`; each controller writes as its own service account, so that
RBAC holds each to its least role.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kubecore.api.clock import Clock
from kubecore.client import Client, EventRecorder, Transport
from kubecore.controllers.base import Context, Controller, Informers
from kubecore.controllers.table import CONTROLLERS

IDENTITY = "system:kube-controller-manager"


def identity_of(controller: type[Controller]) -> str:
    """Its own service account; as upstream, one without acts as the manager itself."""
    return f"system:serviceaccount:kube-system:{controller.identity}" if controller.identity else IDENTITY


def chosen(switches: Sequence[str]) -> list[type[Controller]]:
    """What `--controllers` selects: `*` all that are on by default, `name` this one too, `-name` not this one.

    Raises ValueError for a name that no controller has.
    """
    known = [name for row in CONTROLLERS for name in (row.controller.name, *row.aliases)]
    for switch in switches:
        if switch.removeprefix("-") not in known and switch != "*":
            listed = ", ".join(row.controller.name for row in CONTROLLERS)
            raise ValueError(f'"{switch.removeprefix("-")}" is not in the list of known controllers: {listed}')
    selected = []
    for row in CONTROLLERS:
        names = (row.controller.name, *row.aliases)
        if any(f"-{name}" in switches for name in names):
            continue
        if any(name in switches for name in names) or ("*" in switches and row.on_by_default):
            selected.append(row.controller)
    return selected


class ControllerManager:
    """`run` works until cancelled; cancelling stops all parts and writes the events that wait."""

    def __init__(
        self,
        transport_for: Callable[[str], Transport],
        *,
        clock: Clock,
        randomness: random.Random,
        controllers: Sequence[str] = ("*",),
        options: dict[str, Any] | None = None,
    ) -> None:
        """`transport_for`: a transport that acts as the named identity. `options`: see each controller's `OPTIONS` in
        its module's docstring."""
        self._transport_for = transport_for
        self._clock = clock
        self._random = randomness
        self._transports: list[Transport] = []
        self.informers = Informers(self._client(IDENTITY), randomness=randomness)
        self._recorders: list[EventRecorder] = []
        self.controllers = [self._build(each, options or {}) for each in chosen(controllers)]

    def _client(self, identity: str) -> Client:
        transport = self._transport_for(identity)
        self._transports.append(transport)
        return Client(transport)

    def _build(self, controller: type[Controller], options: dict[str, Any]) -> Controller:
        client = self._client(identity_of(controller))
        recorder = EventRecorder(client, component=controller.component, clock=self._clock)
        self._recorders.append(recorder)
        # A source of its own: what one controller draws does not depend on how many others there are.
        own = random.Random(f"{self._random.random()}/{controller.name}")
        return controller(Context(client, self.informers, self._clock, own, recorder, options))

    async def run(self) -> None:
        self.informers.start()
        tasks = [asyncio.create_task(each.run(), name=each.name) for each in self.controllers]
        tasks += [asyncio.create_task(each.run(), name="events") for each in self._recorders]
        tasks.append(asyncio.create_task(self.informers.failure(), name="informers"))
        try:
            await asyncio.gather(*tasks)
        finally:
            await _cancel(tasks)
            await self.informers.stop()
            for recorder in self._recorders:
                await recorder.flush()
            for transport in self._transports:
                await transport.close()

    async def wait_synced(self) -> None:
        for controller in self.controllers:
            await controller.wait_synced()


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
