"""What the kubelet's pages of figures say."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.figures import SECOND, START, FiguresRuntime, make_proc

from kubecore.kubelet.stats import NodeReader, PodDirectories, ProbeMetrics, Sampler, StatsPages
from kubecore.kubelet.stats.history import HISTORY_POINTS_MAX, SERIES_MAX, History, Point, Rates
from kubecore.kubelet.stats.samples import PodKey


class Bench:
    """A sampler over made-up figures, its clock in the test's hand."""

    def __init__(self, directory: Path) -> None:
        self.now_ns = [START + 100 * SECOND]
        self.directory = directory
        self.runtime = FiguresRuntime(self.now_ns, directory)
        self.proc = make_proc(directory)
        self.probes = ProbeMetrics()
        self.known: list[dict[str, Any]] = []
        self.sampler = Sampler(
            self.runtime,  # type: ignore[arg-type]  # only what figures need
            NodeReader(root_directory=directory, proc=self.proc, etc=directory, now_ns=lambda: self.now_ns[0]),
            lambda: self.known,
            PodDirectories(root_directory=directory / "root", log_directory=directory / "logs"),
            clock=self,
        )
        self.walked = asyncio.Event()
        measure_disks = self.sampler.measure_disks

        async def measured() -> None:
            await measure_disks()
            self.walked.set()

        self.sampler.measure_disks = measured  # type: ignore[method-assign]
        self.pages = StatsPages(self.sampler, self.probes, node_name="node-0")

    def now(self) -> float:
        return self.now_ns[0] / SECOND

    def monotonic(self) -> float:
        return self.now()

    def advance(self, seconds: float) -> None:
        self.now_ns[0] += int(seconds * SECOND)

    def text(self, path: str, **query: str) -> str:
        page = asyncio.run(self.pages.page(path, query))
        assert page is not None
        return page.body.decode()

    def json(self, path: str, **query: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.text(path, **query))
        return read

    def values(self, path: str) -> dict[tuple[str, str], float]:
        """(metric, label values joined) → value."""
        return {
            (sample.name, ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()) if value)): (
                sample.value
            )
            for family in text_string_to_metric_families(self.text(path))
            for sample in family.samples
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_node_is_what_proc_says(bench: Bench) -> None:
    node = bench.json("/stats/summary")["node"]
    assert node["nodeName"] == "node-0"
    assert node["cpu"]["usageCoreNanoSeconds"] == (100 + 10 + 50 + 0 + 5 + 5) * 10_000_000
    assert node["memory"]["usageBytes"] == 5_000 * 1024
    assert node["memory"]["workingSetBytes"] == 4_000 * 1024
    assert node["memory"]["availableBytes"] == 4_000 * 1024
    assert node["memory"]["rssBytes"] == 900 * 1024
    assert (node["memory"]["pageFaults"], node["memory"]["majorPageFaults"]) == (4000, 12)
    assert node["swap"]["swapUsageBytes"] == 300 * 1024
    assert node["rlimit"]["maxpid"] == 32768
    assert node["rlimit"]["curproc"] == 321
    assert node["network"]["name"] == "eth0"
    assert [each["name"] for each in node["network"]["interfaces"]] == ["eth0"], "no pod's end of a cable"
    assert (node["network"]["rxBytes"], node["network"]["txErrors"]) == (1000, 3)
    assert node["startTime"] == "2023-11-14T21:56:40Z"
    assert node["fs"]["capacityBytes"] >= node["fs"]["availableBytes"] > 0
    assert node["runtime"]["imageFs"]["usedBytes"] == 5_000
    kubelet = node["systemContainers"][0]
    assert kubelet["name"] == "kubelet"
    assert kubelet["cpu"]["usageCoreNanoSeconds"] == 2_000_000_000


def test_a_pods_figures_are_the_runtimes(bench: Bench) -> None:
    bench.runtime.pods["shop", "web"] = {"app": 4.0, "side": 1.0}
    pod = bench.json("/stats/summary")["pods"][0]
    assert pod["podRef"] == {"name": "web", "namespace": "shop", "uid": "uid-web"}
    assert pod["cpu"]["usageCoreNanoSeconds"] == 5 * SECOND
    assert pod["memory"]["availableBytes"] == 80_000
    assert pod["network"]["interfaces"][0]["txBytes"] == 22
    assert pod["process_stats"] == {"process_count": 3}
    app = pod["containers"][0]
    assert app["name"] == "app"
    assert app["rootfs"]["usedBytes"] == 700
    assert app["memory"]["workingSetBytes"] == 10_000


def test_a_runtime_that_does_not_count_pods_gives_their_containers_together(bench: Bench) -> None:
    bench.runtime.pods["shop", "web"] = {"app": 4.0, "side": 1.0}
    bench.runtime.counts_pods = False
    pod = bench.json("/stats/summary")["pods"][0]
    assert pod["cpu"]["usageCoreNanoSeconds"] == 5 * SECOND
    assert pod["memory"]["workingSetBytes"] == 20_000


