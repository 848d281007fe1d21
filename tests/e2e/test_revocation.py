"""A right that is taken away is gone with the next request: cached reads, running watches, the scheduler."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.kubectl import Kubectl
from tests.support.processes import Up, up
from tests.support.rest import Rest

from kubecore.api import errors
from kubecore.api.scheme import core, resource
from kubecore.client.client import Client
from kubecore.cluster.controlplane import ADMIN, ControlPlane
from kubecore.cluster.loops import SCHEDULER_IDENTITY
from kubecore.cluster.options import ClusterOptions

pytestmark = pytest.mark.timeout(120)

TOKEN = "of-anna"
PATH = "/api/v1/namespaces/default/configmaps/settings"
READS = 20


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Up]:
    tokens = tmp_path / "tokens.csv"
    tokens.write_text(f"{TOKEN},anna,1\n")
    with up(tmp_path, "--nodes", "1", "--token-auth-file", str(tokens)) as running:
        yield running


@pytest.fixture
def kubectl(cluster: Up) -> Kubectl:
    return Kubectl(cluster.kubeconfig)


@pytest.fixture
def anna_may_read(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=a=1")
    kubectl("create", "role", "reader", "--verb=get,list,watch", "--resource=configmaps")
    kubectl("create", "rolebinding", "anna-reads", "--role=reader", "--user=anna")


def test_a_deleted_role_binding_ends_cached_reads(cluster: Up, kubectl: Kubectl, anna_may_read: None) -> None:
    anna, admin = Rest(cluster.kubeconfig, token=TOKEN), Rest(cluster.kubeconfig)
    assert anna.get(PATH).status == 200
    hits = admin.metric("kubecore_verdict_hits_total")
    for _ in range(READS):
        assert anna.get(PATH).body["data"] == {"a": "1"}
    assert admin.metric("kubecore_verdict_hits_total") - hits >= READS
    kubectl("delete", "rolebinding", "anna-reads")
    refused = anna.get(PATH)
    assert refused.status == 403
    assert refused.body["reason"] == "Forbidden"
    assert refused.body["message"] == (
        'configmaps "settings" is forbidden: User "anna" cannot get resource "configmaps" in API group "" '
        'in the namespace "default"'
    )


def test_a_running_watch_ends_with_the_right_to_it(cluster: Up, kubectl: Kubectl, anna_may_read: None) -> None:
    watch = Rest(cluster.kubeconfig, token=TOKEN).stream(
        "/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name=settings"
    )
    assert watch.status == 200
    assert json.loads(watch.readline())["object"]["data"] == {"a": "1"}
    kubectl("delete", "rolebinding", "anna-reads")
    # Written after the right was gone: a watch that went on would show it.
    kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"data":{"a":"secret"}}')
    rest = watch.read().decode()
    assert "secret" not in rest


def test_a_deleted_token_account_is_nobody(cluster: Up, kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "clusterrolebinding", "robot-views", "--clusterrole=view", "--serviceaccount=default:robot")
    robot = Rest(cluster.kubeconfig, token=kubectl("create", "token", "robot").stdout.strip())
    path = "/api/v1/namespaces/default/pods"
    assert [robot.get(path).status for _ in range(READS)] == [200] * READS
    kubectl("delete", "serviceaccount", "robot")
    assert robot.get(path).status == 401


async def test_the_schedulers_own_cached_read_is_refused_in_process_too() -> None:
    plane = ControlPlane(ClusterOptions(nodes=0, scheduler=False))
    await plane.start()
    try:
        admin, scheduler = plane.client(ADMIN), plane.client(SCHEDULER_IDENTITY)
        nodes, bindings = core("nodes"), resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}}
        await admin.create(nodes, node)
        await scheduler.get(nodes, "", "one")
        hits = await verdict_hits(admin)
        for _ in range(READS):
            assert (await scheduler.get(nodes, "", "one"))["metadata"]["name"] == "one"
        assert await verdict_hits(admin) - hits >= READS
        await admin.delete(bindings, "", SCHEDULER_IDENTITY)
        with pytest.raises(errors.Forbidden) as refused:
            await scheduler.get(nodes, "", "one")
        assert 'User "system:kube-scheduler" cannot get resource "nodes"' in refused.value.message
    finally:
        await plane.stop()


async def verdict_hits(client: Client) -> float:
    answer = await client.transport.request("GET", "/metrics")
    found = re.search(rb"^kubecore_verdict_hits_total (\S+)$", answer.body, re.MULTILINE)
    assert found
    return float(found[1])


def test_the_scheduler_without_its_role_binds_nothing_and_says_so(cluster: Up, kubectl: Kubectl) -> None:
    kubectl("run", "before", "--image=nginx")
    kubectl("wait", "--for=condition=Ready", "pod/before", "--timeout=60s")
    kubectl("delete", "clusterrolebinding", "system:kube-scheduler")
    kubectl("run", "after", "--image=nginx")
    cluster.process.wait_for_line(re.compile(r"system:kube-scheduler.*cannot"))
    assert kubectl("get", "pod", "after", "-o", "jsonpath={.spec.nodeName}").stdout == ""
    # A restart reconciles upstream's bootstrap policy, and what waited is bound.
    assert cluster.process.stop() == 0
    cluster.start()
    kubectl("wait", "--for=condition=Ready", "pod/after", "--timeout=60s")
