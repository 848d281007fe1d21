"""A controller written with client-go: leader election, informers that stream their lists, typed writes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.processes import Up

pytestmark = pytest.mark.timeout(400)

SOURCE = Path(__file__).parent / "clients" / "informer"
BUILD_SECONDS = 300


@pytest.fixture(scope="session")
def informer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    assert go, "go is missing: put it in PATH"
    binary = tmp_path_factory.mktemp("informer") / "informer"
    subprocess.run([go, "build", "-o", str(binary), "."], cwd=SOURCE, check=True, timeout=BUILD_SECONDS)
    return binary


def test_a_client_go_controller_does_its_work(informer: Path, cluster: Up, namespace: str) -> None:
    done = subprocess.run(
        [str(informer), str(cluster.kubeconfig), namespace], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "leading",
        "synced",
        "seen added",
        "seen 2 ready of 2",
        "seen 3 ready of 3",
        "conflict",
        "pods in the cache",
        "seen deleted",
        "released",
    ]
