"""The Tomcat and MySQL example, driven once by kubecore and once by kubectl, and carried over a crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.kubectl import VERSIONS, Kubectl
from tests.support.processes import Up, kubecore, up

pytestmark = pytest.mark.timeout(180)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
Driver = Callable[..., str]


def _kubecore(cluster: Up) -> Driver:
    def drive(*arguments: str) -> str:
        done = kubecore(*arguments, kubeconfig=cluster.kubeconfig)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return drive


def _kubectl(version: str) -> Callable[[Up], Driver]:
    def make(cluster: Up) -> Driver:
        kubectl = Kubectl(cluster.kubeconfig, version)
        return lambda *arguments: kubectl(*arguments).stdout

    return make


DRIVERS: dict[str, Callable[[Up], Driver]] = {
    "kubecore": _kubecore,
    "kubectl": _kubectl(""),
    **{f"kubectl-{version}": _kubectl(version) for version in VERSIONS},
}


def _json(text: str) -> Any:
    return json.loads(text)


@pytest.mark.parametrize("driver_name", DRIVERS)
def test_the_example_runs_and_scales(driver_name: str, tmp_path: Path) -> None:
    with up(tmp_path, "--nodes", "2") as cluster:
        drive = DRIVERS[driver_name](cluster)
        drive("apply", "-f", str(EXAMPLES))
        wait = Kubectl(cluster.kubeconfig)
        wait("wait", "--for=jsonpath={.status.readyReplicas}=1", "rc/mysql", "--timeout=60s")
        wait("wait", "--for=jsonpath={.status.readyReplicas}=2", "rc/myweb", "--timeout=60s")
        drive("scale", "rc", "mysql", "--replicas=2")
        wait("wait", "--for=jsonpath={.status.readyReplicas}=2", "rc/mysql", "--timeout=60s")

        pods = _json(drive("get", "pods", "-o", "json"))["items"]
        assert sorted(pod["metadata"]["labels"]["app"] for pod in pods) == ["mysql", "mysql", "myweb", "myweb"]
        assert {pod["status"]["phase"] for pod in pods} == {"Running"}
        service = _json(drive("get", "svc", "myweb", "-o", "json"))["spec"]
        assert (service["type"], service["ports"][0]["nodePort"]) == ("NodePort", 30001)
        wait("wait", "--for=jsonpath={.subsets[0].addresses[1].ip}", "endpoints/myweb", "--timeout=30s", code=None)
        addresses = {pod["status"]["podIP"] for pod in pods if pod["metadata"]["labels"]["app"] == "myweb"}
        endpoints = _json(drive("get", "endpoints", "myweb", "-o", "json"))["subsets"][0]["addresses"]
        assert {address["ip"] for address in endpoints} == addresses
        assert "Successfully assigned" in drive("describe", "pods", "-l", "app=mysql")
        drive("delete", "-f", str(EXAMPLES))
        wait("wait", "--for=delete", "pods", "--all", "--timeout=60s")


def test_what_was_acknowledged_survives_kill_minus_nine(tmp_path: Path) -> None:
    with up(tmp_path, "--nodes", "2") as cluster:
        kubectl = Kubectl(cluster.kubeconfig)
        kubectl("apply", "-f", str(EXAMPLES))
        kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "rc/myweb", "--timeout=60s")
        before = {
            pod["metadata"]["uid"]: pod["spec"]["nodeName"]
            for pod in _json(kubectl("get", "pods", "-o", "json").stdout)["items"]
        }
        cluster.process.kill()
        cluster.start()
        after = {
            pod["metadata"]["uid"]: pod["spec"]["nodeName"]
            for pod in _json(kubectl("get", "pods", "-o", "json").stdout)["items"]
        }
        assert before == after
        kubectl("scale", "rc/myweb", "--replicas=3")
        kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "rc/myweb", "--timeout=60s")


def test_ctrl_c_ends_clean(tmp_path: Path) -> None:
    with up(tmp_path, "--nodes", "1") as cluster:
        assert cluster.process.stop() == 0
        assert not (tmp_path / "data" / "kubecore.run").exists()
