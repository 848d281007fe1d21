"""`kubecore up`: a control plane in the foreground until a signal. It leaves nothing behind but its data."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import socket
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from kubecore.api.clock import SystemClock
from kubecore.api.errors import StatusError
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.access.tokens import ServiceAccountTokens
from kubecore.apiserver.storage.protocol import StorageError
from kubecore.client.client import Client
from kubecore.client.kubeconfig import ClientConfig, KubeconfigError, load
from kubecore.client.leader_election import LeaderElection
from kubecore.client.transport import TransportError
from kubecore.cluster import collector
from kubecore.cluster.agent import FAILED, Announce, on_signals
from kubecore.cluster.controlplane import ControlPlane
from kubecore.cluster.identities import RemoteIdentities
from kubecore.cluster.loops import LOOPS, LoopKeys, World
from kubecore.cluster.machines.site import Site
from kubecore.cluster.options import ClusterOptions
from kubecore.cluster.processes import PartFailed, Processes
from kubecore.cluster.runfile import RunFile
from kubecore.controllers.token import SignToken

SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a busy thread keeps the interpreter from one that waits for it."""

log = logging.getLogger(__name__)


class Runnable(Protocol):
    """A cluster, whichever shape its parts have."""

    options: ClusterOptions
    site: Site | None
    """Of real nodes."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    @property
    def server(self) -> str: ...


def run_until_signalled(options: ClusterOptions, *, announce: Announce, started: float) -> int:
    """Starts, says where it listens, waits for SIGINT or SIGTERM, ends clean. `started`: time.monotonic() at the process's start."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(options, announce=announce, started=started))


async def _run(options: ClusterOptions, *, announce: Announce, started: float) -> int:
    with contextlib.ExitStack() as ends:
        try:
            cluster = _cluster(options, ends)
            stopped = on_signals()
            if not await _started(cluster, stopped):
                announce("stopped before it was ready")
                return 0
        except (StorageError, PartFailed, StatusError, TransportError, ValueError) as error:
            announce(f"error: {_already_running(options.data_dir) or error}")
            return FAILED
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                announce(f"error: port {options.port} is taken: choose another with --port, or --port 0 for a free one")
            else:
                announce(f"error: {error}")
            return FAILED
        try:
            collector.settle()
            _share_interpreter()
            _announce_ready(cluster, announce, started)
            if options.data_dir is not None:
                RunFile.write(options.data_dir, server=cluster.server, kubeconfig=str(options.kubeconfig or ""))
                ends.callback(RunFile.remove, options.data_dir)
            await stopped.wait()
            announce("stopping")
        finally:
            await cluster.stop()
    return 0


async def _started(cluster: Runnable, stopped: asyncio.Event) -> bool:
    """False if a signal came first: what was begun is ended then. Raises what keeps it from starting."""
    starting = asyncio.ensure_future(cluster.start())
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        starting.result()
        return True
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    return False


def run_api_server(options: ClusterOptions, *, announce: Announce) -> int:
    """`kubecore apiserver`: the API server alone, until a signal."""
    return run_until_signalled(
        replace(options, controllers="", scheduler=False), announce=announce, started=time.monotonic()
    )


def run_loop(
    name: str,
    options: ClusterOptions,
    kubeconfig: Path,
    *,
    announce: Announce,
    leader_elect: str = "",
    ca_file: Path | None = None,
    service_account_key_file: Path | None = None,
) -> int:
    """One loop of `LOOPS` alone, over HTTPS, until a signal. `leader_elect`: the name of the lease to hold meanwhile."""
    import uvloop

    try:
        config = load(kubeconfig)
    except KubeconfigError as error:
        announce(f"error: {error}")
        return FAILED
    keys = LoopKeys(
        ca_pem=ca_file.read_bytes() if ca_file else config.certificate_authority_pem,
        sign_token=_signer(service_account_key_file),
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run_loop(name, options, config, keys, announce=announce, leader_elect=leader_elect))


class _NoObjects:
    """A `StorageReader` for who only signs."""

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return None

    def list(self, resource: Resource, namespace: str = "") -> list[Object]:
        return []


def _signer(key_file: Path | None) -> SignToken | None:
    """Signs tokens for secrets with the key that the API server verifies with."""
    if key_file is None or not key_file.exists():
        return None
    tokens = ServiceAccountTokens(key_file.read_bytes, _NoObjects(), now=time.time, randomness=random.Random())
    return lambda account, secret_name: tokens.issue_legacy(service_account=account, secret_name=secret_name)


async def _run_loop(
    name: str, options: ClusterOptions, config: ClientConfig, keys: LoopKeys, *, announce: Announce, leader_elect: str
) -> int:
    identities = RemoteIdentities(config, user_agent=f"kubecore-{name}")
    clock, randomness = SystemClock(), random.Random()
    world = World(options, identities.transport, clock, randomness, keys)

    async def work() -> None:
        loop = LOOPS[name](world)
        assert loop is not None, "a loop that is asked for by name is not switched off"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(loop.run())
            await loop.ready()
            collector.settle()
            announce(f"ready: {name}")

    async def elected() -> None:
        if not leader_elect:
            return await work()
        identity = f"{socket.gethostname()}_{uuid.uuid4()}"
        client = Client(identities.transport(""))
        election = LeaderElection(client, name=leader_elect, identity=identity, clock=clock, randomness=randomness)
        return await election.run(work)

    stopped = on_signals()
    working = asyncio.create_task(elected())
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    failure = working.exception() if working.done() and not working.cancelled() else None
    for task in (working, stopping):
        task.cancel()
    await asyncio.gather(working, stopping, return_exceptions=True)
    await identities.close()
    if failure is not None:
        log.error("%s failed", name, exc_info=failure)
        announce(f"error: {failure!r}")
        return FAILED
    if not stopped.is_set():
        announce(f"error: {name} lost the lease {leader_elect}")
        return FAILED
    return 0


def _cluster(options: ClusterOptions, ends: contextlib.ExitStack) -> Runnable:
    if options.parts == "tasks":
        return ControlPlane(options)
    if options.data_dir is None:
        import tempfile

        directory = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="kubecore-")))
        options = replace(options, data_dir=directory)
    return Processes(options)


def _share_interpreter() -> None:
    """A request that waits for the interpreter gets it from a busy controller after half a millisecond, not after five.

    The wire's thread lets go of it with every batch of requests; by the default interval controllers and scheduler then held
    it twice as long as a batch takes. Only for a process of our own: a program that embeds a cluster decides for itself.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)


def _announce_ready(cluster: Runnable, announce: Announce, started: float) -> None:
    options = cluster.options
    announce(f"listening on {cluster.server}")
    if options.kubeconfig is not None:
        announce(f"kubeconfig {options.kubeconfig}")
    elif options.merge_kubeconfig:
        announce("kubeconfig: context kubecore is now the current one")
    announce(f"page {cluster.server}/ui/ (`kubecore ui` opens it signed in)")
    kind = "simulated" if options.runtime == "simulated" else "real"
    nodes = f"{options.nodes} {kind} node{'' if options.nodes == 1 else 's'}"
    if cluster.site is not None:
        for line in cluster.site.description():
            announce(line)
    announce(f"ready in {time.monotonic() - started:.2f} s: {nodes}, Ctrl-C to stop")


def _already_running(directory: Path | None) -> str:
    running = RunFile.read(directory) if directory is not None else None
    return f"a cluster already runs in {directory} (process {running.pid}, {running.server})" if running else ""
