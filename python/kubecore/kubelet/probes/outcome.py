"""What one probe of a container said, and how messages write addresses and durations."""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum

OUTPUT_BYTES_MAX = 10 << 10
"""Of what a probed container answers, at most this is read and told."""


class Verdict(StrEnum):
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error`: the probe itself could not be carried out; tried again at once, and no verdict on the container."""

    verdict: Verdict
    output: str = ""
    error: str = ""


def failure(output: str) -> Outcome:
    return Outcome(Verdict.FAILURE, output)


def join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def dial_problem(host: str, port: int, problem: OSError) -> str:
    """A connection that did not come about, as Go says it. asyncio reports some failures without their number."""
    if isinstance(problem, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    number = problem.errno if problem.errno in errno.errorcode else None
    words = os.strerror(number).lower() if number is not None else str(problem)
    return f"dial tcp {join(host, port)}: connect: {words}"


def seconds_text(seconds: float) -> str:
    """As Go writes a duration of whole seconds: `1s`, `1m30s`, `1h0m0s`."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{text}{rest}s"


def linger(opened: socket.socket) -> None:
    """A probe's socket is gone a second after it is closed: thousands of probes leave none waiting."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))
