"""All the machines of one cluster, and what lies between them: for the composition root, whichever shape its parts have.

In order: `open` (name, fabric, outside), then the API server starts with `options`, then `start` (machines, routes), and at the end `stop`
(machines) and `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from kubecore.api.clock import SystemClock
from kubecore.apiserver.access.certificates import Certificates
from kubecore.client.client import Client
from kubecore.client.transport import Transport
from kubecore.cluster.machines import claim, fabric, preconditions
from kubecore.cluster.machines.addresses import API_PORT, Addresses
from kubecore.cluster.machines.announcer import IDENTITY, Announcer
from kubecore.cluster.machines.claim import Claim
from kubecore.cluster.machines.control import SERVER, SOCKET, Control
from kubecore.cluster.machines.fabric import Fabric
from kubecore.cluster.machines.machine import Machine, MachineFailure
from kubecore.cluster.machines.namespaces import Inside
from kubecore.cluster.machines.units import CLUSTER_DOMAIN, Node
from kubecore.cluster.options import ClusterOptions
from kubecore.kubelet.runtimes.process.images import read_table
from kubecore.proxy.dns import IDENTITY as DNS_IDENTITY
from kubecore.proxy.dns import ClusterDns

LOAD_BALANCER_CIDR = "198.51.100.0/24"
NODES_DIRECTORY = "nodes"
DNS_PORT = 53
DNS_SERVICE = 10
"""Cluster DNS has the tenth address of the service network, as everywhere."""
CLUSTER_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
READY_SECONDS = 60.0
RESTART_SECONDS = 1.0

log = logging.getLogger(__name__)


class Site:
    """`open`, `start`, `stop`, `close`, each once, on one event loop."""

    def __init__(self, options: ClusterOptions) -> None:
        """Raises ValueError: what this box lacks (`preconditions`), or networks that do not fit together."""
        preconditions.check()
        if not CLUSTER_NAME.fullmatch(options.cluster_name):
            raise ValueError(f"--cluster-name {options.cluster_name}: expected letters, digits and dashes, at most 32")
        options = replace(options, load_balancer_cidr=options.load_balancer_cidr or LOAD_BALANCER_CIDR)
        self.addresses = Addresses(options.node_cidr, options.outside_cidr)
        self.addresses.check(
            options.nodes,
            {
                "--cluster-cidr": options.cluster_cidr,
                "--service-cidr": options.service_cidr,
                "--load-balancer-cidr": options.load_balancer_cidr,
            },
        )
        if options.images is not None:
            # Every node's runtime would refuse it, one after the other.
            read_table(str(options.images))
        self._given = options
        self._claim: Claim | None = None
        self._fabric: Fabric | None = None
        self._ends = contextlib.ExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.machines: dict[str, Machine] = {}

    def description(self) -> list[str]:
        """For a person: where the nodes are, and how to come to them."""
        nodes = ", ".join(f"{name} {machine.node.ip}" for name, machine in self.machines.items())
        first = self.addresses.node(0).ip
        outside = self.fabric.outside_namespace
        return [f"nodes: {nodes}", f"from outside: ip netns exec {outside} curl http://{first}:NODEPORT/"]

    # ── before the API server ──

    def open(self) -> None:
        """The cluster's name, its fabric and outside; sweeps what dead clusters left. Raises OSError."""
        self._claim = claim.claim(self._given.cluster_name)
        self._ends.callback(self._claim.release)
        self._fabric = Fabric(self._claim.name, self.addresses)
        self._ends.callback(self._fabric.close)
        self._fabric.create()

    @property
    def name(self) -> str:
        return self._held.name

    @property
    def fabric(self) -> Fabric:
        assert self._fabric is not None, "opened"
        return self._fabric

    @property
    def outside(self) -> Inside:
        """Where those are who come from elsewhere."""
        return self.fabric.outside

    @property
    def options(self) -> ClusterOptions:
        """The cluster's, with the API server's place in the fabric."""
        return replace(
            self._given,
            allocate_node_cidrs=True,
            network_namespace=self.fabric.inside.path,
            network_address=self.addresses.fabric.ip,
        )

    @property
    def server(self) -> str:
        """The API server as nodes reach it."""
        return f"https://{self.addresses.fabric.ip}:{API_PORT}"

    # ── once the API server answers ──

    async def start(
        self, certificates: Certificates, transport_for: Callable[[str], Transport], *, server: str
    ) -> None:
        """Returns when every node is Ready. `server`: the API server as people reach it. Raises MachineFailure."""
        state = self._state()
        for index in range(self._given.nodes):
            name = f"node-{index}"
            node = self._node(name, index, state / name)
            self.machines[name] = Machine(node, index, fabric=self.fabric, certificates=certificates)
        announcer = self._announcer(Client(transport_for(IDENTITY)))
        self._keep_running("announcer", announcer.run)
        await self._start_dns(Client(transport_for(DNS_IDENTITY)))
        control = Control(self.machines)
        (self._held.directory / SERVER).write_text(server)
        await control.listen(self._held.directory / SOCKET)
        self._ends.callback(control.close)
        await asyncio.gather(*(machine.start() for machine in self.machines.values()))
        await self._wait_ready(announcer)

    async def stop(self) -> None:
        """Ends the machines. Idempotent, also when `start` failed half way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await asyncio.gather(*(machine.stop() for machine in self.machines.values()))

    def close(self) -> None:
        """Nothing of the cluster is left on the box but its data. Idempotent."""
        self._ends.close()

    # ── how ──

    @property
    def _held(self) -> Claim:
        assert self._claim is not None, "opened"
        return self._claim

    def _state(self) -> Path:
        """Where the nodes' disks are."""
        if self._given.data_dir is not None:
            return self._given.data_dir / NODES_DIRECTORY
        disks = self._held.disks
        disks.mkdir(mode=0o700, parents=True)
        return disks

    def _node(self, name: str, index: int, state: Path) -> Node:
        options = self._given
        return Node(
            name=name,
            ip=self.addresses.node(index).ip,
            cgroup=self._held.cgroup(name),
            state=state.resolve(),
            sockets=self._held.directory / name,
            server=self.server,
            cluster_dns=self._cluster_dns,
            cluster_cidr=options.cluster_cidr,
            lease_renew_seconds=options.node_lease_renew_seconds,
            hidden=((options.data_dir or state.parent).resolve(),),
            images=options.images.resolve() if options.images is not None else None,
            verbose=options.verbose,
        )

    def _announcer(self, client: Client) -> Announcer:
        options = self._given
        own = [options.node_cidr, options.outside_cidr, options.cluster_cidr, *options.service_cidr.split(",")]
        return Announcer(
            client,
            own=[each.strip() for each in own],
            # One service's address that the kernel refuses is not to cost the others theirs.
            apply=lambda lines: fabric.configure(self.fabric.namespace, lines, all_of_them=True),
            randomness=random.Random(options.seed),
        )

    async def _start_dns(self, client: Client) -> None:
        """Cluster DNS: a Service like any other, whose endpoint is a socket in the fabric."""
        address, randomness = self.addresses.fabric.ip, random.Random(self._given.seed)
        dns = ClusterDns(client, clock=SystemClock(), randomness=randomness, domain=CLUSTER_DOMAIN)
        await dns.ensure(cluster_ip=self._cluster_dns, address=address)

        async def serve() -> None:
            inside = self.fabric.inside
            await dns.run(inside.datagrams(address, DNS_PORT), inside.listen(address, DNS_PORT))

        self._keep_running("dns", serve)

    @property
    def _cluster_dns(self) -> str:
        return str(ipaddress.ip_network(self._given.service_cidr.split(",")[0].strip())[DNS_SERVICE])

    def _keep_running(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        async def keep() -> None:
            while True:
                try:
                    await work()
                except Exception:  # whatever it is, the nodes go on, and it is logged here, once
                    log.exception("%s failed and is started again", name)
                await asyncio.sleep(RESTART_SECONDS)

        self._tasks.append(asyncio.create_task(keep(), name=name))

    async def _wait_ready(self, announcer: Announcer) -> None:
        ready = asyncio.Event()

        def look(old: object, new: object) -> None:
            if not any(announcer.unready(name) for name in self.machines):
                ready.set()

        announcer.nodes.add_handler(look)
        look(None, None)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await ready.wait()
        except TimeoutError:
            late = {name: why for name in self.machines if (why := announcer.unready(name))}
            told = [f"{name} {why}, see {self.machines[name].node.log('kubelet').parent}" for name, why in late.items()]
            raise MachineFailure(f"not ready within {READY_SECONDS:g} s: {'; '.join(told)}") from None
