"""What is wrong with a manifest, all of it at once: file, line, field path, and what was probably meant.

A first pass mends lines in the ways that people mistype YAML (no space after a colon or a dash, typographic quotes), so that
the rest of the file can still be read; a second walks the mended document beside the kind's schema. The mended text is only
for looking further: nothing mended is ever applied.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from kubecore.api import codec, schema, scheme
from kubecore.api.schema import Schema
from kubecore_cli.manifests import Source, documents


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One thing to mend. `path` is the field's, empty where the line has none. One that does not block is advice."""

    file: str
    line: int
    path: str
    message: str
    blocks: bool = True

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " + ("" if self.blocks else "warning: ")
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "：": ":", "　": " ", "–": "-"})
DASH_WITHOUT_SPACE = re.compile(r"^(\s*)-([A-Za-z][\w.]*\s*:.*)$")
COLON_WITHOUT_SPACE = re.compile(r"^(\s*(?:- )?)([A-Za-z][\w./-]*):([^\s/].*)$")
OPENS_LABELS = re.compile(r"^\s*(?:labels|selector|matchLabels|annotations|nodeSelector)\s*:\s*$")
WELL_KNOWN_PROGRAMS = frozenset(
    {"mysql", "mariadb", "postgres", "redis", "nginx", "httpd", "mongo", "memcached", "tomcat", "rabbitmq"}
)
OPENS_BLOCK = re.compile(r":\s*[|>][+-]?\d*\s*$")


def diagnose(source: Source) -> list[Mistake]:
    """Every mistake of one file in the order of its lines; none means that it can be sent."""
    mistakes: list[Mistake] = []
    for first_line, text in documents(source):
        mistakes.extend(_document(source.name, first_line, text))
    return sorted(set(mistakes))


