"""`kubecore store`: what an operator does to a data directory, beside a running cluster and on one that stands still."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.support.kubectl import Kubectl
from tests.support.processes import Process, kubecore, up

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


def test_etcdctl_uses_the_store_as_an_etcd_over_a_restart(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"

    def serve() -> tuple[Process, str]:
        process = Process("store", "serve", f"--data-dir={data_dir}", "--listen-client-urls=http://127.0.0.1:0")
        line = process.wait_for_line(re.compile(r"serving .* at (\S+) "))
        return process, line.group(1).removeprefix("http://")

    def etcdctl(endpoint: str, *arguments: str) -> str:
        command = ["etcdctl", f"--endpoints={endpoint}", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, env={**os.environ, "ETCDCTL_API": "3"}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    process, endpoint = serve()
    try:
        assert etcdctl(endpoint, "put", "/a", "1") == "OK\n"
        lease = etcdctl(endpoint, "lease", "grant", "600").split()[1]
        etcdctl(endpoint, "put", f"--lease={lease}", "/b", "2")
        assert etcdctl(endpoint, "get", "/", "--prefix") == "/a\n1\n/b\n2\n"
        assert "3.5" in etcdctl(endpoint, "endpoint", "status")
        etcdctl(endpoint, "snapshot", "save", str(tmp_path / "saved"))
        assert process.stop() == 0
        process, endpoint = serve()
        assert "attached keys([/b])" in etcdctl(endpoint, "lease", "timetolive", lease, "--keys")
        etcdctl(endpoint, "lease", "revoke", lease)
        assert etcdctl(endpoint, "get", "/", "--prefix") == "/a\n1\n"
    finally:
        process.end()
    assert "restored revision" in said("restore", str(tmp_path / "saved"), f"--data-dir={tmp_path / 'restored'}")
    keys = said("dump", f"--data-dir={tmp_path / 'restored'}", "--prefix=/", "--keys-only").splitlines()
    assert [json.loads(line)["key"] for line in keys] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("arguments", "said_so"),
    [
        (("--listen-client-urls=nonsense",), "is not a URL"),
        (("--listen-client-urls=https://127.0.0.1:0",), "https needs --cert-file"),
        (("--listen-client-urls=http://0.0.0.0:0",), "without TLS only loopback is served"),
    ],
)
def test_a_door_that_would_let_everybody_in_is_not_opened(
    arguments: tuple[str, ...], said_so: str, tmp_path: Path
) -> None:
    done = kubecore("store", "serve", f"--data-dir={tmp_path}", *arguments)
    assert done.returncode != 0
    assert said_so in done.stderr
