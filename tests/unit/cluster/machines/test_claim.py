"""Names of clusters on this box: real locks, cgroups and namespaces, under a name that nobody else has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kubecore.cluster.machines import claim, namespaces
from kubecore.kubelet import cgroups

HOLD = """
import sys
from kubecore.cluster.machines import claim, namespaces
held = claim.claim(sys.argv[1])
namespaces.create(f"{held.name}-fabric")
from kubecore.kubelet import cgroups
groups = cgroups.detect()
groups.make(held.cgroup("node-0") + "/system")
held.disks.mkdir(parents=True)
print(held.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def name() -> str:
    return f"kctest{os.getpid()}"


def hold(name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def left(name: str) -> list[str]:
    """What is on this box by that name."""
    found = [each for each in namespaces.names() if each.startswith(name)]
    found += sorted(str(path) for path in claim.DIRECTORY.glob(f"{name}*"))
    found += [str(path) for path in claim.DISKS.glob(f"{name}*")]
    if cgroups.detect().exists(f"/{claim.CGROUPS}/{name}"):
        found.append("cgroup")
    return found


def test_two_living_clusters_have_two_names(name: str) -> None:
    first = claim.claim(name)
    second = claim.claim(name)
    assert (first.name, second.name) == (name, f"{name}-2")
    second.release()
    first.release()
    assert left(name) == []


def test_what_a_killed_cluster_left_is_swept_by_the_next_which_takes_its_name(name: str) -> None:
    killed = hold(name)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert left(name) == [
        f"{name}-fabric",
        str(claim.DIRECTORY / name),
        str(claim.DIRECTORY / f"{name}.lock"),
        str(claim.DISKS / name),
        "cgroup",
    ]
    following = claim.claim(name)
    try:
        assert following.name == name
        assert left(name) == [str(claim.DIRECTORY / name), str(claim.DIRECTORY / f"{name}.lock")]
    finally:
        following.release()
    assert left(name) == []


def test_a_living_cluster_is_never_swept(name: str) -> None:
    living = hold(name)
    try:
        assert name not in claim.sweep()
        assert f"{name}-fabric" in left(name)
    finally:
        living.kill()
        living.wait()
        claim.sweep()
    assert left(name) == []


def test_a_process_that_still_runs_in_a_swept_cgroup_is_killed(name: str) -> None:
    killed = hold(name)
    straggler = subprocess.Popen(["sleep", "1000"])
    for file in cgroups.detect().join_files(f"/{claim.CGROUPS}/{name}/node-0/system"):
        Path(file).write_text(str(straggler.pid))
    killed.kill()
    killed.wait()
    claim.sweep()
    assert straggler.wait(10) == -signal.SIGKILL
    assert left(name) == []


@pytest.mark.parametrize("wanted", ["", ".", "..", "../..", "a/b", "-a", "A", "a" * 41])
def test_a_name_that_could_lead_elsewhere_is_refused_before_anything_is_swept(
    wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("swept")

    monkeypatch.setattr(claim, "sweep", never)
    with pytest.raises(OSError, match="is no name for a cluster"):
        claim.claim(wanted)
