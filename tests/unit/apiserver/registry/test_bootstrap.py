"""What exists before the first client."""

from __future__ import annotations

from tests.support.registry import SERVICES, Api

from kubecore.apiserver.registry.bootstrap import ensure_bootstrap_objects


def start(api: Api, *, port: int = 6443) -> None:
    ensure_bootstrap_objects(api.registry, address="192.168.0.9", port=port)


def test_the_ground_is_laid() -> None:
    api = Api()
    start(api)
    namespaces = api.get("/api/v1/namespaces").ok()["items"]
    assert [item["metadata"]["name"] for item in namespaces] == [
        "default",
        "kube-node-lease",
        "kube-public",
        "kube-system",
    ]
    classes = api.get("/apis/scheduling.k8s.io/v1/priorityclasses").ok()["items"]
    assert [(item["metadata"]["name"], item["value"]) for item in classes] == [
        ("system-cluster-critical", 2_000_000_000),
        ("system-node-critical", 2_000_001_000),
    ]
    networks = api.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").ok()
    assert networks["spec"]["cidrs"] == ["10.96.0.0/12"]
    assert [(row["type"], row["status"]) for row in networks["status"]["conditions"]] == [("Ready", "True")]
    service = api.get(f"{SERVICES}/kubernetes").ok()
    assert (service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]) == ("10.96.0.1", 443)
    endpoints = api.get("/api/v1/namespaces/default/endpoints/kubernetes").ok()
    assert endpoints["subsets"][0]["addresses"] == [{"ip": "192.168.0.9"}]
    slices = api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").ok()
    assert slices["ports"][0]["port"] == 6443


def test_a_restart_changes_nothing() -> None:
    api = Api()
    start(api)
    revision = api.storage.revision()
    start(api)
    assert api.storage.revision() == revision


def test_a_restart_on_another_port_moves_the_endpoints_only() -> None:
    api = Api()
    start(api)
    revision = api.storage.revision()
    start(api, port=7443)
    assert api.storage.revision() == revision + 2
    endpoints = api.get("/api/v1/namespaces/default/endpoints/kubernetes").ok()
    assert endpoints["subsets"][0]["ports"][0]["port"] == 7443


def test_the_servers_own_address_is_given_to_no_other_service() -> None:
    api = Api()
    start(api)
    refused = api.post(
        SERVICES, {"metadata": {"name": "x"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 1}]}}
    )
    assert refused.fields == ["spec.clusterIPs"]
