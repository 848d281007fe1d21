"""Static tokens: upstream's `--token-auth-file`, a CSV of token, user name, uid and optionally `"group1,group2"`."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from kubecore.apiserver.registry.admission import User

COLUMNS_MIN = 3


def parse(lines: Iterable[str], *, file: str = "") -> dict[str, User]:
    """Token → user. Raises ValueError on a row with too few columns; rows without a token are skipped."""
    tokens: dict[str, User] = {}
    for row in csv.reader(lines, skipinitialspace=True):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < COLUMNS_MIN:
            raise ValueError(
                f"token file '{file}' must have at least 3 columns (token, user name, user uid), found {len(row)}"
            )
        token, name, uid, *rest = row
        if token:
            groups = tuple(group for group in (rest[0] if rest else "").split(",") if group)
            tokens[token] = User(name, uid, groups)
    return tokens


def load(path: Path) -> dict[str, User]:
    with path.open(newline="") as file:
        return parse(file, file=str(path))
