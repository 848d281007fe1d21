"""Control groups: on this machine's own, and on a drawn version 2."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubecore.kubelet.cgroups import CgroupsV1, CgroupsV2, detect, weight_of
from kubecore.kubelet.runtimes.protocol import LinuxResources

HYBRID = """\
30 20 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
31 20 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 20 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
33 20 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
UNIFIED_HERE = next(
    (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line), None
)
UNIFIED = "33 20 0:29 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.fixture
def path() -> Iterator[str]:
    cgroups = detect()
    path = f"/kubecore-test-{secrets.token_hex(4)}/pod1"
    yield path
    parent = os.path.dirname(path)
    cgroups.kill(parent)
    assert cgroups.remove(parent)


def test_separate_hierarchies_are_version_1_even_with_an_empty_unified_one() -> None:
    found = detect(HYBRID)
    assert isinstance(found, CgroupsV1)
    assert found.join_files("/a/b") == (
        "/sys/fs/cgroup/cpu,cpuacct/a/b/cgroup.procs",
        "/sys/fs/cgroup/memory/a/b/cgroup.procs",
    )
    assert isinstance(detect(UNIFIED), CgroupsV2)


def test_a_machine_without_cgroups_says_so() -> None:
    with pytest.raises(OSError, match="no control groups"):
        detect("25 1 8:1 / / rw - ext4 /dev/vda rw\n")


