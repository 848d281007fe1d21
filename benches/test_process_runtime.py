"""What pods cost the process runtime's daemon: processor time by call, memory by container. Root only.

Run with `pytest benches/test_process_runtime.py --benchmark-only`. One round: a node of its own with a pod range, PODS pods, a
container each. `extra_info`: milliseconds of the daemon's own processor time (its children before execve are theirs), and the
daemon's memory in KiB beyond what it had before the first pod.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from kubecore.kubelet.runtimes.protocol import SandboxSecurity
from support.process_runtime import POD_RANGE, Node, node

PODS = 100
MILLISECONDS_A_TICK = 1000 / os.sysconf("SC_CLK_TCK")
START_MILLISECONDS_MAX = 15.0


def _processor_milliseconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * MILLISECONDS_A_TICK


def _resident_kib(pid: int) -> int:
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(rows["VmRSS"].split()[0])


class Meter:
    """The daemon's processor time between two looks, by a pod."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._last = _processor_milliseconds(pid)
        self.figures: dict[str, float] = {}

    def note(self, name: str) -> None:
        now = _processor_milliseconds(self._pid)
        self.figures[f"{name}_ms"] = round((now - self._last) / PODS, 2)
        self._last = now


async def _round(directory: Path) -> dict[str, float]:
    async with node(directory) as made:
        await made.runtime.update_runtime_config(POD_RANGE)
        await made.started(await made.sandbox("warm", security=SandboxSecurity()), "exec sleep 1000")
        memory = _resident_kib(made.daemon_pid)
        meter = Meter(made.daemon_pid)
        sandboxes = [await made.sandbox(f"pod-{n}", security=SandboxSecurity()) for n in range(PODS)]
        meter.note("sandbox")
        containers = [await made.created(each, "exec sleep 1000") for each in sandboxes]
        meter.note("create")
        for each in containers:
            await made.runtime.start_container(each)
        meter.note("start")
        meter.figures["memory_kib_a_container"] = round((_resident_kib(made.daemon_pid) - memory) / PODS, 1)
        for each in containers:
            await made.runtime.exec_sync(each, ["true"], 10)
        meter.note("exec")
        await made.runtime.list_pod_sandbox_stats()
        meter.note("figures")
        await _remove(made, sandboxes)
        meter.note("remove")
        return meter.figures


async def _remove(made: Node, sandboxes: list[str]) -> None:
    for each in sandboxes:
        await made.runtime.remove_pod_sandbox(each)


def test_pods_of_one_node(benchmark: Any, tmp_path: Path) -> None:
    figures = benchmark.pedantic(lambda: asyncio.run(_round(tmp_path / "node")), rounds=1)
    benchmark.extra_info.update(figures)
    assert figures["create_ms"] + figures["start_ms"] <= START_MILLISECONDS_MAX
