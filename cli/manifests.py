"""Manifests from files, folders and standard input: documents with the place they came from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from kubecore.api.meta import Object

SUFFIXES = (".json", ".yaml", ".yml")
MANIFEST_MAX_BYTES = 16 * 1024 * 1024
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Source:
    """One file's text. `name` is as the person wrote it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a file. `line` is where its document begins, from 1."""

    source: Source
    line: int
    object: Object


def read(filenames: tuple[str, ...], *, recursive: bool = False) -> list[Source]:
    """The files that -f names: files, folders, `-`. Raises click.ClickException for a missing one."""
    sources: list[Source] = []
    for filename in filenames:
        if filename == "-":
            sources.append(Source("STDIN", sys.stdin.read()))
            continue
        path = Path(filename)
        if path.is_dir():
            found = sorted(path.rglob("*") if recursive else path.iterdir())
            sources.extend(_source(file) for file in found if file.suffix in SUFFIXES and file.is_file())
        elif path.is_file():
            sources.append(_source(path))
        else:
            raise click.ClickException(f'the path "{filename}" does not exist')
    return sources


def _source(path: Path) -> Source:
    if path.stat().st_size > MANIFEST_MAX_BYTES:
        raise click.ClickException(f"{path}: larger than {MANIFEST_MAX_BYTES} bytes")
    try:
        return Source(str(path), path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error


def documents(source: Source) -> Iterator[tuple[int, str]]:
    """(first line, text) of each YAML document."""
    start = 1
    lines: list[str] = []
    for number, line in enumerate(source.text.splitlines(keepends=True), 1):
        if line.rstrip() == "---" or line.startswith("--- "):
            yield start, "".join(lines)
            start, lines = number + 1, []
        else:
            lines.append(line)
    yield start, "".join(lines)


def parse(source: Source) -> list[Manifest]:
    """The objects of a file, Lists opened. Raises yaml.YAMLError; callers diagnose first."""
    manifests: list[Manifest] = []
    for line, text in documents(source):
        value = yaml.load(text, Loader=Loader)
        if value is None:
            continue
        if isinstance(value, dict) and value.get("kind") == "List":
            manifests.extend(Manifest(source, line, item) for item in value.get("items") or ())
        else:
            manifests.append(Manifest(source, line, value))
    return manifests
