"""Cluster DNS: follows services, slices and namespaces, and answers on the sockets that it is given.

`ensure` makes the Service `kube-system/kube-dns` at the address that every pod's resolv.conf names, and the slice that
leads from there to where this server listens. The server may so be anywhere: in a process of the control plane with a
socket in the fabric, or on a node.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Sequence
from pathlib import Path

from kubecore.api import errors
from kubecore.api.clock import Clock
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource, core, resource
from kubecore.client import Client, Informer
from kubecore.proxy.dns.forward import RESOLV_CONF, Forwarder, resolvers
from kubecore.proxy.dns.records import ClusterRecords
from kubecore.proxy.dns.server import NameServer
from kubecore.proxy.model import SERVICE_NAME, family_of

IDENTITY = "system:kubecore:dns"
"""Needs: services, namespaces and endpointslices list watch; in kube-system services and endpointslices get create update."""

NAMESPACE, NAME = "kube-system", "kube-dns"
SLICE = "kube-dns-kubecore"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "dns.kubecore"
DOMAIN = "cluster.local"
PORT = 53
LABELS = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}


class ClusterDns:
    """`run` serves until cancelled; `ready` returns once it knows all names that there were."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        randomness: random.Random,
        domain: str = DOMAIN,
        servers: Sequence[tuple[str, int]] | None = None,
    ) -> None:
        """`servers`: who is asked about other names; None: those of the host's resolv.conf, none: nobody."""
        self._client = client
        self.records = ClusterRecords(domain, now=clock.now)
        self._servers = servers
        self._random = randomness

        def informer(of: Resource) -> Informer:
            return Informer(client, of, randomness=random.Random(randomness.random()))

        self._services = informer(core("services"))
        self._namespaces = informer(core("namespaces"))
        self._slices = informer(_slices())
        self._services.add_handler(self.records.service_changed)
        self._namespaces.add_handler(self.records.namespace_changed)
        self._slices.add_handler(self.records.slice_changed)

    async def run(self, udp: socket.socket, tcp: socket.socket) -> None:
        """Both sockets are bound to one address, `tcp` listens. Questions wait in them until all names are known."""
        informers = (self._services, self._namespaces, self._slices)
        tasks = [asyncio.create_task(each.run(), name=f"dns {each.resource.plural}") for each in informers]
        tasks.append(asyncio.create_task(self._serve(udp, tcp), name="dns"))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            udp.close()
            tcp.close()

    async def ready(self) -> None:
        for each in (self._services, self._namespaces, self._slices):
            await each.wait_synced()

    async def _serve(self, udp: socket.socket, tcp: socket.socket) -> None:
        await self.ready()
        servers = self._servers
        if servers is None:
            servers = _of_the_host(RESOLV_CONF, own=udp.getsockname()[0])
        await NameServer(self.records, Forwarder(servers, randomness=self._random)).serve(udp, tcp)

    async def ensure(self, *, cluster_ip: str, address: str, port: int = PORT) -> None:
        """The service at `cluster_ip`, leading to `address`:`port`. What is right already is left alone. Raises
        StatusError, for an address that another service has, say."""
        await _put(self._client, core("services"), service(cluster_ip))
        await _put(self._client, _slices(), endpoint_slice(address, port))


def _slices() -> Resource:
    return resource("discovery.k8s.io", "v1", "endpointslices")


def _of_the_host(path: Path, *, own: str) -> list[tuple[str, int]]:
    try:
        return resolvers(path.read_text(), not_at=(own,))
    except OSError:
        return []


def service(cluster_ip: str) -> Object:
    ports = [
        {"name": "dns", "port": PORT, "protocol": "UDP", "targetPort": PORT},
        {"name": "dns-tcp", "port": PORT, "protocol": "TCP", "targetPort": PORT},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": NAMESPACE, "name": NAME, "labels": LABELS},
        "spec": {"clusterIP": cluster_ip, "ports": ports},
    }


def endpoint_slice(address: str, port: int) -> Object:
    ports = [{"name": "dns", "port": port, "protocol": "UDP"}, {"name": "dns-tcp", "port": port, "protocol": "TCP"}]
    labels = {**LABELS, SERVICE_NAME: NAME, MANAGED_BY: MANAGER}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": NAMESPACE, "name": SLICE, "labels": labels},
        "addressType": family_of(address),
        "ports": ports,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True, "serving": True, "terminating": False}}],
    }


async def _put(client: Client, of: Resource, wanted: Object) -> None:
    """Creates it, or brings what is there to it. An address of another kind cannot be changed: it is made anew."""
    try:
        # Looked for first: to create a service that is there already is refused for its address, which is taken.
        found = await client.get(of, wanted["metadata"]["namespace"], wanted["metadata"]["name"])
    except errors.NotFound:
        await client.create(of, wanted)
        return
    changed = {key: value for key, value in wanted.items() if key != "metadata" and _differs(found.get(key), value)}
    if not changed:
        return
    if "addressType" in changed or (found.get("spec", {}).get("clusterIP") != wanted.get("spec", {}).get("clusterIP")):
        await client.delete(of, wanted["metadata"]["namespace"], wanted["metadata"]["name"])
        await client.create(of, wanted)
        return
    await client.update(
        of, {**found, **wanted, "metadata": {**found["metadata"], "labels": wanted["metadata"]["labels"]}}
    )


def _differs(found: object, wanted: object) -> bool:
    """Whether something wanted is not there; what the server added does not count."""
    if isinstance(wanted, dict):
        return not isinstance(found, dict) or any(_differs(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            not isinstance(found, list)
            or len(found) != len(wanted)
            or any(_differs(one, other) for one, other in zip(found, wanted, strict=True))
        )
    return found != wanted
