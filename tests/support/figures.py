"""A runtime that only tells figures, and a /proc made of text."""

from __future__ import annotations

from pathlib import Path

from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerMetadata,
    ContainerState,
    ContainerStats,
    CpuStats,
    FilesystemUsage,
    LinuxResources,
    MemoryStats,
    NetworkInterfaceStats,
    RuntimeCode,
    RuntimeFailure,
    Sandbox,
    SandboxMetadata,
    SandboxState,
    SandboxStats,
)

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND

PROC = {
    "stat": "cpu  100 10 50 9000 30 0 5 5 7 0\ncpu0 100 10 50 9000 30 0 5 5 7 0\nbtime 1699999000\n",
    "meminfo": "MemTotal:  8000 kB\nMemFree:  3000 kB\nInactive(file):  1000 kB\nAnonPages:  900 kB\n"
    "SwapTotal:  500 kB\nSwapFree:  200 kB\n",
    "vmstat": "pgpgin 7\npgfault 4000\npgmajfault 12\n",
    "loadavg": "0.1 0.2 0.3 2/321 999\n",
    "sys/kernel/pid_max": "32768\n",
    "sys/kernel/random/boot_id": "b00t\n",
    "self/net/dev": "Inter-| Receive | Transmit\n face |bytes packets\n"
    "    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n"
    "veth1234: 5 5 0 0 0 0 0 0 5 5 0 0 0 0 0 0\n",
    "self/stat": "42 (kube let) S 1 1 1 0 -1 0 77 0 3 0 150 50 0 0 20 0 1 0 100000 0 0\n",
    "self/statm": "900 250 1 1 0 1 0\n",
}


def make_proc(directory: Path, **changed: str) -> Path:
    for name, text in {**PROC, **changed}.items():
        path = directory / "proc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory / "proc"


class FiguresRuntime:
    """`pods`: (namespace, name) → used seconds of processor by container. Counters are set by the test."""

    def __init__(self, now_ns: list[int], image_directory: Path) -> None:
        self.now_ns = now_ns
        self.pods: dict[tuple[str, str], dict[str, float]] = {}
        self.failure = ""
        self.counts_pods = True
        self._images = image_directory

    async def list_pod_sandboxes(self) -> list[Sandbox]:
        return [
            Sandbox(id=f"box-{name}", metadata=_metadata(namespace, name), state=SandboxState.READY, created_at=START)
            for namespace, name in self.pods
        ]

    async def list_containers(self) -> list[Container]:
        return [
            Container(
                id=f"{name}-{container}",
                sandbox_id=f"box-{name}",
                metadata=ContainerMetadata(name=container),
                state=ContainerState.RUNNING,
                created_at=START,
                started_at=START,
                image=f"{container}:1",
                image_ref=f"{container}:1",
                image_id="",
                resources=LinuxResources(cpu_shares=256, cpu_quota=50_000, cpu_period=100_000),
            )
            for (_, name), containers in self.pods.items()
            for container in containers
        ]

    async def list_pod_sandbox_stats(self) -> list[SandboxStats]:
        if self.failure:
            raise RuntimeFailure(RuntimeCode.UNAVAILABLE, self.failure)
        return [self._pod(namespace, name, used) for (namespace, name), used in self.pods.items()]

    async def image_filesystem(self) -> FilesystemUsage:
        return FilesystemUsage(mountpoint=str(self._images), used_bytes=5_000, inodes_used=50, timestamp=self.now_ns[0])

    def _pod(self, namespace: str, name: str, used: dict[str, float]) -> SandboxStats:
        now = self.now_ns[0]
        return SandboxStats(
            id=f"box-{name}",
            metadata=_metadata(namespace, name),
            cpu=CpuStats(timestamp=now, usage_core_nanoseconds=int(sum(used.values()) * SECOND))
            if self.counts_pods
            else None,
            memory=_memory(now, 10_000 * len(used)) if self.counts_pods else None,
            process_count=3,
            network_timestamp=now,
            interfaces=(
                NetworkInterfaceStats(
                    name="eth0",
                    rx_bytes=11,
                    rx_packets=1,
                    rx_errors=0,
                    rx_dropped=0,
                    tx_bytes=22,
                    tx_packets=2,
                    tx_errors=0,
                    tx_dropped=5,
                ),
            ),
            containers=tuple(
                ContainerStats(
                    id=f"{name}-{container}",
                    sandbox_id=f"box-{name}",
                    metadata=ContainerMetadata(name=container),
                    cpu=CpuStats(
                        timestamp=now,
                        usage_core_nanoseconds=int(seconds * SECOND),
                        user_nanoseconds=int(seconds * SECOND) // 4,
                        periods=90,
                        throttled_periods=9,
                        throttled_nanoseconds=3 * SECOND,
                    ),
                    memory=_memory(now, 10_000),
                    process_count=2,
                    writable_layer=FilesystemUsage(
                        mountpoint=str(self._images), used_bytes=700, inodes_used=7, timestamp=now
                    ),
                )
                for container, seconds in used.items()
            ),
        )


def _metadata(namespace: str, name: str) -> SandboxMetadata:
    return SandboxMetadata(name=name, uid=f"uid-{name}", namespace=namespace)


def _memory(now: int, working_set: int) -> MemoryStats:
    return MemoryStats(
        timestamp=now,
        usage_bytes=working_set + 2_000,
        working_set_bytes=working_set,
        rss_bytes=working_set // 2,
        cache_bytes=1_500,
        swap_bytes=600,
        page_faults=40,
        major_page_faults=4,
        limit_bytes=100_000,
    )
