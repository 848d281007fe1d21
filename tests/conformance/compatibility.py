"""Writes the report of `run.py` into docs/compatibility.md: what passed, what failed, what was left out and why. The page's
other parts, outside the two marks of that name, are written by hand.

usage: compatibility.py REPORT PAGE MARK
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

MESSAGE_CHARACTERS_MAX = 160


def main() -> None:
    report, page, mark = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->\n"
    before, _, rest = page.read_text().partition(begin)
    after = rest.partition(end)[2]
    page.write_text(before + begin + section(json.loads(report.read_text())) + end + after)


def section(records: list[dict[str, Any]]) -> str:
    by_result: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        by_result[record["result"]].append(record)
    passed, failed, excluded = by_result["passed"], by_result["failed"], by_result["excluded"]
    lines = ["| conformance tests | |", "|---|---:|"]
    lines += [f"| in the suite | {len(records)} |", f"| run | {len(passed) + len(failed)} |"]
    lines += [f"| passed | {len(passed)} |", f"| failed | {len(failed)} |", f"| not run | {len(excluded)} |", ""]
    if failed:
        lines += ["### Failed", "", "| test | what it said |", "|---|---|"]
        lines += [f"| {plain(record['name'])} | {first_line(record['message'])} |" for record in failed] + [""]
    lines += ["### Not run", "", "| why | tests |", "|---|---:|"]
    reasons: dict[str, int] = defaultdict(int)
    for record in excluded:
        reasons[record["message"]] += 1
    lines += [f"| {reason} | {number} |" for reason, number in sorted(reasons.items(), key=lambda row: -row[1])]
    lines += ["", "### Passed", ""]
    lines += [f"- {plain(record['name'])}" for record in passed]
    return "\n".join(lines) + "\n"


def plain(name: str) -> str:
    """Without the suite's marks; the group that owns the test stays."""
    return re.sub(r" \[(Conformance|NodeConformance|LinuxOnly|MinimumKubeletVersion:[\d.]+)\]", "", name)


def first_line(message: str) -> str:
    text = " ".join(message.split()).replace("|", "\\|")
    return text if len(text) <= MESSAGE_CHARACTERS_MAX else text[:MESSAGE_CHARACTERS_MAX] + "…"


if __name__ == "__main__":
    main()
