"""Configuration of a component as upstream has it: a file of one kind, and flags that override its fields.

In: YAML, texts of flags. Out: fields under upstream's names, for structs of `Part`s; durations are seconds here and `1m30s` in
the file. Kubelet and service proxy say which fields and flags there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import msgspec
import yaml

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")

Flags = Mapping[str, tuple[str, Callable[[str], Any]]]
"""Upstream's flag → the field that it overrides (`parent.field`), and how its text is read."""


class ConfigurationError(ValueError):
    """The file or a flag cannot be understood."""


class Duration(float):
    """Seconds; in a file Go's form: `10s`, `1m30s`, `250ms`."""


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base: immutable, by keyword, upstream's names in a file."""


Configuration = TypeVar("Configuration", bound=Part)


def read_file(text: str, *, whose: str, api_version: str, kind: str) -> dict[str, Any]:
    """The fields that are set: null stands for the default, as in Go. `whose`: as errors begin. Raises ConfigurationError."""
    try:
        written = yaml.safe_load(text)
    except yaml.YAMLError as failure:
        raise ConfigurationError(f"{whose} configuration is not YAML: {failure}") from failure
    if not isinstance(written, dict):
        raise ConfigurationError(f"{whose} configuration is not an object")
    if written.get("kind") != kind or written.get("apiVersion") != api_version:
        raise ConfigurationError(f"the file must be of apiVersion {api_version} and kind {kind}")
    return {name: value for name, value in written.items() if value is not None}


def without(fields: Mapping[str, Any], meaningless: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """(the fields that count, the names of the others)."""
    kept = {name: value for name, value in fields.items() if name not in meaningless}
    return kept, sorted(name for name in fields if name in meaningless)


def converted(fields: Mapping[str, Any], structure: type[Configuration], *, whose: str) -> Configuration:
    """From the fields of a file. Raises ConfigurationError."""
    try:
        return msgspec.convert(fields, structure, dec_hook=_decode)
    except msgspec.ValidationError as failure:
        raise ConfigurationError(f"{whose} configuration: {failure}") from failure


def overridden(configuration: Part, flags: Mapping[str, str], known: Flags) -> dict[str, Any]:
    """The fields with what the command line says (names without dashes in front). Raises ConfigurationError."""
    fields: dict[str, Any] = msgspec.to_builtins(configuration, enc_hook=lambda seconds: f"{float(seconds):f}s")
    for flag, text in flags.items():
        if flag not in known:
            raise ConfigurationError(f"unknown flag: --{flag}")
        path, read = known[flag]
        *parents, last = path.split(".")
        holder = fields
        for parent in parents:
            holder = holder[parent]
        try:
            holder[last] = read(text)
        except ValueError as failure:
            raise ConfigurationError(f'invalid argument "{text}" for "--{flag}" flag: {failure}') from failure
    return fields


def _decode(kind: type, value: Any) -> Any:
    if kind is Duration:
        if isinstance(value, str):
            return parse_duration(value)
        raise ConfigurationError(f"a duration is a text such as 10s, not {value!r}")
    raise ConfigurationError(f"no field has the type {kind}")


# ── how texts are read ──


def parse_duration(text: str) -> Duration:
    """Raises ConfigurationError."""
    if text in ("0", ""):
        return Duration(0)
    sign = -1 if text.startswith("-") else 1
    rest = text.lstrip("+-")
    parts = _DURATION_PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ConfigurationError(f'time: invalid duration "{text}"')
    return Duration(sign * sum(float(number) * _UNITS[unit] for number, unit in parts))


def boolean(text: str) -> bool:
    lower = text.lower()
    if lower in ("true", "t", "1", ""):
        return True
    if lower in ("false", "f", "0"):
        return False
    raise ConfigurationError(f"{text!r} is neither true nor false")


def comma_separated(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
