"""Names of the cluster, asked over real sockets and read by dnspython: ours are the answers, its is the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.reversename

from kubecore.api.clock import SystemClock
from kubecore.client import Client
from kubecore.proxy.dns import ClusterDns, resolvers
from support.fake_apiserver import FakeServer

Object = dict[str, Any]
PORTS = [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]
SECONDS = 5.0


def service(name: str, **spec: Any) -> Object:
    spec = {"type": "ClusterIP", "clusterIP": "10.96.0.9", "ports": PORTS, **spec}
    if spec["clusterIP"] != "None" and spec["type"] != "ExternalName":
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def endpoint_slice(of: str, *endpoints: Object, name: str = "", family: str = "IPv4") -> Object:
    labels = {"kubernetes.io/service-name": of}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name or of, "namespace": "default", "labels": labels},
        "addressType": family,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def endpoint(ip: str, hostname: str = "", *, ready: bool = True) -> Object:
    return {"addresses": [ip], "conditions": {"ready": ready}, **({"hostname": hostname} if hostname else {})}


@dataclass
class World:
    server: FakeServer
    dns: ClusterDns
    port: int

    async def ask(self, name: str, kind: str = "A", *, tcp: bool = False, **how: Any) -> dns.message.Message:
        query = dns.message.make_query(name, kind, **how)
        send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        return await send(query, "127.0.0.1", port=self.port, timeout=SECONDS)

    async def data(self, name: str, kind: str = "A") -> set[str]:
        """The answers' data; of a failure, its name."""
        said = await self.ask(name, kind)
        if said.rcode() != dns.rcode.NOERROR:
            return {dns.rcode.to_text(said.rcode())}
        return {item.to_text() for answer in said.answer for item in answer}


