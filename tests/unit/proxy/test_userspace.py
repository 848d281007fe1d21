"""The backend for nodes without nftables, judged by packets from the same places."""

from __future__ import annotations

import random
import socket

import pytest

from kubecore.proxy import UserspaceBackend
from support.services import (
    LOAD_BALANCER_IP,
    NODE_IP,
    OTHER_NODE,
    POD_A,
    POD_B,
    POD_FAR,
    SILENCE_SECONDS,
    UdpClient,
    endpoint,
    endpoint_slice,
    proxy_world,
    service,
)

CLUSTER_IP = "10.96.0.1"
NODE_PORT = [{"port": 80, "nodePort": 30001}]


def backend(*, own_addresses: bool = True) -> UserspaceBackend:
    return UserspaceBackend(randomness=random.Random(1), own_addresses=own_addresses)


async def test_addresses_and_node_ports_lead_to_endpoints() -> None:
    async with proxy_world(backend=backend()) as here:
        here.net.serve_pods()
        spec = {"type": "LoadBalancer", "ports": NODE_PORT, "ingress": [{"ip": LOAD_BALANCER_IP}]}
        endpoints = endpoint_slice(endpoint(POD_A), endpoint(POD_B), endpoint(POD_FAR, OTHER_NODE))
        await here.put(service(**spec), endpoints)
        everybody = {"a", "b", "far"}
        assert await here.names(here.net.pod_a, CLUSTER_IP) == everybody
        assert await here.names(here.net.node, CLUSTER_IP) == everybody
        assert await here.names(here.net.outside, NODE_IP, 30001) == everybody
        assert await here.names(here.net.outside, LOAD_BALANCER_IP) == everybody
        await here.put(service(**spec, loadBalancerSourceRanges=["192.0.2.0/24"]))
        with pytest.raises(OSError):
            await here.ask(here.net.outside, LOAD_BALANCER_IP)
        assert await here.names(here.net.outside, NODE_IP, 30001) == everybody


async def test_endpoints_come_and_go() -> None:
    async with proxy_world(backend=backend()) as here:
        here.net.serve_pods()
        await here.put(service(type="NodePort", ports=NODE_PORT), endpoint_slice(endpoint(POD_A)))
        assert await here.names(here.net.pod_b, CLUSTER_IP) == {"a"}
        await here.put(endpoint_slice(endpoint(POD_B)))
        assert await here.names(here.net.pod_b, CLUSTER_IP) == {"b"}
        await here.delete("endpointslices", "web-ipv4")
        for host, port in ((CLUSTER_IP, 80), (NODE_IP, 30001)):
            with pytest.raises(ConnectionRefusedError):
                await here.ask(here.net.pod_b if port == 80 else here.net.outside, host, port)
        await here.delete("services", "web")
        with pytest.raises(OSError):
            await here.ask(here.net.pod_b, CLUSTER_IP, seconds=SILENCE_SECONDS)


async def test_clients_stay_and_policies_hold() -> None:
    async with proxy_world(backend=backend()) as here:
        here.net.serve_pods()
        endpoints = endpoint_slice(endpoint(POD_A), endpoint(POD_B), endpoint(POD_FAR, OTHER_NODE))
        await here.put(service(sessionAffinity="ClientIP"), endpoints)
        assert len(await here.names(here.net.pod_a, CLUSTER_IP)) == 1
        local = {"externalTrafficPolicy": "Local", "type": "NodePort", "ports": NODE_PORT}
        await here.put(service(**local), endpoint_slice(endpoint(POD_A), endpoint(POD_FAR, OTHER_NODE)))
        assert await here.names(here.net.outside, NODE_IP, 30001) == {"a"}
        assert await here.names(here.net.pod_b, CLUSTER_IP) == {"a", "far"}


async def test_a_udp_client_moves_to_a_living_endpoint() -> None:
    async with proxy_world(backend=backend()) as here:
        here.net.serve_pods(socket.SOCK_DGRAM)
        await here.put(
            service(ports=[{"port": 53, "protocol": "UDP"}]), endpoint_slice(endpoint(POD_A), protocol="UDP")
        )
        client = UdpClient(here.net.pod_b, CLUSTER_IP, 53)
        assert await here.later(client.ask) == "a"
        await here.put(endpoint_slice(endpoint(POD_B), protocol="UDP"))
        assert await here.later(client.ask) == "b"


async def test_without_the_right_to_addresses_there_are_node_ports() -> None:
    async with proxy_world(backend=backend(own_addresses=False)) as here:
        here.net.serve_pods()
        await here.put(service(type="NodePort", ports=NODE_PORT), endpoint_slice(endpoint(POD_A)))
        assert (await here.ask(here.net.outside, NODE_IP, 30001)).name == "a"
        with pytest.raises(OSError):
            await here.ask(here.net.node, CLUSTER_IP, seconds=SILENCE_SECONDS)
