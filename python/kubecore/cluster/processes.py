"""Parts as processes: this one starts `kubecore apiserver`, `controllers`, `scheduler` and `nodes`, and again whichever ends.

Each has a kubeconfig of its own with its own certificate under DATA/kubeconfigs; they meet only at the API server's
port. This process holds no state: killing a part loses nothing that was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from kubecore.apiserver.access import kubeconfig
from kubecore.apiserver.access.certificates import Certificates
from kubecore.client.kubeconfig import load
from kubecore.cluster.apiserver import PKI_DIRECTORY, first_service_address, free_port, reachable
from kubecore.cluster.identities import RemoteIdentities
from kubecore.cluster.machines.announcer import IDENTITY as FABRIC_IDENTITY
from kubecore.cluster.machines.site import Site
from kubecore.cluster.options import ClusterOptions
from kubecore.proxy.dns import IDENTITY as DNS_IDENTITY

READY_SECONDS = 30.0
STOP_SECONDS = 30.0
RESTART_SECONDS_FIRST = 0.1
RESTART_SECONDS_MAX = 10.0
"""A part that ends is started again after a pause that doubles from the first to the second while it keeps ending soon."""

PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    # part: (user, groups) of its certificate
    "controllers": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "nodes": ("system:kubecore:node-simulator", ()),
}

SITE_PARTS: dict[str, tuple[str, tuple[str, ...]]] = {"fabric": (FABRIC_IDENTITY, ()), "dns": (DNS_IDENTITY, ())}
"""What this process itself does for real nodes: routes between them, cluster DNS."""

PR_SET_PDEATHSIG = 1
"""prctl(2)"""

_prctl = ctypes.CDLL(None).prctl
"""Looked up here: between fork and exec nothing may be loaded."""

log = logging.getLogger(__name__)


class PartFailed(Exception):
    """A part did not become ready; the message is its own."""


class Processes:
    """A cluster whose parts are processes. `start`, then `stop`, each once. Needs a data directory."""

    def __init__(self, options: ClusterOptions) -> None:
        if options.data_dir is None:
            raise ValueError("parts as processes need a data directory")
        self._directory = options.data_dir
        if options.port == 0:
            # The API server must come back at the same address after it was killed.
            options = replace(options, port=free_port(options.bind_address))
        self.site = Site(options) if options.runtime == "process" else None
        self._identities: dict[str, RemoteIdentities] = {}
        self.options = options
        self._tasks: list[asyncio.Task[None]] = []
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._ready: dict[str, asyncio.Event] = {name: asyncio.Event() for name in ("apiserver", *PARTS)}
        self._failures: dict[str, str] = {}
        self._stopping = False
        self._merged = False
        """Whether the user's kubeconfig names this cluster."""

    @property
    def server(self) -> str:
        return f"https://{reachable(self.options.bind_address)}:{self.options.port}"

    def pid(self, part: str) -> int:
        """Of the part's present process."""
        return self._children[part].pid

    async def start(self) -> None:
        """Returns once every part says that it is ready. Raises PartFailed if one does not get there, OSError if a node
        does not. What was begun before a failure is ended."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        if self.site is not None:
            await asyncio.to_thread(self.site.open)
            self.options = self.site.options
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificates = Certificates(
            self._directory / PKI_DIRECTORY,
            bind_address=self.options.bind_address,
            service_ip=first_service_address(self.options.service_cidr),
        )
        self._write_kubeconfigs(certificates)
        server, *loops = self._wanted()
        # The loops need the server, but not one another.
        for together in ([server], loops):
            for name in together:
                self._tasks.append(asyncio.create_task(self._keep_running(name), name=name))
            for name in together:
                await self._wait_ready(name)
        if self.site is not None:
            for part, (user, _) in SITE_PARTS.items():
                self._identities[user] = RemoteIdentities(load(self._kubeconfig(part)), user_agent=f"kubecore-{part}")
            await self.site.start(
                certificates,
                lambda identity: self._identities[identity].transport(identity),
                server=self.server,
            )
        # Only now: a cluster that runs at this port already keeps its entries.
        self._write_kubeconfig(certificates)

    async def _wait_ready(self, name: str) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._ready[name].wait()
        except TimeoutError:
            self._failures[name] = f"was not ready within {READY_SECONDS:g} s"
        if name in self._failures:
            raise PartFailed(f"{name}: {self._failures[name]}")

    def _wanted(self) -> list[str]:
        """The parts that the options ask for, the API server first."""
        options = self.options
        simulated = options.nodes > 0 and options.runtime == "simulated"
        asked = {"controllers": bool(options.controllers), "scheduler": options.scheduler, "nodes": simulated}
        return ["apiserver", *(name for name in PARTS if asked[name])]

    async def stop(self) -> None:
        """The API server last: the others still write what they have to say."""
        if self.site is not None:
            await self.site.stop()
        for identities in self._identities.values():
            await identities.close()
        self._stopping = True
        for name in (*reversed(PARTS), "apiserver"):
            child = self._children.get(name)
            if child is None or child.returncode is not None:
                continue
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await child.wait()
            except TimeoutError:
                log.warning("%s did not end in time and is killed", name)
                child.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.site is not None:
            await asyncio.to_thread(self.site.close)
        if self._merged:
            kubeconfig.remove(kubeconfig.user_path(), server=self.server)

    def _write_kubeconfigs(self, certificates: Certificates) -> None:
        for name, (user, groups) in (PARTS | (SITE_PARTS if self.site else {})).items():
            pair = certificates.client(user, groups)
            kubeconfig.write(
                self._kubeconfig(name), kubeconfig.document(server=self.server, ca_pem=certificates.ca_pem, client=pair)
            )

    def _write_kubeconfig(self, certificates: Certificates) -> None:
        """The administrator's."""
        admin = kubeconfig.document(server=self.server, ca_pem=certificates.ca_pem, client=certificates.admin)
        if self.options.kubeconfig is not None:
            kubeconfig.write(self.options.kubeconfig, admin)
        elif self.options.merge_kubeconfig:
            kubeconfig.merge(kubeconfig.user_path(), admin)
            self._merged = True

    def _kubeconfig(self, part: str) -> Path:
        return self._directory / "kubeconfigs" / f"{part}.conf"

    async def _keep_running(self, name: str) -> None:
        pause_seconds = RESTART_SECONDS_FIRST
        loop = asyncio.get_running_loop()
        while not self._stopping:
            started = loop.time()
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "kubecore_cli", *self._arguments(name)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                preexec_fn=_detach,
            )
            self._children[name] = child
            try:
                await self._read(name, child)
                code = await child.wait()
            finally:
                if child.returncode is None:
                    child.kill()
            if self._stopping:
                return
            if not self._ready[name].is_set():
                # It cannot start at all: whoever starts the cluster is told, instead of trying for ever.
                self._failures.setdefault(name, f"ended with {code}")
                self._ready[name].set()
                return
            log.warning("%s ended with %s and is started again", name, code)
            if loop.time() - started > RESTART_SECONDS_MAX:
                pause_seconds = RESTART_SECONDS_FIRST
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, RESTART_SECONDS_MAX)

    async def _read(self, name: str, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None, "asked for above"
        async for line in child.stdout:
            text = line.decode(errors="replace").rstrip()
            if text.startswith("ready"):
                self._ready[name].set()
            elif text.startswith("error: ") and not self._ready[name].is_set():
                self._failures[name] = text.removeprefix("error: ")
            elif text.startswith("error: "):
                log.error("%s: %s", name, text)

    def _arguments(self, name: str) -> list[str]:
        """Upstream's flag names where upstream has them."""
        options = self.options
        if name == "apiserver":
            return apiserver_arguments(options)
        common = [name, f"--kubeconfig={self._kubeconfig(name)}"]
        if name != "nodes":
            # There is one of each: waiting for a killed one's lease to run out would serve nobody.
            common.append("--leader-elect=false")
        if name == "controllers":
            return [
                *common,
                f"--controllers={options.controllers}",
                f"--node-monitor-grace-period={options.node_monitor_grace_seconds}s",
                f"--service-account-private-key-file={self._directory / PKI_DIRECTORY / 'sa.key'}",
                f"--root-ca-file={self._directory / PKI_DIRECTORY / 'ca.crt'}",
                *node_network_arguments(options),
            ]
        if name == "nodes":
            return [
                *common,
                f"--count={options.nodes}",
                f"--node-lease-renew-seconds={options.node_lease_renew_seconds}",
            ]
        return common


def _detach() -> None:
    """In the child, before it becomes the part: a group of its own, since Ctrl-C in a terminal reaches the whole foreground
    group and the API server must end last; and SIGTERM when this process dies, however it dies."""
    os.setpgid(0, 0)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def node_network_arguments(options: ClusterOptions) -> list[str]:
    """What the controllers are told about the network of real nodes."""
    if not options.allocate_node_cidrs:
        return []
    return [
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={options.cluster_cidr}",
        f"--node-cidr-mask-size={options.node_cidr_mask_size}",
        f"--service-cluster-ip-range={options.service_cidr}",
        f"--load-balancer-cidr={options.load_balancer_cidr}",
    ]


def apiserver_arguments(options: ClusterOptions) -> list[str]:
    """The `kubecore apiserver` command line that means these options."""
    ports = options.service_node_port_range
    arguments = [
        "apiserver",
        f"--data-dir={options.data_dir}",
        f"--storage={options.storage}",
        f"--bind-address={options.bind_address}",
        f"--secure-port={options.port}",
        f"--service-cluster-ip-range={options.service_cidr}",
        f"--service-node-port-range={ports.start}-{ports.stop - 1}",
        f"--authorization-mode={options.authorization_mode}",
        f"--anonymous-auth={'true' if options.anonymous_auth else 'false'}",
        f"--default-not-ready-toleration-seconds={options.default_not_ready_toleration_seconds}",
        f"--default-unreachable-toleration-seconds={options.default_unreachable_toleration_seconds}",
    ]
    for flag, value in (
        ("enable-admission-plugins", options.enable_admission_plugins),
        ("disable-admission-plugins", options.disable_admission_plugins),
        ("runtime-config", options.runtime_config),
        ("token-auth-file", str(options.token_auth_file or "")),
        ("network-namespace", str(options.network_namespace or "")),
        ("network-address", options.network_address),
    ):
        if value:
            arguments.append(f"--{flag}={value}")
    return arguments
