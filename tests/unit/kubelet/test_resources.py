"""What a pod asks for, in the kernel's terms."""

from __future__ import annotations

import pytest

from kubecore.kubelet.resources import (
    Enforcement,
    compute_qos_class,
    container_resources,
    oom_score_adjust,
    pod_cgroup,
    pod_resources,
    qos_class,
    quota_of,
    shares_of,
)
from support.pods import amounts, container_of, pod_of

SAME = {"cpu": "500m", "memory": "64Mi"}
NODE = Enforcement(memory_capacity_bytes=8_000_000_000)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        (amounts(requests={"cpu": "0"}), "BestEffort"),
        (amounts(requests={"nvidia.com/gpu": "1"}, limits={"nvidia.com/gpu": "1"}), "BestEffort"),
        (amounts(requests=SAME, limits=SAME), "Guaranteed"),
        (amounts(requests={"cpu": "0.5", "memory": "65536Ki"}, limits=SAME), "Guaranteed"),
        (amounts(requests=SAME), "Burstable"),
        (amounts(requests={"cpu": "100m", "memory": "64Mi"}, limits=SAME), "Burstable"),
        (amounts(requests={"memory": "64Mi"}, limits={"memory": "64Mi"}), "Burstable"),
    ],
)
def test_the_class_of_a_pod_follows_from_its_requests_and_limits(resources, expected) -> None:
    assert compute_qos_class(pod_of(container_of(**resources))) == expected


def test_one_container_without_limits_makes_a_pod_burstable() -> None:
    limited = amounts(requests=SAME, limits=SAME)
    assert compute_qos_class(pod_of(container_of("a", **limited), container_of("b"))) == "Burstable"
    assert compute_qos_class(pod_of(container_of(**limited), initContainers=[container_of("i")])) == "Burstable"


def test_amounts_of_the_pod_as_a_whole_decide_alone() -> None:
    assert compute_qos_class(pod_of(container_of(), **amounts(requests=SAME, limits=SAME))) == "Guaranteed"
    assert compute_qos_class(pod_of(container_of(), **amounts(requests=SAME))) == "Burstable"


def test_the_class_that_the_api_wrote_stands() -> None:
    pod = pod_of(container_of())
    pod["status"] = {"qosClass": "Burstable"}
    assert qos_class(pod) == "Burstable"


def test_each_class_has_its_place_below_the_nodes_cgroup_root() -> None:
    guaranteed = pod_of(container_of(**amounts(requests=SAME, limits=SAME)), uid="a")
    burstable = pod_of(container_of(**amounts(requests=SAME)), uid="b")
    assert pod_cgroup(guaranteed) == "/kubepods/poda"
    assert pod_cgroup(burstable, root="/kubecore/node-0/") == "/kubecore/node-0/kubepods/burstable/podb"
    assert pod_cgroup(pod_of(uid="c")) == "/kubepods/besteffort/podc"


def test_shares_and_quota_keep_the_kernels_bounds() -> None:
    assert [shares_of(each) for each in (0, 1, 1000, 2500, 10_000_000)] == [2, 2, 1024, 2560, 262_144]
    assert [quota_of(each) for each in (0, 1, 10, 500, 2000)] == [0, 1000, 1000, 50_000, 200_000]


def test_a_container_gets_shares_quota_and_memory() -> None:
    container = container_of(
        **amounts(requests={"cpu": "250m", "memory": "64Mi"}, limits={"cpu": "1", "memory": "128Mi"})
    )
    resources = container_resources(pod_of(container), container, NODE)
    assert (resources.cpu_shares, resources.cpu_quota, resources.cpu_period) == (256, 100_000, 100_000)
    assert resources.memory_limit_bytes == 128 << 20


def test_a_limit_without_a_request_counts_as_request() -> None:
    container = container_of(**amounts(limits={"cpu": "2"}))
    assert container_resources(pod_of(container), container, NODE).cpu_shares == 2048


def test_a_pods_limit_stands_in_for_a_containers() -> None:
    container = container_of()
    pod = pod_of(container, **amounts(requests=SAME, limits={"cpu": "1", "memory": "1Gi"}))
    resources = container_resources(pod, container, NODE)
    assert (resources.memory_limit_bytes, resources.cpu_quota) == (1 << 30, 100_000)


def test_without_cfs_quota_nothing_is_throttled() -> None:
    container = container_of(**amounts(requests=SAME, limits=SAME))
    enforcement = Enforcement(memory_capacity_bytes=1 << 33, cpu_cfs_quota=False)
    assert container_resources(pod_of(container), container, enforcement).cpu_quota == 0
    assert pod_resources(pod_of(container), enforcement).cpu_quota == 0


def test_a_pods_cgroup_is_limited_only_by_what_all_its_containers_limit() -> None:
    first = container_of("a", **amounts(requests=SAME, limits={"cpu": "1", "memory": "64Mi"}))
    second = container_of("b", **amounts(requests=SAME, limits={"cpu": "1"}))
    resources = pod_resources(pod_of(first, second), NODE)
    assert resources.cpu_quota == 200_000
    assert resources.memory_limit_bytes == 0
    assert resources.cpu_shares == 1024


def test_a_pods_own_limit_bounds_its_cgroup() -> None:
    pod = pod_of(container_of(), container_of("b"), **amounts(requests=SAME, limits={"memory": "1Gi"}))
    assert pod_resources(pod, NODE).memory_limit_bytes == 1 << 30


def test_a_best_effort_pod_gets_the_least_shares_and_the_pid_limit() -> None:
    resources = pod_resources(pod_of(), Enforcement(memory_capacity_bytes=1, pod_pids_limit=100))
    assert (resources.cpu_shares, resources.pids_limit, resources.memory_limit_bytes) == (2, 100, 0)


def _score(pod, capacity: int = 8_000_000_000, container=None) -> int:
    return oom_score_adjust(pod, container or pod["spec"]["containers"][0], capacity)


def test_the_oom_killer_spares_what_requested_its_memory() -> None:
    assert _score(pod_of()) == 1000
    assert _score(pod_of(container_of(**amounts(requests=SAME, limits=SAME)))) == -997
    half = pod_of(container_of(**amounts(requests={"memory": "4G"})))
    assert _score(half) == 500
    nearly_all = pod_of(container_of(**amounts(requests={"memory": "7999999999"})))
    assert _score(nearly_all) == 3
    nearly_none = pod_of(container_of(**amounts(requests={"cpu": "10m"})))
    assert _score(nearly_none) == 999


def test_only_node_critical_pods_are_spared_without_requests() -> None:
    critical = pod_of(priority=2_000_001_000, priorityClassName="system-node-critical")
    cluster = pod_of(priority=2_000_000_000, priorityClassName="system-cluster-critical")
    assert (_score(critical), _score(cluster)) == (-997, 1000)


def test_a_sidecar_is_no_better_target_than_what_it_serves() -> None:
    sidecar = container_of("side", restartPolicy="Always", **amounts(requests={"memory": "400M"}))
    pod = pod_of(container_of(**amounts(requests={"memory": "1G"})), initContainers=[sidecar])
    assert _score(pod, container=sidecar) == 875


def test_memory_requested_by_the_pod_is_shared_out_among_its_containers() -> None:
    pod = pod_of(container_of("a"), container_of("b"), **amounts(requests={"memory": "2G"}))
    assert _score(pod, 4_000_000_000) == 750
