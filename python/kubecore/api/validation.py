"""The words of validation: field errors, and the shapes of names, labels and ports.

A `FieldError` becomes one cause of an `Invalid` Status. The `is_...` functions give the list of what is wrong with a text,
empty if nothing is, in upstream's words.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from kubecore.api.errors import Invalid, invalid

Problems = tuple[str, ...]
"""What is wrong with one value; empty: nothing."""

_TEXT_OF_REASON = {
    "FieldValueNotFound": "Not found",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueTypeInvalid": "Invalid value",
    "InternalError": "Internal error",
}
_WITHOUT_VALUE = {"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError"}


class FieldError:
    """What is wrong with one field. `field` is its path, such as `spec.containers[0].name`."""

    __slots__ = ("detail", "field", "reason", "value")

    def __init__(self, reason: str, field: str, value: Any, detail: str) -> None:
        self.reason = reason
        self.field = field
        self.value = value
        self.detail = detail

    def message(self) -> str:
        """Without the field, as a cause carries it."""
        text = _TEXT_OF_REASON[self.reason]
        if self.reason not in _WITHOUT_VALUE:
            text = f"{text}: {show(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def to_cause(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message(), "field": self.field}

    def __repr__(self) -> str:
        return f"{self.field}: {self.message()}"


Errors = list[FieldError]


def show(value: Any) -> str:
    """A value as messages print it: text in quotes, composites as JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, "", detail)


def invalid_value(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, value, detail)


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, value, "")


def missing(field: str, value: Any) -> FieldError:
    """A value that names something which is not there."""
    return FieldError("FieldValueNotFound", field, value, "")


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, "", detail)


def unsupported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    listed = ", ".join(f'"{one}"' for one in supported)
    return FieldError("FieldValueNotSupported", field, value, f"supported values: {listed}" if listed else "")


def too_long(field: str, most_bytes: int) -> FieldError:
    unit = "byte" if most_bytes == 1 else "bytes"
    return FieldError("FieldValueTooLong", field, "", f"may not be more than {most_bytes} {unit}")


def too_many(field: str, actual: int, most: int) -> FieldError:
    unit = "item" if most == 1 else "items"
    return FieldError("FieldValueTooMany", field, actual, f"must have at most {most} {unit}")


def to_status(kind: str, group: str, name: str, errors: Errors) -> Invalid:
    """The Status of an object with these errors; equal ones are told once."""
    causes: list[dict[str, str]] = []
    for error in errors:
        cause = error.to_cause()
        if cause not in causes:
            causes.append(cause)
    return invalid(kind, group, name, causes)


# ───────────────────────────── shapes of text ─────────────────────────────


def regex_problem(text: str, pattern: str, *examples: str) -> str:
    """`text (e.g. 'a',  or 'b', regex used for validation is '...')`."""
    if not examples:
        return f"{text} (regex used for validation is '{pattern}')"
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {listed}regex used for validation is '{pattern}')"


def length_problem(most_bytes: int) -> str:
    return f"must be no more than {most_bytes} bytes"


def range_problem(least: int, most: int) -> str:
    return f"must be between {least} and {most}, inclusive"


NOT_NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than zero"
IMMUTABLE = "field is immutable"

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_PERCENT = "[0-9]+%"
_HEADER_NAME = "[-A-Za-z0-9]+"

_match_label = re.compile(_LABEL).fullmatch
_match_subdomain = re.compile(_SUBDOMAIN).fullmatch
_match_label_1035 = re.compile(_LABEL_1035).fullmatch
_match_qualified = re.compile(_QUALIFIED).fullmatch
_match_label_value = re.compile(_LABEL_VALUE).fullmatch
_match_config_key = re.compile(_CONFIG_KEY).fullmatch
_match_percent = re.compile(_PERCENT).fullmatch
_match_header_name = re.compile(_HEADER_NAME).fullmatch
_match_port_name = re.compile("[-a-z0-9]+").fullmatch
_has_letter = re.compile("[a-z]").search

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)


