"""Which objects a Stage is for: labels, annotations, and expressions over the object in jq's words.

Understood of jq: fields (`.status.phase`, `.["key"]`, `.metadata.annotations["key"]`), all elements (`.[]`), and `|
select( .field == "text" )`. Anything else is refused when the Stage is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kubecore.api.meta import Object

Step = Callable[[Iterable[Any]], Iterable[Any]]

_PART = re.compile(
    r"""\s*(?:\.?\[\s*(?P<key>"(?:\\.|[^"\\])*")\s*\]|(?P<each>\.?\[\s*\])|\.(?P<name>\w+)|(?P<self>\.(?=\s|$)))"""
)
_SELECT = re.compile(
    r"""\s*select\((?P<path>[^=!]+?)\s*(?P<operator>==|!=)\s*(?P<text>"(?:\\.|[^"\\])*"|true|false|null|-?\d+)\s*\)\s*$"""
)

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


class SelectorError(Exception):
    """The expression uses something that is not understood."""


class Query:
    """A jq expression: all values that it finds in an object, nulls left out."""

    def __init__(self, text: str) -> None:
        self._steps = [step for part in text.split("|") for step in _steps(part, text)]
        # Most expressions are plain paths, and every change of every pod asks some of them.
        plain = re.fullmatch(r"\s*((?:\.\w+)+)\s*", text)
        self._path = plain[1][1:].split(".") if plain else None

    def find(self, obj: Object) -> list[Any]:
        if self._path is not None:
            value: Any = obj
            for name in self._path:
                if not isinstance(value, dict):
                    return []
                value = value.get(name)
            return [] if value is None else [value]
        values: Iterable[Any] = (obj,)
        for step in self._steps:
            values = step(values)
        return [value for value in values if value is not None]


def _steps(part: str, text: str) -> list[Step]:
    selection = _SELECT.match(part)
    if selection:
        inner = Query(selection["path"])
        wanted, equal = json.loads(selection["text"]), selection["operator"] == "=="
        return [lambda values: [value for value in values if (inner.find(value)[:1] == [wanted]) == equal]]
    steps: list[Step] = []
    at = 0
    while part[at:].strip():
        match = _PART.match(part, at)
        if match is None:
            raise SelectorError(f"not understood: {text!r} at {part[at:]!r}")
        if match["each"]:
            steps.append(_elements)
        elif match["key"] or match["name"]:
            steps.append(_field(json.loads(match["key"]) if match["key"] else match["name"]))
        at = match.end()
    return steps


def _field(name: str) -> Step:
    return lambda values: [value.get(name) for value in values if isinstance(value, dict)]


def _elements(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, list):
            yield from value


def _expression(query: Query, operator: str, values: frozenset[str]) -> Callable[[Object], bool]:
    """Whether an expression holds for an object."""
    find = query.find
    if operator == "Exists":
        return lambda obj: bool(find(obj))
    if operator == "DoesNotExist":
        return lambda obj: not find(obj)
    wanted = operator == "In"

    def holds(obj: Object) -> bool:
        among = False
        # Compared as text, as a Stage writes them: "True", "3".
        for value in find(obj):
            if (value if isinstance(value, str) else _as_text(value)) in values:
                among = True
        return among is wanted

    return holds


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class Selector:
    """All of it must hold."""

    def __init__(self, selector: Mapping[str, Any] | None) -> None:
        """Raises SelectorError."""
        selector = selector or {}
        self._labels: Mapping[str, str] = selector.get("matchLabels") or {}
        self._annotations: Mapping[str, str] = selector.get("matchAnnotations") or {}
        self._expressions = []
        for expression in selector.get("matchExpressions") or ():
            if expression.get("operator") not in OPERATORS:
                raise SelectorError(f"operator {expression.get('operator')!r}: there are {', '.join(OPERATORS)}")
            values = frozenset(_as_text(value) for value in expression.get("values") or ())
            self._expressions.append(_expression(Query(expression["key"]), expression["operator"], values))

    def matches(self, obj: Object) -> bool:
        for holds in self._expressions:
            if not holds(obj):
                return False
        metadata = obj.get("metadata", {})
        return _has(metadata.get("labels"), self._labels) and _has(metadata.get("annotations"), self._annotations)


def _has(present: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    return not wanted or (present is not None and all(present.get(name) == wanted[name] for name in wanted))
