"""Health endpoints and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tests.support import wire

from kubecore.apiserver.wire import PostStartHook
from kubecore.client import Response

LATE = [PostStartHook("late", lambda: None)]


def get(path: str, query: Sequence[tuple[str, str]] = (), *, unfinished: Sequence[PostStartHook] = ()) -> Response:
    async def ask() -> Response:
        server, _ = wire.server(unfinished=unfinished)
        return await server.transport("t").request("GET", path, query)

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping", "/healthz/etcd"])
def test_a_healthy_server_says_ok(path: str) -> None:
    response = get(path)
    assert (response.status, response.body) == (200, b"ok")


def test_each_check_is_told_on_request() -> None:
    text = get("/readyz", [("verbose", "")]).body.decode()
    assert text == "[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n"


def test_a_failing_check_fails_the_endpoint_and_its_reason_is_withheld() -> None:
    response = get("/readyz", unfinished=LATE)
    assert response.status == 500
    assert b"[-]poststarthook/late failed: reason withheld\n" in response.body
    assert response.body.endswith(b"readyz check failed\n")
    single = get("/readyz/poststarthook/late", unfinished=LATE)
    assert (single.status, single.body) == (500, b"internal server error: not finished\n")


def test_a_check_can_be_excluded_and_an_unknown_one_is_warned_about() -> None:
    assert get("/readyz", [("exclude", "poststarthook/late")], unfinished=LATE).status == 200
    text = get("/livez", [("verbose", ""), ("exclude", "nonsense")]).body.decode()
    assert 'warn: some health checks cannot be excluded: no matches for "nonsense"\n' in text


def test_an_unknown_check_is_not_found() -> None:
    assert get("/healthz/nonsense").status == 404


def test_metrics_are_in_the_text_format_that_every_scraper_reads() -> None:
    assert get("/metrics").header("content-type") == "text/plain; version=0.0.4; charset=utf-8"


def test_metrics_have_upstreams_names() -> None:
    async def ask() -> str:
        server, _ = wire.server()
        wire.put(server.storage, wire.pod("a"))
        transport = server.transport("t")
        await transport.request("GET", "/api/v1/namespaces/default/pods/a")
        return (await transport.request("GET", "/metrics")).body.decode()

    text = asyncio.run(ask())
    assert 'apiserver_storage_objects{resource="pods"} 1.0' in text
    counted = next(line for line in text.splitlines() if line.startswith("apiserver_request_total{"))
    assert 'resource="pods"' in counted
    assert counted.endswith(" 1.0")
    for name in (
        "apiserver_request_duration_seconds_bucket",
        "apiserver_current_inflight_requests",
        "apiserver_longrunning_requests",
        "process_resident_memory_bytes",
    ):
        assert name in text
