"""log, exec, attach, port-forward and proxies: what is asked of whom, and what is refused here."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.registry import PODS, SERVICES, Api, Reply, pod

from kubecore.apiserver.registry.backend import Backend, Security, Trouble

NODES = "/api/v1/nodes"
UPGRADE = {"connection": "Upgrade", "upgrade": "websocket"}


@pytest.fixture
def api() -> Api:
    api = Api()
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n1"},
        "status": {
            "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "198.18.0.11"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10255}},
        },
    }
    api.post(NODES, node).ok()
    fake = {"metadata": {"name": "fake", "annotations": {"kwok.x-k8s.io/node": "fake"}}}
    api.post(NODES, {"apiVersion": "v1", "kind": "Node", **fake}).ok()
    return api


def placed(api: Api, node: str = "n1", **spec: Any) -> None:
    api.post(PODS, pod(nodeName=node, **spec)).ok()
    status = {"podIPs": [{"ip": "10.244.0.5"}], "podIP": "10.244.0.5"}
    api.patch(f"{PODS}/web/status", {"status": status}).ok()


def forwarded(
    api: Api, path: str, *, method: str = "GET", headers: dict[str, str] | None = None, **query: str
) -> Backend:
    answer = api.handled(method, path, query=query, headers=headers or {})
    assert isinstance(answer, Backend), answer.body
    return answer


def refused(api: Api, path: str, *, headers: dict[str, str] | None = None, **query: str) -> Reply:
    return api.send("GET", path, query=query, headers=headers or {})


def test_a_log_is_asked_of_the_kubelet_in_its_own_words(api: Api) -> None:
    placed(api)
    backend = forwarded(
        api, f"{PODS}/web/log", follow="true", tailLines="5", timestamps="false", limitBytes="10", pretty="true"
    )
    assert backend.target == "/containerLogs/default/web/main?follow=true&tailLines=5&limitBytes=10"
    assert (backend.host, backend.port) == ("198.18.0.11", 10255)
    assert (backend.security, backend.errors_of) == (Security.KUBELET, ("pods/log", "web"))


def test_a_log_over_a_websocket_keeps_its_handshake_only(api: Api) -> None:
    placed(api)
    handshake = {"sec-websocket-key": "a2V5", "sec-websocket-version": "13", "sec-websocket-protocol": "binary.k8s.io"}
    backend = forwarded(api, f"{PODS}/web/log", headers={**UPGRADE, **handshake, "accept": "x"})
    host = {"host": "198.18.0.11:10255", "user-agent": "kube-apiserver"}
    assert dict(backend.headers) == {**host, **handshake}


def test_an_exec_keeps_its_command_and_leaves_the_credential_behind(api: Api) -> None:
    placed(api)
    headers = {
        **UPGRADE,
        "authorization": "Bearer secret",
        "impersonate-user": "bob",
        "sec-websocket-protocol": "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0",
        "x-stream-protocol-version": "v4.channel.k8s.io",
    }
    path = f"{PODS}/web/exec"
    backend = forwarded(api, path, headers=headers, command="cat /etc/passwd", stdin="true", stdout="1", tty="false")
    assert backend.target == "/exec/default/web/main?input=1&output=1&command=cat+%2Fetc%2Fpasswd"
    assert dict(backend.headers) == {
        "sec-websocket-protocol": "v5.channel.k8s.io",
        "x-stream-protocol-version": "v4.channel.k8s.io",
        "x-forwarded-for": "192.0.2.7",
    }


def test_attach_and_port_forward_have_paths_of_their_own(api: Api) -> None:
    placed(api)
    attach = forwarded(api, f"{PODS}/web/attach", headers=UPGRADE, stdout="true", container="main")
    assert attach.target == "/attach/default/web/main?output=1"
    ports = forwarded(api, f"{PODS}/web/portforward", method="POST", headers=UPGRADE, ports="80,443")
    assert (ports.method, ports.target) == ("POST", "/portForward/default/web?port=80%2C443")


@pytest.mark.parametrize("stream", ["exec", "attach", "portforward"])
def test_what_needs_an_upgrade_says_so(api: Api, stream: str) -> None:
    placed(api)
    answer = refused(api, f"{PODS}/web/{stream}")
    assert (answer.status, answer.message) == (400, "Upgrade request required")


@pytest.mark.parametrize("stream", ["log", "exec", "attach", "portforward"])
def test_a_stream_of_a_simulated_pod_says_why_there_is_none(api: Api, stream: str) -> None:
    placed(api, node="fake")
    answer = refused(api, f"{PODS}/web/{stream}")
    assert (answer.status, answer.reason) == (503, "ServiceUnavailable")
    assert "simulated nodes have no kubelet" in answer.message


def test_a_pod_without_a_node_has_no_log_yet_and_nothing_to_exec_in(api: Api) -> None:
    api.post(PODS, pod()).ok()
    assert api.get(f"{PODS}/web/log").status == 204
    answer = refused(api, f"{PODS}/web/exec", headers=UPGRADE)
    assert (answer.status, answer.message) == (400, "pod web does not have a host assigned")


def test_a_container_that_is_not_there_or_not_named_is_a_bad_request(api: Api) -> None:
    two = [{"name": name, "image": "x"} for name in ("one", "two")]
    placed(api, containers=two, initContainers=[{"name": "first", "image": "x"}])
    answer = refused(api, f"{PODS}/web/log", container="other")
    assert (answer.status, answer.message) == (400, "container other is not valid for pod web")
    answer = refused(api, f"{PODS}/web/log")
    assert answer.message == "a container name must be specified for pod web, choose one of: [first one two]"
    assert forwarded(api, f"{PODS}/web/log", container="first").target.startswith("/containerLogs/default/web/first")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tailLines": "-1"}, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ({"limitBytes": "0"}, "limitBytes: Invalid value: 0: must be greater than 0"),
        ({"sinceSeconds": "0"}, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        (
            {"sinceSeconds": "1", "sinceTime": "2026-01-01T00:00:00Z"},
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
    ],
)
def test_log_options_are_checked(api: Api, options: dict[str, str], told: str) -> None:
    placed(api)
    answer = refused(api, f"{PODS}/web/log", **options)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.message.startswith('PodLogOptions "web" is invalid')
    assert told in answer.message


def test_a_pod_of_a_node_that_is_gone_says_which(api: Api) -> None:
    placed(api, node="vanished")
    answer = refused(api, f"{PODS}/web/log")
    assert (answer.status, answer.message) == (404, 'nodes "vanished" not found')


def test_a_pods_proxy_goes_to_its_first_port_or_the_one_that_is_named(api: Api) -> None:
    placed(api, containers=[{"name": "main", "image": "x", "ports": [{"containerPort": 8080}]}])
    backend = forwarded(api, f"{PODS}/web/proxy/a b/", q="1", headers={"authorization": "Bearer x", "accept": "*/*"})
    assert (backend.authority, backend.target) == ("10.244.0.5:8080", "/a%20b/?q=1")
    assert (backend.security, backend.trouble) == (Security.PLAIN, Trouble.PROXY)
    assert backend.mount_path == f"{PODS}/web/proxy"
    assert dict(backend.headers) == {
        "accept": "*/*",
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-uri": f"{PODS}/web/proxy/a%20b/",
    }
    secure = forwarded(api, f"{PODS}/https:web:8443/proxy/")
    assert (secure.authority, secure.security) == ("10.244.0.5:8443", Security.ANY_CERTIFICATE)


def test_a_proxys_root_without_its_slash_is_redirected(api: Api) -> None:
    placed(api)
    answer = api.handled("GET", f"{PODS}/web/proxy", query={"a": "b"})
    assert not isinstance(answer, Backend)
    assert (answer.status, answer.headers) == (301, [("location", f"{PODS}/web/proxy/?a=b")])


def test_nothing_climbs_out_of_a_proxy(api: Api) -> None:
    placed(api)
    assert forwarded(api, f"{PODS}/web/proxy/../../other").target == "/other"


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "0.0.0.0", "::ffff:127.0.0.1"])
def test_the_servers_own_network_is_out_of_a_proxys_reach(api: Api, address: str) -> None:
    placed(api)
    status = {"podIPs": [{"ip": address}], "podIP": address}
    api.patch(f"{PODS}/web/status", {"status": status}).ok()
    answer = refused(api, f"{PODS}/web/proxy/")
    assert (answer.status, answer.message) == (400, "address not allowed")


def service(api: Api, node: str = "n1") -> None:
    placed(api, node)
    spec = {"ports": [{"name": "http", "port": 80, "targetPort": 8080}], "selector": {"a": "b"}}
    api.post(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc"}, "spec": spec}).ok()


def endpoints(api: Api, *addresses: str, ready: bool = True) -> None:
    piece = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "svc-1", "labels": {"kubernetes.io/service-name": "svc"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "name": "web", "namespace": "default"},
            }
            for address in addresses
        ],
    }
    api.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", piece).ok()


@pytest.mark.parametrize("name", ["svc:80", "svc:http", "http:svc:http"])
def test_a_services_proxy_goes_to_a_ready_pod_behind_it(api: Api, name: str) -> None:
    service(api)
    # The second claims an address that is not the pod's: nobody is led there.
    endpoints(api, "10.244.0.5", "10.96.0.1")
    assert forwarded(api, f"{SERVICES}/{name}/proxy/x").authority == "10.244.0.5:8080"


def test_a_service_without_endpoints_or_port_says_so(api: Api) -> None:
    service(api)
    endpoints(api, "10.244.0.5", ready=False)
    answer = refused(api, f"{SERVICES}/svc:http/proxy/")
    assert (answer.status, answer.message) == (503, 'no endpoints available for service "svc:http"')
    answer = refused(api, f"{SERVICES}/svc:81/proxy/")
    assert (answer.status, answer.message) == (503, 'no service port 81 found for service "svc"')
    answer = refused(api, f"{SERVICES}/ftp:svc:80/proxy/")
    assert (answer.status, answer.message) == (400, 'invalid service request "ftp:svc:80"')


def test_nothing_is_dialled_for_a_simulated_pod(api: Api) -> None:
    service(api, node="fake")
    endpoints(api, "10.244.0.5")
    for kind, name, path in (("pod", "web", f"{PODS}/web"), ("service", "svc", f"{SERVICES}/svc:80")):
        answer = refused(api, f"{path}/proxy/")
        told = f'proxy of {kind} "{name}" is not available: nothing runs on simulated nodes'
        assert (answer.status, answer.message) == (503, told)


def test_a_nodes_proxy_is_its_kubelet(api: Api) -> None:
    backend = forwarded(api, f"{NODES}/n1/proxy/stats/summary")
    assert (backend.authority, backend.target, backend.security) == (
        "198.18.0.11:10255",
        "/stats/summary",
        Security.KUBELET,
    )
    other = forwarded(api, f"{NODES}/n1:9100/proxy/metrics")
    assert (other.authority, other.security) == ("198.18.0.11:9100", Security.PLAIN)
    assert "no kubelet" in refused(api, f"{NODES}/fake/proxy/stats/summary").message


def test_each_way_tells_in_upstreams_words_that_nobody_answers(api: Api) -> None:
    placed(api)
    why = "dial tcp 198.18.0.11:10255: connect: connection refused"
    log = forwarded(api, f"{PODS}/web/log").unreachable(why)
    assert log.message == f'Get "https://198.18.0.11:10255/containerLogs/default/web/main": {why}'
    stream = forwarded(api, f"{PODS}/web/exec", headers=UPGRADE).unreachable(why)
    assert (stream.status_code, stream.message) == (500, f"error dialing backend: {why}")
    proxy = forwarded(api, f"{PODS}/web/proxy/").unreachable(why)
    assert (proxy.status_code, proxy.message) == (503, f"error trying to reach service: {why}")


def test_a_proxy_passes_every_method_on(api: Api) -> None:
    placed(api)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert forwarded(api, f"{PODS}/web/proxy/here", method=method).method == method
    assert api.send("OPTIONS", f"{PODS}/web").status == 405
    assert api.send("OPTIONS", f"{PODS}/web/status").status == 405
