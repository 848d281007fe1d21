"""Files that change all at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from kubecore.kubelet.volumes import writer
from kubecore.kubelet.volumes.writer import File, PayloadFailure

NOW = 1_800_000_000.0


def _files(**contents: str) -> dict[str, File]:
    return {name: File(text.encode(), 0o644) for name, text in contents.items()}


def _visible(directory: Path) -> dict[str, str]:
    return {name: (directory / name).read_text() for name in os.listdir(directory) if not name.startswith("..")}


def test_visible_names_are_links_into_the_newest_version(tmp_path: Path) -> None:
    assert writer.write(tmp_path, {**_files(key="v"), "sub/deep": File(b"d", 0o600)}, now=NOW)
    assert os.readlink(tmp_path / "key") == "..data/key"
    assert os.readlink(tmp_path / "sub") == "..data/sub"
    assert os.readlink(tmp_path / "..data").startswith("..2027_01_15_08_00_00.")
    assert (tmp_path / "sub/deep").read_bytes() == b"d"
    assert stat.S_IMODE((tmp_path / "sub/deep").stat().st_mode) == 0o600


def test_a_change_shows_all_at_once_and_the_old_version_goes(tmp_path: Path) -> None:
    writer.write(tmp_path, _files(a="1", b="1"), now=NOW)
    before = os.readlink(tmp_path / "..data")
    reader = os.open(tmp_path / "..data", os.O_PATH)
    assert writer.write(tmp_path, _files(a="2", c="2"), now=NOW + 1)
    assert _visible(tmp_path) == {"a": "2", "c": "2"}
    assert not (tmp_path / before).exists()
    assert sorted(os.listdir(tmp_path)) == sorted([os.readlink(tmp_path / "..data"), "..data", "a", "c"])
    os.close(reader)


def test_what_is_current_is_not_written_again(tmp_path: Path) -> None:
    writer.write(tmp_path, _files(a="1"), now=NOW)
    version = os.readlink(tmp_path / "..data")
    assert not writer.write(tmp_path, _files(a="1"), now=NOW + 60)
    assert os.readlink(tmp_path / "..data") == version


def test_a_visible_link_that_was_lost_comes_back(tmp_path: Path) -> None:
    writer.write(tmp_path, _files(a="1"), now=NOW)
    (tmp_path / "a").unlink()
    assert not writer.write(tmp_path, _files(a="1"), now=NOW)
    assert _visible(tmp_path) == {"a": "1"}


def test_an_empty_volume_has_a_version_too(tmp_path: Path) -> None:
    writer.write(tmp_path, {}, now=NOW)
    assert (tmp_path / "..data").is_dir()
    writer.write(tmp_path, _files(a="1"), now=NOW)
    writer.write(tmp_path, {}, now=NOW)
    assert _visible(tmp_path) == {}


def test_what_a_killed_kubelet_left_is_swept(tmp_path: Path) -> None:
    writer.write(tmp_path, _files(a="1"), now=NOW)
    (tmp_path / "..2020_01_01_00_00_00.lost").mkdir()
    (tmp_path / "..data_tmp").symlink_to("..2020_01_01_00_00_00.lost")
    writer.write(tmp_path, _files(a="2"), now=NOW)
    assert _visible(tmp_path) == {"a": "2"}
    assert not (tmp_path / "..2020_01_01_00_00_00.lost").exists()


def test_permissions_are_set_before_anything_shows(tmp_path: Path) -> None:
    seen: list[bool] = []
    writer.write(tmp_path, _files(a="1"), now=NOW, set_permissions=lambda: seen.append((tmp_path / "a").exists()))
    assert seen == [False]


def test_a_version_that_could_not_be_finished_is_not_left(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        writer.write(tmp_path, _files(a="1"), now=NOW, set_permissions=fail)
    assert os.listdir(tmp_path) == []


CHANGES = ("mkdir", "symlink", "rename", "unlink", "rmdir", "chmod", "open")
"""What of `os` changes a directory."""


def _killed_at(step: int, act: Callable[[], object]) -> bool:
    """Acts in a process that is gone, as by kill -9, before its `step`th change. Gives whether it came that far."""
    child = os.fork()
    if child == 0:
        left = step

        def counted(change: Callable[..., object]) -> Callable[..., object]:
            def run(*arguments: object, **named: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)
                return change(*arguments, **named)

            return run

        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


def test_a_kubelet_killed_at_any_moment_leaves_one_version_or_the_other(tmp_path: Path) -> None:
    old, new = {"a": "old", "gone": "old"}, {"a": "new", "come": "new"}
    step = 0
    while True:
        directory = tmp_path / str(step)
        directory.mkdir()
        writer.write(directory, _files(**old), now=NOW)
        killed = _killed_at(step, lambda: writer.write(directory, _files(**new), now=NOW))  # noqa: B023
        data = {name: (directory / "..data" / name).read_text() for name in os.listdir(directory / "..data")}
        assert data in (old, new)
        writer.write(directory, _files(**new), now=NOW)
        assert _visible(directory) == new
        leftovers = [name for name in os.listdir(directory) if name.startswith("..2")]
        assert leftovers == [os.readlink(directory / "..data")]
        if not killed:
            break
        step += 1
    assert step > 10


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", 'invalid path: must not be empty: ""'),
        ("/etc/passwd", "invalid path: must be relative path: /etc/passwd"),
        ("a/../../b", "invalid path: must not contain '..': a/../../b"),
        ("..hidden", "invalid path: must not start with '..': ..hidden"),
        ("x" * 256, "invalid path: filenames must be less than or equal to 255 characters"),
        ("x/" * 2049, "invalid path: must be less than or equal to 4096 characters"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(PayloadFailure) as refused:
        writer.write(tmp_path, {path: File(b"", 0o644)}, now=NOW)
    assert str(refused.value) == message
