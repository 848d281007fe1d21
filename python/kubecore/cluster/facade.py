"""`kubecore.Cluster`: a whole cluster inside a Python program, with `with` or `async with`.

The control plane runs on an event loop of its own in a thread of its own, so it goes on while the program computes. Nothing is global:
any number of clusters live in one process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from kubecore.client.client import Client
from kubecore.cluster.controlplane import ADMIN, ControlPlane
from kubecore.cluster.machines.machine import Machine
from kubecore.cluster.machines.namespaces import Inside
from kubecore.cluster.machines.site import Site
from kubecore.cluster.options import ClusterOptions
from kubecore.cluster.sync import SyncClient

Result = TypeVar("Result")

STOP_SECONDS = 30.0


class _Background:
    """A control plane on its own thread and loop."""

    def __init__(self, options: ClusterOptions) -> None:
        self._options = options
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kubecore", daemon=True)
        self.plane = ControlPlane(options)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def start(self) -> None:
        self._thread.start()
        try:
            self.run(self.plane.start())
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        try:
            self.run(self.plane.stop())
        finally:
            self._end()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        # Threads may still wait for answers: none will come.
        self.run(_cancel_the_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        self._loop.close()


async def _cancel_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def _new_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def _client(plane: ControlPlane) -> Client:
    """On the control plane's own loop: a transport belongs to the loop on which it is made."""
    return plane.client(ADMIN)


@dataclass(frozen=True, slots=True)
class SyncMachine:
    """A real node of a running cluster."""

    machine: Machine
    run: Callable[[Coroutine[Any, Any, None]], None]

    @property
    def namespace(self) -> Path:
        """Its network, for `ip netns exec`."""
        return self.machine.namespace

    def kill(self) -> None:
        """As when the power goes."""
        self.run(self.machine.kill())

    def stop(self) -> None:
        self.run(self.machine.stop())

    def start(self) -> None:
        """Switches it on again, with its disk as it was."""
        self.run(self.machine.start())


class Cluster(SyncClient):
    """A cluster with the verbs of `SyncClient`, as administrator.

        with Cluster(nodes=2) as cluster:
            cluster.apply(manifest)

    Takes `ClusterOptions`, or its fields as keyword arguments.
    """

    def __init__(self, options: ClusterOptions | None = None, **fields: Any) -> None:
        if options is not None and fields:
            raise TypeError("give ClusterOptions or its fields, not both")
        self.options = options or ClusterOptions(**fields)
        self._background: _Background | None = None

    def start(self) -> Self:
        """Returns once the cluster is ready. Raises what keeps it from starting (OSError, StorageError)."""
        if self._background is not None:
            raise RuntimeError("the cluster is already started")
        background = _Background(self.options)
        background.start()
        self._background = background
        super().__init__(background.run(_client(background.plane)), background.loop)
        return self

    def stop(self) -> None:
        """Ends it clean: nothing acknowledged is lost. Idempotent."""
        background, self._background = self._background, None
        if background is not None:
            background.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> AsyncCluster:
        await asyncio.to_thread(self.start)
        assert self._background is not None, "start() sets it"
        return AsyncCluster(self, self._background.plane)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._plane.server

    @property
    def machines(self) -> dict[str, SyncMachine]:
        """Real nodes by name, to be killed and started. RuntimeError if the nodes are simulated."""
        return {name: SyncMachine(machine, self._run) for name, machine in self._site.machines.items()}

    @property
    def outside(self) -> Inside:
        """The network of those who come from elsewhere. RuntimeError if the nodes are simulated."""
        return self._site.outside

    @property
    def _site(self) -> Site:
        if self._plane.site is None:
            raise RuntimeError("the nodes are simulated")
        return self._plane.site

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        if self._background is None:
            raise RuntimeError("the cluster is not running")
        return self._background.run(work)

    @property
    def kubeconfig(self) -> str:
        """An administrator's kubeconfig as YAML text: write it to a file for kubectl."""
        return self._plane.kubeconfig_text()

    def write_kubeconfig(self, path: Path | str) -> Path:
        """Writes it, readable by its owner only."""
        return self._plane.write_kubeconfig(Path(path))

    @property
    def _plane(self) -> ControlPlane:
        if self._background is None:
            raise RuntimeError("the cluster is not running")
        return self._background.plane


class AsyncCluster:
    """What `async with Cluster() as cluster` gives: `cluster.client` is a `kubecore.client.Client` for the caller's event loop."""

    def __init__(self, cluster: Cluster, plane: ControlPlane) -> None:
        self._cluster = cluster
        self.client: Client = plane.client(ADMIN)

    @property
    def server(self) -> str:
        return self._cluster.server

    @property
    def kubeconfig(self) -> str:
        return self._cluster.kubeconfig
