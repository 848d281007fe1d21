"""`top` as people type it: kubectl of several versions and kubecore, simulated nodes that say what they use."""

from __future__ import annotations

from tests.support.kubectl import Kubectl
from tests.support.processes import Up, kubecore

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: {name}}}
  annotations: {{kwok.x-k8s.io/usage-cpu: "{cpu}", kwok.x-k8s.io/usage-memory: "{memory}"}}
spec:
  containers: [{{name: one, image: x}}, {{name: two, image: x}}]
"""


def _pods(kubectl: Kubectl, namespace: str) -> None:
    manifests = "---".join(
        POD.format(name=name, cpu=cpu, memory=memory)
        for name, cpu, memory in (("small", "20m", "64Mi"), ("big", "300m", "16Mi"))
    )
    kubectl("apply", "-n", namespace, "-f", "-", stdin=manifests)
    kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Running", "pod", "--all", "--timeout=30s")


def _rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_top_pod_shows_containers_and_sorts(any_kubectl: Kubectl, namespace: str) -> None:
    _pods(any_kubectl, namespace)
    shown = any_kubectl("top", "pod", "-n", namespace, "--containers", "--sort-by=cpu")
    assert _rows(shown.stdout) == [
        ["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"],
        ["big", "one", "300m", "16Mi"],
        ["big", "two", "300m", "16Mi"],
        ["small", "one", "20m", "64Mi"],
        ["small", "two", "20m", "64Mi"],
    ]
    by_memory = _rows(any_kubectl("top", "pod", "-n", namespace, "--sort-by=memory").stdout)
    assert [row[0] for row in by_memory] == ["NAME", "small", "big"]
    assert _rows(any_kubectl("top", "pod", "-n", namespace, "-l", "app=big", "--no-headers").stdout) == [
        ["big", "600m", "32Mi"]
    ]


def test_top_node_shows_shares_and_who_is_silent(any_kubectl: Kubectl, namespace: str) -> None:
    _pods(any_kubectl, namespace)
    rows = _rows(any_kubectl("top", "node").stdout)
    assert len(rows) == 3, "a header, and both nodes"
    busy = {row[0]: row[1:] for row in rows[1:] if row[1] != "<unknown>"}
    assert busy, "the pods are somewhere"
    for row in busy.values():
        assert row[0].endswith("m")
        assert row[1].endswith("%")
        assert row[2].endswith("Mi")


def test_metrics_are_shown_as_metrics_server_shows_them(kubectl: Kubectl, namespace: str) -> None:
    _pods(kubectl, namespace)
    shown = _rows(kubectl("get", "podmetrics", "-n", namespace).stdout)
    assert shown == [
        ["NAME", "CPU", "MEMORY", "WINDOW"],
        ["big", "600m", "32Mi", "10s"],
        ["small", "40m", "128Mi", "10s"],
    ]


def test_who_may_view_a_namespace_may_see_what_its_pods_use(kubectl: Kubectl, namespace: str) -> None:
    _pods(kubectl, namespace)
    account = f"system:serviceaccount:{namespace}:looker"
    refused = kubectl("top", "pod", "-n", namespace, "--as", account, code=1)
    assert "pods.metrics.k8s.io is forbidden" in refused.stderr
    kubectl("create", "serviceaccount", "looker", "-n", namespace)
    kubectl(
        *("create", "rolebinding", "looker", "-n", namespace, "--clusterrole=view"),
        f"--serviceaccount={namespace}:looker",
    )
    assert len(_rows(kubectl("top", "pod", "-n", namespace, "--as", account).stdout)) == 3


def test_kubecore_top_prints_what_kubectl_prints(cluster: Up, kubectl: Kubectl, namespace: str) -> None:
    _pods(kubectl, namespace)
    for asked in (
        ("top", "pod", "-n", namespace, "--containers", "--sort-by=cpu"),
        ("top", "pods", "-n", namespace, "-l", "app=big"),
        ("top", "po", "small", "-n", namespace),
    ):
        ours = kubecore(*asked, kubeconfig=cluster.kubeconfig)
        assert _rows(ours.stdout) == _rows(kubectl(*asked).stdout), ours.stderr
    node = kubecore("top", "node", kubeconfig=cluster.kubeconfig).stdout
    assert _rows(node)[0] == ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]
    missing = kubecore("top", "pod", "none", "-n", namespace, kubeconfig=cluster.kubeconfig)
    assert missing.returncode == 1
    assert 'pods "none" not found' in missing.stderr


def test_scripts_that_wait_for_the_metrics_api_find_it(any_kubectl: Kubectl) -> None:
    any_kubectl("wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io", "--timeout=10s")
    shown = _rows(any_kubectl("get", "apiservice", "v1beta1.metrics.k8s.io", "--no-headers").stdout)
    assert shown[0][:3] == ["v1beta1.metrics.k8s.io", "Local", "True"]
