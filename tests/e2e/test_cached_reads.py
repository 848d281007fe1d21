"""GETs of 10,000 different pods enter Python once: one verdict covers every name in a namespace."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.processes import up
from tests.support.rest import Rest

pytestmark = pytest.mark.timeout(120)

PODS = 10_000
PODS_PATH = "/api/v1/namespaces/default/pods"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    # No scheduler has that name: nothing else happens to these pods while they are read.
    "spec": {"containers": [{"name": "web", "image": "nginx"}], "schedulerName": "none"},
}
EXISTING = 500
"""The others are absent: whether a pod exists is not the verdict's question."""


def test_gets_of_ten_thousand_pods_enter_python_once(tmp_path: Path) -> None:
    with up(tmp_path, "--nodes", "0", "--storage", "memory") as cluster:
        rest = Rest(cluster.kubeconfig)
        for number in range(EXISTING):
            made = rest.request("POST", PODS_PATH, POD | {"metadata": {"name": f"pod-{number}"}})
            assert made.status == 201, made.body
        wait_for_quiet(rest)
        hits = rest.metric("kubecore_verdict_hits_total")
        calls = rest.metric("kubecore_python_calls_total")
        answers = [rest.get(f"{PODS_PATH}/pod-{number}") for number in range(PODS)]
        # A look at /metrics enters Python itself.
        entered = rest.metric("kubecore_python_calls_total") - calls - 1
        hit = rest.metric("kubecore_verdict_hits_total") - hits
        assert [answer.status for answer in answers] == [200] * EXISTING + [404] * (PODS - EXISTING)
        assert answers[7].body["metadata"]["name"] == "pod-7"
        assert entered == 1
        assert hit == PODS - 1


def wait_for_quiet(rest: Rest) -> None:
    """Until nothing enters Python between two looks but the look itself (the test's time limit ends an endless wait)."""
    before = rest.metric("kubecore_python_calls_total")
    while (now := rest.metric("kubecore_python_calls_total")) != before + 1:
        before = now
