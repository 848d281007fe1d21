"""A data directory as an operator meets it: one holder, readable without a server, honest about damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kubecore import _core
from kubecore.apiserver.storage import StorageError, StorageUnavailable
from kubecore.apiserver.storage.embedded import EmbeddedStorage

KEY = "/registry/core/configmaps/default/settings"
VALUE = b'{"metadata":{"resourceVersion":""}}'
SPLICE = VALUE.index(b'""') + 1


def write(directory: Path, *, commits: int) -> None:
    storage = EmbeddedStorage.open(directory)
    for _ in range(commits):
        storage.wait_durable(storage.update(KEY, VALUE, splice=SPLICE).revision)
    storage.close()


def segment(directory: Path) -> Path:
    return min(directory.glob("log-*.wal"))


def damage(file: Path, offset: int) -> None:
    content = bytearray(file.read_bytes())
    content[offset] ^= 0xFF
    file.write_bytes(content)


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    write(tmp_path, commits=3)
    storage = EmbeddedStorage.open(tmp_path)
    stored = storage.get(KEY)
    assert stored is not None
    assert (stored.revision, stored.create_revision, stored.version) == (4, 2, 3)
    assert stored.object == {"metadata": {"resourceVersion": "4"}}
    storage.close()


def test_a_second_holder_is_told_whose_it_is(tmp_path: Path) -> None:
    storage = EmbeddedStorage.open(tmp_path)
    with pytest.raises(StorageError, match=rf"in use by another process \({os.getpid()}\)"):
        EmbeddedStorage.open(tmp_path)
    storage.close()
    EmbeddedStorage.open(tmp_path).close()


def test_closing_twice_is_no_mistake_and_writing_after_it_is(tmp_path: Path) -> None:
    storage = EmbeddedStorage.open(tmp_path)
    storage.close()
    storage.close()
    with pytest.raises(StorageUnavailable):
        storage.update(KEY, VALUE, splice=SPLICE)


def test_closing_makes_durable_what_nobody_waited_for(tmp_path: Path) -> None:
    storage = EmbeddedStorage.open(tmp_path)
    for _ in range(100):
        storage.update(KEY, VALUE, splice=SPLICE)
    storage.close()
    assert storage.durable_revision() == storage.revision() == _core.verify_store(str(tmp_path))["revision"]


def test_verifying_finds_a_sound_directory_sound_and_leaves_it_alone(tmp_path: Path) -> None:
    write(tmp_path, commits=5)
    before = segment(tmp_path).read_bytes()
    found = _core.verify_store(str(tmp_path))
    assert (found["revision"], found["entries"], found["torn_bytes"]) == (6, 1, 0)
    assert segment(tmp_path).read_bytes() == before


def test_a_dump_shows_every_object_without_a_server(tmp_path: Path) -> None:
    write(tmp_path, commits=2)
    entries, revision = _core.dump_store(str(tmp_path))
    assert [(entry.key, entry.revision) for entry in entries] == [(KEY, 3)]
    assert revision == 3


def test_damage_names_the_file_and_the_byte(tmp_path: Path) -> None:
    write(tmp_path, commits=3)
    damage(segment(tmp_path), 50)
    with pytest.raises(_core.Corrupt, match=rf"{segment(tmp_path).name} is damaged at byte 0"):
        _core.verify_store(str(tmp_path))
    with pytest.raises(StorageError, match=r"damaged at byte 0"):
        EmbeddedStorage.open(tmp_path)


def test_a_torn_last_commit_is_cut_and_the_rest_is_there(tmp_path: Path) -> None:
    write(tmp_path, commits=1)
    end = _core.verify_store(str(tmp_path))["log_bytes"]
    damage(segment(tmp_path), end + 3)
    assert _core.verify_store(str(tmp_path))["torn_bytes"] == 4
    write(tmp_path, commits=1)
    found = _core.verify_store(str(tmp_path))
    assert (found["revision"], found["torn_bytes"]) == (3, 0)


def test_looking_at_a_directory_that_is_not_there_does_not_make_it(tmp_path: Path) -> None:
    with pytest.raises(_core.StoreError):
        _core.verify_store(str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_a_store_that_makes_nothing_durable_any_more_says_why(tmp_path: Path) -> None:
    storage = EmbeddedStorage.open(tmp_path)
    assert storage.store.failure() is None
    assert storage.store.stats()["failed"] == 0
    storage.close()
    assert storage.store.failure() == "it was closed"
    assert storage.store.stats()["failed"] == 1
