"""Go's text templates, as far as Stages use them: from text to a tree.

Understood: text, `{{ }}` with trimming dashes and comments, pipelines, parentheses, variables (`$x := …`, `$x = …`),
field chains (`.spec.nodeName`, `$x.name`), strings, numbers, `true`, `false`, `nil`, and the blocks `if`, `else if`,
`range`, `with`, `else`, `end`. Anything else is refused where it stands. Source: https://pkg.go.dev/text/template
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass


class TemplateError(Exception):
    """The template uses something that is not understood, or is not well formed."""


@dataclass(frozen=True, slots=True)
class Literal:
    value: object


@dataclass(frozen=True, slots=True)
class Field:
    """`.a.b`, or with a variable `$x.a.b`; no path: the value itself."""

    variable: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments; a pipeline puts the value on its left last."""

    function: str
    arguments: tuple[Expression, ...]


Expression = Literal | Field | Call


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Output:
    expression: Expression


@dataclass(frozen=True, slots=True)
class Assign:
    variable: str
    expression: Expression
    declares: bool


@dataclass(frozen=True, slots=True)
class Block:
    """`kind` is if, with or range; range may name an index and an element."""

    kind: str
    variables: tuple[str, ...]
    expression: Expression
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


Node = Text | Output | Assign | Block

