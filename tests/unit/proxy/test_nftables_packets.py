"""The rules judged by packets: sockets in namespaces of their own on both sides of a node."""

from __future__ import annotations

import socket

import pytest

from kubecore.proxy import NftablesOptions
from support.netns import address
from support.services import (
    LOAD_BALANCER_IP,
    NODE_IP,
    NODE_IP6,
    OTHER_NODE,
    OUTSIDE_IP,
    POD_A,
    POD_A6,
    POD_B,
    POD_B6,
    POD_FAR,
    SILENCE_SECONDS,
    UdpClient,
    endpoint,
    endpoint_slice,
    proxy_world,
    service,
)

CLUSTER_IP = "10.96.0.1"
GOING = {"ready": False, "serving": True, "terminating": True}


async def test_a_cluster_address_leads_to_all_endpoints() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        far = endpoint(POD_FAR, OTHER_NODE)
        await here.put(service(), endpoint_slice(endpoint(POD_A), endpoint(POD_B), far))
        assert await here.names(here.net.pod_a, CLUSTER_IP) == {"a", "b", "far"}
        assert await here.names(here.net.node, CLUSTER_IP) == {"a", "b", "far"}


async def test_a_pod_reaches_itself_through_its_service() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        await here.put(service(), endpoint_slice(endpoint(POD_A)))
        answer = await here.ask(here.net.pod_a, CLUSTER_IP)
        assert answer.name == "a"
        assert answer.client != POD_A  # it must not answer itself directly


async def test_an_endpoint_sees_a_pods_own_address() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        await here.put(service(), endpoint_slice(endpoint(POD_B)))
        assert (await here.ask(here.net.pod_a, CLUSTER_IP)).client == POD_A


async def test_what_comes_from_outside_to_a_cluster_address_is_masqueraded() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        await here.put(service(), endpoint_slice(endpoint(POD_A)))
        assert (await here.ask(here.net.outside, CLUSTER_IP)).client != OUTSIDE_IP


async def test_a_node_port_is_open_from_outside() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        ports = [{"port": 80, "nodePort": 30001}]
        far = endpoint(POD_FAR, OTHER_NODE)
        await here.put(service(type="NodePort", ports=ports), endpoint_slice(endpoint(POD_A), far))
        assert await here.names(here.net.outside, NODE_IP, 30001) == {"a", "far"}
        # Only the node's own address: with `primary`, another one of its addresses does not answer.
        with pytest.raises(ConnectionRefusedError):
            await here.ask(here.net.pod_a, "10.244.0.1", 30001)


async def test_node_ports_can_be_open_on_every_address() -> None:
    options = NftablesOptions(node_port_addresses=())
    async with proxy_world(options) as here:
        here.net.serve_pods()
        await here.put(
            service(type="NodePort", ports=[{"port": 80, "nodePort": 30001}]), endpoint_slice(endpoint(POD_B))
        )
        assert (await here.ask(here.net.pod_a, "10.244.0.1", 30001)).name == "b"
        assert (await here.ask(here.net.outside, NODE_IP, 30001)).name == "b"


async def test_a_service_without_endpoints_refuses() -> None:
    async with proxy_world() as here:
        await here.put(service(type="NodePort", ports=[{"port": 80, "nodePort": 30001}]))
        for namespace, host, port in (
            (here.net.pod_a, CLUSTER_IP, 80),
            (here.net.node, CLUSTER_IP, 80),
            (here.net.outside, NODE_IP, 30001),
        ):
            with pytest.raises(ConnectionRefusedError):
                await here.ask(namespace, host, port)


async def test_a_port_that_a_service_has_not_is_refused_and_an_address_of_nobody_is_silent() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        await here.put(service(), endpoint_slice(endpoint(POD_A)))
        with pytest.raises(ConnectionRefusedError):
            await here.ask(here.net.pod_b, CLUSTER_IP, 81)
        with pytest.raises(TimeoutError):
            await here.ask(here.net.pod_b, "10.96.9.9", 80, seconds=SILENCE_SECONDS)


