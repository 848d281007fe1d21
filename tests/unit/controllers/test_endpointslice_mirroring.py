"""Endpoints written by hand, as slices."""

from __future__ import annotations

from typing import Any

from kubecore.api.scheme import core
from kubecore.client import Client
from support.controllers import World, run, world

Object = dict[str, Any]
CONTROLLERS = ("endpointslice-mirroring-controller",)


def service(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {"ports": [{"port": 3306}], **spec},
    }


def endpoints(*ips: str, unready: tuple[str, ...] = (), **metadata: Any) -> Object:
    subset: Object = {"addresses": [{"ip": each} for each in ips], "ports": [{"name": "sql", "port": 3306}]}
    if unready:
        subset["notReadyAddresses"] = [{"ip": each} for each in unready]
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "db", "namespace": "default", "labels": {"team": "a"}, **metadata},
        "subsets": [subset],
    }


def slices(here: World) -> list[Object]:
    return here.server.all("endpointslices")


def addresses(each: Object) -> dict[str, bool]:
    return {endpoint["addresses"][0]: endpoint["conditions"]["ready"] for endpoint in each["endpoints"]}


def test_endpoints_by_hand_have_a_slice_for_each_family() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service())
            here.server.seed("endpoints", endpoints("192.0.2.1", "fd00::1", unready=("192.0.2.2",)))
            await here.pass_time(1)
            four, six = sorted(slices(here), key=lambda each: each["addressType"])
            assert addresses(four) == {"192.0.2.1": True, "192.0.2.2": False}
            assert addresses(six) == {"fd00::1": True}
            assert four["ports"] == [{"protocol": "TCP", "name": "sql", "port": 3306}]
            assert four["metadata"]["labels"] == {
                "team": "a",
                "kubernetes.io/service-name": "db",
                "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
            }
            assert four["metadata"]["ownerReferences"][0]["kind"] == "Endpoints"

    run(scenario())


def test_a_change_is_a_write_of_the_same_slice_and_the_end_of_endpoints_is_its_end() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service())
            here.server.seed("endpoints", endpoints("192.0.2.1"))
            await here.pass_time(1)
            [before] = slices(here)
            here.server.seed("endpoints", endpoints("192.0.2.9"))
            await here.pass_time(1)
            [after] = slices(here)
            assert (after["metadata"]["name"], addresses(after)) == (before["metadata"]["name"], {"192.0.2.9": True})
            await here.pass_time(60)
            assert slices(here)[0]["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
            await Client(here.server.transport()).delete(core("endpoints"), "default", "db")
            await here.pass_time(1)
            assert slices(here) == []

    run(scenario())


def test_what_has_a_selector_or_asks_to_be_left_alone_is_not_mirrored() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service())
            skip = {"endpointslice.kubernetes.io/skip-mirror": "true"}
            leader = {"control-plane.alpha.kubernetes.io/leader": "{}"}
            for metadata in ({"labels": skip}, {"annotations": leader}):
                here.server.seed("endpoints", endpoints("192.0.2.1", **metadata))
                await here.pass_time(1)
                assert slices(here) == []
            here.server.seed("endpoints", endpoints("192.0.2.1"))
            await here.pass_time(1)
            assert len(slices(here)) == 1
            here.server.seed("services", service(selector={"app": "db"}))
            await here.pass_time(1)
            assert slices(here) == []

    run(scenario())
