"""Stock kubectl, by version: `kubectl.1.27` in PATH or beside the machine's kubectl, or the one that KUBECTL names."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

VERSIONS = ("1.27", "1.33")


@functools.cache
def find(version: str = "") -> str:
    """The path of a kubectl. Raises AssertionError naming what is missing."""
    plain = os.environ.get("KUBECTL") or shutil.which("kubectl")
    assert plain, "kubectl is missing: put it in PATH or name it in KUBECTL"
    if not version:
        return plain
    beside = Path(plain).resolve().parent / f"kubectl.{version}"
    found = shutil.which(f"kubectl.{version}") or (str(beside) if beside.exists() else None)
    assert found, f"kubectl.{version} is missing: put it in PATH"
    return found


class Kubectl:
    """One kubectl against one cluster."""

    def __init__(self, kubeconfig: Path, version: str = "") -> None:
        self.version = version
        self._path = find(version)
        self.environment = {
            "KUBECONFIG": str(kubeconfig),
            "HOME": str(kubeconfig.parent),
            "PATH": os.environ["PATH"],
        }

    def __call__(
        self, *arguments: str, stdin: str = "", code: int | None = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs it; `code` is the exit code it must have, None for any."""
        done = subprocess.run(
            [self._path, *arguments],
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert code is None or done.returncode == code, (
            f"kubectl {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts one that goes on, such as `get -w`; the caller ends it."""
        return subprocess.Popen(
            [self._path, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
