"""What an operator does to a data directory: verify, dump, save, restore, repair, defragment.

`verify`, `dump` and `save` change nothing and also work beside a running store. All raise StorageError, in words for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from kubecore._core import (
    StoreError,
    defragment_store,
    dump_store,
    repair_store,
    restore_store,
    save_store,
    verify_store,
)
from kubecore.apiserver.storage.protocol import StorageError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verified:
    """`snapshot_revision` 0: there is none. `torn_bytes`: of a commit that never finished (or is being written just now)."""

    revision: int
    snapshot_revision: int
    entries: int
    log_bytes: int
    torn_bytes: int


@dataclass(frozen=True, slots=True)
class Kept:
    """One key. `value` is the object as JSON."""

    key: str
    value: bytes
    create_revision: int
    revision: int
    version: int


def _translated(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return call(*args, **kwargs)
    except StoreError as error:
        raise StorageError(str(error)) from error


def verify(directory: Path) -> Verified:
    return Verified(**_translated(verify_store, str(directory)))


def dump(directory: Path, prefix: str = "") -> tuple[int, Iterator[Kept]]:
    """The revision, and every key that begins with `prefix`, in order."""
    entries, revision = _translated(dump_store, str(directory))
    kept = (Kept(e.key, e.value, e.create_revision, e.revision, e.version) for e in entries if e.key.startswith(prefix))
    return revision, kept


def save(directory: Path, file: Path) -> int:
    """Gives the revision of what was saved."""
    return _translated(save_store, str(directory), str(file))


def restore(file: Path, directory: Path) -> int:
    """Only where no store is yet. Gives the revision."""
    return _translated(restore_store, str(file), str(directory))


def repair(directory: Path) -> tuple[int, list[str]]:
    """Gives the revision at which the store stands now, and the files that were set aside as NAME.damaged."""
    return _translated(repair_store, str(directory))


def defragment(directory: Path) -> tuple[int, int]:
    """Gives the bytes before and after."""
    return _translated(defragment_store, str(directory))
