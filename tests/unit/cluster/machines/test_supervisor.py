from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import msgspec

from kubecore.cluster.machines import supervisor as program
from kubecore.cluster.machines.supervisor import RESTART_SECONDS_FIRST, RESTART_SECONDS_MAX, Supervisor, Unit, spawn

WAIT_SECONDS = 20.0


def supervised(*names: str) -> tuple[Supervisor, list[str], list[str]]:
    started: list[str] = []
    told: list[str] = []

    def start(unit: Unit) -> int:
        started.append(unit.name)
        return 100 + len(started)

    units = [Unit(name, ["/bin/true"], f"{name}.log") for name in names]
    return Supervisor(units, start=start, tell=told.append), started, told


def test_units_start_in_their_order() -> None:
    supervisor, started, _ = supervised("runtime", "kubelet", "service-proxy")
    assert supervisor.start_due(0.0) is None
    assert started == ["runtime", "kubelet", "service-proxy"]


def test_a_unit_that_cannot_be_started_is_tried_again_and_ends_nothing() -> None:
    told: list[str] = []
    outcomes: list[int | OSError] = [BlockingIOError(11, "Resource temporarily unavailable"), 102, 103]

    def start(unit: Unit) -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    units = [Unit(name, ["/bin/true"], f"{name}.log") for name in ("runtime", "kubelet")]
    supervisor = Supervisor(units, start=start, tell=told.append)
    assert supervisor.start_due(0.0) == RESTART_SECONDS_FIRST
    assert supervisor.start_due(RESTART_SECONDS_FIRST) is None
    assert [each.pid for each in supervisor.running] == [103, 102]
    assert told == ["runtime cannot be started: [Errno 11] Resource temporarily unavailable"]


def test_a_unit_that_ends_is_started_again_after_a_pause_and_the_others_go_on() -> None:
    supervisor, started, told = supervised("runtime", "kubelet")
    supervisor.start_due(0.0)
    supervisor.ended(102, 2 << 8, 5.0)
    assert told == ["kubelet ended with 2, see kubelet.log"]
    assert supervisor.start_due(5.0) == 5.0 + RESTART_SECONDS_FIRST
    assert started == ["runtime", "kubelet"]
    assert supervisor.start_due(5.0 + RESTART_SECONDS_FIRST) is None
    assert started == ["runtime", "kubelet", "kubelet"]


def test_the_pause_doubles_to_its_bound_and_is_forgotten_by_a_unit_that_lasted() -> None:
    supervisor, started, _ = supervised("kubelet")
    now, pauses = 0.0, []
    for _ in range(10):
        supervisor.start_due(now)
        supervisor.ended(100 + len(started), 9, now)
        due = supervisor.start_due(now)
        assert due is not None
        pauses.append(due - now)
        now = due
    assert [round(pause, 3) for pause in pauses[:4]] == [0.2, 0.4, 0.8, 1.6]
    assert round(pauses[-1], 3) == RESTART_SECONDS_MAX
    supervisor.start_due(now)
    now += RESTART_SECONDS_MAX + 1
    supervisor.ended(100 + len(started), 0, now)
    due = supervisor.start_due(now)
    assert due is not None
    assert round(due - now, 3) == RESTART_SECONDS_FIRST


def test_an_orphan_s_end_is_nobody_s() -> None:
    supervisor, started, told = supervised("kubelet")
    supervisor.start_due(0.0)
    supervisor.ended(4711, 0, 1.0)
    assert (supervisor.start_due(1.0), started, told) == (None, ["kubelet"], [])


def test_a_unit_s_output_is_in_its_log(tmp_path: Path) -> None:
    log = tmp_path / "unit.log"
    pid = spawn(Unit("unit", ["/bin/sh", "-c", "echo out; echo err >&2"], str(log)))
    os.waitpid(pid, 0)
    assert log.read_text() == "out\nerr\n"


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], WAIT_SECONDS)
    assert ready, "nothing came"
    return process.stdout.readline()


def test_a_real_supervisor_restarts_its_unit_and_ends_with_its_leash(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    os.mkfifo(beats)
    unit = Unit("beat", ["/bin/sh", "-c", f"echo $$ > {beats}"], str(tmp_path / "beat.log"))
    units = tmp_path / "units.json"
    units.write_bytes(msgspec.json.encode([{"name": unit.name, "command": unit.command, "log": unit.log}]))
    command = [*("unshare", "--uts", "--pid", "--fork", "--kill-child=SIGKILL"), sys.executable, "-I", program.__file__]
    supervisor = subprocess.Popen(
        [*command, "node-9", str(units)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert read_line(supervisor) == b"ready\n"
        # Each beat is another process: the former ended by itself.
        first, second = beats.read_text(), beats.read_text()
        assert first != second
        assert supervisor.stdin is not None
        supervisor.stdin.close()
        assert supervisor.wait(WAIT_SECONDS) == 0
    finally:
        supervisor.kill()
        supervisor.wait()