@functools.lru_cache(maxsize=4096)
def is_dns1123_label(value: str) -> Problems:
    problems: list[str] = []
    if len(value) > 63:
        problems.append(length_problem(63))
    if not _match_label(value):
        if _match_subdomain(value):
            problems.append("must not contain dots")
        else:
            problems.append(regex_problem(_LABEL_TEXT, _LABEL, "my-name", "123-abc"))
    return tuple(problems)


def is_dns1123_subdomain(value: str) -> Problems:
    if len(value) <= 253 and _match_subdomain(value):
        return ()
    problems: list[str] = []
    if len(value) > 253:
        problems.append(length_problem(253))
    if not _match_subdomain(value):
        problems.append(regex_problem(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    return tuple(problems)


def is_dns1035_label(value: str) -> Problems:
    problems: list[str] = []
    if len(value) > 63:
        problems.append(length_problem(63))
    if not _match_label_1035(value):
        problems.append(regex_problem(_LABEL_1035_TEXT, _LABEL_1035, "my-name", "abc-123"))
    return tuple(problems)


@functools.lru_cache(maxsize=4096)
def is_qualified_name(value: str) -> Problems:
    """`name` or `prefix/name`: label keys, annotation keys, resource names, finalizers."""
    parts = value.split("/")
    if len(parts) > 2:
        text = regex_problem("a qualified name " + _QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc")
        return (f"{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",)
    problems: list[str] = []
    name = parts[-1]
    if len(parts) == 2:
        if not parts[0]:
            problems.append("prefix part must be non-empty")
        else:
            problems.extend("prefix part " + problem for problem in is_dns1123_subdomain(parts[0]))
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part " + length_problem(63))
    if not _match_qualified(name):
        problems.append("name part " + regex_problem(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc"))
    return tuple(problems)


@functools.lru_cache(maxsize=4096)
def is_label_value(value: str) -> Problems:
    problems: list[str] = []
    if len(value) > 63:
        problems.append(length_problem(63))
    if not _match_label_value(value):
        problems.append(regex_problem(_LABEL_VALUE_TEXT, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return tuple(problems)


def is_env_name(value: str) -> Problems:
    """Anything printable but `=` (upstream's relaxed rule, the default since 1.34)."""
    if not value:
        return ("environment variable name must be non-empty",)
    if all(" " <= character <= "~" and character != "=" for character in value):
        return ()
    return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)


def is_config_key(value: str) -> Problems:
    """A key of a ConfigMap or Secret."""
    problems: list[str] = []
    if len(value) > 253:
        problems.append(length_problem(253))
    if not _match_config_key(value):
        text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        problems.append(regex_problem(text, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value == ".":
        problems.append("must not be '.'")
    elif value == "..":
        problems.append("must not be '..'")
    elif value.startswith(".."):
        problems.append("must not start with '..'")
    return tuple(problems)


def is_port_name(value: str) -> Problems:
    """An IANA service name."""
    problems: list[str] = []
    if len(value) > 15:
        problems.append(length_problem(15))
    if not _match_port_name(value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _has_letter(value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return tuple(problems)


def is_port_number(value: int) -> Problems:
    return () if 1 <= value <= 65535 else (range_problem(1, 65535),)


def is_percent(value: str) -> Problems:
    if _match_percent(value):
        return ()
    text = "a valid percent string must be a numeric string followed by an ending '%'"
    return (regex_problem(text, _PERCENT, "1%", "93%"),)


def is_header_name(value: str) -> Problems:
    if _match_header_name(value):
        return ()
    return (
        regex_problem(
            "a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER_NAME, "X-Header-Name"
        ),
    )


def is_path_segment(value: str) -> Problems:
    """A name that only has to fit in a URL path: RBAC kinds."""
    if value in (".", ".."):
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{part}'" for part in ("/", "%") if part in value)


def check(field: str, value: str, shape: Callable[[str], Problems]) -> Errors:
    """One `Invalid value` error for each problem of a shape."""
    return [invalid_value(field, value, problem) for problem in shape(value)]
