"""`kubecore store`: what an operator does to a data directory, beside a running cluster and on one that stands still."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.kubectl import Kubectl
from tests.support.processes import kubecore, up

pytestmark = pytest.mark.timeout(120)


def said(*arguments: str, code: int = 0) -> str:
    done = kubecore("store", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def config_map(kubectl: Kubectl, name: str) -> dict[str, str]:
    metadata: dict[str, str] = json.loads(kubectl("get", "configmap", name, "-o", "json").stdout)["metadata"]
    return metadata


def test_a_snapshot_of_a_running_cluster_becomes_another_cluster_with_the_same_objects(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    (tmp_path / "first").mkdir()
    with up(tmp_path / "first") as cluster:
        kubectl = Kubectl(cluster.kubeconfig)
        kubectl("create", "configmap", "kept", "--from-literal=a=1")
        before = config_map(kubectl, "kept")
        there = f"--data-dir={cluster.directory / 'data'}"
        assert "saved revision" in said("snapshot", there, str(saved))
        assert "is whole" in said("verify", there)
        lines = said("dump", there, "--prefix=/registry/core/configmaps/default/kept").splitlines()
        assert [json.loads(line)["value"]["data"] for line in lines] == [{"a": "1"}]
        kubectl("create", "configmap", "later", "--from-literal=a=1")
        assert "in use" in said("defragment", there, code=1)

    second = tmp_path / "second" / "data"
    assert "restored revision" in said("restore", str(saved), f"--data-dir={second}")
    assert "not empty" in said("restore", str(saved), f"--data-dir={second}", code=1)
    with up(tmp_path / "second") as cluster:
        kubectl = Kubectl(cluster.kubeconfig)
        after = config_map(kubectl, "kept")
        assert (after["uid"], after["resourceVersion"]) == (before["uid"], before["resourceVersion"])
        kubectl("get", "configmap", "later", code=1)


def test_damage_is_named_and_repaired_only_when_told_to(tmp_path: Path) -> None:
    with up(tmp_path) as cluster:
        Kubectl(cluster.kubeconfig)("create", "configmap", "kept", "--from-literal=a=1")
        data_dir = cluster.directory / "data"
    there = f"--data-dir={data_dir}"
    before, after = (int(word) for word in said("defragment", there).split() if word.isdigit())
    assert after < before
    with up(tmp_path) as cluster:
        Kubectl(cluster.kubeconfig)("create", "configmap", "lost", "--from-literal=a=1")
    log = min((data_dir / "store").glob("log-*.wal"))
    content = bytearray(log.read_bytes())
    content[40] ^= 1
    log.write_bytes(content)

    assert f"{log.name} is damaged at byte 0" in said("verify", there, code=1)
    assert "Say --yes" in said("repair", there, code=1)
    assert log.read_bytes() == content
    repaired = said("repair", there, "--yes")
    assert f"{log.name}.damaged" in repaired
    with up(tmp_path) as cluster:
        kubectl = Kubectl(cluster.kubeconfig)
        assert config_map(kubectl, "kept")
        kubectl("get", "configmap", "lost", code=1)
