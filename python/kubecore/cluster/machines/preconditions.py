"""What this box must offer before there can be real nodes, each with the words for who lacks it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PROGRAMS = {"ip": "iproute2", "nft": "nftables", "unshare": "util-linux", "nsenter": "util-linux"}
"""Program → Debian's package that has it."""

INSTEAD = "simulated nodes need nothing of this: kubecore up --nodes N"


def missing() -> list[str]:
    """Sentences; empty if nothing is missing."""
    found = []
    if os.geteuid() != 0:
        found.append("root: network namespaces, mounts and control groups are made (try: sudo)")
    lacking = sorted({f"{program} (Debian: {package})" for program, package in PROGRAMS.items() if not _has(program)})
    if lacking:
        found.append(f"these programs: {', '.join(lacking)}")
    if "cgroup" not in Path("/proc/self/mountinfo").read_text():
        found.append("control groups, mounted below /sys/fs/cgroup")
    return found


class Unable(ValueError):
    """The message says what is missing, and what works without it."""


def check() -> None:
    """Raises Unable."""
    lacking = missing()
    if lacking:
        raise Unable(f"--runtime process needs {'; '.join(lacking)}. {INSTEAD}")


def _has(program: str) -> bool:
    return shutil.which(program) is not None
