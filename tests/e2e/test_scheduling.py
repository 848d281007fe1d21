"""The scheduler from outside: preemption with stock kubectl, explain-pod, plan."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from tests.support.kubectl import Kubectl
from tests.support.processes import Up, kubecore, up

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("cluster"), "--nodes", "2", "--storage", "memory") as running:
        yield running


@pytest.fixture(scope="module")
def kubectl(cluster: Up) -> Kubectl:
    return Kubectl(cluster.kubeconfig)


def pod(name: str, *, cpu: str = "100m", **spec: object) -> str:
    container = {"name": "c", "image": "nginx", "resources": {"requests": {"cpu": cpu}}}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **spec},
        }
    )


def test_a_more_important_pod_takes_the_place_of_a_lesser_one(kubectl: Kubectl) -> None:
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 9}
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(priority))
    cpu = json.loads(kubectl("get", "nodes", "-o", "json").stdout)["items"][0]["status"]["allocatable"]["cpu"]
    for name in ("low-0", "low-1"):
        kubectl("apply", "-f", "-", stdin=pod(name, cpu=cpu))
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")
    kubectl("apply", "-f", "-", stdin=pod("high", cpu=cpu, priorityClassName="high"))
    kubectl("wait", "--for=condition=Ready", "pod/high", "--timeout=60s")
    left = kubectl("get", "pods", "-o", "name").stdout.split()
    assert len([name for name in left if "low" in name]) == 1
    events = json.loads(kubectl("get", "events", "-o", "json").stdout)["items"]
    (preempted,) = [event for event in events if event["reason"] == "Preempted"]
    uid = kubectl("get", "pod", "high", "-o", "jsonpath={.metadata.uid}").stdout
    assert preempted["message"].startswith(f"Preempted by pod {uid} on node ")
    kubectl("delete", "pods", "--all", "--now")


def test_explain_pod_says_why_a_pod_waits_and_where_one_would_go(cluster: Up, kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("picky", nodeSelector={"disk": "ssd"}))
    kubectl("apply", "-f", "-", stdin=pod("plain"))
    kubectl("wait", "--for=condition=Ready", "pod/plain", "--timeout=30s")
    said = kubecore("explain-pod", "picky", kubeconfig=cluster.kubeconfig)
    assert said.returncode == 2
    assert "Pod default/picky would go nowhere." in said.stdout
    assert "NodeAffinity  2 node(s) didn't match Pod's node affinity/selector" in said.stdout
    told = kubecore("explain-pod", "plain", "-o", "json", kubeconfig=cluster.kubeconfig)
    assert told.returncode == 0, told.stderr
    explanation = json.loads(told.stdout)
    assert explanation["node"] in {node["node"] for node in explanation["nodes"]}
    assert {score["plugin"] for score in explanation["nodes"][0]["scores"]} >= {"NodeResourcesFit", "InterPodAffinity"}
    kubectl("delete", "pods", "--all", "--now")


def test_plan_touches_nothing_and_exits_2_when_something_would_not_fit(cluster: Up, kubectl: Kubectl) -> None:
    def plan(manifest: str, *arguments: str, code: int) -> str:
        done = kubecore("plan", "-f", "-", *arguments, kubeconfig=cluster.kubeconfig, stdin=manifest)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    node, *_ = kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").stdout.split()
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "c", "image": "nginx"}],
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
        },
    }
    deployment = yaml.safe_dump(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        }
    )
    assert "2 placed, 1 pending" in plan(deployment, code=2)
    assert "3 placed, 0 pending" in plan(deployment, "--nodes", "+1", node, code=0)
    assert "1 placed, 2 pending" in plan(deployment, "--without", node, code=2)
    assert "would fit" in plan(pod("one", cpu="1"), "--capacity", code=0)
    assert kubectl("get", "pods", "-o", "name").stdout == ""