def test_only_cpu_and_memory_leaves_the_rest_out(bench: Bench) -> None:
    bench.runtime.pods["shop", "web"] = {"app": 4.0}
    shown = bench.json("/stats/summary", only_cpu_and_memory="true")
    assert set(shown["node"]) == {"nodeName", "systemContainers", "startTime", "cpu", "memory", "swap"}
    assert set(shown["pods"][0]) == {"podRef", "startTime", "containers", "cpu", "memory", "swap"}
    assert set(shown["pods"][0]["containers"][0]) == {"name", "startTime", "cpu", "memory", "swap"}


def test_the_rate_of_a_container_seen_once_is_over_its_life(bench: Bench) -> None:
    bench.runtime.pods["shop", "web"] = {"app": 50.0}
    pod = bench.json("/stats/summary")["pods"][0]
    assert pod["containers"][0]["cpu"]["usageNanoCores"] == 500_000_000


def test_the_rate_of_a_container_seen_often_is_of_late(bench: Bench) -> None:
    bench.runtime.pods["shop", "web"] = {"app": 50.0}
    bench.text("/stats/summary")
    bench.advance(10)
    bench.runtime.pods["shop", "web"] = {"app": 52.0}
    pod = bench.json("/stats/summary")["pods"][0]
    assert pod["containers"][0]["cpu"]["usageNanoCores"] == 200_000_000


def test_who_asks_twice_in_a_moment_gets_one_sample(bench: Bench) -> None:
    bench.runtime.pods["shop", "web"] = {"app": 1.0}
    first = bench.json("/stats/summary")
    bench.runtime.pods["shop", "late"] = {"app": 1.0}
    assert bench.json("/stats/summary") == first
    bench.advance(1)
    assert len(bench.json("/stats/summary")["pods"]) == 2


def test_a_runtime_that_is_away_costs_the_pods_figures_only(bench: Bench) -> None:
    bench.runtime.failure = "no such socket"
    shown = bench.json("/stats/summary")
    assert shown["pods"] == []
    assert shown["node"]["memory"]["usageBytes"] > 0
    assert bench.values("/metrics/resource")["resource_scrape_error", ""] == 1
    assert bench.values("/metrics/cadvisor")["container_scrape_error", ""] == 1


def test_resource_metrics_have_upstreams_names_and_labels(bench: Bench) -> None:
    bench.runtime.pods["shop", "web"] = {"app": 4.0}
    values = bench.values("/metrics/resource")
    container, pod = "container=app,namespace=shop,pod=web", "namespace=shop,pod=web"
    assert values["container_cpu_usage_seconds_total", container] == 4.0
    assert values["container_memory_working_set_bytes", container] == 10_000
    assert values["container_start_time_seconds", container] == START / SECOND
    assert values["container_swap_usage_bytes", container] == values["pod_swap_usage_bytes", pod] == 600
    assert values["pod_cpu_usage_seconds_total", pod] == 4.0
    assert values["pod_memory_working_set_bytes", pod] == 10_000
    assert values["node_cpu_usage_seconds_total", ""] == 1.7
    assert values["node_memory_working_set_bytes", ""] == 4_000 * 1024
    assert values["node_swap_usage_bytes", ""] == 300 * 1024
    assert values["resource_scrape_error", ""] == 0
    text = bench.text("/metrics/resource")
    assert "# TYPE container_cpu_usage_seconds_total counter" in text
    assert f'pod="web"}} 4.0 {bench.now_ns[0] // 1_000_000}' in text


def test_cadvisor_metrics_tell_node_pod_and_container_apart(bench: Bench) -> None:
    bench.runtime.pods["shop", "web"] = {"app": 4.0}
    bench.known = [{"metadata": {"uid": "uid-web"}, "status": {"qosClass": "Burstable"}}]
    values = bench.values("/metrics/cadvisor")
    pod = "id=/kubepods/burstable/poduid-web,namespace=shop,pod=web"
    container = (
        "container=app,id=/kubepods/burstable/poduid-web/web-app,image=app:1,name=web-app,namespace=shop,pod=web"
    )
    assert values["container_cpu_usage_seconds_total", "cpu=total,id=/"] == 1.7
    assert values["container_memory_working_set_bytes", pod] == 10_000
    assert values["container_memory_rss", container] == 5_000
    assert values["container_processes", container] == 2
    assert values["container_cpu_user_seconds_total", container] == 1.0
    assert values["container_cpu_cfs_periods_total", container] == 90
    assert values["container_cpu_cfs_throttled_periods_total", container] == 9
    assert values["container_cpu_cfs_throttled_seconds_total", container] == 3.0
    assert ("container_cpu_cfs_periods_total", pod) not in values, "without a quota there are none"
    assert values["container_memory_cache", container] == 1_500
    assert values["container_memory_swap", container] == 600
    assert values["container_spec_cpu_shares", container] == 256
    assert values["container_spec_cpu_quota", container] == 50_000
    assert values["container_cpu_system_seconds_total", "id=/"] == 0.5
    failures = container.replace("id=", "failure_type=pgmajfault,id=").replace("pod=web", "pod=web,scope=container")
    assert values["container_memory_failures_total", failures] == 4
    interface = pod.replace(",namespace", ",interface=eth0,namespace")
    assert values["container_network_transmit_bytes_total", interface] == 22
    assert values["container_network_transmit_packets_dropped_total", interface] == 5
    assert values["container_fs_usage_bytes", container] == 700
    assert values["container_spec_memory_limit_bytes", container] == 100_000
    assert [value for (name, _), value in values.items() if name == "machine_memory_bytes"] == [8_000 * 1024]


