"""Logs in CRI's format: lines cut, streams kept apart, rotation, and a disk that does not keep up."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from kubecore.kubelet.runtimes.process.logs import (
    ATTACHED_BYTES_MAX,
    LINE_BYTES_MAX,
    PENDING_BYTES_MAX,
    READ_BYTES,
    Attached,
    Lines,
    LogFile,
    LogWriter,
    Output,
    timestamp,
)
from support.process_runtime import Node, log_lines

NOW = 1_795_401_766_015_237_589
STAMP = b"2026-11-23T02:42:46.015237589Z"


def test_times_are_rfc3339_with_nine_digits() -> None:
    assert timestamp(NOW) == STAMP
    assert timestamp(0) == b"1970-01-01T00:00:00.000000000Z"


def test_a_line_is_written_when_it_ends() -> None:
    lines = Lines("stdout")
    assert lines.feed(b"one\ntw", NOW) == STAMP + b" stdout F one\n"
    assert lines.feed(b"o\n\n", NOW) == STAMP + b" stdout F two\n" + STAMP + b" stdout F \n"
    assert lines.finish(NOW) == b""


def test_a_long_line_comes_in_pieces() -> None:
    lines = Lines("stderr")
    text = b"x" * LINE_BYTES_MAX
    assert lines.feed(text + b"rest", NOW) == STAMP + b" stderr P " + text + b"\n"
    assert lines.feed(b" of it\nnext", NOW) == STAMP + b" stderr F rest of it\n"
    assert lines.finish(NOW) == STAMP + b" stderr P next\n"


async def test_what_a_container_writes_is_logged_whole(on_node: Node) -> None:
    script = "i=0; while test $i -lt 2000; do echo line $i; echo err $i >&2; i=$((i+1)); done; head -c 40000 /dev/zero | tr '\\0' x"
    ended = await on_node.ended(await on_node.started(await on_node.sandbox(), script))
    lines = log_lines(ended.log_path)
    out = [text for stream, _, text in lines if stream == "stdout"]
    assert out[:2000] == [f"line {i}" for i in range(2000)]
    assert [text for stream, _, text in lines if stream == "stderr"] == [f"err {i}" for i in range(2000)]
    assert [(kind, len(text)) for _, kind, text in lines if text.startswith("x")] == [
        ("P", LINE_BYTES_MAX),
        ("P", LINE_BYTES_MAX),
        ("P", 40000 - 2 * LINE_BYTES_MAX),
    ]


async def test_a_silent_container_has_a_log_too(on_node: Node) -> None:
    container = await on_node.started(await on_node.sandbox(), "exec sleep 1000")
    path = (await on_node.runtime.container_status(container)).log_path

    result = await on_node.runtime.exec_sync(container, ["true"], 10)
    assert result.exit_code == 0
    assert on_node.run("stat", "-c", "%s %a", path) == "0 640\n"


async def test_after_a_rotation_lines_go_to_the_new_file(on_node: Node) -> None:
    container = await on_node.created(await on_node.sandbox(), "while read line; do echo $line; done", stdin=True)
    await on_node.runtime.start_container(container)
    path = (await on_node.runtime.container_status(container)).log_path
    streams = await on_node.runtime.attach(container, stdin=True, stdout=False, stderr=False, tty=False)
    await streams.write_stdin(b"before\n")
    await on_node.says(container, "before")
    os.rename(path, path + ".1")
    await on_node.runtime.reopen_container_log(container)
    await streams.write_stdin(b"after\n")
    await on_node.says(container, "after")
    assert [text for _, _, text in log_lines(path)] == ["after"]
    assert [text for _, _, text in log_lines(path + ".1")] == ["before"]
    await streams.close()


class StuckFile(LogFile):
    """A disk that takes nothing until it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.may_go = threading.Event()

    def write(self, data: bytes) -> None:
        assert self.may_go.wait(30)
        super().write(data)


async def test_a_disk_that_is_stuck_stops_the_container_not_the_daemon(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    file = StuckFile(tmp_path / "log")
    log_writer = LogWriter(asyncio.get_running_loop())
    output = Output(reader, "stdout", file, log_writer)
    os.set_blocking(writer, False)
    line = b"y" * 1023 + b"\n"
    written = 0
    idle_rounds = 0
    while idle_rounds < 50:
        try:
            written += os.write(writer, line)
            idle_rounds = 0
        except BlockingIOError:
            # The loop still turns: that is the point.
            await asyncio.sleep(0)
            idle_rounds += 1
    assert written < PENDING_BYTES_MAX + READ_BYTES * 4
    file.may_go.set()
    os.close(writer)
    await output.ended.wait()
    await log_writer.run(lambda: None)
    assert sum(len(text) + 1 for _, _, text in log_lines(file.path)) == written
    log_writer.close()


async def test_an_attached_reader_that_is_too_far_behind_is_cut_off() -> None:
    reader, writer = os.pipe()
    attached = Attached(writer)
    given = 0
    while attached.give(b"z" * READ_BYTES):
        given += READ_BYTES
    assert ATTACHED_BYTES_MAX - READ_BYTES <= given <= ATTACHED_BYTES_MAX + READ_BYTES * 2
    while os.read(reader, READ_BYTES):
        pass
    os.close(reader)
