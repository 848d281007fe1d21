"""Who a container's process is: user and groups by number or by the container's own /etc/passwd and /etc/group.

Read by the child after its root is the container's, so paths are the container's.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

_FILE_BYTES_MAX = 1 << 20


class UnknownUser(ValueError):
    """The container's files do not name that user or group."""


@dataclass(frozen=True)
class Identity:
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def resolve(
    user: str,
    *,
    group: int | None = None,
    supplemental_groups: tuple[int, ...] = (),
    passwd: str = "/etc/passwd",
    groups: str = "/etc/group",
) -> Identity:
    """`user` as an image writes it: "", `name`, `uid`, `name:group`, `uid:gid`. `group` (runAsGroup) wins over the image's."""
    name, _, group_name = user.partition(":")
    name = name or "0"
    rows = _rows(passwd, 7)
    # A number is that number, whatever the container's files say: it was what runAsNonRoot was judged by.
    is_number = name.isdecimal()
    row = next((each for each in rows if (int(each[2]) == int(name) if is_number else each[0] == name)), None)
    if row is None and not is_number:
        raise UnknownUser(f"unable to find user {name}: no matching entries in passwd file")
    uid = int(row[2]) if row else int(name)
    gid = int(row[3]) if row else 0
    group_rows = _rows(groups, 3)
    if group_name:
        gid = _group(group_name, group_rows)
    if group is not None:
        gid = group
    member_of = [int(each[2]) for each in group_rows if row and len(each) > 3 and row[0] in each[3].split(",")]
    return Identity(
        uid=uid,
        gid=gid,
        groups=tuple(dict.fromkeys([gid, *member_of, *supplemental_groups])),
        home=row[5] if row and row[5] else "/",
    )


def _group(name: str, rows: list[list[str]]) -> int:
    for row in rows:
        if row[0] == name:
            return int(row[2])
    if not name.isdigit():
        raise UnknownUser(f"unable to find group {name}: no matching entries in group file")
    return int(name)


def _rows(path: str, fields_min: int) -> list[list[str]]:
    """A container may have put anything there: what is no plain file is empty, what is too long ends early."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        text = os.read(handle, _FILE_BYTES_MAX) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    finally:
        os.close(handle)
    lines = text.decode(errors="replace").splitlines()
    rows = [line.strip().split(":") for line in lines if line.strip() and not line.startswith("#")]
    return [row for row in rows if len(row) >= fields_min and row[2].isdecimal()]