_ACTION = re.compile(r"\{\{(-(?=\s))?(.*?)((?<=\s)-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<variable>\$\w*)(?P<chain>(?:\.\w+)*)
    |(?P<field>(?:\.\w+)+|\.(?!\w))|(?P<assign>:=|=)|(?P<mark>[(),|])|(?P<word>\w+))""",
    re.VERBOSE,
)
_CONSTANTS = {"true": True, "false": False, "nil": None}


def parse(text: str) -> tuple[Node, ...]:
    """Raises TemplateError with the action that is not understood."""
    return _Parser(_pieces(text)).parse()


def _pieces(text: str) -> list[tuple[bool, str]]:
    """(is an action, text) in order; trimming done, comments gone."""
    pieces: list[tuple[bool, str]] = []
    at, trim_next = 0, False
    for match in _ACTION.finditer(text):
        before = text[at : match.start()]
        if trim_next:
            before = before.lstrip()
        if match.group(1):
            before = before.rstrip()
        pieces.append((False, before))
        inside = match.group(2).strip()
        if not inside.startswith("/*"):
            pieces.append((True, inside))
        at, trim_next = match.end(), bool(match.group(3))
    rest = text[at:]
    pieces.append((False, rest.lstrip() if trim_next else rest))
    return pieces


class _Parser:
    def __init__(self, pieces: list[tuple[bool, str]]) -> None:
        self._pieces = pieces
        self._at = 0

    def parse(self) -> tuple[Node, ...]:
        nodes, end = self._nodes()
        if end is not None:
            raise TemplateError(f"unexpected {{{{ {end} }}}}")
        return nodes

    def _nodes(self) -> tuple[tuple[Node, ...], str | None]:
        """Nodes up to the `else` or `end` that closes them."""
        nodes: list[Node] = []
        while self._at < len(self._pieces):
            is_action, text = self._pieces[self._at]
            self._at += 1
            if not is_action:
                if text:
                    nodes.append(Text(text))
                continue
            word = text.split(None, 1)[0] if text else ""
            if word in ("end", "else"):
                return tuple(nodes), text
            nodes.append(self._block(word, text[len(word) :]) if word in ("if", "with", "range") else _action(text))
        return tuple(nodes), None

    def _block(self, kind: str, head: str) -> Block:
        variables, expression = _head(kind, head)
        body, end = self._nodes()
        otherwise: tuple[Node, ...] = ()
        if end is not None and end.startswith("else"):
            rest = end.removeprefix("else").strip()
            word = rest.split(None, 1)[0] if rest else ""
            if word in ("if", "with"):
                return Block(kind, variables, expression, body, (self._block(word, rest[len(word) :]),))
            if rest:
                raise TemplateError(f"unexpected {{{{ {end} }}}}")
            otherwise, end = self._nodes()
        if end != "end":
            raise TemplateError(f"{{{{ {kind}{head} }}}} has no end")
        return Block(kind, variables, expression, body, otherwise)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.end() == at:
            raise TemplateError(f"not understood: {{{{ {text} }}}} at {text[at:]!r}")
        kind = match.lastgroup or ""
        if kind in ("variable", "chain"):
            tokens.append(("variable", match.group("variable") + match.group("chain")))
        else:
            tokens.append((kind, match.group(kind)))
        at = match.end()
    return tokens


def _action(text: str) -> Node:
    tokens = _tokens(text)
    if len(tokens) > 1 and tokens[0][0] == "variable" and tokens[1][0] == "assign":
        return Assign(tokens[0][1], _pipeline(tokens[2:], text), declares=tokens[1][1] == ":=")
    return Output(_pipeline(tokens, text))


def _head(kind: str, head: str) -> tuple[tuple[str, ...], Expression]:
    tokens = _tokens(head)
    assign = next((index for index, token in enumerate(tokens) if token == ("assign", ":=")), None)
    if assign is None:
        return (), _pipeline(tokens, head)
    names = tuple(value for kind_of, value in tokens[:assign] if kind_of == "variable")
    if not names or len(names) > (2 if kind == "range" else 1):
        raise TemplateError(f"not understood: {{{{ {kind}{head} }}}}")
    return names, _pipeline(tokens[assign + 1 :], head)


def _pipeline(tokens: Sequence[tuple[str, str]], text: str) -> Expression:
    commands: list[list[tuple[str, str]]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token[1], 0) if token[0] == "mark" else 0
        if token == ("mark", "|") and depth == 0:
            commands.append([])
        else:
            commands[-1].append(token)
    piped: Expression | None = None
    for command in commands:
        piped = _command(command, piped, text)
    assert piped is not None, "there is at least one command"
    return piped


def _command(tokens: list[tuple[str, str]], piped: Expression | None, text: str) -> Expression:
    operands: list[Expression] = []
    name = ""
    at = 0
    while at < len(tokens):
        kind, value = tokens[at]
        if kind == "word" and value not in _CONSTANTS and not operands and not name:
            name = value
        elif (kind, value) == ("mark", "("):
            end = _closing(tokens, at, text)
            operands.append(_pipeline(tokens[at + 1 : end], text))
            at = end
        else:
            operands.append(_operand(kind, value, text))
        at += 1
    if piped is not None:
        operands.append(piped)
    if name:
        return Call(name, tuple(operands))
    if len(operands) != 1:
        raise TemplateError(f"not understood: {{{{ {text} }}}}")
    return operands[0]


def _closing(tokens: list[tuple[str, str]], at: int, text: str) -> int:
    depth = 0
    for index in range(at, len(tokens)):
        if tokens[index][0] == "mark":
            depth += {"(": 1, ")": -1}.get(tokens[index][1], 0)
            if depth == 0:
                return index
    raise TemplateError(f"a parenthesis is not closed: {{{{ {text} }}}}")


def _operand(kind: str, value: str, text: str) -> Expression:
    if kind == "string":
        return Literal(value[1:-1] if value[0] == "`" else json.loads(value))
    if kind == "number":
        return Literal(float(value) if "." in value else int(value))
    if kind == "variable":
        variable, *path = value.split(".")
        return Field(variable, tuple(path))
    if kind == "field":
        return Field("", tuple(part for part in value.split(".") if part))
    if kind == "word" and value in _CONSTANTS:
        return Literal(_CONSTANTS[value])
    if kind == "word":
        # A function without arguments as an argument of another: `or Now ""`.
        return Call(value, ())
    raise TemplateError(f"not understood: {{{{ {text} }}}} at {value!r}")
