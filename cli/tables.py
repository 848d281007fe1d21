"""Prints the server's Tables as kubectl does: columns three spaces apart, headers in capitals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

COLUMN_GAP = 3


class TablePrinter:
    """Prints several tables, or a watch's growing one, keeping column widths that were already shown."""

    def __init__(
        self, *, wide: bool, headers: bool, namespace: bool, kind_prefix: str = "", labels: bool = False
    ) -> None:
        self._wide = wide
        self._headers = headers
        self._namespace = namespace
        self._kind_prefix = kind_prefix
        self._labels = labels
        self._columns: list[int] = []
        self._widths: list[int] = []
        self._printed_header = False

    def lines(self, table: dict[str, Any]) -> list[str]:
        """The table's rows as text, with the header line the first time."""
        header: list[str] | None = None
        if table.get("columnDefinitions"):
            definitions = table["columnDefinitions"]
            self._columns = [i for i, column in enumerate(definitions) if self._wide or not column.get("priority")]
            header = [definitions[i]["name"].upper() for i in self._columns]
            header = (["NAMESPACE"] if self._namespace else []) + header + (["LABELS"] if self._labels else [])
        rows = [self._row(row) for row in table.get("rows") or ()]
        show_header = header is not None and self._headers and not self._printed_header
        self._measure([header, *rows] if header and show_header else rows)
        output = [self._join(header)] if header and show_header else []
        self._printed_header = self._printed_header or show_header
        return output + [self._join(row) for row in rows]

    def _row(self, row: dict[str, Any]) -> list[str]:
        cells = [_cell(row["cells"][i]) for i in self._columns]
        if self._kind_prefix and cells:
            cells[0] = f"{self._kind_prefix}/{cells[0]}"
        metadata = (row.get("object") or {}).get("metadata", {})
        if self._namespace:
            cells.insert(0, metadata.get("namespace", ""))
        if self._labels:
            labels = metadata.get("labels") or {}
            cells.append(",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>")
        return cells

    def _measure(self, rows: Sequence[list[str]]) -> None:
        for row in rows:
            for i, cell in enumerate(row):
                if i == len(self._widths):
                    self._widths.append(0)
                self._widths[i] = max(self._widths[i], len(cell))

    def _join(self, cells: list[str]) -> str:
        padded = [cell.ljust(self._widths[i] + COLUMN_GAP) for i, cell in enumerate(cells[:-1])]
        return "".join(padded) + cells[-1] if cells else ""


def _cell(value: Any) -> str:
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace("\n", "\\n")


def columns(rows: Sequence[Sequence[str]], *, indent: str = "", gap: int = 2) -> list[str]:
    """Rows of text as aligned lines."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(len(row) for row in rows))]
    return [indent + "".join(cell.ljust(widths[i] + gap) for i, cell in enumerate(row[:-1])) + row[-1] for row in rows]
