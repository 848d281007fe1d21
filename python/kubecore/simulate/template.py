"""Renders a Stage's template for an object, fast for the ten thousandth object that differs only in name and address.

The functions there are: `and or not eq ne index len printf default Quote quote YAML Now now Version`, and those that
the player lends (`NodeConditions NodeIP NodeIPWith NodeName NodePort PodIP PodIPWith`). Any other is refused when the
Stage is loaded.

A render runs the template to YAML and reads that: some 400 µs. Most objects of a template are alike but for a few
values that come from functions: the time, an address. So the first render of a shape leaves those as slots; further
objects of that shape only fill the slots. The shape is all that the template reads of the object outside the
arguments of such functions. A template that decides by a slot's value cannot be kept that way and is run each time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import yaml

from kubecore.api.meta import Object
from kubecore.simulate.template_syntax import (
    Assign,
    Block,
    Call,
    Expression,
    Field,
    Literal,
    Node,
    Output,
    TemplateError,
    Text,
    parse,
)

SHAPES_MAX = 1024
"""Shapes kept for one template; beyond it all are forgotten and made again."""

Function = Callable[..., Any]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Undecidable(Exception):
    """The template looks into a slot."""


class _Slot:
    """Stands for the value of a function that differs from object to object."""

    def __init__(self, number: int) -> None:
        self.mark = f"\x01{number}\x01"

    def __bool__(self) -> bool:
        raise _Undecidable

    def __str__(self) -> str:
        return self.mark

    def __eq__(self, other: object) -> bool:
        raise _Undecidable

    __hash__ = None  # type: ignore[assignment]


def _quote(value: Any = "") -> str:
    if isinstance(value, _Slot):
        # Written by hand: the mark's control characters are to stay as they are until the slot is filled.
        return f'"{value.mark}"'
    return json.dumps(_text(value))


def _text(value: Any) -> str:
    """As Go prints a value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _yaml(value: Any, indent: int = 0) -> str:
    prefix = "  " * int(indent)
    lines = yaml.safe_dump(value, default_flow_style=False, sort_keys=True).rstrip().split("\n")
    return (
        "\n".join(prefix + line for line in lines).lstrip()
        if indent == 0
        else "\n" + "\n".join(prefix + line for line in lines)
    )


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, list):
            value = value[key] if isinstance(key, int) and -1 < key < len(value) else None
        else:
            value = (value or {}).get(key)
    return value


