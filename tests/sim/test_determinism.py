"""One seed, one history: byte for byte, whatever the process's hash seed."""

import os
import subprocess
import sys
from pathlib import Path

SCENARIO = Path(__file__).with_name("scenario.py")
REVISIONS_MIN = 1000


def history(directory: Path, *, seed: int, hash_seed: int) -> bytes:
    """Lives through the scenario in a process of its own."""
    file = directory / f"{seed}-{hash_seed}"
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    ended = subprocess.run(
        [sys.executable, str(SCENARIO), str(seed), str(file)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, f"seed {seed}:\n{ended.stderr}"
    return file.read_bytes()


def test_one_seed_makes_one_history_and_another_seed_another(tmp_path: Path) -> None:
    first = history(tmp_path, seed=1, hash_seed=1)
    again = history(tmp_path, seed=1, hash_seed=2)
    for number, (one, other) in enumerate(zip(first.splitlines(), again.splitlines(), strict=False)):
        assert one == other, f"seed 1: change {number} differs"
    assert first == again
    revisions = dict.fromkeys(line.split(b" ", 1)[0] for line in first.splitlines())
    assert len(revisions) >= REVISIONS_MIN
    # The node that died is among what happened: it was missed, and its pods were moved.
    assert b"NodeStatusUnknown" in first
    assert b"DeletionByTaintManager" in first
    assert history(tmp_path, seed=2, hash_seed=1) != first