async def test_a_client_stays_with_its_endpoint() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        endpoints = endpoint_slice(endpoint(POD_A), endpoint(POD_B), endpoint(POD_FAR, OTHER_NODE))
        await here.put(service(sessionAffinity="ClientIP"), endpoints)
        assert len(await here.names(here.net.pod_a, CLUSTER_IP)) == 1
        assert len(await here.names(here.net.pod_b, CLUSTER_IP)) == 1
        chosen = (await here.ask(here.net.pod_a, CLUSTER_IP)).name
        # The service changes in other ways: the client stays.
        await here.put(service(sessionAffinity="ClientIP", externalIPs=["203.0.113.9"]))
        assert await here.names(here.net.pod_a, CLUSTER_IP) == {chosen}
        # Another timeout: the sets are made anew.
        config = {"clientIP": {"timeoutSeconds": 60}}
        await here.put(service(sessionAffinity="ClientIP", sessionAffinityConfig=config))
        assert len(await here.names(here.net.pod_a, CLUSTER_IP)) == 1
        await here.put(service())
        assert len(await here.names(here.net.pod_a, CLUSTER_IP)) == 3


async def test_external_policy_local_keeps_the_clients_address_and_serves_local_pods_only() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}], "externalTrafficPolicy": "Local"}
        far = endpoint(POD_FAR, OTHER_NODE)
        await here.put(service(**spec), endpoint_slice(endpoint(POD_A), far))
        assert await here.names(here.net.outside, NODE_IP, 30001) == {"a"}
        assert (await here.ask(here.net.outside, NODE_IP, 30001)).client == OUTSIDE_IP
        # The node's own traffic, and its pods', is not held to the policy.
        assert await here.names(here.net.node, NODE_IP, 30001) == {"a", "far"}
        assert await here.names(here.net.pod_b, NODE_IP, 30001) == {"a", "far"}
        await here.put(endpoint_slice(far))
        with pytest.raises(TimeoutError):
            await here.ask(here.net.outside, NODE_IP, 30001, seconds=SILENCE_SECONDS)
        assert await here.names(here.net.node, NODE_IP, 30001) == {"far"}


async def test_the_node_itself_reaches_external_addresses_whatever_the_policy() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ingress": [{"ip": LOAD_BALANCER_IP}]}
        await here.put(service(**spec), endpoint_slice(endpoint(POD_FAR, OTHER_NODE)))
        assert (await here.ask(here.net.node, LOAD_BALANCER_IP)).name == "far"
        assert (await here.ask(here.net.pod_a, LOAD_BALANCER_IP)).name == "far"
        with pytest.raises(TimeoutError):
            await here.ask(here.net.outside, LOAD_BALANCER_IP, seconds=SILENCE_SECONDS)


async def test_internal_policy_local_serves_local_pods_only() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        far = endpoint(POD_FAR, OTHER_NODE)
        await here.put(service(internalTrafficPolicy="Local"), endpoint_slice(endpoint(POD_A), far))
        assert await here.names(here.net.pod_b, CLUSTER_IP) == {"a"}
        await here.put(endpoint_slice(far))
        with pytest.raises(TimeoutError):
            await here.ask(here.net.pod_b, CLUSTER_IP, seconds=SILENCE_SECONDS)


async def test_terminating_endpoints_serve_while_nothing_else_does() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        await here.put(service(), endpoint_slice(endpoint(POD_A), endpoint(POD_B, conditions=GOING)))
        assert await here.names(here.net.pod_a, CLUSTER_IP) == {"a"}
        await here.put(endpoint_slice(endpoint(POD_A, conditions=GOING), endpoint(POD_B, conditions=GOING)))
        assert await here.names(here.net.pod_a, CLUSTER_IP) == {"a", "b"}


async def test_a_load_balancers_address_answers_from_the_ranges_it_is_open_to() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        spec = {"type": "LoadBalancer", "ingress": [{"ip": LOAD_BALANCER_IP}]}
        await here.put(service(**spec), endpoint_slice(endpoint(POD_A)))
        assert (await here.ask(here.net.outside, LOAD_BALANCER_IP)).name == "a"
        await here.put(service(**spec, loadBalancerSourceRanges=["192.0.2.0/24"]))
        with pytest.raises(TimeoutError):
            await here.ask(here.net.outside, LOAD_BALANCER_IP, seconds=SILENCE_SECONDS)
        await here.put(service(**spec, loadBalancerSourceRanges=["192.0.2.0/24", "198.18.0.0/24"]))
        assert (await here.ask(here.net.outside, LOAD_BALANCER_IP)).name == "a"
        await here.put(service(type="ClusterIP"))
        with pytest.raises((TimeoutError, OSError)):
            await here.ask(here.net.outside, LOAD_BALANCER_IP, seconds=SILENCE_SECONDS)


