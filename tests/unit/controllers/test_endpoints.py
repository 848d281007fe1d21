from typing import Any

from kubecore.api.scheme import core
from kubecore.controllers import endpointslice
from support.controllers import World, run, world

CONTROLLERS = ("endpoints-controller", "endpointslice-controller")


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": {"team": "a"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}], **spec},
    }


def pod(name: str, ip: str, *, ready: bool = True, port: int = 8080, app: str = "web") -> dict[str, Any]:
    container = {"name": "main", "ports": [{"name": "http", "containerPort": port}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
        "spec": {"nodeName": "node-0", "containers": [container]},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def endpoints(here: World) -> dict[str, Any]:
    found = here.server.find("endpoints", "default", "web")
    assert found is not None
    return found


def slices(here: World) -> list[dict[str, Any]]:
    return here.server.all("endpointslices")


def test_ready_and_unready_pods_stand_behind_a_service() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service())
            here.server.seed("pods", pod("a", "10.0.0.1"))
            here.server.seed("pods", pod("b", "10.0.0.2", ready=False))
            here.server.seed("pods", pod("other", "10.0.0.3", app="other"))
            await here.pass_time(1)
            [subset] = endpoints(here)["subsets"]
            assert [each["ip"] for each in subset["addresses"]] == ["10.0.0.1"]
            assert [each["ip"] for each in subset["notReadyAddresses"]] == ["10.0.0.2"]
            assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
            assert subset["addresses"][0]["targetRef"]["name"] == "a"
            assert endpoints(here)["metadata"]["labels"] == {
                "team": "a",
                "endpoints.kubernetes.io/managed-by": "endpoint-controller",
            }
            [made] = slices(here)
            assert made["metadata"]["labels"] == {
                "team": "a",
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            }
            assert made["metadata"]["name"].startswith("web-")
            assert made["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
            assert [each["conditions"] for each in made["endpoints"]] == [
                {"ready": True, "serving": True, "terminating": False},
                {"ready": False, "serving": False, "terminating": False},
            ]

    run(scenario())


def test_a_named_port_is_looked_up_in_each_pod() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service())
            here.server.seed("pods", pod("a", "10.0.0.1", port=8080))
            here.server.seed("pods", pod("b", "10.0.0.2", port=9090))
            await here.pass_time(1)
            assert [each["ports"][0]["port"] for each in endpoints(here)["subsets"]] == [8080, 9090]
            assert sorted(each["ports"][0]["port"] for each in slices(here)) == [8080, 9090]

    run(scenario())


def test_a_terminating_pod_is_told_apart() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service())
            leaving = pod("a", "10.0.0.1")
            leaving["metadata"]["deletionTimestamp"] = here.server.now_text()
            here.server.seed("pods", leaving)
            await here.pass_time(1)
            assert endpoints(here)["subsets"] == []
            [made] = slices(here)
            assert made["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}

    run(scenario())


def test_a_service_that_publishes_unready_addresses_counts_them_as_ready() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service(publishNotReadyAddresses=True, clusterIP="None"))
            here.server.seed("pods", pod("a", "10.0.0.1", ready=False))
            await here.pass_time(1)
            assert [each["ip"] for each in endpoints(here)["subsets"][0]["addresses"]] == ["10.0.0.1"]
            assert endpoints(here)["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
            assert slices(here)[0]["endpoints"][0]["conditions"]["ready"] is True

    run(scenario())


def test_a_pod_that_no_longer_matches_leaves_and_a_deleted_service_takes_its_endpoints_along() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service())
            here.server.seed("pods", pod("a", "10.0.0.1"))
            await here.pass_time(1)
            here.change("pods", "default", "a", lambda obj: obj["metadata"].update(labels={"app": "other"}))
            await here.pass_time(1)
            assert endpoints(here)["subsets"] == []
            assert [each["endpoints"] for each in slices(here)] == [[]]
            await here.manager.controllers[0].client.delete(core("services"), "default", "web")
            await here.pass_time(1)
            assert here.server.find("endpoints", "default", "web") is None

    run(scenario())


def test_endpoints_without_a_service_are_their_owners_own_affair() -> None:
    alone = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "alone", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}],
    }

    async def scenario() -> None:
        async with world("endpoints-controller") as here:
            here.create("endpoints", alone)
            await here.pass_time(1)
            here.change("endpoints", "default", "alone", lambda obj: obj["metadata"].update(labels={"mine": "yes"}))
            await here.pass_time(60)
            assert here.server.find("endpoints", "default", "alone") is not None

    run(scenario())


def test_a_service_without_a_selector_is_left_to_others() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service(selector={}))
            await here.pass_time(1)
            assert here.server.all("endpoints") == []
            assert slices(here) == []

    run(scenario())


def test_a_slice_holds_a_hundred_and_a_change_of_one_pod_is_a_write_of_one_slice() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service())
            for number in range(250):
                here.server.seed("pods", pod(f"p{number:03}", f"10.0.{number // 200}.{number % 200 + 1}"))
            await here.pass_time(2)
            assert sorted(len(each["endpoints"]) for each in slices(here)) == [50, 100, 100]
            before = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in slices(here)}
            here.server.seed("pods", pod("p007", "10.0.0.8", ready=False))
            await here.pass_time(2)
            after = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in slices(here)}
            assert len([name for name in after if after[name] != before.get(name)]) == 1

    run(scenario())


def test_nothing_is_written_when_nothing_changed() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("services", service())
            here.server.seed("pods", pod("a", "10.0.0.1"))
            await here.pass_time(1)
            revision = here.server.revision
            here.change("pods", "default", "a", lambda obj: obj["metadata"].update(annotations={"x": "y"}))
            await here.pass_time(5)
            assert here.server.revision == revision + 1

    run(scenario())


def test_new_endpoints_go_to_the_fullest_slice_that_takes_them_all() -> None:
    web = {**service(), "metadata": {**service()["metadata"], "uid": "u"}}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]

    def point(number: int) -> dict[str, Any]:
        return {"addresses": [f"10.0.0.{number}"], "targetRef": {"uid": str(number)}}

    def full(name: str, numbers: range) -> dict[str, Any]:
        labels = endpointslice.slice_labels(web)
        return {
            "metadata": {"name": name, "labels": labels},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [point(number) for number in numbers],
        }

    existing = [full("small", range(10)), full("large", range(10, 90)), full("full", range(90, 190))]
    group = endpointslice.group_of("IPv4", ports)
    planned = endpointslice.plan(web, {group: (ports, [point(number) for number in range(195)])}, existing)
    assert [each["metadata"]["name"] for each in planned.update] == ["large"]
    assert not planned.create
    assert not planned.delete


def test_endpoints_are_meant_for_where_the_service_wants_its_traffic() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            labels = {"topology.kubernetes.io/zone": "east"}
            metadata = {"name": "node-0", "labels": labels}
            here.server.seed("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
            here.server.seed("pods", pod("a", "10.0.0.1"))
            here.server.seed("pods", pod("b", "10.0.0.2", ready=False))
            zone = {"forZones": [{"name": "east"}]}
            for distribution, expected in (
                ("PreferClose", zone),
                ("PreferSameNode", {**zone, "forNodes": [{"name": "node-0"}]}),
                ("", None),
            ):
                here.server.seed("services", service(**({"trafficDistribution": distribution} if distribution else {})))
                await here.pass_time(1)
                [each] = slices(here)
                hints = {endpoint["targetRef"]["name"]: endpoint.get("hints") for endpoint in each["endpoints"]}
                assert hints == {"a": expected, "b": None}

    run(scenario())
