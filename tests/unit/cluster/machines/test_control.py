from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kubecore.cluster.machines import control
from kubecore.cluster.machines.control import SERVER, SOCKET, Control, ControlFailure, ask, find


class Switched:
    """Stands for a machine: remembers what was done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def kill(self) -> None:
        self.done.append("kill")

    async def stop(self) -> None:
        self.done.append("stop")

    async def start(self) -> None:
        raise OSError("the disk is full")


def asked(directory: Path, machines: dict[str, Switched], node: str, action: str) -> str:
    """The refusal, or nothing."""

    async def scenario() -> str:
        served = Control(machines)  # type: ignore[arg-type]
        await served.listen(directory / SOCKET)
        try:
            await asyncio.to_thread(ask, directory / SOCKET, node, action)
        except ControlFailure as refusal:
            return str(refusal)
        finally:
            served.close()
        return ""

    return asyncio.run(scenario())


def test_a_node_is_switched_off_from_another_process(tmp_path: Path) -> None:
    machine = Switched()
    assert asked(tmp_path, {"node-0": machine}, "node-0", "kill") == ""
    assert machine.done == ["kill"]


def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    machines = {"node-0": Switched(), "node-1": Switched()}
    assert asked(tmp_path, machines, "node-7", "kill") == "no node node-7: there are node-0, node-1"
    assert asked(tmp_path, machines, "node-0", "paint") == "no action paint: there are kill, stop, start"
    assert asked(tmp_path, machines, "node-0", "start") == "the disk is full"


def test_a_cluster_is_found_by_its_server_or_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "DIRECTORY", tmp_path)
    for name, port in (("kubecore", 6443), ("kubecore-2", 7443)):
        (tmp_path / name).mkdir()
        (tmp_path / name / SOCKET).touch()
        (tmp_path / name / SERVER).write_text(f"https://127.0.0.1:{port}")
    (tmp_path / "a-cluster-that-just-starts").mkdir()
    (tmp_path / "a-cluster-that-just-starts" / SOCKET).touch()
    assert find(server="https://127.0.0.1:7443").parent.name == "kubecore-2"
    assert find(cluster="kubecore").parent.name == "kubecore"
    with pytest.raises(ControlFailure, match="served at"):
        find(server="https://127.0.0.1:1")