async def test_an_external_address_leads_to_the_service() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        await here.put(service(externalIPs=[LOAD_BALANCER_IP]), endpoint_slice(endpoint(POD_A)))
        assert (await here.ask(here.net.outside, LOAD_BALANCER_IP)).name == "a"


async def test_ipv6_works_as_ipv4_does() -> None:
    async with proxy_world() as here:
        here.net.serve(here.net.pod_a, "a", POD_A6)
        here.net.serve(here.net.pod_b, "b", POD_B6)
        spec = {"clusterIP": "fd96::1", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]}
        await here.put(service(**spec), endpoint_slice(endpoint(POD_A6), endpoint(POD_B6)))
        assert await here.names(here.net.pod_a, "fd96::1") == {"a", "b"}
        assert await here.names(here.net.outside, NODE_IP6, 30001) == {"a", "b"}
        await here.put(endpoint_slice(endpoint(POD_B6)))
        assert await here.names(here.net.pod_a, "fd96::1") == {"b"}
        await here.delete("endpointslices", "web-ipv6")
        with pytest.raises(ConnectionRefusedError):
            await here.ask(here.net.pod_a, "fd96::1")


async def test_a_udp_client_that_never_pauses_moves_to_a_living_endpoint() -> None:
    async with proxy_world() as here:
        here.net.serve_pods(socket.SOCK_DGRAM)
        ports = [{"port": 53, "protocol": "UDP", "nodePort": 30053}]
        udp = {"protocol": "UDP"}
        await here.put(service(ports=ports, type="NodePort"), endpoint_slice(endpoint(POD_A), **udp))
        inner = UdpClient(here.net.pod_b, CLUSTER_IP, 53)
        outer = UdpClient(here.net.outside, NODE_IP, 30053)
        assert [inner.ask(), outer.ask()] == ["a", "a"]
        await here.put(endpoint_slice(endpoint(POD_B), **udp))
        assert [inner.ask(), outer.ask()] == ["b", "b"]
        deleted = here.proxy.metrics.flows_deleted.labels("IPv4")._value.get()
        assert deleted >= 2


async def test_rules_that_somebody_destroyed_are_written_again() -> None:
    async with proxy_world() as here:
        here.net.serve_pods()
        await here.put(service(), endpoint_slice(endpoint(POD_A)))
        await here.run("nft", "delete table ip kubecore-proxy")
        await here.put(endpoint_slice(endpoint(POD_B)))
        assert await here.names(here.net.pod_a, CLUSTER_IP) == {"b"}
        assert here.proxy.metrics.failures.labels("IPv4")._value.get() == 1


async def test_a_service_that_goes_leaves_nothing_behind() -> None:
    async with proxy_world() as here:
        before = await here.run("nft", "list table ip kubecore-proxy")
        spec = {"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 30001}], "sessionAffinity": "ClientIP"}
        await here.put(
            service(**spec, ingress=[{"ip": LOAD_BALANCER_IP}], loadBalancerSourceRanges=["192.0.2.0/24"]),
            endpoint_slice(endpoint(POD_A), endpoint(POD_B)),
        )
        assert "affinity-" in await here.run("nft", "list table ip kubecore-proxy")
        await here.delete("services", "web")
        await here.swept()
        assert await here.run("nft", "list table ip kubecore-proxy") == before


async def test_many_endpoints_are_chosen_from_a_map() -> None:
    async with proxy_world() as here:
        addresses = [f"10.244.0.{number}" for number in range(100, 112)]
        await here.put(service(), endpoint_slice(*(endpoint(each) for each in addresses), endpoint(POD_A)))
        for each in addresses:
            address(here.net.pod_b, "eth0", f"{each}/24")
            here.net.serve(here.net.pod_b, each, each)
        here.net.serve(here.net.pod_a, "a", POD_A)
        assert len(await here.names(here.net.node, CLUSTER_IP, times=150)) > 8
