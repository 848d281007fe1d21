"""Files that change all at once: a directory whose visible names are links into `..data`, itself a link to the newest version.

```
key            -> ..data/key
sub            -> ..data/sub
..data         -> ..2026_11_23_02_30_00.x1y2z3/
```

A reader that opened `..data` sees one version, never half of two. In: the files wanted. Out: the directory has them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

DATA = "..data"
DATA_NEW = "..data_tmp"
PATH_CHARACTERS_MAX = 4096
NAME_CHARACTERS_MAX = 255


class PayloadFailure(Exception):
    """A path may not be written. The message is upstream's."""


@dataclass(frozen=True, slots=True)
class File:
    """`user`: who owns it, None for root."""

    data: bytes
    mode: int
    user: int | None = None


Payload = Mapping[str, File]


def write(directory: Path, payload: Payload, *, now: float, set_permissions: Callable[[], None] | None = None) -> bool:
    """Makes the directory hold these files; `set_permissions` is called before they show. Gives whether anything was
    written. Raises PayloadFailure, OSError."""
    wanted = {checked(path): file for path, file in payload.items()}
    current = _current(directory)
    is_current = current is not None and _holds(directory / current, wanted)
    if not is_current:
        _publish(directory, wanted, now, set_permissions)
    # Also where nothing was written: a kubelet may have been killed before this.
    _show(directory, wanted)
    _sweep(directory, wanted)
    return not is_current


def _publish(directory: Path, wanted: Payload, now: float, set_permissions: Callable[[], None] | None) -> None:
    """A new version, and `..data` on it."""
    prefix = datetime.fromtimestamp(now, UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    version = Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
    try:
        version.chmod(0o755)
        _fill(version, wanted)
        if set_permissions is not None:
            set_permissions()
        with contextlib.suppress(FileNotFoundError):
            # Left by a kubelet that was killed between the two.
            (directory / DATA_NEW).unlink()
        (directory / DATA_NEW).symlink_to(version.name)
        (directory / DATA_NEW).rename(directory / DATA)
    except BaseException:
        shutil.rmtree(version, ignore_errors=True)
        raise


def checked(path: str) -> str:
    """The path without what means nothing. Raises PayloadFailure."""
    if not path:
        raise PayloadFailure('invalid path: must not be empty: ""')
    if path.startswith("/"):
        raise PayloadFailure(f"invalid path: must be relative path: {path}")
    if len(path) > PATH_CHARACTERS_MAX:
        raise PayloadFailure(f"invalid path: must be less than or equal to {PATH_CHARACTERS_MAX} characters")
    parts = path.split("/")
    if ".." in parts:
        raise PayloadFailure(f"invalid path: must not contain '..': {path}")
    if any(len(part) > NAME_CHARACTERS_MAX for part in parts):
        raise PayloadFailure(f"invalid path: filenames must be less than or equal to {NAME_CHARACTERS_MAX} characters")
    if parts[0].startswith(".."):
        raise PayloadFailure(f"invalid path: must not start with '..': {path}")
    return os.path.normpath(path)


def _current(directory: Path) -> str | None:
    try:
        return os.readlink(directory / DATA)
    except FileNotFoundError:
        return None


def _holds(version: Path, wanted: Payload) -> bool:
    """Whether the version has these files and no others, with this content."""
    if not version.is_dir():
        return False
    present = {
        os.path.relpath(os.path.join(parent, name), version) for parent, _, names in os.walk(version) for name in names
    }
    return present == set(wanted) and all((version / path).read_bytes() == file.data for path, file in wanted.items())


def _fill(version: Path, wanted: Payload) -> None:
    for path, file in wanted.items():
        target = version / path
        for parent in reversed(target.relative_to(version).parents[:-1]):
            (version / parent).mkdir(exist_ok=True)
            (version / parent).chmod(0o755)
        target.write_bytes(file.data)
        target.chmod(file.mode)
        if file.user is not None:
            os.chown(target, file.user, -1)


def _show(directory: Path, wanted: Payload) -> None:
    for name in sorted(_top_names(wanted)):
        if not os.path.lexists(directory / name):
            (directory / name).symlink_to(f"{DATA}/{name}")


def _sweep(directory: Path, wanted: Payload) -> None:
    """Links to what is no longer there, and versions that are not shown: the last one, and what a killed kubelet left."""
    shown = {*_top_names(wanted), DATA}
    version = os.readlink(directory / DATA)
    for entry in list(os.scandir(directory)):
        if entry.is_symlink() and entry.name not in shown:
            Path(entry.path).unlink()
        elif entry.name.startswith("..2") and entry.name != version:
            shutil.rmtree(entry.path)


def _top_names(payload: Payload) -> set[str]:
    return {path.split("/")[0] for path in payload}
