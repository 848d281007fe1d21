"""What a container packed is unpacked below the destination and nowhere else."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import click
import pytest

from kubecore_cli.cp import _unpack

Entry = tuple[str, bytes, str, str]
"""Its name, type, what it links to, content."""


def file(name: str, content: str = "x") -> Entry:
    return name, tarfile.REGTYPE, "", content


def directory(name: str) -> Entry:
    return name, tarfile.DIRTYPE, "", ""


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> Entry:
    return name, kind, to, ""


def packed(*entries: Entry) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, kind, to, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size = kind, to, len(content)
            entry.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
            archive.addfile(entry, io.BytesIO(content.encode()))
    return made


def found(below: Path) -> dict[str, str]:
    return {str(each.relative_to(below)): each.read_text() for each in below.rglob("*") if each.is_file()}


def test_a_directory_comes_as_the_destination_or_into_it(tmp_path: Path) -> None:
    tree = (directory("log"), directory("log/a"), file("log/a/x", "1"), link("log/a/y", "log/a/x", tarfile.LNKTYPE))
    _unpack(packed(*tree), "log", tmp_path / "here")
    (tmp_path / "there").mkdir()
    _unpack(packed(*tree), "log", tmp_path / "there")
    assert found(tmp_path / "here") == {"a/x": "1", "a/y": "1"}
    assert found(tmp_path / "there") == {"log/a/x": "1", "log/a/y": "1"}


def test_a_file_comes_by_the_destinations_name(tmp_path: Path) -> None:
    _unpack(packed(file("passwd", "root")), "passwd", tmp_path / "copy")
    assert found(tmp_path) == {"copy": "root"}


@pytest.mark.parametrize(
    "entries",
    [
        (directory("log"), file(".bashrc")),
        (directory("log"), file("log/../.bashrc")),
        (directory("log"), file("../.bashrc")),
        (directory("log"), file("/etc/.bashrc")),
        (directory("log"), link("log/up", ".."), file("log/up/.bashrc")),
        (directory("log"), link("log/up", "../home"), file("log/up/.bashrc")),
        (directory("log"), link("log/stolen", "home/secret", tarfile.LNKTYPE)),
        (directory("log"), link("log/stolen", "../home/secret")),
    ],
)
def test_what_a_container_made_up_touches_nothing_beside_the_destination(
    tmp_path: Path, entries: tuple[Entry, ...]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").write_text("mine")
    _unpack(packed(*entries, file("log/last")), "log", tmp_path / "log")
    assert {name: text for name, text in found(tmp_path).items() if not name.startswith("log/")} == {
        "home/secret": "mine"
    }
    assert "mine" not in found(tmp_path / "log").values()


def test_a_link_is_not_put_where_the_next_copy_would_follow_it(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="log is a link to home"):
        _unpack(packed(link("log", "home"), file("log/.bashrc")), "log", tmp_path / "log")
    assert list(tmp_path.iterdir()) == []
