"""All parts of one cluster on one event loop: built here, started in order, kept running, stopped in reverse.

What flows in: options, a clock, randomness. What flows out: clients for identities, the server's address, a
kubeconfig. The parts know nothing of each other: the API server is given what it needs, each loop is given a client
of its own identity.
"""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path
from typing import Any

from kubecore.api.clock import Clock, SystemClock
from kubecore.apiserver.access import kubeconfig
from kubecore.apiserver.access.certificates import Certificates
from kubecore.client.client import Client
from kubecore.cluster.apiserver import ApiServerPart
from kubecore.cluster.loops import LOOPS, Loop, LoopKeys, World
from kubecore.cluster.machines.site import Site
from kubecore.cluster.options import ClusterOptions

ADMIN = "kubernetes-admin"
"""The administrator's identity, in process as in the kubeconfig: a member of system:masters."""

RESTART_SECONDS_FIRST = 0.5
RESTART_SECONDS_MAX = 30.0
"""A loop that ends by an error is started again after a pause that doubles from the first to the second."""

log = logging.getLogger(__name__)


class ControlPlane:
    """One cluster's parts as tasks of the running event loop. `start`, then `stop`, each once."""

    def __init__(self, options: ClusterOptions, *, clock: Clock | None = None) -> None:
        self.site = Site(options) if options.runtime == "process" else None
        """Of real nodes; None if they are simulated."""
        self.options = options
        self.clock: Clock = clock or SystemClock()
        self._random = random.Random(options.seed)  # a None seed is the system's randomness
        self._server: ApiServerPart | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._loops: dict[str, Loop] = {}
        self._merged = False
        """Whether the user's kubeconfig names this cluster."""

    async def start(self) -> None:
        """Returns once the API server answers and the simulated nodes are registered. What was begun before a failure is
        ended."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        if self.site is not None:
            await asyncio.to_thread(self.site.open)
            self.options = self.site.options
        self._server = ApiServerPart(self.options, clock=self.clock, randomness=self._random)
        await self._server.start()
        world = World(
            self.options,
            self._server.transport,
            self.clock,
            self._random,
            LoopKeys(self.certificates.ca_pem, self._server.sign_token),
        )
        for name, make in LOOPS.items():
            loop = make(world)
            if loop is not None:
                self._loops[name] = loop
                self._tasks.append(asyncio.create_task(self._keep_running(name, world), name=name))
        for loop in self._loops.values():
            await loop.ready()
        if self.site is not None:
            await self.site.start(self.certificates, self._server.transport, server=self.server)
        if self.options.kubeconfig is not None:
            self.write_kubeconfig(self.options.kubeconfig)
        elif self.options.merge_kubeconfig:
            kubeconfig.merge(kubeconfig.user_path(), self._kubeconfig())
            self._merged = True

    async def stop(self) -> None:
        """Machines and loops first, then the server, which answers what is in flight and syncs."""
        if self.site is not None:
            await self.site.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.stop()
        if self.site is not None:
            await asyncio.to_thread(self.site.close)
        if self._merged:
            kubeconfig.remove(kubeconfig.user_path(), server=self.server)

    def client(self, identity: str) -> Client:
        """An in-process client that acts as `identity`, for the running event loop."""
        return self.parts.client(identity)

    @property
    def parts(self) -> ApiServerPart:
        if self._server is None:
            raise RuntimeError("the cluster is not running")
        return self._server

    @property
    def server(self) -> str:
        """The API server's URL; empty if it opened no socket."""
        return self.parts.url

    @property
    def certificates(self) -> Certificates:
        return self.parts.certificates

    def loop(self, name: str) -> Any:
        """A running loop by its name in `LOOPS`; KeyError if it was switched off."""
        return self._loops[name].part

    def kubeconfig_text(self) -> str:
        import yaml

        text: str = yaml.safe_dump(self._kubeconfig(), sort_keys=False)
        return text

    def write_kubeconfig(self, path: Path) -> Path:
        kubeconfig.write(path, self._kubeconfig())
        return path

    def _kubeconfig(self) -> dict[str, Any]:
        return kubeconfig.document(server=self.server, ca_pem=self.certificates.ca_pem, client=self.certificates.admin)

    async def _keep_running(self, name: str, world: World) -> None:
        """A loop that fails is logged and built anew: it lists again and carries on, as its process would."""
        pause_seconds = RESTART_SECONDS_FIRST
        while True:
            started = self.clock.monotonic()
            try:
                await self._loops[name].run()
                return
            except Exception:  # whatever it is, the other parts go on, and it is logged here, once
                log.exception("%s failed and is started again", name)
            if self.clock.monotonic() - started > RESTART_SECONDS_MAX:
                pause_seconds = RESTART_SECONDS_FIRST
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, RESTART_SECONDS_MAX)
            again = LOOPS[name](world)
            assert again is not None, "a loop that ran is not switched off"
            self._loops[name] = again
