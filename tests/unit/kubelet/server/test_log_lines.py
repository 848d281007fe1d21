"""Container logs: cut, dated, filtered, followed over rotation to the container's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubecore.kubelet.server import log_lines
from kubecore.kubelet.server.log_lines import LogOptions, read_log

SECOND = "2026-11-23T02:14:5{}.123456789Z"
LOG = "".join(
    f"{SECOND.format(second)} {stream} {tag} {text}\n"
    for second, stream, tag, text in (
        (0, "stdout", "F", "one"),
        (1, "stderr", "F", "two"),
        (2, "stdout", "P", "thr"),
        (2, "stdout", "F", "ee"),
        (3, "stdout", "F", ""),
        (4, "stdout", "F", "five words are  here"),
    )
)
AFTER_TWO = 1_795_400_092.0
"""02:14:52 of that day."""


async def told(path: Path, **options: object) -> str:
    pieces = read_log(path, LogOptions(**options), is_running=lambda: False)  # type: ignore[arg-type]
    return b"".join([piece async for piece in pieces]).decode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text(LOG)
    return path


async def test_a_log_is_told_without_its_dates_and_parts_are_joined(log: Path) -> None:
    assert await told(log) == "one\ntwo\nthree\n\nfive words are  here\n"


async def test_dates_come_before_lines_and_once_for_a_line_in_parts(log: Path) -> None:
    lines = (await told(log, timestamps=True)).splitlines()
    assert lines[0] == f"{SECOND.format(0)} one"
    assert lines[2] == f"{SECOND.format(2)} three"
    assert lines[3] == f"{SECOND.format(3)} "


@pytest.mark.parametrize(
    ("lines", "expected"), [(0, ""), (1, "five words are  here\n"), (99, "one\ntwo\nthree\n\nfive words are  here\n")]
)
async def test_the_tail_is_so_many_lines(log: Path, lines: int, expected: str) -> None:
    assert await told(log, tail_lines=lines) == expected


@given(count=st.integers(0, 400), tail=st.integers(0, 400), width=st.integers(0, 900))
def test_any_tail_of_any_log_is_its_last_lines(
    tmp_path_factory: pytest.TempPathFactory, count: int, tail: int, width: int
) -> None:
    path = tmp_path_factory.mktemp("logs") / "0.log"
    texts = [f"{number}" + "x" * width for number in range(count)]
    path.write_text("".join(f"{SECOND.format(0)} stdout F {text}\n" for text in texts))
    expected = "".join(f"{text}\n" for text in texts[max(0, count - tail) :])
    assert asyncio.run(told(path, tail_lines=tail)) == expected


async def test_only_what_is_newer_and_of_one_stream_is_told(log: Path) -> None:
    assert await told(log, since=AFTER_TWO) == "three\n\nfive words are  here\n"
    assert await told(log, stream="stderr") == "two\n"


@pytest.mark.parametrize("limit", [0, 1, 5, 9, 1000])
async def test_no_byte_beyond_the_limit_is_told(log: Path, limit: int) -> None:
    assert await told(log, limit_bytes=limit) == (await told(log))[:limit]


async def test_lines_of_another_format_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("nonsense\n" + LOG + "2026 stdout\n")
    assert await told(path) == "one\ntwo\nthree\n\nfive words are  here\n"


async def test_a_log_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await told(tmp_path / "none.log")


class Follower:
    """Follows a log whose container runs until it is told to stop."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
        monkeypatch.setattr(log_lines, "LOOK_SECONDS", 0.0)
        self.running = True
        given = LogOptions(follow=True, **options)  # type: ignore[arg-type]
        self._pieces: AsyncIterator[bytes] = read_log(path, given, is_running=lambda: self.running)

    async def next(self) -> str:
        return (await asyncio.wait_for(anext(self._pieces, b""), 10)).decode()


def line(text: str, tag: str = "F") -> str:
    return f"{SECOND.format(5)} stdout {tag} {text}\n"


def rotate(log: Path) -> None:
    log.rename(log.with_name("0.log.20261123"))


def begin(log: Path, text: str) -> None:
    log.write_text(line(text))


async def test_a_follower_sees_what_is_written_later_and_ends_with_the_container(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(log, monkeypatch, tail_lines=1)
    assert await follower.next() == "five words are  here\n"
    with log.open("a") as file:
        file.write(line("six"))
        file.flush()
        assert await follower.next() == "six\n"
        file.write(line("last"))
        follower.running = False
    assert await follower.next() == "last\n"
    assert await follower.next() == ""


async def test_a_follower_reads_a_rotated_log_to_its_end_and_goes_on_with_the_new_one(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(log, monkeypatch, tail_lines=1)
    assert await follower.next() == "five words are  here\n"
    with log.open("a") as file:
        rotate(log)
        # Between the rename and the reopening the writer still has the old file.
        file.write(line("seven"))
        file.flush()
        assert await follower.next() == "seven\n"
        file.write(line("eight"))
    begin(log, "nine")
    assert await follower.next() + await follower.next() == "eight\nnine\n"
    follower.running = False
    assert await follower.next() == ""
