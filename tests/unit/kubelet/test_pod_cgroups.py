"""The cgroups of pods, on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kubecore.kubelet.cgroups import Cgroups, detect
from kubecore.kubelet.pod_cgroups import PodCgroups
from kubecore.kubelet.resources import Enforcement
from support.pods import amounts, container_of, pod_of

ROOT = f"/kubecore-test-volumes-{os.getpid()}"


@pytest.fixture
def cgroups() -> Iterator[Cgroups]:
    found = detect()
    yield found
    found.remove(ROOT)
    assert not found.exists(ROOT)


@pytest.fixture
def pods(cgroups: Cgroups) -> PodCgroups:
    return PodCgroups(cgroups, root=ROOT, enforcement=Enforcement(memory_capacity_bytes=1 << 33), cpus=2)


def _burstable(cpu: str, uid: str):
    return pod_of(container_of(**amounts(requests={"cpu": cpu}, limits={"memory": "64Mi"})), uid=uid)


def test_a_pods_cgroup_holds_its_limits_and_goes_with_it(cgroups: Cgroups, pods: PodCgroups) -> None:
    path = pods.ensure(_burstable("500m", "a"))
    assert path == f"{ROOT}/kubepods/burstable/poda"
    assert cgroups.read(path).memory_limit_bytes == 64 << 20
    assert pods.ensure(_burstable("500m", "a")) == path
    assert pods.remove("a")
    assert not cgroups.exists(path)
    assert pods.remove("a")


def test_a_cgroup_that_vanished_is_made_again(cgroups: Cgroups, pods: PodCgroups) -> None:
    path = pods.ensure(_burstable("500m", "a"))
    cgroups.remove(path)
    pods.ensure(_burstable("500m", "a"))
    assert cgroups.read(path).memory_limit_bytes == 64 << 20


def test_classes_share_the_cpu_by_what_their_pods_request(cgroups: Cgroups, pods: PodCgroups) -> None:
    if cgroups.version != 1:
        pytest.skip("version 2 counts weights, not shares")

    def shares(path: str) -> str:
        directory = next(where for name, where in cgroups.directories(path).items() if "cpu" in name.split(","))
        with open(os.path.join(directory, "cpu.shares")) as file:
            return file.read().strip()

    pods.ensure(_burstable("500m", "a"))
    pods.ensure(_burstable("250m", "b"))
    pods.ensure(pod_of(uid="c"))
    assert shares(f"{ROOT}/kubepods") == "2048"
    assert shares(f"{ROOT}/kubepods/burstable") == "768"
    assert shares(f"{ROOT}/kubepods/besteffort") == "2"
    pods.remove("a")
    assert shares(f"{ROOT}/kubepods/burstable") == "256"


def test_another_kubelets_cgroup_of_a_pod_is_removed_too(cgroups: Cgroups, pods: PodCgroups) -> None:
    path = pods.ensure(pod_of(uid="a"))
    again = PodCgroups(cgroups, root=ROOT, enforcement=Enforcement(memory_capacity_bytes=1), cpus=1)
    assert again.remove("a")
    assert not cgroups.exists(path)