@contextlib.asynccontextmanager
async def world(*objects: Object, servers: tuple[tuple[str, int], ...] = ()) -> AsyncIterator[World]:
    server = FakeServer()
    for name in ("default", "kube-system"):
        server.seed("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for each in objects:
        server.seed("services" if each["kind"] == "Service" else "endpointslices", each)
    made = ClusterDns(Client(server.transport()), clock=SystemClock(), randomness=random.Random(1), servers=servers)
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(tcp.getsockname())
    port = tcp.getsockname()[1]
    task = asyncio.create_task(made.run(udp, tcp))
    try:
        await made.ready()
        yield World(server, made, port)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_service_has_its_addresses_its_ports_and_its_reverse_name() -> None:
    both = service("web", clusterIPs=["10.96.0.9", "fd96::9"])
    async with world(both) as here:
        assert await here.data("web.default.svc.cluster.local") == {"10.96.0.9"}
        assert await here.data("WEB.Default.svc.Cluster.Local", "AAAA") == {"fd96::9"}
        srv = "0 100 80 web.default.svc.cluster.local."
        assert await here.data("_http._tcp.web.default.svc.cluster.local", "SRV") == {srv}
        assert await here.data("_http._udp.web.default.svc.cluster.local", "SRV") == {"NXDOMAIN"}
        for address in ("10.96.0.9", "fd96::9"):
            reverse = dns.reversename.from_address(address).to_text()
            assert await here.data(reverse, "PTR") == {"web.default.svc.cluster.local."}


async def test_a_headless_service_has_the_addresses_of_its_ready_endpoints() -> None:
    slices = endpoint_slice(
        "db", endpoint("10.244.0.5", "db-0"), endpoint("10.244.0.6"), endpoint("10.244.0.7", "db-2", ready=False)
    )
    async with world(service("db", clusterIP="None"), slices) as here:
        name = "db.default.svc.cluster.local"
        assert await here.data(name) == {"10.244.0.5", "10.244.0.6"}
        assert await here.data(f"db-0.{name}") == {"10.244.0.5"}
        assert await here.data(f"10-244-0-6.{name}") == {"10.244.0.6"}
        assert await here.data(f"db-2.{name}") == {"NXDOMAIN"}
        srv = {f"0 100 8080 db-0.{name}.", f"0 100 8080 10-244-0-6.{name}."}
        assert await here.data(f"_http._tcp.{name}", "SRV") == srv
        reverse = dns.reversename.from_address("10.244.0.5").to_text()
        assert await here.data(reverse, "PTR") == {f"db-0.{name}."}


async def test_a_pods_address_is_in_its_name() -> None:
    async with world() as here:
        assert await here.data("10-244-0-5.default.pod.cluster.local") == {"10.244.0.5"}
        assert await here.data("fd44--5.default.pod.cluster.local", "AAAA") == {"fd44::5"}
        assert await here.data("10-244-0-5.nowhere.pod.cluster.local") == {"NXDOMAIN"}
        assert await here.data("10-244-0-500.default.pod.cluster.local") == {"NXDOMAIN"}


async def test_an_external_name_is_an_alias_and_is_followed() -> None:
    external = service("out", type="ExternalName", clusterIP="", externalName="web.default.svc.cluster.local")
    async with world(external, service("web")) as here:
        said = await here.data("out.default.svc.cluster.local")
        assert said == {"web.default.svc.cluster.local.", "10.96.0.9"}
        assert await here.data("out.default.svc.cluster.local", "CNAME") == {"web.default.svc.cluster.local."}


async def test_what_is_not_there_is_told_with_the_zones_authority() -> None:
    async with world(service("web")) as here:
        missing = await here.ask("nothing.default.svc.cluster.local")
        assert missing.rcode() == dns.rcode.NXDOMAIN
        assert missing.authority[0].rdtype == dns.rdatatype.SOA
        assert missing.flags & dns.flags.AA
        empty = await here.ask("web.default.svc.cluster.local", "AAAA")
        assert (empty.rcode(), empty.answer) == (dns.rcode.NOERROR, [])
        assert await here.data("default.svc.cluster.local") == set()
        assert await here.data("nowhere.svc.cluster.local") == {"NXDOMAIN"}
        assert await here.data("dns-version.cluster.local", "TXT") == {'"1.1.0"'}


async def test_names_follow_their_services() -> None:
    async with world(service("web")) as here:
        heard = asyncio.Event()
        here.dns._services.add_handler(lambda old, new: heard.set())
        for change, expected in (({"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}, "10.96.0.77"),):
            heard.clear()
            here.server.seed("services", service("web", **change))
            await heard.wait()
            assert await here.data("web.default.svc.cluster.local") == {expected}
        old = dns.reversename.from_address("10.96.0.9").to_text()
        assert await here.data(old, "PTR") == {"REFUSED"}


async def test_an_answer_too_long_for_udp_is_cut_and_comes_whole_by_tcp() -> None:
    many = [endpoint(f"10.244.{number // 250}.{number % 250 + 1}") for number in range(300)]
    async with world(service("db", clusterIP="None"), endpoint_slice("db", *many)) as here:
        name = "db.default.svc.cluster.local"
        cut = await here.ask(name)
        assert cut.flags & dns.flags.TC
        assert len(cut.to_wire()) <= 512
        wide = await here.ask(name, use_edns=0, payload=4096)
        assert wide.flags & dns.flags.TC
        assert 512 < len(wide.to_wire()) <= 1232
        whole = await here.ask(name, tcp=True)
        assert len(whole.answer[0]) == 300


async def test_messages_that_are_no_questions_are_answered_or_left_alone() -> None:
    async with world(service("web")) as here:
        newer = await here.ask("web.default.svc.cluster.local", use_edns=1)
        assert newer.rcode() == dns.rcode.BADVERS
        update = struct.pack("!HHHHHH", 7, 5 << 11, 0, 0, 0, 0)
        garbled = struct.pack("!HHHHHH", 8, 0x0100, 1, 0, 0, 0) + b"\x3fshort"
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.setblocking(False)
        client.connect(("127.0.0.1", here.port))
        loop = asyncio.get_running_loop()
        codes = []
        for message in (b"x", update, garbled):
            await loop.sock_sendall(client, message)
            if message != b"x":  # too short to be answered at all
                codes.append((await loop.sock_recv(client, 512))[3] & 0xF)
        client.close()
        assert codes == [dns.rcode.NOTIMP, dns.rcode.FORMERR]
        assert await here.data("web.default.svc.cluster.local") == {"10.96.0.9"}


class Elsewhere(asyncio.DatagramProtocol):
    """Somebody else's name server: one address for every name."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        rrset = dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.80")
        answer.answer.append(rrset)
        # Somebody who guesses: another number, then another question. Neither counts.
        forged = dns.message.make_response(query)
        forged.id = (query.id + 1) % 65536
        self.transport.sendto(forged.to_wire(), addr)
        self.transport.sendto(answer.to_wire(), addr)


async def test_other_names_are_asked_of_the_hosts_resolvers() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Elsewhere, local_addr=("127.0.0.1", 0))
    upstream = transport.get_extra_info("sockname")
    external = service("out", type="ExternalName", clusterIP="", externalName="www.example.com")
    try:
        async with world(external, servers=(upstream,)) as here:
            assert await here.data("www.example.org") == {"192.0.2.80"}
            assert await here.data("out.default.svc.cluster.local") == {"www.example.com.", "192.0.2.80"}
    finally:
        transport.close()


async def test_without_resolvers_other_names_are_refused() -> None:
    async with world() as here:
        assert await here.data("www.example.org") == {"REFUSED"}


def test_resolvers_are_read_and_never_ourselves() -> None:
    text = "search a\nnameserver 192.0.2.1\nnameserver 127.0.0.1\nnameserver fe80::1%eth0\n# nameserver 1.1.1.1\n"
    assert resolvers(text, not_at=("127.0.0.1",)) == [("192.0.2.1", 53), ("fe80::1", 53)]


async def test_the_service_leads_to_where_the_server_listens() -> None:
    async with world() as here:
        for address, port in (("198.18.0.1", 53), ("198.18.0.1", 53), ("198.18.0.7", 5353)):
            await here.dns.ensure(cluster_ip="10.96.0.10", address=address, port=port)
            made = here.server.find("services", "kube-system", "kube-dns")
            assert made is not None
            assert made["spec"]["clusterIP"] == "10.96.0.10"
            [slices] = here.server.all("endpointslices", "kube-system")
            assert slices["endpoints"][0]["addresses"] == [address]
            assert {each["port"] for each in slices["ports"]} == {port}
            assert slices["metadata"]["labels"]["kubernetes.io/service-name"] == "kube-dns"