def test_a_process_that_joins_is_counted_killed_and_removed(path: str) -> None:
    cgroups = detect()
    cgroups.make(path)
    cgroups.limit(path, LinuxResources(memory_limit_bytes=64 << 20, cpu_shares=512, cpu_quota=50_000, pids_limit=50))
    joining = "".join(f"echo 0 > {file}; " for file in cgroups.join_files(path))
    process = subprocess.Popen(["sh", "-c", f"{joining} echo in; exec sleep 1000"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    assert cgroups.processes(os.path.dirname(path)) == [process.pid]
    # The kernel counts its processor time when it has let go of the processor.
    while not (figures := cgroups.read(path)).cpu_usage_nanoseconds:
        pass
    assert figures.memory_limit_bytes == 64 << 20
    assert figures.process_count == 1
    assert figures.memory_usage_bytes >= figures.memory_working_set_bytes > 0
    assert not cgroups.remove(path)
    cgroups.kill(path)
    process.stdout.close()
    assert process.wait() == -9
    assert cgroups.remove(path)
    assert not cgroups.exists(path)


def test_what_has_gone_reads_as_nothing(path: str) -> None:
    assert detect().read(path).memory_usage_bytes == 0
    assert detect().processes(path) == []


def test_the_kernel_says_who_was_killed_for_memory(path: str) -> None:
    cgroups = detect()
    cgroups.make(path)
    cgroups.limit(path, LinuxResources(memory_limit_bytes=8 << 20))
    joining = "".join(f"echo 0 > {file}; " for file in cgroups.join_files(path))
    ended = subprocess.run(["sh", "-c", f"{joining} exec tail /dev/zero"], capture_output=True)
    assert ended.returncode == -9
    assert cgroups.oom_kills(path) == 1


@pytest.mark.skipif(UNIFIED_HERE is None, reason="no version 2 hierarchy is mounted, with or without controllers")
def test_processes_of_version_2_are_found_and_killed_at_once() -> None:
    """On the kernel's own version 2, which need not have a controller for that."""
    assert UNIFIED_HERE is not None
    cgroups = CgroupsV2(UNIFIED_HERE)
    path = f"/kubecore-test-{secrets.token_hex(4)}/pod1"
    cgroups.make(path)
    (file,) = cgroups.join_files(path)
    process = subprocess.Popen(
        ["sh", "-c", f"echo 0 > {file}; sleep 1000 & sleep 1000 & echo in; wait"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    assert len(cgroups.processes(os.path.dirname(path))) == 3
    assert not cgroups.remove(os.path.dirname(path))
    cgroups.kill(path)
    process.stdout.close()
    assert process.wait() == -9
    assert cgroups.remove(os.path.dirname(path))
    assert not cgroups.exists(path)


def _draw(directory: Path, *, controllers: str) -> None:
    (directory / "cgroup.controllers").write_text(controllers)
    (directory / "cgroup.subtree_control").write_text("")


def test_version_2_writes_its_own_words(tmp_path: Path) -> None:
    _draw(tmp_path, controllers="cpu memory pids")
    (tmp_path / "pod1").mkdir()
    for name in ("cpu.weight", "cpu.max", "memory.max", "pids.max", "memory.oom.group"):
        (tmp_path / "pod1" / name).write_text("")
    cgroups = CgroupsV2(str(tmp_path))
    cgroups.make("/pod1")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+pids"  # the kernel adds; a plain file keeps the last
    cgroups.limit(
        "/pod1", LinuxResources(cpu_shares=1024, cpu_quota=20_000, cpu_period=100_000, memory_limit_bytes=1 << 20)
    )
    cgroups.kill_together("/pod1")
    told = {file.name: file.read_text() for file in (tmp_path / "pod1").iterdir()}
    assert told == {
        "cpu.weight": "39",
        "cpu.max": "20000 100000",
        "memory.max": "1048576",
        "pids.max": "",
        "memory.oom.group": "1",
    }


def test_version_2_reads_the_same_figures(tmp_path: Path) -> None:
    pod = tmp_path / "pod1"
    pod.mkdir()
    (pod / "cpu.stat").write_text("usage_usec 1500\nthrottled_usec 7\n")
    (pod / "memory.stat").write_text("anon 4096\ninactive_file 1000\npgfault 3\npgmajfault 1\n")
    (pod / "memory.current").write_text("9000\n")
    (pod / "memory.max").write_text("max\n")
    (pod / "pids.current").write_text("2\n")
    (pod / "memory.events").write_text("oom 1\noom_kill 4\n")
    figures = CgroupsV2(str(tmp_path)).read("/pod1")
    assert (figures.cpu_usage_nanoseconds, figures.cpu_throttled_nanoseconds) == (1_500_000, 7_000)
    assert (figures.memory_working_set_bytes, figures.memory_limit_bytes, figures.process_count) == (8000, 0, 2)
    assert CgroupsV2(str(tmp_path)).oom_kills("/pod1") == 4


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262_144, 10_000), (1, 1)])
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert weight_of(shares) == weight


def test_a_process_held_to_its_quota_is_seen_to_be(path: str) -> None:
    cgroups = detect()
    cgroups.make(path)
    cgroups.limit(path, LinuxResources(cpu_quota=20_000, cpu_period=100_000))
    joining = "".join(f"echo 0 > {file}; " for file in cgroups.join_files(path))
    spin = "import time, mmap; held = mmap.mmap(-1, 1 << 20)\nwhile time.process_time() < 0.1: pass"
    subprocess.run(["sh", "-c", f"{joining} exec python3 -c '{spin}'"], check=True)
    used = cgroups.read(path)
    assert used.cpu_usage_nanoseconds >= 100_000_000
    assert used.cpu_user_nanoseconds > 0
    assert used.cpu_user_nanoseconds + used.cpu_system_nanoseconds <= used.cpu_usage_nanoseconds * 2
    assert used.cpu_periods >= used.cpu_throttled_periods >= 1
    assert used.cpu_throttled_nanoseconds > 0


def test_version_2_tells_the_same_under_its_own_names(tmp_path: Path) -> None:
    group = tmp_path / "a"
    group.mkdir()
    (group / "cpu.stat").write_text(
        "usage_usec 900\nuser_usec 600\nsystem_usec 300\nnr_periods 7\nnr_throttled 3\nthrottled_usec 50\n"
    )
    (group / "memory.stat").write_text("anon 100\nfile 200\nfile_mapped 50\ninactive_file 30\n")
    (group / "memory.current").write_text("310\n")
    (group / "memory.swap.current").write_text("40\n")
    used = CgroupsV2(str(tmp_path)).read("/a")
    assert (used.cpu_user_nanoseconds, used.cpu_system_nanoseconds) == (600_000, 300_000)
    assert (used.cpu_periods, used.cpu_throttled_periods) == (7, 3)
    assert (used.memory_cache_bytes, used.memory_mapped_file_bytes, used.memory_swap_bytes) == (200, 50, 40)
