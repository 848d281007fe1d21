"""`/logs`: what the parts of this process said and wrote lately, for people and for the page.

    /logs                   lines, oldest first         ?tailLines=N  ?after=SEQUENCE  ?component=WORD
    /logs/writes            who wrote what, as JSON     ?after=REVISION

Flows in: Python's logging, and each write that the API server decided. Flows out: the two pages; who may read them is said of the
non-resource URLs `/logs` and `/logs/*`. Bounds: `LINES_MAX` lines, `WRITES_MAX` writes; the oldest go. Parts in processes of their own log
there, not here.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from kubecore.api.clock import Clock
from kubecore.apiserver.registry.admission import User
from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.response import NO_SNIFFING, TEXT, Response, header, of_json, query

LINES_MAX = 2_000
LINE_CHARACTERS_MAX = 4_000
WRITES_MAX = 2_000
_NAME = re.compile(rb'"metadata":\{[^{}]*?"name":"([^"\\]+)"')
_NAME_WITHIN_BYTES = 600
LOGGER = "kubecore"
LAST_HEADER = "kubecore-last"
"""The sequence of the last line given: where a reader goes on with `after`."""


@dataclass(frozen=True, slots=True)
class Line:
    sequence: int
    component: str
    text: str


class RecentLogs(logging.Handler):
    """A ring behind Python's logging. `attach` and `detach` with the server's life."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(
            logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        )
        self._lines: deque[Line] = deque(maxlen=LINES_MAX)
        self._sequence = itertools.count(1)

    def attach(self) -> None:
        logging.getLogger(LOGGER).addHandler(self)

    def detach(self) -> None:
        logging.getLogger(LOGGER).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        component = record.name.removeprefix(f"{LOGGER}.").partition(".")[0]
        for text in self.format(record).splitlines():
            self._lines.append(Line(next(self._sequence), component, text[:LINE_CHARACTERS_MAX]))

    def answer(self, call: Call) -> Response:
        after, tail = _number(query(call, "after")), _number(query(call, "tailLines"))
        component = query(call, "component")
        # A copy, because other threads go on logging.
        lines = [
            line
            for line in self._lines.copy()
            if line.sequence > after and (not component or line.component == component)
        ]
        if tail:
            lines = lines[-tail:]
        last = lines[-1].sequence if lines else after
        body = "".join(f"{line.text}\n" for line in lines)
        return Response(200, body.encode(), TEXT, (NO_SNIFFING, (LAST_HEADER, str(last))))


class WriteRecord(NamedTuple):
    """One request that changed something. `revision` is its last, if it made several; `agent` what the client calls itself."""

    revision: int
    time: float
    user: str
    agent: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str


class RecentWrites:
    """Who wrote which revision. Noted under the lock that orders writes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: deque[tuple[int, float, str, str, str, str, str, str, str, str]] = deque(maxlen=WRITES_MAX)

    def note(self, user: User, call: Call, revision: int, answer: bytes) -> None:
        """answer: the object as it was answered, which names what was created."""
        # A bare tuple in the order of `WriteRecord`: every write of the cluster passes here.
        self._records.append(
            (
                revision,
                self._clock.now(),
                user.name,
                header(call, "user-agent"),
                call.verb,
                call.group,
                call.resource,
                call.subresource,
                call.namespace,
                call.name or _name_in(answer),
            )
        )

    def since(self, revision: int) -> list[WriteRecord]:
        return [WriteRecord(*row) for row in self._records.copy() if row[0] > revision]

    def answer(self, call: Call) -> Response:
        return of_json({"writes": [record._asdict() for record in self.since(_number(query(call, "after")))]})


def _name_in(answer: bytes) -> str:
    """Objects are written with their name near the front; "" if this is none, or in another form."""
    match = _NAME.search(answer, 0, _NAME_WITHIN_BYTES)
    return match[1].decode() if match else ""


class LogPages:
    def __init__(self, logs: RecentLogs, writes: RecentWrites) -> None:
        self._pages = {"/logs": logs.answer, "/logs/writes": writes.answer}

    def paths(self) -> list[str]:
        return list(self._pages)

    def answer(self, call: Call) -> Response | None:
        page = self._pages.get(call.path.rstrip("/"))
        return None if page is None else page(call)


def _number(text: str | None) -> int:
    """0 for what is no number: a filter that says nothing."""
    return int(text) if text and text.isdecimal() else 0
