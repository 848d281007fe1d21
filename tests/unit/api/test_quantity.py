from __future__ import annotations

from decimal import Decimal

import pytest

from kubecore.api import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("500m", "0.5"),
        ("1Ki", 1024),
        ("1.5Gi", 1610612736),
        ("2e3", 2000),
        ("-3", -3),
        (".5", "0.5"),
        ("1n", "1e-9"),
    ],
)
def test_a_quantity_is_exact(text: str, number: int | str) -> None:
    assert quantity.parse(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "abc", "1.5.5", "1Zi", "Ki", "1 Gi", "--1"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(quantity.QuantityError):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Ki", "1Mi"),
        ("1500Mi", "1500Mi"),
        ("1.5Gi", "1536Mi"),
        ("1000", "1k"),
        ("100", "100"),
        ("1234567", "1234567"),
        ("0", "0"),
        ("0Gi", "0"),
        ("12e6", "12e6"),
        ("100000e3", "100e6"),
        ("-1.5", "-1500m"),
    ],
)
def test_the_canonical_text_is_that_of_upstream(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


def test_whole_units_round_up() -> None:
    assert quantity.value("1500m") == 2
    assert quantity.value("1Gi") == 2**30


def test_less_than_a_billionth_is_rounded_up() -> None:
    assert quantity.parse("0.0000000001") == Decimal("1e-9")
