"""Tables print as kubectl prints them."""

from __future__ import annotations

from typing import Any

from kubecore_cli.ages import human_age
from kubecore_cli.tables import TablePrinter


def _table(*rows: list[Any], definitions: bool = True) -> dict[str, Any]:
    columns = [
        {"name": "Name", "priority": 0},
        {"name": "Ready", "priority": 0},
        {"name": "Node", "priority": 1},
    ]
    made = [
        {"cells": row, "object": {"metadata": {"name": row[0], "namespace": "default", "labels": {"app": "x"}}}}
        for row in rows
    ]
    return {"columnDefinitions": columns if definitions else [], "rows": made}


def _printer(**given: bool) -> TablePrinter:
    return TablePrinter(**({"wide": False, "headers": True, "namespace": False} | given))  # type: ignore[arg-type]


def test_columns_stand_three_spaces_apart() -> None:
    assert _printer().lines(_table(["a", "1/1", "n"], ["longer", "0/1", "n"])) == [
        "NAME     READY",
        "a        1/1",
        "longer   0/1",
    ]


def test_wide_shows_what_else_there_is() -> None:
    assert _printer(wide=True).lines(_table(["a", "1/1", "n"]))[0] == "NAME   READY   NODE"


def test_namespaces_and_labels_frame_the_columns() -> None:
    lines = _printer(namespace=True, labels=True).lines(_table(["a", "1/1", "n"]))
    assert lines == ["NAMESPACE   NAME   READY   LABELS", "default     a      1/1     app=x"]


def test_a_watch_prints_its_header_once() -> None:
    printer = _printer()
    printer.lines(_table(["a", "0/1", "n"]))
    assert printer.lines(_table(["a", "1/1", "n"], definitions=False)) == ["a      1/1"]


def test_ages_are_shortened_as_kubectl_does() -> None:
    ages = {0: "0s", 119: "119s", 120: "2m", 190: "3m10s", 3600: "60m", 11000: "3h3m", 40000: "11h", 200000: "2d"}
    assert {seconds: human_age(seconds) for seconds in ages} == ages
