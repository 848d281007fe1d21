"""How a proxy tells of itself: health, metrics, and local endpoints to load balancers."""

from __future__ import annotations

import aiohttp

from kubecore.api.clock import SystemClock
from kubecore.proxy.health import Listener, ProxyHealth, ServiceHealth, health_application, metrics_application
from kubecore.proxy.metrics import ProxyMetrics
from support.services import NODE, OTHER_NODE, POD_A, POD_FAR, endpoint, endpoint_slice, node, proxy_world, service

TIMEOUT_SECONDS = 60.0


class Clock(SystemClock):
    at = 1_800_000_000.0

    def now(self) -> float:
        return self.at


async def get(port: int, path: str) -> tuple[int, dict[str, object], dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.json(), dict(answer.headers)


async def test_a_proxy_is_unhealthy_when_a_change_waits_too_long() -> None:
    clock = Clock()
    health = ProxyHealth(clock, timeout_seconds=TIMEOUT_SECONDS)
    listener = Listener(health_application(health, ProxyMetrics(["IPv4"])))
    await listener.open(["127.0.0.1"], 0)
    try:
        assert (await get(listener.port, "/healthz"))[0] == 200
        health.queued()
        clock.at += TIMEOUT_SECONDS - 1
        assert (await get(listener.port, "/healthz"))[0] == 200
        clock.at += 1
        status, body, _ = await get(listener.port, "/livez")
        assert (status, set(body)) == (503, {"lastUpdated", "currentTime"})
        health.updated()
        health.node_changed({**node(), "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler"}]}})
        status, body, _ = await get(listener.port, "/healthz")
        assert (status, body["nodeEligible"]) == (503, False)
        assert (await get(listener.port, "/livez"))[0] == 200
    finally:
        await listener.close()


async def test_metrics_have_upstreams_names() -> None:
    metrics = ProxyMetrics(["IPv4", "IPv6"])
    metrics.synced(0.01, full=True, at=1.0)
    listener = Listener(metrics_application(metrics, "nftables"))
    await listener.open(["127.0.0.1"], 0)
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{listener.port}"
            text = await (await session.get(f"{url}/metrics")).text()
            assert await (await session.get(f"{url}/proxyMode")).text() == "nftables"
    finally:
        await listener.close()
    for name in (
        'kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1.0',
        'kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv6"} 1.0',
        'kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 1.0',
        "kubeproxy_sync_proxy_rules_service_changes_total 0.0",
        "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0.0",
    ):
        assert name in text


async def test_load_balancers_learn_whether_a_node_has_endpoints() -> None:
    counts = {"default/web": 2}
    failed: list[str] = []
    health = ServiceHealth(ProxyHealth(Clock(), timeout_seconds=60), lambda key, port, failure: failed.append(key))
    probe = Listener(metrics_application(ProxyMetrics(["IPv4"]), ""))
    await probe.open(["127.0.0.1"], 0)
    taken = probe.port
    try:
        await health.sync({"default/busy": taken}, counts.__getitem__, ["127.0.0.1"])
        assert failed == ["default/busy"]
    finally:
        await probe.close()
    try:
        await health.sync({"default/web": taken}, counts.__getitem__, ["127.0.0.1"])
        status, body, headers = await get(taken, "/")
        assert status == 200
        assert body["service"] == {"namespace": "default", "name": "web"}
        assert (body["localEndpoints"], headers["X-Load-Balancing-Endpoint-Weight"]) == (2, "2")
        counts["default/web"] = 0
        await health.sync({"default/web": taken}, counts.__getitem__, ["127.0.0.1"])
        assert (await get(taken, "/"))[0] == 503
    finally:
        await health.close()


async def test_the_nodes_answer_for_a_service_follows_its_endpoints() -> None:
    async with proxy_world() as here:
        spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}
        await here.put(service(**spec), endpoint_slice(endpoint(POD_A, NODE)))
        assert (await here.status("198.18.0.11", 32000)) == 200
        await here.put(endpoint_slice(endpoint(POD_FAR, OTHER_NODE)))
        assert (await here.status("198.18.0.11", 32000)) == 503