def _and(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


PURE: Mapping[str, Function] = {
    "and": _and,
    "or": _or,
    "not": lambda value: not value,
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": lambda first, other: first != other,
    "index": _index,
    "len": lambda value: len(value or ()),
    "printf": lambda form, *values: form.replace("%v", "%s") % values,
    "default": lambda fallback, value=None: value or fallback,
    "Quote": _quote,
    "quote": _quote,
    "YAML": _yaml,
}


class Template:
    """One template with the functions it may call. `functions` give values that differ from object to object."""

    def __init__(self, text: str, functions: Mapping[str, Function]) -> None:
        """Raises TemplateError."""
        self._nodes = parse(text)
        self._functions = functions
        paths: dict[tuple[str, ...], None] = {}
        self._lists: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = []
        """Lists of which only some fields of each element matter: a container's mounts differ in every pod."""
        self._collect(self._nodes, paths)
        self._paths = list(paths)
        self._shapes: dict[bytes, tuple[list[bytes], list[tuple[int, Call]]]] = {}
        self._keepable = True

    def render(self, obj: Object) -> bytes:
        """The rendered YAML as JSON."""
        if not self._keepable:
            return msgspec.json.encode(self._run(obj, None))
        seen = [_walk(obj, path) for path in self._paths]
        for path, fields in self._lists:
            seen.append([[_walk(element, field) for field in fields] for element in _elements(_walk(obj, path))])
        key = msgspec.json.encode(seen)
        shape = self._shapes.get(key)
        if shape is None:
            try:
                shape = self._shape(obj)
            except _Undecidable:
                self._keepable = False
                return msgspec.json.encode(self._run(obj, None))
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes.clear()
            self._shapes[key] = shape
        return self._fill(shape, obj)

    def _collect(self, nodes: Iterable[Node], paths: dict[tuple[str, ...], None]) -> None:
        """What the shape depends on. `nodes` see the object itself as their dot."""
        for node in nodes:
            if not isinstance(node, Block):
                for expression in _expressions((node,)):
                    self._check(expression, paths)
                continue
            fields = _fields_of_elements(node)
            if fields is not None and isinstance(node.expression, Field):
                for expression in _expressions(node.body):
                    self._check(expression, {})
                self._lists.append((node.expression.path, fields))
                self._collect(node.otherwise, paths)
            elif node.kind == "if":
                self._check(node.expression, paths)
                self._collect(node.body, paths)
                self._collect(node.otherwise, paths)
            else:
                for expression in _expressions((node,)):
                    self._check(expression, paths)

    def _check(self, expression: Expression, paths: dict[tuple[str, ...], None]) -> None:
        """Refuses unknown functions; collects what the shape depends on."""
        if isinstance(expression, Field):
            # Inside a range or with, `.` is another value; looking the path up in the object too does no harm.
            # All of the object, as one value, makes each object a shape of its own.
            if expression.variable in ("", "$") or expression.path:
                paths[expression.path or ("metadata", "uid")] = None
        elif isinstance(expression, Call):
            if expression.function not in PURE and expression.function not in self._functions:
                known = ", ".join(sorted([*PURE, *self._functions]))
                raise TemplateError(f"unknown function {expression.function!r}; there are {known}")
            if expression.function not in self._functions:
                for argument in expression.arguments:
                    self._check(argument, paths)

    # ── shapes ──

    def _shape(self, obj: Object) -> tuple[list[bytes], list[tuple[int, Call]]]:
        """JSON cut at its slots, and the call that fills each cut."""
        slots: list[Call] = []
        encoded = msgspec.json.encode(_escape(self._run(obj, slots)))
        parts = encoded.split(b"\\u0001")
        return parts[::2], [(int(number), slots[int(number)]) for number in parts[1::2]]

    def _fill(self, shape: tuple[list[bytes], list[tuple[int, Call]]], obj: Object) -> bytes:
        parts, calls = shape
        values: dict[int, bytes] = {}
        scope = _Scope(self, obj, None)
        filled = [parts[0]]
        for (number, call), part in zip(calls, parts[1:], strict=True):
            if number not in values:
                # Inside the quotes that are there already.
                values[number] = json.dumps(_text(scope.evaluate(call, obj)))[1:-1].encode()
            filled += (values[number], part)
        return b"".join(filled)

    # ── running ──

    def _run(self, obj: Object, slots: list[Call] | None) -> Any:
        scope = _Scope(self, obj, slots)
        scope.run(self._nodes, obj)
        text = "".join(scope.output)
        if slots is not None:
            # YAML has no control characters: the marks travel as private-use characters.
            text = text.replace("\x01", "\ue001")
        try:
            return yaml.load(text, Loader=_Loader) or {}
        except yaml.YAMLError as failure:
            raise TemplateError(f"the template gives no YAML: {failure}") from failure


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\ue001", "\x01")
    if isinstance(value, list):
        return [_escape(each) for each in value]
    if isinstance(value, dict):
        return {name: _escape(each) for name, each in value.items()}
    return value


class _Scope:
    """One run: variables, and what was written."""

    def __init__(self, template: Template, root: Object, slots: list[Call] | None) -> None:
        self._functions = template._functions
        self._root = root
        self._slots = slots
        self._variables: list[dict[str, Any]] = [{"$": root}]
        self.output: list[str] = []

    def run(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self.output.append(node.text)
            elif isinstance(node, Output):
                value = self.evaluate(node.expression, dot)
                self.output.append(str(value) if isinstance(value, _Slot) else _text(value))
            elif isinstance(node, Assign):
                self._assign(node, self.evaluate(node.expression, dot))
            else:
                self._block(node, dot)

    def _assign(self, node: Assign, value: Any) -> None:
        if node.declares:
            self._variables[-1][node.variable] = value
            return
        for frame in reversed(self._variables):
            if node.variable in frame:
                frame[node.variable] = value
                return
        raise TemplateError(f"undefined variable {node.variable}")

    def _block(self, node: Block, dot: Any) -> None:
        value = self.evaluate(node.expression, dot)
        self._variables.append({})
        if node.kind == "range":
            self._range(node, dot, value)
        elif value:
            for variable in node.variables:
                self._variables[-1][variable] = value
            self.run(node.body, value if node.kind == "with" else dot)
        else:
            self.run(node.otherwise, dot)
        self._variables.pop()

    def _range(self, node: Block, dot: Any, value: Any) -> None:
        pairs: Iterable[tuple[Any, Any]] = sorted(value.items()) if isinstance(value, dict) else enumerate(value or ())
        empty = True
        for index, element in pairs:
            empty = False
            named = (index, element) if len(node.variables) == 2 else (element,)
            self._variables.append(dict(zip(node.variables, named, strict=False)))
            self.run(node.body, element)
            self._variables.pop()
        if empty:
            self.run(node.otherwise, dot)

    def evaluate(self, expression: Expression, dot: Any) -> Any:
        if isinstance(expression, Literal):
            return expression.value
        if isinstance(expression, Field):
            return _walk(self._variable(expression.variable) if expression.variable else dot, expression.path)
        if expression.function in self._functions:
            if self._slots is not None:
                return self._slot(expression, dot)
            function = self._functions[expression.function]
            return function(*(self.evaluate(argument, dot) for argument in expression.arguments))
        arguments = [self.evaluate(argument, dot) for argument in expression.arguments]
        if expression.function not in ("Quote", "quote") and any(isinstance(each, _Slot) for each in arguments):
            raise _Undecidable
        return PURE[expression.function](*arguments)

    def _slot(self, call: Call, dot: Any) -> _Slot:
        if dot is not self._root and call.arguments:
            # Its arguments are of an inner value that will not be at hand when the slot is filled.
            raise _Undecidable
        assert self._slots is not None
        if call not in self._slots:
            self._slots.append(call)
        return _Slot(self._slots.index(call))

    def _variable(self, name: str) -> Any:
        for frame in reversed(self._variables):
            if name in frame:
                return frame[name]
        raise TemplateError(f"undefined variable {name}")


def _walk(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        if not isinstance(value, dict):
            if isinstance(value, _Slot):
                raise _Undecidable
            return None
        value = value.get(part)
    return value


def _expressions(nodes: Iterable[Node]) -> Iterable[Expression]:
    for node in nodes:
        if isinstance(node, Output | Assign):
            yield node.expression
        elif isinstance(node, Block):
            yield node.expression
            yield from _expressions(node.body)
            yield from _expressions(node.otherwise)


def _elements(value: Any) -> list[Any]:
    """What a range over the value sees, in its order."""
    return [value[key] for key in sorted(value)] if isinstance(value, dict) else list(value or ())


def _fields_of_elements(block: Block) -> list[tuple[str, ...]] | None:
    """For a range over one of the object's lists whose body reads nothing of an element but some of its fields: those.

    None if the body may read more: the whole element, the object, or what a variable holds of either.
    """
    if block.kind != "range" or block.variables or not isinstance(block.expression, Field):
        return None
    if block.expression.variable not in ("", "$") or not _plain(block.body):
        return None
    fields: dict[tuple[str, ...], None] = {}
    waiting = list(_expressions(block.body))
    while waiting:
        expression = waiting.pop()
        if isinstance(expression, Call):
            waiting += expression.arguments
        elif isinstance(expression, Field):
            if expression.variable and not expression.path and expression.variable != "$":
                continue
            if expression.variable or not expression.path:
                return None
            fields[expression.path] = None
    return list(fields)


def _plain(nodes: Iterable[Node]) -> bool:
    """Nothing but text, output and conditions."""
    return all(
        isinstance(node, Text | Output)
        or (isinstance(node, Block) and node.kind == "if" and _plain(node.body) and _plain(node.otherwise))
        for node in nodes
    )
