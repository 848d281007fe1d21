"""How figures moved: rates from counters, and a short history for charts.

Bounds: `RATE_POINTS_MAX` points a counter, `HISTORY_POINTS_MAX` points a series (15 minutes at the usual interval),
`SERIES_MAX` series; a series whose pod is gone goes with it, and beyond the bound new ones are not kept.
Memory: about 100 bytes a point, so at most 9 MB for 1,000 series.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

RATE_POINTS_MAX = 8
RATE_WINDOW_SECONDS = 5.0
"""A rate is taken over at least so long, if the counter has been watched that long."""
HISTORY_POINTS_MAX = 90
SERIES_MAX = 1_000

_NANOSECONDS = 1_000_000_000


class Rates:
    """Nanocores from processor time. Keys are whatever names a counter; those not seen any more are dropped."""

    def __init__(self) -> None:
        self._points: dict[str, deque[tuple[int, int]]] = {}

    def note(self, key: str, timestamp: int, used: int) -> None:
        points = self._points.setdefault(key, deque(maxlen=RATE_POINTS_MAX))
        if points and used < points[-1][1]:
            # The counter began anew: a container of the same name was restarted.
            points.clear()
        if not points or timestamp > points[-1][0]:
            points.append((timestamp, used))

    def keep(self, keys: Iterable[str]) -> None:
        living = set(keys)
        self._points = {key: points for key, points in self._points.items() if key in living}

    def nanocores(self, key: str, *, started_at: int) -> tuple[int, float] | None:
        """(rate, seconds it is taken over). `started_at`: when the counter was 0, or 0 if unknown. None: nothing to compare with."""
        points = self._points.get(key)
        if not points:
            return None
        last_time, last_used = points[-1]
        first_time, first_used = points[0]
        for when, used in points:
            if last_time - when >= RATE_WINDOW_SECONDS * _NANOSECONDS:
                first_time, first_used = when, used
        if first_time == last_time:
            if not 0 < started_at < last_time:
                return None
            first_time, first_used = started_at, 0
        elapsed = last_time - first_time
        return (last_used - first_used) * _NANOSECONDS // elapsed, elapsed / _NANOSECONDS


class Point(NamedTuple):
    """Seconds since the epoch, nanocores (None: not known yet), bytes of working set."""

    time: int
    nanocores: int | None
    working_set_bytes: int


class History:
    def __init__(self) -> None:
        self._series: dict[str, deque[Point]] = {}

    def note(self, points: Mapping[str, Point]) -> None:
        """One round. Series that are not in it are over."""
        kept = {key: self._series[key] for key in points if key in self._series}
        for key, point in points.items():
            if key not in kept and len(kept) >= SERIES_MAX:
                continue
            kept.setdefault(key, deque(maxlen=HISTORY_POINTS_MAX)).append(point)
        self._series = kept

    def of(self, key: str) -> list[Point]:
        return list(self._series.get(key, ()))
