"""`/version`: which Kubernetes this server behaves like, in upstream's form."""

from __future__ import annotations

import platform
from typing import Any

from kubecore.api.release import VERSION

MAJOR, MINOR = "1", "35"
KUBERNETES_VERSION = f"{MAJOR}.{MINOR}.0"

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def version_info() -> dict[str, Any]:
    """`version.Info`. The build metadata behind the plus sign names this project, so that nobody takes it for upstream's."""
    machine = _MACHINES.get(platform.machine(), platform.machine())
    return {
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": str(int(MINOR) - 1),
        "gitVersion": f"v{KUBERNETES_VERSION}+kubecore.{VERSION}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": f"{platform.system().lower()}/{machine}",
    }
