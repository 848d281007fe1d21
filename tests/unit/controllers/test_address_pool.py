"""Addresses out of a pool, given by the Service controller."""

from __future__ import annotations

from typing import Any

from kubecore.api.scheme import core
from kubecore.client import Client
from kubecore.controllers.address_pool import AddressPool
from support.controllers import World, run, world

Object = dict[str, Any]
POOL = "198.51.100.0/30"
"""Two addresses: .1 and .2."""


def service(name: str, *, type: str = "LoadBalancer", ingress: str = "", **spec: Any) -> Object:
    status = {"loadBalancer": {"ingress": [{"ip": ingress, "ipMode": "VIP"}]}} if ingress else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": type, "ports": [{"port": 80}, {"port": 443, "name": "s"}], **spec},
        "status": status,
    }


def address(here: World, name: str) -> str:
    found = here.server.find("services", "default", name)
    assert found is not None
    ingress = (found.get("status", {}).get("loadBalancer") or {}).get("ingress") or [{"ip": ""}]
    return str(ingress[0]["ip"])


def test_each_service_has_an_address_of_its_own_and_keeps_it() -> None:
    async def scenario() -> None:
        async with world("service-lb-controller", load_balancer_cidr=POOL) as here:
            here.server.seed("services", service("a"))
            here.server.seed("services", service("b"))
            await here.pass_time(1)
            given = address(here, "a")
            assert {given, address(here, "b")} == {"198.51.100.1", "198.51.100.2"}
            here.change("services", "default", "a", lambda each: each["spec"].update(sessionAffinity="ClientIP"))
            await here.pass_time(1)
            assert address(here, "a") == given

    run(scenario())


def test_what_was_given_before_a_restart_is_given_still() -> None:
    async def scenario() -> None:
        async with world("service-lb-controller", load_balancer_cidr=POOL) as here:
            here.server.seed("services", service("old", ingress="198.51.100.2"))
            await here.pass_time(1)
            here.server.seed("services", service("new"))
            await here.pass_time(1)
            assert (address(here, "old"), address(here, "new")) == ("198.51.100.2", "198.51.100.1")

    run(scenario())


async def test_of_two_that_claim_one_address_the_older_keeps_it() -> None:
    pool = AddressPool([POOL])
    young, old = service("a", ingress="198.51.100.1"), service("b", ingress="198.51.100.1")
    young["metadata"]["creationTimestamp"] = "2027-01-02T00:00:00Z"
    old["metadata"]["creationTimestamp"] = "2027-01-01T00:00:00Z"
    await pool.start([young, old])
    assert await pool.ensure(young, []) == [{"ip": "198.51.100.2"}]
    assert await pool.ensure(old, []) == [{"ip": "198.51.100.1"}]


def test_a_pool_at_its_end_says_so_and_gives_what_comes_free() -> None:
    async def scenario() -> None:
        async with world("service-lb-controller", load_balancer_cidr=POOL) as here:
            for name in ("a", "b"):
                here.server.seed("services", service(name))
            await here.pass_time(1)
            here.server.seed("services", service("late"))
            await here.pass_time(1)
            assert address(here, "late") == ""
            told = f"Error syncing load balancer: no address is left in the pool {POOL}"
            assert told in here.events("SyncLoadBalancerFailed")
            freed = address(here, "a")
            await Client(here.server.transport()).delete(core("services"), "default", "a")
            await here.pass_time(1)
            assert address(here, "late") == freed

    run(scenario())


def test_a_wanted_address_is_given_if_it_is_free_and_of_the_pool() -> None:
    async def scenario() -> None:
        async with world("service-lb-controller", load_balancer_cidr=POOL) as here:
            here.server.seed("services", service("a", loadBalancerIP="198.51.100.2"))
            await here.pass_time(1)
            assert address(here, "a") == "198.51.100.2"
            here.server.seed("services", service("b", loadBalancerIP="198.51.100.2"))
            here.server.seed("services", service("c", loadBalancerIP="192.0.2.1"))
            await here.pass_time(1)
            assert (address(here, "b"), address(here, "c")) == ("", "")
            said = " ".join(here.events("SyncLoadBalancerFailed"))
            assert "is already in use by service default/a" in said
            assert f"192.0.2.1 is not an address of the pool {POOL}" in said

    run(scenario())


def test_a_service_becomes_a_load_balancer_and_goes_back() -> None:
    async def scenario() -> None:
        async with world("service-lb-controller", load_balancer_cidr=POOL) as here:
            here.server.seed("services", service("web", type="NodePort"))
            await here.pass_time(1)
            assert address(here, "web") == ""
            here.change("services", "default", "web", lambda each: each["spec"].update(type="LoadBalancer"))
            await here.pass_time(1)
            assert address(here, "web") == "198.51.100.1"
            here.change("services", "default", "web", lambda each: each["spec"].update(type="NodePort"))
            await here.pass_time(1)
            assert address(here, "web") == ""
            assert here.events("Type") == ["NodePort -> LoadBalancer", "LoadBalancer -> NodePort"]
            found = here.server.find("services", "default", "web")
            assert found is not None
            assert not found["metadata"].get("finalizers")

    run(scenario())


def test_a_service_of_another_class_is_left_to_its_maker() -> None:
    async def scenario() -> None:
        async with world("service-lb-controller", load_balancer_cidr=POOL) as here:
            here.server.seed("services", service("web", loadBalancerClass="example.com/theirs"))
            await here.pass_time(1)
            assert address(here, "web") == ""

    run(scenario())


def test_a_service_of_two_families_has_an_address_of_each() -> None:
    async def scenario() -> None:
        async with world("service-lb-controller", load_balancer_cidr=f"{POOL},fd51::/120") as here:
            here.server.seed("services", service("web", ipFamilies=["IPv4", "IPv6"]))
            await here.pass_time(1)
            found = here.server.find("services", "default", "web")
            assert found is not None
            given = [each["ip"] for each in found["status"]["loadBalancer"]["ingress"]]
            assert given == ["198.51.100.1", "fd51::1"]

    run(scenario())
