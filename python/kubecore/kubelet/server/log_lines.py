"""Container logs: CRI's text format read back, whole or from the end, followed over rotation.

    2026-11-23T02:14:50.123456789Z stdout F the line
    2026-11-23T02:14:50.123456790Z stderr P a part of a line, the rest follows

In: a file and what is wanted of it. Out: pieces of bytes, as they are to be sent. A followed file is looked at every
`LOOK_SECONDS`; a file that was renamed away is read to its end, then its successor from the beginning.
Bounds: `PIECE_BYTES` read at a time, `LINE_SIZE_MAX_BYTES` of a line (a longer one is cut there).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 64 * 1024
LINE_SIZE_MAX_BYTES = 1024 * 1024
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What a client wants of a log. `since`: seconds since the epoch. `stream`: stdout, stderr, or "" for both."""

    follow: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: float | None = None
    timestamps: bool = False
    stream: str = ""


async def read_log(path: Path, options: LogOptions, *, is_running: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """Raises OSError if the file cannot be opened. A followed log ends when its container does not run any more."""
    form = _Form(options)
    with path.open("rb") as file:
        _seek_tail(file, options.tail_lines)
        current: BinaryIO = file
        try:
            while True:
                # Asked before reading: what was written before it stopped is read after.
                running = options.follow and is_running()
                while piece := current.read(PIECE_BYTES):
                    if told := form.take(piece):
                        yield told
                    if form.is_full:
                        return
                    await asyncio.sleep(0)
                if successor := _successor(path, current):
                    # Written to until it was renamed: once more to its end.
                    if told := form.take(current.read()):
                        yield told
                    if current is not file:
                        current.close()
                    current = successor
                    continue
                if not running:
                    if told := form.rest():
                        yield told
                    return
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            if current is not file:
                current.close()


def _successor(path: Path, current: BinaryIO) -> BinaryIO | None:
    """The new file, if the log was rotated: another one has its name."""
    try:
        status = path.stat()
        known = os.fstat(current.fileno())
        if (status.st_dev, status.st_ino) == (known.st_dev, known.st_ino):
            return None
        return path.open("rb")
    except FileNotFoundError:
        # Between the rename and the new file; or gone for good, then the container is too.
        return None


def _seek_tail(file: BinaryIO, lines: int | None) -> None:
    """To the beginning of the last `lines` lines, read backwards."""
    if lines is None:
        return
    end = at = file.seek(0, os.SEEK_END)
    if lines == 0:
        return
    wanted = lines
    while at > 0:
        start = max(0, at - PIECE_BYTES)
        file.seek(start)
        block = file.read(at - start)
        position = len(block)
        while (position := block.rfind(b"\n", 0, position)) >= 0:
            # The newline at the very end ends the last line; it begins none.
            if start + position + 1 == end:
                continue
            wanted -= 1
            if wanted == 0:
                file.seek(start + position + 1)
                return
        at = start
    file.seek(0)


class _Form:
    """Turns the file's bytes into what the client gets."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._waiting = b""
        self._inside_line = False
        self._since = _since_text(options.since)

    @property
    def is_full(self) -> bool:
        return self._left == 0

    def take(self, piece: bytes) -> bytes:
        *lines, self._waiting = (self._waiting + piece).split(b"\n")
        self._waiting = self._waiting[:LINE_SIZE_MAX_BYTES]
        return self._limited(b"".join(map(self._told, lines)))

    def rest(self) -> bytes:
        """A last line without its newline: the writer died in it."""
        line, self._waiting = self._waiting, b""
        return self._limited(self._told(line).removesuffix(b"\n")) if line else b""

    def _told(self, line: bytes) -> bytes:
        time, _, rest = line.partition(b" ")
        stream, _, rest = rest.partition(b" ")
        tag, separator, text = rest.partition(b" ")
        if stream not in (b"stdout", b"stderr") or not (separator or tag in (b"F", b"P")):
            return b""  # not of this format: nobody of ours wrote it
        if self._options.stream and stream.decode() != self._options.stream:
            return b""
        if self._since and _comparable(time) < self._since:
            return b""
        continues, self._inside_line = self._inside_line, tag.split(b":")[0] == b"P"
        prefix = time + b" " if self._options.timestamps and not continues else b""
        return prefix + text + (b"" if self._inside_line else b"\n")

    def _limited(self, told: bytes) -> bytes:
        if self._left is None:
            return told
        told = told[: self._left]
        self._left -= len(told)
        return told


def _since_text(since: float | None) -> bytes:
    """In the form of `_comparable`."""
    if since is None:
        return b""
    moment = datetime.fromtimestamp(since, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.").encode() + f"{moment.microsecond:06d}000".encode()


def _comparable(time: bytes) -> bytes:
    """A timestamp in UTC with nine digits of a second, so that texts compare as times."""
    if not time.endswith(b"Z"):
        try:
            return _since_text(datetime.fromisoformat(time.decode()).timestamp())
        except ValueError:
            return time
    seconds, _, fraction = time[:-1].partition(b".")
    return seconds + b"." + fraction.ljust(9, b"0")
