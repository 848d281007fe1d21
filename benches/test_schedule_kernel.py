"""The scheduling kernel from Python: `pytest benches/test_schedule_kernel.py`. scheduler_perf's node and pod shapes.

Baseline: kube-scheduler 1.35 does 140-170 pods/s end to end on 2 cores (SchedulingBasic 5000Nodes_10000Pods); this is the kernel alone.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubecore.scheduler.kernel import Kernel

NODES = 5000
PODS = 10_000


def kernel_with_nodes() -> Kernel:
    kernel = Kernel(seed=1)
    for index in range(NODES):
        node = {
            "metadata": {"name": f"node-{index}", "labels": {"kubernetes.io/hostname": f"node-{index}"}},
            "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}},
        }
        kernel.node_event("ADDED", json.dumps(node).encode())
    return kernel


def pods(classes: int) -> list[bytes]:
    """Pods of one class request the same."""
    return [
        json.dumps(
            {
                "metadata": {"name": f"pod-{index}", "namespace": "default", "uid": str(index)},
                "spec": {
                    "containers": [
                        {
                            "name": "pause",
                            "image": "registry.k8s.io/pause:3.10.1",
                            "resources": {"requests": {"cpu": "100m", "memory": f"{500 * 1024 + index % classes}Ki"}},
                        }
                    ]
                },
            }
        ).encode()
        for index in range(PODS)
    ]


@pytest.mark.parametrize("classes", [1, 100])
def test_ten_thousand_pods_are_decided_over_five_thousand_nodes(benchmark: Any, classes: int) -> None:
    bodies = pods(classes)
    keys = [f"default/pod-{index}" for index in range(PODS)]

    def prepare() -> tuple[tuple[Kernel], dict[str, Any]]:
        kernel = kernel_with_nodes()
        kernel.pod_events([("ADDED", body) for body in bodies])
        return (kernel,), {}

    decisions = benchmark.pedantic(lambda kernel: kernel.schedule(keys), setup=prepare, rounds=3)
    assert all(node for _, node, _ in decisions)
    benchmark.extra_info["pods_per_second"] = PODS / benchmark.stats.stats.median


def test_pod_events_are_read(benchmark: Any) -> None:
    bodies = pods(1)

    def read(kernel: Kernel) -> None:
        kernel.pod_events([("ADDED", body) for body in bodies])

    benchmark.pedantic(read, setup=lambda: ((Kernel(),), {}), rounds=3)
    benchmark.extra_info["events_per_second"] = PODS / benchmark.stats.stats.median
