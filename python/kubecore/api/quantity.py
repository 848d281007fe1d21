"""Quantities: `500m`, `1.5Gi`, `2e3`. Exact arithmetic, upstream's canonical form.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import functools
import re
from decimal import ROUND_CEILING, Decimal

BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
"""Suffix → power of 1024."""
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
"""Suffix → power of ten."""

_MATCH = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?\d+)").fullmatch
_NANO = Decimal("1e-9")
_SUFFIX_OF_POWER = {power: suffix for suffix, power in DECIMAL.items()}
_BINARY_SUFFIXES = tuple(reversed(BINARY.items()))

FORMAT_PROBLEM = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


class QuantityError(ValueError):
    """The text is not a quantity."""


def _split(text: str) -> tuple[Decimal, str]:
    """(value rounded up to nano, suffix)."""
    found = _MATCH(text)
    if found is None:
        raise QuantityError(FORMAT_PROBLEM)
    sign, digits, suffix = found.groups()
    number = Decimal(sign + digits)
    if suffix in BINARY:
        number *= 1024 ** BINARY[suffix]
    elif suffix in DECIMAL:
        number = number.scaleb(DECIMAL[suffix])
    else:
        number = number.scaleb(int(suffix[1:]))
    if number.as_tuple().exponent < -9:  # type: ignore[operator]  # finite: the pattern admits no NaN
        number = (
            number.quantize(_NANO, rounding=ROUND_CEILING)
            if number > 0
            else -((-number).quantize(_NANO, rounding=ROUND_CEILING))
        )
    return number, suffix


@functools.lru_cache(maxsize=16384)
def parse(text: str) -> Decimal:
    """The exact number. Raises QuantityError."""
    return _split(text)[0]


def of(value: str | int | float) -> Decimal:
    """As `parse`; JSON also allows plain numbers."""
    return parse(value if isinstance(value, str) else str(value))


def value(quantity: str | int | float) -> int:
    """In whole units, rounded up: bytes, pods."""
    return int(of(quantity).to_integral_value(rounding=ROUND_CEILING))


def text_of(number: Decimal, *, binary: bool = False) -> str:
    """Upstream's canonical text: the largest suffix that needs no fraction. `binary`: prefer Ki, Mi, ..."""
    if number == 0:
        return "0"
    if binary and number == number.to_integral_value():
        whole = int(number)
        if abs(whole) >= 1024:
            for suffix, power in _BINARY_SUFFIXES:
                if whole % 1024**power == 0:
                    return f"{whole // 1024**power}{suffix}"
        return str(whole)
    sign, digits, exponent = number.normalize().as_tuple()
    assert isinstance(exponent, int), "a quantity is finite"
    power = exponent - exponent % 3 if exponent >= -9 else -9
    power = min(power, 18)
    mantissa = int("".join(map(str, digits))) * 10 ** (exponent - power)
    return f"{'-' if sign else ''}{mantissa}{_SUFFIX_OF_POWER[power]}"


@functools.lru_cache(maxsize=16384)
def canonical(text: str) -> str:
    """`0.5` → `500m`, `1024Ki` → `1Mi`, `1000m` → `1`. Raises QuantityError."""
    number, suffix = _split(text)
    if suffix[:1] in ("e", "E") and suffix not in DECIMAL:
        sign, digits, exponent = number.normalize().as_tuple()
        assert isinstance(exponent, int), "a quantity is finite"
        power = exponent - exponent % 3
        mantissa = int("".join(map(str, digits))) * 10 ** (exponent - power)
        return f"{'-' if sign else ''}{mantissa}" + (f"e{power}" if power else "")
    return text_of(number, binary=suffix in BINARY)
