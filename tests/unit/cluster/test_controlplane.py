"""The composition root: what fails is started again, and what cannot start leaves nothing behind."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

import kubecore
from kubecore.api.clock import LoopClock
from kubecore.api.scheme import core
from kubecore.apiserver.access import kubeconfig
from kubecore.apiserver.access.signing import KeyPair
from kubecore.apiserver.storage import StorageError
from kubecore.client import virtual_loop
from kubecore.cluster.controlplane import ADMIN, ControlPlane
from kubecore.cluster.options import ClusterOptions
from kubecore.cluster.processes import PartFailed, Processes
from support.controllers import replica_set

Object = dict[str, Any]


def test_controllers_that_failed_are_built_anew_and_carry_on(caplog: pytest.LogCaptureFixture) -> None:
    def trips(old: Object | None, new: Object | None) -> None:
        if new is not None and new["metadata"]["name"] == "stone":
            raise RuntimeError("tripped")

    async def scenario() -> int:
        clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=1_800_000_000.0)
        plane = ControlPlane(ClusterOptions(nodes=0, port=None, seed=1), clock=clock)
        await plane.start()
        client = plane.client(ADMIN)
        plane.loop("controllers").informers.of(core("configmaps")).add_handler(trips)
        stone = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stone"}}
        await client.create(core("configmaps"), stone, namespace="default")
        await asyncio.sleep(5)
        wanted = replica_set("web", replicas=3, kind="ReplicationController")
        await client.create(core("replicationcontrollers"), wanted, namespace="default")
        await asyncio.sleep(5)
        made = len((await client.list(core("pods"), "default")).items)
        await plane.stop()
        return made

    assert virtual_loop.run(scenario()) == 3
    assert [record.message for record in caplog.records if "started again" in record.message] == [
        "controllers failed and is started again"
    ]


def test_a_cluster_that_could_not_start_leaves_the_others_kubeconfig_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(file))
    with kubecore.Cluster(data_dir=tmp_path / "d", storage="embedded", merge_kubeconfig=True) as first:
        before = file.read_text()
        port = int(first.server.rpartition(":")[2])
        with pytest.raises(StorageError):
            kubecore.Cluster(data_dir=tmp_path / "d", storage="embedded", merge_kubeconfig=True).start()
        with pytest.raises(OSError, match="in use"):
            kubecore.Cluster(port=port, merge_kubeconfig=True).start()
        assert file.read_text() == before
    assert "clusters: []" in file.read_text()


def test_a_cluster_that_could_not_start_leaves_its_data_to_the_next(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = kubecore.Cluster(
            port=holder.getsockname()[1], data_dir=tmp_path, storage="embedded", merge_kubeconfig=False
        )
        with pytest.raises(OSError, match="in use"):
            taken.start()
    with kubecore.Cluster(port=0, data_dir=tmp_path, storage="embedded", merge_kubeconfig=False) as cluster:
        assert cluster.get("namespaces", "default")["status"]["phase"] == "Active"


async def test_parts_as_processes_that_could_not_start_leave_the_kubeconfig_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(file))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        pair = KeyPair(b"theirs", b"theirs")
        kubeconfig.merge(file, kubeconfig.document(server=f"https://127.0.0.1:{port}", ca_pem=b"theirs", client=pair))
        before = file.read_text()
        parts = Processes(ClusterOptions(port=port, data_dir=tmp_path / "d", parts="processes", merge_kubeconfig=True))
        with pytest.raises(PartFailed, match="is taken"):
            await parts.start()
    assert file.read_text() == before