def test_probes_are_counted_by_result_and_forgotten_with_their_pod(bench: Bench) -> None:
    pod = PodKey("shop", "web", "uid-web")
    bench.probes.note(pod, "app", "Readiness", "successful", duration_seconds=0.02)
    bench.probes.note(pod, "app", "Readiness", "failed", duration_seconds=3.0)
    bench.probes.note(pod, "app", "Readiness", "unknown", duration_seconds=1.0)
    values = bench.values("/metrics/probes")
    labels = "container=app,namespace=shop,pod=web,{}probe_type=Readiness{}"
    for result in ("successful", "failed", "unknown"):
        assert values["prober_probe_total", labels.format("pod_uid=uid-web,", f",result={result}")] == 1
    assert values["prober_probe_duration_seconds_count", labels.format("", "")] == 2
    small = "container=app,le=0.025,namespace=shop,pod=web,probe_type=Readiness"
    assert values["prober_probe_duration_seconds_bucket", small] == 1
    bench.probes.forget("uid-web")
    assert bench.values("/metrics/probes") == {}


def test_volumes_and_logs_are_measured_by_walking_them(bench: Bench) -> None:
    bench.runtime.pods["shop", "web"] = {"app": 1.0}
    data = bench.directory / "root/pods/uid-web/volumes/kubernetes.io~empty-dir/data"
    settings = bench.directory / "root/pods/uid-web/volumes/kubernetes.io~configmap/settings"
    logs = bench.directory / "logs/shop_web_uid-web/app"
    for directory in (data / "below", settings, logs):
        directory.mkdir(parents=True)
    (data / "below" / "big").write_bytes(b"x" * 100_000)
    (data / "again").hardlink_to(data / "below" / "big")
    (logs / "0.log").write_bytes(b"y" * 10_000)

    async def measure() -> None:
        await bench.sampler.take()
        await bench.sampler.measure_disks()
        await bench.sampler.take()

    asyncio.run(measure())
    pod = bench.json("/stats/summary")["pods"][0]
    volumes = {volume["name"]: volume for volume in pod["volume"]}
    assert set(volumes) == {"data", "settings"}
    assert 100_000 <= volumes["data"]["usedBytes"] < 200_000, "what has two names is counted once"
    assert volumes["data"]["inodesUsed"] == 3
    assert pod["containers"][0]["logs"]["usedBytes"] >= 10_000
    assert pod["ephemeral-storage"]["usedBytes"] >= 110_700


def test_the_history_is_short_and_ends_with_the_pod() -> None:
    history = History()
    for second in range(HISTORY_POINTS_MAX + 10):
        history.note({"pod": Point(second, second, 1), "node": Point(second, None, 2)})
    assert len(history.of("pod")) == HISTORY_POINTS_MAX
    assert history.of("pod")[-1].time == HISTORY_POINTS_MAX + 9
    history.note({"node": Point(1_000, 1, 1)})
    assert history.of("pod") == []
    history.note({f"pod-{number}": Point(1_001, 1, 1) for number in range(SERIES_MAX + 5)})
    assert history.of(f"pod-{SERIES_MAX - 1}")
    assert not history.of(f"pod-{SERIES_MAX}")


def test_a_counter_that_began_anew_gives_no_negative_rate() -> None:
    rates = Rates()
    rates.note("c", 10 * SECOND, 8 * SECOND)
    rates.note("c", 20 * SECOND, 1 * SECOND)
    assert rates.nanocores("c", started_at=0) is None
    assert rates.nanocores("c", started_at=18 * SECOND) == (500_000_000, 2.0)


def test_the_history_page_has_the_nodes_and_the_pods_points(bench: Bench) -> None:
    bench.runtime.pods["shop", "web"] = {"app": 50.0}

    async def one_round() -> None:
        running = asyncio.create_task(bench.sampler.run())
        await bench.walked.wait()
        running.cancel()

    asyncio.run(one_round())
    at = bench.now_ns[0] // SECOND
    assert bench.json("/stats/history", pod="uid-web")["points"] == [[at, 500_000_000, 10_000]]
    assert bench.json("/stats/history", pod="uid-web", container="app")["points"] == [[at, 500_000_000, 10_000]]
    assert bench.json("/stats/history")["points"] == [[at, None, 4_000 * 1024]]


def test_a_path_that_is_none_is_none(bench: Bench) -> None:
    assert asyncio.run(bench.pages.page("/stats/other", {})) is None
