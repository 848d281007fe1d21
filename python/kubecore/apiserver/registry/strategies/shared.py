"""Checks that several kinds share."""

from __future__ import annotations

from typing import Any

from kubecore.api import quantity
from kubecore.api import validation as v


def validate_quantity(field: str, amount: Any) -> v.Errors:
    """A quantity that is not negative."""
    try:
        number = quantity.of(amount)
    except quantity.QuantityError as error:
        return [v.invalid_value(field, amount, str(error))]
    return [v.invalid_value(field, str(amount), v.NOT_NEGATIVE)] if number < 0 else []


def validate_not_negative(field: str, value: int) -> v.Errors:
    return [v.invalid_value(field, value, v.NOT_NEGATIVE)] if value < 0 else []


def validate_immutable(field: str, new: Any, old: Any) -> v.Errors:
    return [] if new == old else [v.invalid_value(field, new, v.IMMUTABLE)]


def validate_port_or_name(field: str, port: Any) -> v.Errors:
    """An int-or-string port."""
    if isinstance(port, str):
        return [v.invalid_value(field, port, problem) for problem in v.is_port_name(port)]
    return [v.invalid_value(field, port, problem) for problem in v.is_port_number(port)]
