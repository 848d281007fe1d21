"""What real nodes, pods and containers use: counted by the kernel, told by the kubelet, shown by top and by the page."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from prometheus_client.parser import text_string_to_metric_families
from tests.support.browser import address, chromium, opened
from tests.support.kubectl import VERSIONS, Kubectl
from tests.support.processes import Up, kubecore, up

pytestmark = pytest.mark.timeout(180)

IMAGES = """
images:
- {name: box, root: host, command: [sh]}
"""
# `busy` spins a third of the time, and holds and writes what it can be held to.
PODS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: green}
---
apiVersion: v1
kind: Pod
metadata: {name: busy, labels: {app: busy}}
spec:
  nodeName: node-0
  terminationGracePeriodSeconds: 0
  volumes:
  - {name: data, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  containers:
  - name: work
    image: box
    command:
    - python3
    - -uc
    - |
      import time
      held = bytearray(40 << 20)
      open("/data/big", "wb").write(bytes(3 << 20))
      open("/written", "wb").write(bytes(2 << 20))
      number = 0
      while True:
          number += 1
          print("round", number)
          until = time.monotonic() + 0.1
          while time.monotonic() < until: pass
          time.sleep(0.2)
    resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 256Mi}}
    readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
    volumeMounts: [{name: data, mountPath: /data}, {name: settings, mountPath: /settings}]
  - {name: idle, image: box, command: [sleep, "100000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: calm}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 0
  containers: [{name: idle, image: box, command: [sleep, "100000"]}]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    directory = tmp_path_factory.mktemp("cluster")
    images = directory / "images.yaml"
    images.write_text(IMAGES)
    own = f"--cluster-name=kct-{secrets.token_hex(3)}"
    with up(directory, "--nodes=2", "--runtime=process", "--storage=memory", own, f"--images={images}") as started:
        kubectl = Kubectl(started.kubeconfig)
        kubectl("apply", "-f", "-", stdin=PODS)
        kubectl("wait", "--for=condition=Ready", "pod/busy", "pod/calm", "--timeout=60s")
        yield started


@pytest.fixture
def kubectl(cluster: Up) -> Kubectl:
    return Kubectl(cluster.kubeconfig)


def until(read: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """What is read once it is good: figures are taken every so often (the test's own limit ends an endless wait)."""
    while not good(found := read()):
        time.sleep(0.3)
    return found


def _rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def _page(kubectl: Kubectl, node: str, path: str) -> str:
    return kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy{path}").stdout


def _pod(kubectl: Kubectl, name: str) -> dict[str, Any]:
    shown = json.loads(_page(kubectl, "node-0", "/stats/summary"))
    found: dict[str, Any] = next((pod for pod in shown["pods"] if pod["podRef"]["name"] == name), {})
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_top_shows_what_the_kernel_counted(cluster: Up, version: str) -> None:
    kubectl = Kubectl(cluster.kubeconfig, version)

    def busy() -> list[str]:
        # At first there are none, of which kubectl makes an error.
        rows = _rows(kubectl("top", "pod", "--containers", "--sort-by=cpu", code=None).stdout)
        assert rows[:1] in ([], [["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]])
        return next((row for row in rows if row[:2] == ["busy", "work"]), ["", "", "0m", "0Mi"])

    row = until(busy, lambda row: int(row[2][:-1]) >= 150 and int(row[3][:-2]) >= 40)
    assert int(row[2][:-1]) < 1000
    assert int(row[3][:-2]) < 120
    rows = {row[0]: row for row in _rows(kubectl("top", "node").stdout)[1:]}
    assert set(rows) == {"node-0", "node-1"}
    assert int(rows["node-0"][1][:-1]) > int(rows["node-1"][1][:-1]), "a node uses what its own pods use"
    ours = _rows(kubecore("top", "pod", "--containers", kubeconfig=cluster.kubeconfig).stdout)
    assert [row[:2] for row in ours] == [["POD", "NAME"], ["busy", "idle"], ["busy", "work"], ["calm", "idle"]]


def test_the_summary_has_disks_networks_and_processes(kubectl: Kubectl) -> None:
    pod = until(lambda: _pod(kubectl, "busy"), lambda pod: len(pod.get("volume", ())) >= 2)
    work = next(container for container in pod["containers"] if container["name"] == "work")
    assert work["rootfs"]["usedBytes"] >= 2 << 20
    assert work["logs"]["usedBytes"] > 0
    assert 40 << 20 <= work["memory"]["workingSetBytes"] <= 256 << 20
    assert work["memory"]["availableBytes"] == (256 << 20) - work["memory"]["workingSetBytes"]
    volumes = {volume["name"]: volume["usedBytes"] for volume in pod["volume"]}
    assert {"data", "settings"} <= set(volumes)
    assert volumes["data"] >= 3 << 20
    assert pod["ephemeral-storage"]["usedBytes"] >= 5 << 20
    assert pod["network"]["name"] == "eth0"
    assert pod["process_stats"]["process_count"] >= 2
    small = json.loads(_page(kubectl, "node-0", "/stats/summary?only_cpu_and_memory=true"))
    assert "fs" not in small["node"]
    assert "network" not in small["pods"][0]


def test_monitoring_reads_upstreams_metrics(kubectl: Kubectl) -> None:
    def samples(path: str) -> dict[str, list[dict[str, str]]]:
        found: dict[str, list[dict[str, str]]] = {}
        for family in text_string_to_metric_families(_page(kubectl, "node-0", path)):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.labels)
        return found

    work = {"namespace": "default", "pod": "busy", "container": "work"}
    resource = samples("/metrics/resource")
    assert work in resource["container_cpu_usage_seconds_total"]
    assert {"namespace": "default", "pod": "busy"} in resource["pod_memory_working_set_bytes"]
    advisor = samples("/metrics/cadvisor")
    labels = next(each for each in advisor["container_memory_working_set_bytes"] if each["container"] == "work")
    assert "/box" in labels["image"]
    assert re.fullmatch(r"/kubepods/burstable/pod[0-9a-f-]+/.+", labels["id"])
    probed = until(lambda: samples("/metrics/probes").get("prober_probe_total", []), bool)
    assert {"container": "work", "probe_type": "Readiness", "result": "successful"}.items() <= probed[0].items()


def test_who_may_not_see_the_node_may_not_see_its_figures(kubectl: Kubectl) -> None:
    refused = kubectl("get", "--raw", "/api/v1/nodes/node-0/proxy/stats/summary", "--as", "anna", code=1)
    assert 'nodes "node-0" is forbidden' in refused.stderr


def test_the_page_follows_a_log_and_charts_from_the_kubelets_history(
    cluster: Up, kubectl: Kubectl, tmp_path: Any
) -> None:
    until(lambda: json.loads(_page(kubectl, "node-0", "/stats/history"))["points"], lambda points: len(points) >= 3)
    with chromium(tmp_path / "chromium") as browser:
        tab = opened(browser, address(cluster, "--role", "cluster-admin"))
        page = tab.go("pods/default/busy")
        expect(page.locator(".container").first).to_contain_text(re.compile(r"Uses\d+m, \d+"))
        expect(page.locator(".plot.cpu .line")).to_be_attached()
        tab.shot("real-pod")
        page.get_by_role("tab", name="Logs").click()
        expect(page.locator(".log div").first).to_contain_text(re.compile(r"round \d+"))
        before = page.locator(".log div").last.text_content() or ""
        expect(page.locator(".log div").last).not_to_have_text(before)
        tab.shot("real-log")
        tab.go("nodes/node-0")
        # Three points at ten seconds' distance: they are from before the page.
        expect(page.locator(".plot.memory .line")).to_have_attribute("d", re.compile("L.*L"))
        tab.shot("real-node-dark", dark=True)
        assert tab.complaints == []
