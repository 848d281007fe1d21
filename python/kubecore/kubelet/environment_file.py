"""Files of variables for fileKeyRef: `NAME='value'`, values in single quotes, maybe over several lines. Pure.

Source: KEP-3721.
"""

from __future__ import annotations

import re

_BLANK = " \t"
_FORMAT = "invalid environment variable format"


class FormatFailure(ValueError):
    """A line is not of the form."""


def value(text: str, key: str) -> str:
    """The first value that the file gives that name, "" if none. Lines after it are not read. Raises FormatFailure."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    index = 0
    while index < len(lines):
        number, line = index + 1, lines[index].lstrip(_BLANK)
        index += 1
        if not line or line.startswith("#"):
            continue
        name, rest = _split(line, number)
        if rest[:1] in tuple(_BLANK):
            # As in a shell, `NAME= 'value'` is an empty assignment.
            if name == key:
                return ""
            continue
        if not rest.startswith("'"):
            raise FormatFailure(f"{_FORMAT} at line {number}: value must be enclosed in single quotes")
        quoted, rest = "", rest[1:]
        while "'" not in rest:
            if index == len(lines):
                raise FormatFailure(f"{_FORMAT} starting at line {number}: unclosed single quote")
            quoted += rest + "\n"
            rest = lines[index]
            index += 1
        end, _, after = rest.partition("'")
        if not re.fullmatch(r"[ \t]*(#.*)?", after):
            raise FormatFailure(f"{_FORMAT} at line {index}: unexpected content after closing quote")
        if name == key:
            return quoted + end
    return ""


def _split(line: str, number: int) -> tuple[str, str]:
    name, equals, rest = line.partition("=")
    if not equals:
        raise FormatFailure(f"{_FORMAT} at line {number}: missing '='")
    if not name.strip(_BLANK):
        raise FormatFailure(f"{_FORMAT} at line {number}: empty variable name")
    if name != name.rstrip(_BLANK):
        raise FormatFailure(f"{_FORMAT} at line {number}: whitespace before '=' is not allowed")
    return name, rest
