"""The committed fact table is what its generator made."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "rust_core" / "object" / "facts" / "1.35" / "table.json"
TOOLS = ROOT / "tools" / "facts"


def test_the_table_was_not_edited_by_hand() -> None:
    made = (TOOLS / "table.sha256").read_text().strip()
    assert hashlib.sha256(TABLE.read_bytes()).hexdigest() == made, "run tools/facts/generate.py"


def test_every_go_module_is_of_the_tables_minor() -> None:
    minor = json.loads(TABLE.read_bytes())["minor"]
    pinned = re.findall(r"^\tk8s\.io/\S+ v0\.(\d+)\.\d+$", (TOOLS / "go.mod").read_text(), re.MULTILINE)
    assert pinned
    assert {f"1.{number}" for number in pinned} == {minor}


def test_the_table_has_no_prose() -> None:
    assert b'"description"' not in TABLE.read_bytes().replace(b'"name":"description"', b"")
