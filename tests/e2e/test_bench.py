"""`kubecore bench schedule`, small: what it prints is what its readers rely on."""

import json

from support.processes import kubecore

FIGURES = (
    "kernel_pods_per_second",
    "end_to_end_pods_per_second",
    "prefilled_pods_per_second",
    "create_to_bind_p50_seconds",
    "create_to_bind_p99_seconds",
    "nodes_considered_per_pod",
)


def test_a_small_bench_passes_its_own_checks_and_prints_json_alone() -> None:
    done = kubecore("bench", "schedule", "--nodes", "12", "--pods", "40", "--timeout", "60", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert all(result[figure] > 0 for figure in FIGURES)
    assert result["nodes_considered_per_pod"] == 12
    assert result["create_to_bind_p50_seconds"] <= result["create_to_bind_p99_seconds"]
    assert {"server", "scheduler", "creating client"} <= set(result["peak_memory_bytes"])
    assert len(result["checks"]) == 8
    assert all(check["ok"] for check in result["checks"])


def test_a_bench_that_does_not_come_to_its_end_fails_and_says_why() -> None:
    done = kubecore("bench", "schedule", "--nodes", "3", "--pods", "5", "--timeout", "0.001", "--json")
    assert done.returncode == 1
    checks = json.loads(done.stdout)["checks"]
    assert [check["ok"] for check in checks] == [True, False]
    assert "0.001 s" in checks[-1]["found"]


def test_a_workload_of_scheduler_perf_runs_end_to_end() -> None:
    done = kubecore("bench", "scheduler", "PreemptionAsync", "--scale", "0.002", "--timeout", "60", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(done.stdout)["workloads"]
    assert row["end_to_end"]["placed"] == row["end_to_end"]["pods"] == 10
    assert row["upstream"] == {"measured": [99, 99], "threshold": 160}
