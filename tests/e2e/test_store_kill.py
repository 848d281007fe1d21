"""Kill -9 at any time loses nothing that was acknowledged.

A child writes from several threads and reports each put that became durable; the parent kills it in the middle, opens
the data directory, and looks for everything that was reported. What kill -9 cannot show, because the system keeps what was
written and not synced, is tested on the crashable disk (rust_core/store/tests/crash.rs).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

from kubecore.apiserver.storage.embedded import EmbeddedStorage

ROUNDS = 12
WRITERS = 8
ACKNOWLEDGED_PER_ROUND_MAX = 2_000

CHILD = """
import os, sys, threading
from kubecore import _core

directory, writers = sys.argv[1], int(sys.argv[2])
store = _core.Store.open(directory)

def write(writer):
    key = f"/registry/core/configmaps/default/writer-{writer}"
    found = store.get(key)
    number = 0 if found is None else found.version
    while True:
        number += 1
        value = b'{"metadata":{"resourceVersion":""},"number":%d,"padding":"%s"}' % (number, b"x" * (number * 37 % 2000))
        revision = store.put(key, value, splice=32).revision
        store.wait_durable(revision)
        os.write(1, b"%d %d %d\\n" % (writer, number, revision))

for writer in range(writers):
    threading.Thread(target=write, args=(writer,)).start()
"""


def run_and_kill(directory: Path, acknowledgements: int) -> dict[int, tuple[int, int]]:
    """Kills the child after so many puts were acknowledged. Gives the last (number, revision) of each writer."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(directory), str(WRITERS)], stdout=subprocess.PIPE)
    acknowledged: dict[int, tuple[int, int]] = {}
    try:
        assert child.stdout is not None
        for count, line in enumerate(child.stdout):
            writer, number, revision = (int(field) for field in line.split())
            acknowledged[writer] = (number, revision)
            if count == acknowledgements:
                child.kill()
                # What it had reported before it died counts too: the loop goes on to the end of the pipe.
    finally:
        child.kill()
        child.wait()
    return acknowledged


def test_kill_nine_loses_nothing_acknowledged(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    chance = random.Random(seed)
    newest = 1
    for _ in range(ROUNDS):
        acknowledged = run_and_kill(tmp_path, chance.randrange(ACKNOWLEDGED_PER_ROUND_MAX))
        assert acknowledged, "the child wrote nothing"
        storage = EmbeddedStorage.open(tmp_path)
        for writer, (number, revision) in acknowledged.items():
            stored = storage.get(f"/registry/core/configmaps/default/writer-{writer}")
            assert stored is not None
            found = json.loads(stored.value)
            # One more put may have reached the disk without having been acknowledged.
            assert found["number"] in (number, number + 1)
            assert found["number"] == stored.version
            assert found["metadata"]["resourceVersion"] == str(stored.revision)
            assert stored.revision == revision or found["number"] == number + 1
        assert storage.revision() >= max(newest, *(revision for _, revision in acknowledged.values()))
        newest = storage.revision()
        storage.close()
