"""Pods on real nodes: from POST to Ready, 200 of them on two nodes of one box, and what each costs in memory.

Run with `pytest benches/test_real_pods.py --benchmark-only` as root. Every pod is one `sleep`. Memory is what the box has less of with the
pods than before; `beyond_its_process` takes off what the pods' own cgroups hold.
"""

from __future__ import annotations

import secrets
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kubecore
from kubecore.api.meta import Object, parse_timestamp
from kubecore.cluster.machines.claim import CGROUPS
from kubecore.kubelet import cgroups

PODS = 200
START_SECONDS = 120
IMAGES = "images:\n- {name: sleep, root: host, command: [sleep, '100000']}\n"


def controller(replicas: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "many"},
        "spec": {
            "replicas": replicas,
            "selector": {"app": "many"},
            "template": {
                "metadata": {"labels": {"app": "many"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "one", "image": "sleep"}]},
            },
        },
    }


def seconds_to_ready(pod: Object) -> float:
    ready = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
    return parse_timestamp(ready["lastTransitionTime"]) - parse_timestamp(pod["metadata"]["creationTimestamp"])


def available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def held_by_pods(cluster_name: str) -> int:
    paths = [f"/{CGROUPS}/{cluster_name}/node-{number}/kubepods" for number in range(2)]
    return sum(cgroups.detect().read(path).memory_working_set_bytes for path in paths)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[kubecore.Cluster]:
    images = tmp_path / "images.yaml"
    images.write_text(IMAGES)
    name = f"kcb-{secrets.token_hex(3)}"
    with kubecore.Cluster(
        nodes=2, runtime="process", cluster_name=name, images=images, data_dir=tmp_path / "data"
    ) as made:
        yield made


def test_200_pods_become_ready(cluster: kubecore.Cluster, benchmark: Any) -> None:
    before = available_bytes()

    def start() -> None:
        cluster.apply(controller(PODS))
        cluster.wait_for(
            "replicationcontrollers",
            "many",
            lambda found: found["status"].get("readyReplicas") == PODS,
            timeout_seconds=START_SECONDS,
        )

    benchmark.pedantic(start, rounds=1)
    waited = sorted(seconds_to_ready(pod) for pod in cluster.list("pods"))
    taken, held = before - available_bytes(), held_by_pods(cluster.options.cluster_name)
    benchmark.extra_info |= {
        "p50_seconds": statistics.median(waited),
        "p99_seconds": waited[PODS * 99 // 100],
        "memory_kib_a_pod": taken // PODS // 1024,
        "beyond_its_process_kib": (taken - held) // PODS // 1024,
    }
    print(f"\n{PODS} pods: {benchmark.extra_info}", file=sys.stderr)
