"""Services, slices and nodes for tests of the proxy, and a small network in which to try them with real packets.

```
outside 198.18.0.2 ──┐                       ┌── pod-a 10.244.0.5
other   198.18.0.12 ─┴─ fabric ── node .11 ──┴── pod-b 10.244.0.6        (other also is 10.244.1.5, a pod on another node)
```
Each also has an IPv6 address: fd18::N among hosts, fd44::N for pods.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kubecore.api.clock import SystemClock
from kubecore.client import Client
from kubecore.proxy import Backend, Conntrack, NftablesBackend, NftablesOptions, Pace, ServiceProxy
from support.fake_apiserver import FakeServer
from support.netns import address, cable, inside, ip, namespaces, route

Object = dict[str, Any]

NODE, OTHER_NODE = "node-0", "node-1"
NODE_IP, NODE_IP6 = "198.18.0.11", "fd18::11"
OUTSIDE_IP = "198.18.0.2"
POD_A, POD_B, POD_FAR = "10.244.0.5", "10.244.0.6", "10.244.1.5"
POD_A6, POD_B6 = "fd44::5", "fd44::6"
LOAD_BALANCER_IP = "198.51.100.7"
SERVICE_CIDR, SERVICE_CIDR6 = "10.96.0.0/16", "fd96::/108"
ANSWER_SECONDS = 5.0
SILENCE_SECONDS = 0.4


def service(name: str = "web", **spec: Any) -> Object:
    spec.setdefault("clusterIP", "10.96.0.1")
    spec.setdefault("ports", [{"port": 80}])
    spec["ports"] = [{"protocol": "TCP", **port} for port in spec["ports"]]
    status = {"loadBalancer": {"ingress": spec.pop("ingress", [])}}
    metadata = {"name": name, "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"type": "ClusterIP", "clusterIPs": [spec["clusterIP"]], **spec},
        "status": status,
    }


def endpoint(ip: str, node: str = NODE, **more: Any) -> Object:
    conditions = {"ready": True, "serving": True, "terminating": False, **more.pop("conditions", {})}
    return {"addresses": [ip], "nodeName": node, "conditions": conditions, **more}


def endpoint_slice(*endpoints: Object, of: str = "web", name: str = "", port: int = 8080, **port_more: Any) -> Object:
    family = "IPv6" if endpoints and ":" in endpoints[0]["addresses"][0] else "IPv4"
    labels = {"kubernetes.io/service-name": of}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name or f"{of}-{family.lower()}", "namespace": "default", "labels": labels},
        "addressType": family,
        "ports": [{"name": "", "port": port, "protocol": "TCP", **port_more}],
        "endpoints": list(endpoints),
    }


def node(name: str = NODE, *addresses: str, **labels: str) -> Object:
    listed = [{"type": "InternalIP", "address": each} for each in addresses or (NODE_IP, NODE_IP6)]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"addresses": listed},
    }


def service_cidr() -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [SERVICE_CIDR, SERVICE_CIDR6]},
    }


# ── packets ──


@dataclass(frozen=True, slots=True)
class Answer:
    """Who answered, and as whom they saw the client."""

    name: str
    client: str


class Server(threading.Thread):
    """Answers TCP or UDP in a namespace with its name and the client's address."""

    def __init__(self, namespace: str, name: str, host: str, port: int, kind: int) -> None:
        super().__init__(daemon=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with inside(namespace):
            self.socket = socket.socket(family, kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self._name = name
        if kind == socket.SOCK_STREAM:
            self.socket.listen(1024)

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                if self.socket.type == socket.SOCK_STREAM:
                    connection, client = self.socket.accept()
                    with connection:
                        connection.sendall(f"{self._name} {client[0]}".encode())
                else:
                    _, client = self.socket.recvfrom(100)
                    if client is None:  # closed
                        return
                    self.socket.sendto(f"{self._name} {client[0]}".encode(), client)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def ask(namespace: str, host: str, port: int, *, source: str = "", seconds: float = ANSWER_SECONDS) -> Answer:
    """Raises ConnectionRefusedError, TimeoutError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with inside(namespace):
        client = socket.socket(family, socket.SOCK_STREAM)
    with client:
        client.settimeout(seconds)
        if source:
            client.bind((source, 0))
        client.connect((host, port))
        received = b""
        while chunk := client.recv(100):
            received += chunk
    name, _, seen = received.decode().partition(" ")
    return Answer(name, seen)


class UdpClient:
    """One flow: each question comes from the same port."""

    def __init__(self, namespace: str, host: str, port: int) -> None:
        with inside(namespace):
            self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(ANSWER_SECONDS)
        self.socket.connect((host, port))

    def ask(self) -> str:
        self.socket.send(b"?")
        return self.socket.recv(100).decode().partition(" ")[0]


class Network:
    """The namespaces above. `close` ends the servers."""

    def __init__(self, names: list[str]) -> None:
        self.fabric, self.node, self.outside, self.other, self.pod_a, self.pod_b = names
        self.servers: list[Server] = []
        self._build()

    def _build(self) -> None:
        ip("link", "add", "fabric", "type", "bridge", inside_of=self.fabric)
        ip("link", "set", "fabric", "up", inside_of=self.fabric)
        for number, (host, at) in enumerate(((self.node, "11"), (self.outside, "2"), (self.other, "12"))):
            self._plug(self.fabric, f"p{number}", "fabric", host)
            address(host, "eth0", f"198.18.0.{at}/24")
            address(host, "eth0", f"fd18::{at}/64")
        ip("link", "add", "pods", "type", "bridge", inside_of=self.node)
        ip("link", "set", "pods", "up", inside_of=self.node)
        address(self.node, "pods", "10.244.0.1/24")
        address(self.node, "pods", "fd44::1/64")
        for number, (pod, at) in enumerate(((self.pod_a, "5"), (self.pod_b, "6"))):
            self._plug(self.node, f"v{number}", "pods", pod)
            address(pod, "eth0", f"10.244.0.{at}/24")
            address(pod, "eth0", f"fd44::{at}/64")
            route(pod, "default", "10.244.0.1")
            route(pod, "default", "fd44::1")
        address(self.other, "lo", f"{POD_FAR}/32")
        route(self.node, "10.244.1.0/24", "198.18.0.12")
        route(self.other, "10.244.0.0/24", NODE_IP)
        route(self.outside, "198.51.100.0/24", NODE_IP)
        route(self.outside, SERVICE_CIDR, NODE_IP)
        # What the node itself sends to a service must have a way out before it is translated.
        route(self.node, "default", "198.18.0.2")
        ip("-6", "route", "add", "default", "via", "fd18::2", inside_of=self.node)

    def _plug(self, hub: str, port: str, bridge: str, host: str) -> None:
        cable(hub, port, host, "eth0")
        ip("link", "set", port, "master", bridge, inside_of=hub)
        # Where the bridge asks the packet filter (br_netfilter), a pod that reaches itself leaves by the port it came in by.
        ip("link", "set", port, "type", "bridge_slave", "hairpin", "on", inside_of=hub)

    def serve(self, namespace: str, name: str, host: str, port: int = 8080, kind: int = socket.SOCK_STREAM) -> Server:
        server = Server(namespace, name, host, port, kind)
        server.start()
        self.servers.append(server)
        return server

    def serve_pods(self, kind: int = socket.SOCK_STREAM) -> None:
        self.serve(self.pod_a, "a", POD_A, kind=kind)
        self.serve(self.pod_b, "b", POD_B, kind=kind)
        self.serve(self.other, "far", POD_FAR, kind=kind)

    def close(self) -> None:
        for server in self.servers:
            server.close()


@contextlib.contextmanager
def network() -> Iterator[Network]:
    with namespaces("fabric", "node", "outside", "other", "a", "b") as names:
        made = Network(names)
        try:
            yield made
        finally:
            made.close()


class MovedClock(SystemClock):
    """The machine's clocks, put forward."""

    ahead_seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_seconds


class ProxyWorld:
    """A fake API server, a proxy that follows it, and packets from anywhere."""

    def __init__(self, server: FakeServer, proxy: ServiceProxy, net: Network, clock: MovedClock) -> None:
        self.server, self.proxy, self.net, self.clock = server, proxy, net, clock
        self._arrived = asyncio.Event()
        self._stores = (proxy._services, proxy._slices, proxy._node)
        for each in self._stores:
            each.add_handler(lambda old, new: self._arrived.set())

    async def put(self, *objects: Object) -> None:
        """And waits until the rules say so."""
        plurals = {"Service": "services", "EndpointSlice": "endpointslices", "Node": "nodes"}
        versions = [self.server.seed(plurals[each["kind"]], each)["metadata"]["resourceVersion"] for each in objects]
        await self.settled(lambda: all(self._seen(version) for version in versions))

    async def delete(self, plural: str, name: str) -> None:
        of = "services" if plural == "services" else "endpointslices"
        api = "v1" if plural == "services" else "discovery.k8s.io/v1"
        key = (api, of, "default", name)
        self.server._remove(key, self.server.find(plural, "default", name) or {})
        store = self.proxy._services if plural == "services" else self.proxy._slices
        await self.settled(lambda: store.get(f"default/{name}") is None)

    def _seen(self, version: str) -> bool:
        return any(each["metadata"]["resourceVersion"] == version for store in self._stores for each in store.list())

    async def settled(self, seen: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not seen():
                self._arrived.clear()
                await self._arrived.wait()
            await self.proxy.settled()

    async def ask(self, namespace: str, host: str, port: int = 80, **how: Any) -> Answer:
        return await asyncio.to_thread(ask, namespace, host, port, **how)

    async def run(self, *command: str) -> str:
        """In the node."""
        done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        told, _ = await done.communicate()
        assert done.returncode == 0
        return told.decode()

    async def status(self, host: str, port: int) -> int:
        """Of an HTTP answer, asked from outside."""

        def fetch() -> int:
            with inside(self.net.outside):
                client = socket.create_connection((host, port), ANSWER_SECONDS)
            with client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return int(client.recv(100).split()[1])

        return await asyncio.to_thread(fetch)

    async def swept(self) -> None:
        """Until what the last change left behind is removed, too: a second, on the proxy's clock."""
        self.clock.ahead_seconds += 60
        self.proxy._wake()
        await self.settled(lambda: True)

    async def later(self, work: Callable[[], str]) -> str:
        """Something that blocks: the proxy goes on meanwhile."""
        return await asyncio.to_thread(work)

    async def names(self, namespace: str, host: str, port: int = 80, *, times: int = 24) -> set[str]:
        """Who answers, asked often."""
        return {(await self.ask(namespace, host, port)).name for _ in range(times)}


@contextlib.asynccontextmanager
async def proxy_world(
    options: NftablesOptions | None = None, *, backend: Backend | None = None
) -> AsyncIterator[ProxyWorld]:
    options = options or NftablesOptions(detect="ClusterCIDR", cluster_cidrs=("10.244.0.0/16", "fd44::/64"))
    with network() as net, inside(net.node):
        server = FakeServer()
        server.seed("nodes", node())
        server.seed("servicecidrs", service_cidr())
        clock = MovedClock()
        proxy = ServiceProxy(
            Client(server.transport()),
            NODE,
            backend or NftablesBackend(options, clock=clock),
            clock=clock,
            randomness=random.Random(1),
            pace=Pace(min_sync_seconds=0),
            conntrack=Conntrack(),
        )
        task = asyncio.create_task(proxy.run())
        try:
            async with asyncio.timeout(20):
                await asyncio.wait([task, ready := asyncio.create_task(proxy.ready())], return_when="FIRST_COMPLETED")
                if task.done():
                    task.result()
                await ready
            yield ProxyWorld(server, proxy, net, clock)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
