"""A whole API server, built in one call, without a socket."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from kubecore.api.clock import SystemClock
from kubecore.apiserver.wire import APIServer
from kubecore.apiserver.wire.build import ServerOptions, build_server


class StoppedClock:
    """Always the same second: what is written depends on the seed alone."""

    def now(self) -> float:
        return 1_700_000_000.0

    def monotonic(self) -> float:
        return 0.0


def started(options: ServerOptions | None = None, *, seed: int = 1) -> APIServer:
    server = build_server(
        options or ServerOptions(threadless=True), clock=StoppedClock(), randomness=random.Random(seed)
    )
    server.start()
    return server


def get(server: APIServer, path: str, identity: str = "kubernetes-admin") -> tuple[int, dict[str, Any]]:
    reply = server.ask("GET", path, identity=identity)
    return reply.status, json.loads(reply.body)


def names(server: APIServer, path: str) -> list[str]:
    return [item["metadata"]["name"] for item in get(server, path)[1]["items"]]


def history(server: APIServer) -> list[tuple[str, bytes]]:
    return [(stored.key, stored.value) for stored in server.storage.list("/registry/").items]


def test_what_every_cluster_has_is_there_at_ready() -> None:
    server = started()
    assert names(server, "/api/v1/namespaces") == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert names(server, "/apis/scheduling.k8s.io/v1/priorityclasses") == [
        "system-cluster-critical",
        "system-node-critical",
    ]
    service = get(server, "/api/v1/namespaces/default/services/kubernetes")[1]
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    assert server.ask("GET", "/readyz").body == b"ok"


def test_the_advertised_address_is_published_as_the_services_endpoint() -> None:
    server = started(ServerOptions(threadless=True, advertise_address="192.0.2.7", advertise_port=6443))
    endpoints = get(server, "/api/v1/namespaces/default/endpoints/kubernetes")[1]
    assert endpoints["subsets"][0]["addresses"] == [{"ip": "192.0.2.7"}]
    endpoint_slice = get(server, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")[1]
    assert endpoint_slice["endpoints"][0]["addresses"] == ["192.0.2.7"]


def test_strangers_see_the_version_and_nothing_else() -> None:
    server = started()
    assert get(server, "/version", "system:anonymous")[0] == 200
    status, refusal = get(server, "/api/v1/namespaces/default/pods", "system:anonymous")
    assert (status, refusal["reason"]) == (403, "Forbidden")
    assert refusal["message"] == (
        'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" '
        'in the namespace "default"'
    )


def test_one_seed_gives_one_history_and_another_seed_another() -> None:
    first, same, other = (history(started(seed=seed)) for seed in (7, 7, 8))
    assert first == same
    assert first != other


def test_a_restart_finds_everything_and_makes_nothing_twice(tmp_path: Path) -> None:
    options = ServerOptions(data_directory=tmp_path)
    before = build_server(options, clock=SystemClock(), randomness=random.Random())
    before.start()
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept"},"data":{"a":"b"}}'
    assert before.ask("POST", "/api/v1/namespaces/default/configmaps", body).status == 201
    written = history(before)
    before.stop()
    after = build_server(options, clock=SystemClock(), randomness=random.Random())
    after.start()
    assert history(after) == written
    after.stop()


def test_a_data_directory_needs_a_thread(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="log writer's thread"):
        build_server(
            ServerOptions(data_directory=tmp_path, threadless=True), clock=SystemClock(), randomness=random.Random()
        )


def test_the_token_issuer_tells_how_to_check_its_tokens() -> None:
    server = started()
    assert get(server, "/openid/v1/jwks")[1]["keys"]
    assert get(server, "/.well-known/openid-configuration")[1]["jwks_uri"].endswith("/openid/v1/jwks")
