"""A container's log: what it writes, line by line, in CRI's format, and to whoever is attached.

    2026-11-23T02:11:56.123456789Z stdout F a whole line
    2026-11-23T02:11:56.123456789Z stderr P a piece of a line longer than 16 KiB

In: the container's output, read by the event loop as it becomes readable. Out: `log_path`, written by one thread for the
whole daemon, so that a slow disk never holds the loop; and the attached. Bounds: what waits for the disk is at most 1 MiB a
container, then its output is not read until there is room, and the container waits in its write as it would on a full pipe.
An attached reader that is 1 MiB behind is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable

LINE_BYTES_MAX = 16 * 1024
READ_BYTES = 64 * 1024
PENDING_BYTES_MAX = 1 << 20
ATTACHED_BYTES_MAX = 1 << 20
_logger = logging.getLogger(__name__)


class LogWriter:
    """The thread that writes. Its queue is bounded by what the logs give it (PENDING_BYTES_MAX each)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """`work` on the thread, then `done` on the loop."""

        def job() -> None:
            try:
                work()
                self._failing = False
            except OSError as failed:
                # Once, not for each line: the daemon's own log is likely on the same disk.
                if not self._failing:
                    _logger.warning("writing a container's log failed, what it says is lost: %s", failed)
                self._failing = True
            self._loop.call_soon_threadsafe(done)

        self._jobs.put(job)

    async def run(self, work: Callable[[], None]) -> None:
        """`work` on the thread, after all that was submitted before."""
        finished = asyncio.Event()
        self.submit(work, finished.set)
        await finished.wait()

    def close(self) -> None:
        """Writes what is queued, then ends."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class LogFile:
    """One container's file; opened when the first line is written, again after a rotation. Used on the writer's thread only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._handle = -1

    def open(self) -> None:
        if self._handle < 0:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, data: bytes) -> None:
        self.open()
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]

    def reopen(self) -> None:
        self.close()
        self.open()

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Lines:
    """Cuts a stream into CRI's lines. Bytes of an unfinished line are kept, LINE_BYTES_MAX at most."""

    def __init__(self, stream: str) -> None:
        self._whole = f" {stream} F ".encode()
        self._partial = f" {stream} P ".encode()
        self._rest = b""

    def feed(self, data: bytes, now_nanoseconds: int) -> bytes:
        stamp = timestamp(now_nanoseconds)
        *lines, rest = (self._rest + data).split(b"\n")
        out: list[bytes] = []
        for line in lines:
            while len(line) > LINE_BYTES_MAX:
                out += (stamp, self._partial, line[:LINE_BYTES_MAX], b"\n")
                line = line[LINE_BYTES_MAX:]
            out += (stamp, self._whole, line, b"\n")
        while len(rest) > LINE_BYTES_MAX:
            out += (stamp, self._partial, rest[:LINE_BYTES_MAX], b"\n")
            rest = rest[LINE_BYTES_MAX:]
        self._rest = rest
        return b"".join(out)

    def finish(self, now_nanoseconds: int) -> bytes:
        """The last line, if it had no end: a part, so that readers add none either."""
        rest, self._rest = self._rest, b""
        return b"".join((timestamp(now_nanoseconds), self._partial, rest, b"\n")) if rest else b""


_second = (0, b"")


def timestamp(nanoseconds: int) -> bytes:
    """RFC3339Nano. The text of the second is kept: a chatty container writes many lines in one."""
    global _second
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    if _second[0] != seconds:
        _second = (seconds, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode())
    return b"%b.%09dZ" % (_second[1], rest)


class Output:
    """Reads one stream of a container (`handle`, which it owns and closes) into the log and to the attached."""

    def __init__(self, handle: int, stream: str, file: LogFile | None, writer: LogWriter) -> None:
        self.ended = asyncio.Event()
        self.stream = stream
        self._handle = handle
        self._file = file
        self._writer = writer
        self._lines = Lines(stream)
        self._pending_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._attached: set[Attached] = set()
        self._reading = False
        os.set_blocking(handle, False)
        self._resume()

    def attach(self, attached: Attached) -> None:
        if self.ended.is_set():
            attached.finish()
        else:
            # Those that were cut are let go of with the next that comes.
            self._attached = {each for each in self._attached if not each.is_closed} | {attached}

    def stop(self) -> None:
        """What is there to read is still logged; whatever holds the other end writes to nobody from now on."""
        while not self.ended.is_set() and self._read_once():
            pass
        self._finish()

    def _resume(self) -> None:
        if not self._reading and not self.ended.is_set():
            self._reading = True
            self._loop.add_reader(self._handle, self._read_once)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._handle)

    def _read_once(self) -> bool:
        """False: nothing more can be read now."""
        try:
            data = os.read(self._handle, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            # EIO: the last process of a terminal closed it.
            data = b""
        if not data:
            self._finish()
            return False
        for attached in [each for each in self._attached if not each.give(data)]:
            self._attached.discard(attached)
        self._write(self._lines.feed(data, time.time_ns()))
        return True

    def _write(self, lines: bytes) -> None:
        file = self._file
        if file is None or not lines:
            return
        self._pending_bytes += len(lines)
        if self._pending_bytes > PENDING_BYTES_MAX:
            self._pause()
        self._writer.submit(lambda: file.write(lines), lambda: self._written(len(lines)))

    def _written(self, size_bytes: int) -> None:
        self._pending_bytes -= size_bytes
        if self._pending_bytes <= PENDING_BYTES_MAX // 2:
            self._resume()

    def _finish(self) -> None:
        if self.ended.is_set():
            return
        self._pause()
        self._write(self._lines.finish(time.time_ns()))
        os.close(self._handle)
        self.ended.set()
        for attached in self._attached:
            attached.finish()
        self._attached.clear()


class Attached:
    """Copies a container's output into a pipe (`handle`, which it owns and closes) that somebody reads at their own pace."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._waiting = bytearray()
        self._finished = False
        self._loop = asyncio.get_running_loop()
        os.set_blocking(handle, False)

    def give(self, data: bytes) -> bool:
        """False: nobody reads any more, or is too far behind."""
        if self._handle < 0:
            return False
        if len(self._waiting) + len(data) > ATTACHED_BYTES_MAX:
            self._close()
            return False
        was_idle = not self._waiting
        self._waiting += data
        if was_idle:
            self._flush()
        return self._handle >= 0

    @property
    def is_closed(self) -> bool:
        return self._handle < 0

    def cut(self) -> None:
        """Nobody reads any more."""
        self._close()

    def finish(self) -> None:
        """What waits is still given."""
        self._finished = True
        if not self._waiting:
            self._close()

    def _flush(self) -> None:
        self._loop.remove_writer(self._handle)
        try:
            while self._waiting:
                del self._waiting[: os.write(self._handle, self._waiting)]
        except BlockingIOError:
            self._loop.add_writer(self._handle, self._flush)
            return
        except BrokenPipeError:
            self._close()
            return
        if self._finished:
            self._close()

    def _close(self) -> None:
        if self._handle >= 0:
            self._loop.remove_writer(self._handle)
            os.close(self._handle)
            self._handle = -1
            self._waiting.clear()
