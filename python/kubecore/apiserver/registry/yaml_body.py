"""YAML bodies as JSON, the way Kubernetes reads them: YAML 1.1 booleans, no dates, and a bound on alias expansion."""

from __future__ import annotations

import re
from typing import Any

import yaml

from kubecore.api.errors import BadRequest, RequestEntityTooLarge
from kubecore.apiserver.registry.environment import encode_json

EXPANDED_NODES_MAX = 1_000_000
"""Values after aliases are expanded. A small body can name billions ("billion laughs"): beyond this it is refused."""

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc]  # the C loader where libyaml is there, else the pure one
    """Resolves what Kubernetes' YAML library resolves, and nothing more."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own protocol

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.duplicates: list[tuple[int, str]] = []
        """(line, key) of each key that its map has already."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in getattr(node, "value", ()):
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                self.duplicates.append((key.start_mark.line + 1, key.value))
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$", "yYnNtTfFoO"),
    ("int", r"^[-+]?(?:0b[0-1_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
    ("merge", r"^(?:<<)$", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(_pattern),
        [*(c for c in _first if c != "\0"), *([""] if "\0" in _first else [])],
    )


def to_json(body: bytes) -> tuple[bytes, list[str]]:
    """The document, and what a strict reader says of keys that are there twice (the last one counts). Raises BadRequest,
    RequestEntityTooLarge."""
    try:
        loader = _Loader(body)
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadRequest(f"error converting YAML to JSON: {error}") from error
    if _expanded_nodes(value, {}) > EXPANDED_NODES_MAX:
        raise RequestEntityTooLarge(f"the YAML body expands to more than {EXPANDED_NODES_MAX} values")
    lines = [f'  line {line}: key "{key}" already set in map' for line, key in sorted(loader.duplicates)]
    return encode_json(value), ["\n".join(["yaml: unmarshal errors:", *lines])] if lines else []


def _expanded_nodes(value: Any, known: dict[int, int]) -> int:
    """How many values JSON would have; a shared part is counted once and added each time."""
    if not isinstance(value, (dict, list)):
        return 1
    if (size := known.get(id(value))) is not None:
        return size
    known[id(value)] = EXPANDED_NODES_MAX + 1  # an alias to itself never ends
    parts = value.values() if isinstance(value, dict) else value
    size = 1 + sum(_expanded_nodes(part, known) for part in parts)
    known[id(value)] = size
    return size
