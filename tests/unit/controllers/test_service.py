from typing import Any

from kubecore.api.scheme import core
from kubecore.client import Client
from kubecore.controllers.load_balancer import LoadBalancerError
from kubecore.controllers.service import FINALIZER
from support.controllers import run, world

Object = dict[str, Any]


class Provider:
    """A cloud with one address."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.targets: list[list[str]] = []
        self.deleted: list[str] = []

    async def start(self, services: list[Object]) -> None:
        return

    async def ensure(self, service: Object, nodes: list[Object]) -> list[Object]:
        if self.failures:
            self.failures -= 1
            raise LoadBalancerError("no capacity")
        self.targets.append([node["metadata"]["name"] for node in nodes])
        return [{"ip": "192.0.2.1"}]

    async def delete(self, service: Object) -> None:
        self.deleted.append(service["metadata"]["name"])


def service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    }


def node(name: str, *, ready: str = "True") -> Object:
    conditions = [{"type": "Ready", "status": ready}]
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"conditions": conditions}}


def test_a_load_balancer_leads_to_the_nodes_that_are_ready() -> None:
    provider = Provider()

    async def scenario() -> None:
        async with world("service-lb-controller", load_balancer_provider=provider) as here:
            here.server.seed("nodes", node("a"))
            here.server.seed("nodes", node("b", ready="False"))
            here.server.seed("services", service())
            await here.pass_time(1)
            found = here.server.find("services", "default", "web")
            assert found is not None
            assert found["status"]["loadBalancer"] == {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}
            assert provider.targets[-1] == ["a"]
            here.server.seed("nodes", node("b"))
            await here.pass_time(1)
            assert provider.targets[-1] == ["a", "b"]

    run(scenario())


def test_a_service_goes_only_after_its_load_balancer() -> None:
    provider = Provider()

    async def scenario() -> None:
        async with world("service-lb-controller", load_balancer_provider=provider) as here:
            here.server.seed("services", service())
            await here.pass_time(1)
            found = here.server.find("services", "default", "web")
            assert found is not None
            assert found["metadata"]["finalizers"] == [FINALIZER]
            await Client(here.server.transport()).delete(core("services"), "default", "web")
            await here.pass_time(1)
            assert provider.deleted == ["web"]
            assert here.server.find("services", "default", "web") is None

    run(scenario())


def test_a_provider_that_fails_is_asked_again() -> None:
    provider = Provider(failures=3)

    async def scenario() -> None:
        async with world("service-lb-controller", load_balancer_provider=provider) as here:
            here.server.seed("services", service())
            await here.pass_time(5)
            assert provider.targets
            assert "Error syncing load balancer: no capacity" in here.events("SyncLoadBalancerFailed")

    run(scenario())
