"""Durable puts of 1 KiB: each is on the disk before its writer goes on.

Run with `pytest benches/test_store.py --benchmark-only`; the directory is on the disk that pytest's --basetemp is on, which
decides the figures. Baseline on the machine of the design notes (2 cores, fdatasync 0.17-0.20 ms): etcd 3.6 does
407 a second with 1 client and 6,770 with 64, through its network door.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubecore.apiserver.storage.embedded import EmbeddedStorage

VALUE = b'{"metadata":{"resourceVersion":""},"padding":"' + b"x" * 976 + b'"}'
SPLICE = VALUE.index(b'""') + 1
PUTS_PER_ROUND = 1_024


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[EmbeddedStorage]:
    storage = EmbeddedStorage.open(tmp_path)
    yield storage
    storage.close()


def put_durably(storage: EmbeddedStorage, writer: int, count: int) -> None:
    for number in range(count):
        stored = storage.update(f"/registry/core/configmaps/bench-{writer}/{number}", VALUE, splice=SPLICE)
        storage.wait_durable(stored.revision)


@pytest.mark.parametrize("writers", [1, 64])
def test_durable_puts(benchmark: Any, storage: EmbeddedStorage, writers: int) -> None:
    def one_round() -> None:
        threads = [
            threading.Thread(target=put_durably, args=(storage, writer, PUTS_PER_ROUND // writers))
            for writer in range(writers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    benchmark.pedantic(one_round, rounds=5, warmup_rounds=1)
    benchmark.extra_info["puts_per_second"] = round(PUTS_PER_ROUND / benchmark.stats.stats.median)


def test_put_without_waiting(benchmark: Any, storage: EmbeddedStorage) -> None:
    """What a put costs its caller: the copy, the map, the history."""
    benchmark(storage.store.put, "/registry/core/configmaps/bench/one", VALUE, splice=SPLICE)


def test_get(benchmark: Any, storage: EmbeddedStorage) -> None:
    storage.update("/registry/core/configmaps/bench/one", VALUE, splice=SPLICE)
    benchmark(storage.get, "/registry/core/configmaps/bench/one")
