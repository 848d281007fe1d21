"""What a bench says: machine and versions in the result, progress on standard error, one screen at the end."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

PEER = "kube-scheduler 1.35 end to end, scheduler_perf SchedulingBasic 5000Nodes_10000Pods, 2 cores: 140-170 pods/s"


def machine() -> dict[str, Any]:
    import psutil

    model = platform.processor()
    try:
        with open("/proc/cpuinfo") as listed:
            model = next((line.partition(":")[2].strip() for line in listed if line.startswith("model name")), model)
    except OSError:
        pass  # Not Linux: the platform's own word stands.
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "load_before": list(os.getloadavg()),
    }


def versions() -> dict[str, str]:
    from importlib import metadata

    try:
        kubecore = metadata.version("kubecore")
    except metadata.PackageNotFoundError:
        kubecore = "from a source tree"
    return {"kubecore": kubecore, "kubernetes": "1.35", "python": platform.python_version()}


class Progress:
    """One line on standard error: rewritten on a terminal, at most one a second elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._said = 0.0

    def phase(self, text: str) -> None:
        end = "\n" if self._is_terminal and self._said else ""
        print(f"{end}== {text}", file=sys.stderr, flush=True)
        self._said = 0.0

    def say(self, text: str) -> None:
        now = time.monotonic()
        if now - self._said < (0.1 if self._is_terminal else 1.0):
            return
        self._said = now
        if self._is_terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def bar(self, what: str, done: int, total: int) -> None:
        filled = 30 * done // max(total, 1)
        self.say(f"{what} [{'#' * filled}{'.' * (30 - filled)}] {done:,}/{total:,}")


def lines(result: dict[str, Any]) -> list[str]:
    """The screen."""
    rows: list[tuple[str, str, Callable[[Any], str]]] = [
        ("kernel", "kernel_pods_per_second", _rate),
        ("end to end (first create → last bind)", "end_to_end_pods_per_second", _rate),
        ("prefilled (scheduler's start → last bind)", "prefilled_pods_per_second", _rate),
        ("create → bind, median", "create_to_bind_p50_seconds", _seconds),
        ("create → bind, 99th percentile", "create_to_bind_p99_seconds", _seconds),
        (
            "server's processor time, POST → Running",
            "server_cpu_microseconds_per_pod",
            lambda value: f"{value:,.0f} µs",
        ),
        ("nodes considered for each pod", "nodes_considered_per_pod", lambda value: f"{value:,.0f}"),
    ]
    shown = [f"{result['pods']:,} pods on {result['nodes']:,} nodes, {result['machine']['cores']} cores", ""]
    shown += [f"  {text:<44}{form(result[key]):>16}" for text, key, form in rows if result.get(key) is not None]
    for name, peak in result["peak_memory_bytes"].items():
        shown.append(f"  {'peak memory, ' + name:<44}{peak / 2**20:>12,.0f} MiB")
    shown += [f"  {'(' + PEER + ')'}", ""]
    shown += [f"  {'ok  ' if check['ok'] else 'FAIL'} {check['check']}: {check['found']}" for check in result["checks"]]
    return shown


def _rate(value: float) -> str:
    return f"{value:,.0f} pods/s"


def _seconds(value: float) -> str:
    return f"{value:.3f} s"
