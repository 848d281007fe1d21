"""kubecore in a Python program: with, async with, typed errors, watches, two clusters in one process, the pytest fixture."""

from __future__ import annotations

import concurrent.futures
import re
import runpy
import threading
from pathlib import Path
from typing import Any

import pytest

import kubecore
from kubecore.api import errors, scheme

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}


def test_the_readmes_example() -> None:
    with kubecore.Cluster(nodes=2) as cluster:
        cluster.apply((EXAMPLES / "myweb-rc.yaml").read_text())
        cluster.wait_for("replicationcontrollers", "myweb", lambda rc: ready_replicas(rc) == 2)
        pods = cluster.list("pods")
        assert {pod["status"]["phase"] for pod in pods} == {"Running"}
        assert all(pod["spec"]["nodeName"] for pod in pods)
        cluster.scale("replicationcontrollers", "myweb", replicas=5)
        cluster.wait_for("rc", "myweb", lambda rc: ready_replicas(rc) == 5)
        assert cluster.server in cluster.kubeconfig


def test_the_example_program_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "python_api.py"), run_name="__main__")
    *pods, refusal = capsys.readouterr().out.splitlines()
    assert len(pods) == 3
    assert all(re.fullmatch(r"myweb-\w{5} runs on node-[01] at 10\.\d+\.\d+\.\d+", line) for line in pods)
    assert refusal == 'services "myweb" not found'


def ready_replicas(rc: dict[str, Any] | None) -> int:
    return int(((rc or {}).get("status") or {}).get("readyReplicas", 0))


def test_two_clusters_in_one_process_know_nothing_of_each_other() -> None:
    with kubecore.Cluster() as one, kubecore.Cluster() as other:
        one.create(CONFIG_MAP)
        assert one.get("configmaps", "settings")["data"] == {"a": "1"}
        with pytest.raises(errors.NotFound):
            other.get("configmaps", "settings")
        assert one.server != other.server


async def test_async_with_gives_an_asyncio_client() -> None:
    async with kubecore.Cluster(nodes=1) as cluster:
        maps = scheme.core("configmaps")
        await cluster.client.create(maps, CONFIG_MAP, namespace="default")
        listed = await cluster.client.list(maps, "default")
        assert "settings" in [item["metadata"]["name"] for item in listed.items]


def test_errors_are_typed(kubecore_cluster: kubecore.Cluster) -> None:
    kubecore_cluster.create(CONFIG_MAP)
    with pytest.raises(errors.AlreadyExists) as caught:
        kubecore_cluster.create(CONFIG_MAP)
    assert caught.value.details == {"name": "settings", "kind": "configmaps"}
    with pytest.raises(errors.Invalid) as refused:
        kubecore_cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}})
    assert refused.value.details["causes"][0]["field"] == "spec.ports"


def test_a_watch_is_an_iterator(kubecore_cluster: kubecore.Cluster) -> None:
    created = kubecore_cluster.create(CONFIG_MAP)
    events = kubecore_cluster.watch("configmaps", resource_version=created["metadata"]["resourceVersion"])
    kubecore_cluster.patch("configmaps", "settings", {"data": {"b": "2"}})
    kubecore_cluster.delete("configmaps", "settings")
    seen = [next(events), next(events)]
    assert [(kind, obj["data"]) for kind, obj in seen] == [
        ("MODIFIED", {"a": "1", "b": "2"}),
        ("DELETED", {"a": "1", "b": "2"}),
    ]
    events.close()  # type: ignore[attr-defined]


def test_waiting_for_what_never_comes_times_out(kubecore_cluster: kubecore.Cluster) -> None:
    with pytest.raises(TimeoutError):
        kubecore_cluster.wait_for("pods", "never", lambda pod: pod is not None, timeout_seconds=0.2)


def test_who_waits_is_told_when_the_cluster_stops() -> None:
    cluster = kubecore.Cluster(nodes=0).start()
    created = cluster.create(CONFIG_MAP)
    reached = threading.Event()

    def never(pod: dict[str, Any] | None) -> bool:
        reached.set()
        return False

    with concurrent.futures.ThreadPoolExecutor() as threads:
        waiting = threads.submit(cluster.wait_for, "pods", "never", never)
        watching = threads.submit(list, cluster.watch("pods", resource_version=created["metadata"]["resourceVersion"]))
        assert reached.wait(10)
        cluster.stop()
        with pytest.raises(RuntimeError, match="the cluster was stopped"):
            waiting.result(timeout=10)
        # The watch ends as at any server's end, or had not begun.
        assert watching.exception(timeout=10) is None or isinstance(watching.exception(), RuntimeError)