def _document(file: str, first_line: int, text: str) -> Iterator[Mistake]:
    mended, line_mistakes = _mend_lines(text)
    try:
        root = yaml.compose(mended, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = first_line + (mark.line if mark else 0)
        yield from (Mistake(file, first_line + i, "", message) for i, _, message in line_mistakes)
        yield Mistake(file, line, "", f"not YAML: {getattr(error, 'problem', None) or error}")
        return
    if root is None:
        return
    walker = _Walker(file, first_line)
    walker.document(root)
    for index, key, message in line_mistakes:
        yield Mistake(file, first_line + index, walker.path_at(first_line + index, key), message)
    yield from walker.mistakes


def _mend_lines(text: str) -> tuple[str, list[tuple[int, str, str]]]:
    """The text with mistyped lines mended, and what was mended: (line index, key, message)."""
    mended: list[str] = []
    mistakes: list[tuple[int, str, str]] = []
    block_indent: int | None = None
    labels_indent: int | None = None
    for index, line in enumerate(text.splitlines()):
        indent = len(line) - len(line.lstrip())
        if block_indent is not None and (indent > block_indent or not line.strip()):
            mended.append(line)
            continue
        block_indent = indent if OPENS_BLOCK.search(line) else None
        if labels_indent is not None and line.strip() and indent <= labels_indent:
            labels_indent = None
        new, reasons = _mend_line(line, in_labels=labels_indent is not None)
        if OPENS_LABELS.match(new):
            labels_indent = indent
        if reasons:
            key = new.strip().removeprefix("- ").partition(":")[0].strip()
            mistakes.append((index, key, f"{' and '.join(reasons)}; probably meant `{new.strip()}`"))
        mended.append(new)
    return "\n".join(mended) + "\n", mistakes


def _mend_line(line: str, *, in_labels: bool) -> tuple[str, list[str]]:
    if line.lstrip().startswith("#"):
        return line, []
    reasons: list[str] = []
    new = line
    outside_quotes = re.sub(r'"[^"]*"' + r"|'[^']*'", "", line)
    if outside_quotes.translate(QUOTES) != outside_quotes:
        new = new.translate(QUOTES)
        reasons.append("typographic quotes or punctuation are not YAML's")
    dash = DASH_WITHOUT_SPACE.match(new)
    if dash and _known(dash[2].partition(":")[0].strip()):
        new = f"{dash[1]}- {dash[2]}"
        reasons.append("a list's dash needs a space after it")
    colon = COLON_WITHOUT_SPACE.match(new)
    if colon and (_known(colon[2]) or in_labels):
        new = f"{colon[1]}{colon[2]}: {colon[3]}"
        reasons.append("a colon needs a space after it")
    return new, reasons


@functools.cache
def _all_field_names() -> frozenset[str]:
    names: set[str] = set()
    for resource in scheme.resources():
        kind = schema.of_kind(resource.group, resource.version, resource.kind) if resource.served else None
        if kind is not None and resource.group in ("", "apps", "batch"):
            names.update(_names_below(kind, seen=set()))
    return frozenset(name.lower() for name in names)


def _names_below(node: Schema, *, seen: set[int]) -> Iterator[str]:
    if id(node.node) in seen:
        return
    seen.add(id(node.node))
    yield from node.fields()
    for child in [node.field(name) for name in node.fields()] + [node.items()]:
        if child is not None:
            yield from _names_below(child, seen=seen)


def _known(key: str) -> bool:
    return key.lower() in _all_field_names()


def guess(word: str, choices: tuple[str, ...]) -> str:
    """The choice that `word` probably means; empty if none is near."""
    by_lower = {choice.lower(): choice for choice in choices}
    if word.lower() in by_lower:
        return by_lower[word.lower()]
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else ""


class _Walker:
    """Walks a composed YAML document beside its kind's schema."""

    def __init__(self, file: str, first_line: int) -> None:
        self.mistakes: list[Mistake] = []
        self._file = file
        self._first_line = first_line
        self._paths: dict[tuple[int, str], str] = {}
        self._lines: dict[str, int] = {}

    def path_at(self, line: int, key: str) -> str:
        """The field path of the key on a line."""
        return self._paths.get((line, key), "")

    def document(self, root: yaml.Node) -> None:
        if not isinstance(root, yaml.MappingNode):
            self._add(root, "", "a manifest is a mapping with apiVersion, kind and metadata")
            return
        fields = {key.value: (key, value) for key, value in root.value}
        group_version = self._api_version(root, fields)
        kind = self._kind(root, fields, group_version)
        node = schema.of_kind(*group_version, kind) if group_version and kind else None
        mended = self._value(root, node, "")
        if node is not None and group_version is not None:
            mended |= {"apiVersion": "/".join(filter(None, group_version)), "kind": kind}
            self._conventions(mended, root)
            self._types(mended, *group_version, kind, root)

    def _api_version(self, root: yaml.Node, fields: dict[str, Any]) -> tuple[str, str] | None:
        if "apiVersion" not in fields:
            self._add(root, "apiVersion", "missing; for example `apiVersion: v1`")
            return None
        value = fields["apiVersion"][1]
        served = tuple(sorted({r.api_version for r in scheme.resources() if r.served}))
        written = str(value.value)
        if written in served:
            return scheme.parse_api_version(written)
        meant = guess(written, served)
        self._add(value, "apiVersion", f"there is no `{written}`" + (f"; probably meant `{meant}`" if meant else ""))
        return scheme.parse_api_version(meant) if meant else None

    def _kind(self, root: yaml.Node, fields: dict[str, Any], group_version: tuple[str, str] | None) -> str:
        if "kind" not in fields:
            self._add(root, "kind", "missing; for example `kind: Pod`")
            return ""
        value = fields["kind"][1]
        if group_version is None:
            return ""
        kinds = tuple(r.kind for r in scheme.resources() if (r.group, r.version) == group_version)
        written = str(value.value)
        if written in kinds:
            return written
        meant = guess(written, kinds)
        homes = [r.api_version for r in scheme.resources() if r.served and r.kind == written]
        if homes:
            stated = "/".join(filter(None, group_version))
            self._add(value, "kind", f"{written} is not in {stated}; probably meant `apiVersion: {homes[0]}`")
        else:
            self._add(value, "kind", f"there is no kind `{written}`" + (f"; probably meant `{meant}`" if meant else ""))
        return "" if homes else meant

    def _value(self, node: yaml.Node, shape: Schema | None, path: str) -> Any:
        """The node's value with field names mended, noting unknown ones."""
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, shape, path)
        if isinstance(node, yaml.SequenceNode):
            items = shape.items() if shape is not None else None
            return [self._value(child, items, f"{path}[{i}]") for i, child in enumerate(node.value)]
        return yaml.SafeLoader("").construct_object(node, deep=True)

    def _mapping(self, node: yaml.MappingNode, shape: Schema | None, path: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            here = f"{path}.{name}" if path else name
            if shape is not None and not shape.is_open and name not in shape.fields():
                meant = guess(name, shape.fields())
                self._add(key, here, "unknown field" + (f"; probably meant `{meant}`" if meant else ""))
                name = meant or name
            elif name in result:
                self._add(key, here, "written twice; only one can count")
            right = f"{path}.{name}" if path else name
            self._lines[right] = self._line(key)
            self._paths[self._line(key), str(key.value)] = here
            result[name] = self._value(value, shape.field(name) if shape is not None else None, right)
        return result

    def _conventions(self, mended: dict[str, Any], root: yaml.Node) -> None:
        """What is well-formed and yet surely not meant."""
        spec = mended.get("spec") if isinstance(mended.get("spec"), dict) else {}
        assert isinstance(spec, dict)
        if mended["kind"] == "Service" and spec.get("type", "ClusterIP") == "ClusterIP":
            for i, port in enumerate(spec.get("ports") or ()):
                if isinstance(port, dict) and port.get("nodePort"):
                    self._add(
                        root,
                        f"spec.ports[{i}].nodePort",
                        "only a NodePort service has one; probably `type: NodePort` is missing in spec",
                    )
        self._container_name(mended, spec, root)

    def _container_name(self, mended: dict[str, Any], spec: dict[str, Any], root: yaml.Node) -> None:
        """A lone container called after another program than its image, as a copied template leaves it."""
        name = str((mended.get("metadata") or {}).get("name", ""))
        template = spec.get("template") if isinstance(spec.get("template"), dict) else None
        containers: list[Any] = ((template or {}).get("spec") or {}).get("containers") or []
        if len(containers) != 1 or not isinstance(containers[0], dict):
            return
        written, image = str(containers[0].get("name", "")), str(containers[0].get("image", ""))
        if written in WELL_KNOWN_PROGRAMS and written != name and image and written not in image:
            self._add(
                root,
                "spec.template.spec.containers[0].name",
                f"`{written}` names another program than the image {image}; probably meant `{name}`",
                blocks=False,
            )

    def _types(self, mended: dict[str, Any], group: str, version: str, kind: str, root: yaml.Node) -> None:
        if self.mistakes:
            return
        try:
            codec.decode(group, version, kind, json.dumps(mended, default=str).encode())
        except codec.DecodeError as error:
            self._add(root, "", str(error))

    def _add(self, node: yaml.Node, path: str, message: str, *, blocks: bool = True) -> None:
        """Notes a mistake at the line of the field's path, if the walk has passed it, else at the node's."""
        line = self._lines.get(path, self._line(node))
        self.mistakes.append(Mistake(self._file, line, path, message, blocks))

    def _line(self, node: yaml.Node) -> int:
        line: int = node.start_mark.line
        return self._first_line + line
