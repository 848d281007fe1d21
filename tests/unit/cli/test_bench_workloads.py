from pathlib import Path

import click
import pytest

from kubecore_cli import bench_scheduler, bench_workloads


def test_upstreams_workloads_have_its_names_and_counts() -> None:
    by_name = {each.name: each for each in bench_workloads.read(None, 1.0)}
    basic = by_name["SchedulingBasic/5000Nodes_10000Pods"]
    assert (len(basic.nodes), basic.init[0].count, basic.measure.count) == (5000, 1000, 10_000)
    mixed = by_name["MixedSchedulingBasePod/5000Nodes_5000Pods"]
    assert [pods.count for pods in mixed.init] == [2000] * 5
    preemption = by_name["PreemptionAsync/5000Nodes"]
    assert preemption.churn is not None
    assert preemption.churn.pods.count == 5000 // 32


@pytest.mark.parametrize("name", [each.name for each in bench_workloads.read(None, 0.01)])
def test_the_kernel_places_every_measured_pod_of_every_workload(name: str) -> None:
    (workload,) = [each for each in bench_workloads.read(None, 0.01) if each.name == name]
    figures = bench_scheduler.KernelBench(workload).run()
    assert figures.placed == figures.pods == workload.measure.count


def test_a_file_of_ones_own_is_read_and_one_that_is_none_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "pods: {tiny: {}}\nworkloads: [{name: mine, nodes: {count: 3}, measure: {pod: tiny, count: 5}}]", "utf-8"
    )
    (workload,) = bench_workloads.read(own, 1.0)
    assert [pod["metadata"]["name"] for pod in workload.measure][:2] == ["measured-0", "measured-1"]
    assert bench_scheduler.KernelBench(workload).run().placed == 5
    own.write_text("workloads: [{name: mine}]", "utf-8")
    with pytest.raises(click.ClickException, match="not a file of workloads"):
        bench_workloads.read(own, 1.0)
