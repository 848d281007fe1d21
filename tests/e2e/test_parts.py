"""The main job with the parts as tasks of one process and as processes, each killed -9 while the work goes on."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.kubectl import Kubectl
from tests.support.processes import Up, children, session_members, up

pytestmark = pytest.mark.timeout(180)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PARTS = ("apiserver", "controllers", "scheduler", "nodes")


def wait_for_ready(kubectl: Kubectl, name: str, replicas: int) -> None:
    kubectl("wait", f"--for=jsonpath={{.status.readyReplicas}}={replicas}", name, "--timeout=60s")


@pytest.mark.parametrize("shape", ["tasks", "processes"])
def test_the_example_runs_in_either_shape(shape: str, tmp_path: Path) -> None:
    with up(tmp_path, "--nodes", "2", "--parts", shape) as cluster:
        started = children(cluster.process.pid)
        assert sorted(started) == (sorted(PARTS) if shape == "processes" else [])
        kubectl = Kubectl(cluster.kubeconfig)
        kubectl("apply", "-f", str(EXAMPLES))
        wait_for_ready(kubectl, "rc/mysql", 1)
        wait_for_ready(kubectl, "rc/myweb", 2)
        kubectl("scale", "rc", "mysql", "--replicas=2")
        wait_for_ready(kubectl, "rc/mysql", 2)
        kubectl("wait", "--for=jsonpath={.subsets[0].addresses[1].ip}", "endpoints/myweb", "--timeout=30s")
        kubectl("delete", "-f", str(EXAMPLES))
        kubectl("wait", "--for=delete", "pods", "--all", "--timeout=60s")
        assert cluster.process.stop() == 0
        assert session_members(cluster.process.pid) == []
        assert [part for part, pid in started.items() if alive(pid)] == []


class Writer:
    """Creates ConfigMaps one after the other, over every outage, and remembers which creates were acknowledged."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.acknowledged: list[str] = []
        self._kubectl = kubectl
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        number = 0
        while not self._stopping.is_set():
            name = f"entry-{number}"
            done = self._kubectl("create", "configmap", name, f"--from-literal=number={number}", code=None)
            if done.returncode == 0 or "AlreadyExists" in done.stderr:
                self.acknowledged.append(name)
                number += 1

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_part_killed_once_loses_nothing_and_everything_converges(tmp_path: Path) -> None:
    with up(tmp_path, "--nodes", "2", "--parts", "processes") as cluster:
        kubectl = Kubectl(cluster.kubeconfig)
        kubectl("apply", "-f", str(EXAMPLES))
        wait_for_ready(kubectl, "rc/myweb", 2)
        with Writer(kubectl) as writer:
            for replicas, part in enumerate(PARTS, start=3):
                kill_part(cluster, part)
                scale_until_accepted(kubectl, "rc/myweb", replicas)
                wait_for_part(cluster, part)
                wait_for_ready(kubectl, "rc/myweb", replicas)
        kept = set(kubectl("get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}").stdout.split())
        assert len(writer.acknowledged) > len(PARTS)
        assert set(writer.acknowledged) <= kept
        assert_settled(kubectl, replicas=2 + len(PARTS))
        assert cluster.process.stop() == 0
        assert session_members(cluster.process.pid) == []


def kill_part(cluster: Up, part: str) -> None:
    pid = children(cluster.process.pid)[part]
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)


def scale_until_accepted(kubectl: Kubectl, name: str, replicas: int) -> None:
    """While the API server is being started again kubectl is refused a connection."""
    while kubectl("scale", name, f"--replicas={replicas}", code=None).returncode != 0:
        pass


def wait_for_part(cluster: Up, part: str) -> None:
    """Until a new process has its place (the test's own time limit ends an endless wait)."""
    while part not in children(cluster.process.pid):
        pass


def assert_settled(kubectl: Kubectl, *, replicas: int) -> None:
    pods = json.loads(kubectl("get", "pods", "-l", "app=myweb", "-o", "json").stdout)["items"]
    assert len(pods) == replicas
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    addresses = sorted(pod["status"]["podIP"] for pod in pods)
    assert len(set(addresses)) == replicas
    kubectl("wait", f"--for=jsonpath={{.subsets[0].addresses[{replicas - 1}].ip}}", "ep/myweb", "--timeout=30s")
    found = json.loads(kubectl("get", "endpoints", "myweb", "-o", "json").stdout)["subsets"][0]["addresses"]
    assert sorted(address["ip"] for address in found) == addresses


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Up]:
    with up(tmp_path, "--nodes", "1", "--parts", "processes", "--storage", "memory") as cluster:
        yield cluster


def test_sigterm_leaves_no_process_behind(processes: Up) -> None:
    started = children(processes.process.pid)
    assert sorted(started) == sorted(PARTS)
    assert processes.process.stop(by=signal.SIGTERM) == 0
    assert [part for part, pid in started.items() if alive(pid)] == []


def test_ctrl_c_in_a_terminal_ends_all_parts_in_order(processes: Up) -> None:
    """A terminal sends SIGINT to the whole foreground group, the parts included."""
    started = children(processes.process.pid)
    os.killpg(processes.process.pid, signal.SIGINT)
    assert processes.process.wait() == 0
    assert [part for part, pid in started.items() if alive(pid)] == []
    assert not [line for line in processes.process.output if "ERROR" in line or "WARNING" in line]


def test_parts_do_not_outlive_a_killed_parent(processes: Up) -> None:
    handles = [os.pidfd_open(pid) for pid in children(processes.process.pid).values()]
    processes.process.kill()
    for handle in handles:
        wait_for_end(handle)


def wait_for_end(handle: int) -> None:
    # Readable once its process has ended.
    ended, _, _ = select.select([handle], [], [], 30)
    os.close(handle)
    assert ended, "a part outlived the process that started it"
