"""The pods that want a node, in the order in which they get a turn.

```
          put                     pop                        failed
 new pod ─────▶ active ──────────────────▶ (being scheduled) ───────────────▶ unschedulable
   │              ▲  ▲                          │                                │    │
   ▼ gate         │  └──── backoff ◀────────────┘ error                          │    │
 gated ───────────┘ put       ▲   over           wake, still backing off         │    │
                              └──────────────────────────────────────────────────┘    │
                  ▲                              wake, or 5 minutes                   │
                  └───────────────────────────────────────────────────────────────────┘
```

In: keys and what happened to them. Out: keys by priority, then by how long they have been in the queue. As upstream, a
pod that backs off after it fitted nowhere gets its turn early if nobody else waits; one that backs off after an error
does not. Time comes from the clock that is handed in; nothing here sleeps: the owner asks `next_seconds` and comes
back. Memory: one entry a pending pod.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from kubecore.api.clock import Clock

UNSCHEDULABLE_LONGEST_SECONDS = 300.0
"""A pod that nothing has helped for that long gets a turn all the same."""


class Place(Enum):
    ACTIVE = "active"
    BACKOFF = "backoff"
    UNSCHEDULABLE = "unschedulable"
    GATED = "gated"
    IN_FLIGHT = "in flight"
    """Popped: being decided or bound."""


@dataclass(slots=True)
class Entry:
    """One pending pod. `queued` orders pods of one priority; `first_queued` is for the record."""

    key: str
    priority: int
    queued: float
    first_queued: float
    place: Place = Place.ACTIVE
    attempts: int = 0
    unschedulable: int = 0
    """How often it fitted nowhere."""
    errors: int = 0
    """Errors since it last fitted nowhere."""
    turn: int = 0
    """Raised at each move: entries left behind in a heap are told by it."""


class SchedulingQueue:
    """Used from one event loop. Backoff: the first, then twice as long each time, up to the longest."""

    def __init__(
        self, clock: Clock, *, backoff_first_seconds: float = 1.0, backoff_longest_seconds: float = 10.0
    ) -> None:
        self._clock = clock
        self._first_seconds = backoff_first_seconds
        self._longest_seconds = backoff_longest_seconds
        self._entries: dict[str, Entry] = {}
        self._active: list[tuple[float, int, float, int, str]] = []
        self._backoff: list[tuple[float, int, float, int, str]] = []
        """By end, then as the active ones. Pods that fitted nowhere."""
        self._errors: list[tuple[float, int, float, int, str]] = []
        """The same after an error."""
        self._unschedulable: dict[str, Entry] = {}
        self._moves = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def counts(self) -> dict[str, int]:
        """Pods in each place."""
        counts = {place.value: 0 for place in Place}
        for entry in self._entries.values():
            counts[entry.place.value] += 1
        return counts

    def in_flight(self) -> list[str]:
        """Popped, and neither put back nor removed since."""
        return [key for key, entry in self._entries.items() if entry.place is Place.IN_FLIGHT]

    def backoff_seconds(self, failures: int) -> float:
        """1, 2, 4, 8, 10, 10… seconds after each failure, unless told otherwise."""
        if failures <= 0:
            return 0.0
        # Past a few doublings it is the longest anyway: no need for a huge power.
        return min(self._first_seconds * 2.0 ** min(failures - 1, 32), self._longest_seconds)

    def _backoff_ends(self, entry: Entry) -> float:
        """With a full second, so that among those that end together the most important comes first."""
        failures = entry.errors or entry.unschedulable
        return math.floor(entry.queued + self.backoff_seconds(failures)) + 1.0 if failures else 0.0

    # ── what happens to pods ──

    def put(self, key: str, priority: int, *, changed: bool) -> None:
        """A pod is pending. `changed`: it is new or asks for something else; otherwise it keeps its place."""
        entry = self._entries.get(key)
        if entry is None:
            now = self._clock.monotonic()
            entry = self._entries[key] = Entry(key, priority, now, now)
            self._activate(entry)
            return
        if entry.place is Place.IN_FLIGHT:
            # Its decision is under way: a failure brings it back with what it asks now.
            entry.priority = priority
            return
        if entry.priority != priority or entry.place is Place.GATED:
            entry.priority = priority
            self._activate_or_back_off(entry)
        elif changed and entry.place is Place.UNSCHEDULABLE:
            self._activate_or_back_off(entry)

    def gate(self, key: str, priority: int) -> bool:
        """A pod is pending behind scheduling gates. True if that is news."""
        entry = self._entries.get(key)
        if entry is not None and entry.place is Place.GATED:
            return False
        now = self._clock.monotonic()
        if entry is None:
            entry = self._entries[key] = Entry(key, priority, now, now)
        self._move(entry, Place.GATED)
        return True

    def remove(self, key: str) -> Entry | None:
        """The pod is gone or has a node."""
        self._unschedulable.pop(key, None)
        return self._entries.pop(key, None)

    def failed(self, key: str) -> None:
        """It fits nowhere: it waits until it is woken."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.unschedulable += 1
            entry.errors = 0
            entry.queued = self._clock.monotonic()
            self._move(entry, Place.UNSCHEDULABLE)
            self._unschedulable[key] = entry

    def error(self, key: str) -> None:
        """Not the pod's fault (its binding failed): it is tried again after its backoff."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.errors += 1
            entry.queued = self._clock.monotonic()
            self._activate_or_back_off(entry)

    def wake(self, keys: Iterable[str]) -> None:
        """Something happened that may help these."""
        for key in keys:
            entry = self._unschedulable.get(key)
            if entry is not None:
                self._activate_or_back_off(entry)

    # ── turns ──

    def pop(self, limit: int) -> list[str]:
        """The next pods to decide, at most `limit`, first the most important, then the longest in the queue."""
        self._flush()
        keys: list[str] = []
        while len(keys) < limit and (self._active or self._backoff):
            *_, turn, key = heapq.heappop(self._active or self._backoff)
            if self._is_stale(key, turn):
                continue
            entry = self._entries[key]
            self._move(entry, Place.IN_FLIGHT)
            entry.attempts += 1
            keys.append(key)
        return keys

    def next_seconds(self) -> float | None:
        """How long until a pod may get a turn: 0 if one waits; None if only an event can bring one."""
        self._trim()
        if self._active or self._backoff:
            return 0.0
        now = self._clock.monotonic()
        times = [self._errors[0][0]] if self._errors else []
        times += [entry.queued + UNSCHEDULABLE_LONGEST_SECONDS for entry in self._longest_unschedulable(1)]
        return max(0.0, min(times) - now) if times else None

    # ── places ──

    def _flush(self) -> None:
        """Backoffs that are over, and pods that have waited longest."""
        now = self._clock.monotonic()
        for heap in (self._backoff, self._errors):
            while heap and heap[0][0] <= now:
                *_, turn, key = heapq.heappop(heap)
                if not self._is_stale(key, turn):
                    self._activate(self._entries[key])
        for entry in self._longest_unschedulable(len(self._unschedulable)):
            # The same sum as in `next_seconds`, to the last bit: else the owner would come back too early again and again.
            if entry.queued + UNSCHEDULABLE_LONGEST_SECONDS > now:
                return
            self._activate_or_back_off(entry)

    def _longest_unschedulable(self, count: int) -> list[Entry]:
        """They are kept in the order in which they failed."""
        return list(islice(self._unschedulable.values(), count))

    def _trim(self) -> None:
        for heap in (self._active, self._backoff, self._errors):
            while heap and self._is_stale(heap[0][-1], heap[0][-2]):
                heapq.heappop(heap)

    def _is_stale(self, key: str, turn: int) -> bool:
        entry = self._entries.get(key)
        return entry is None or entry.turn != turn

    def _move(self, entry: Entry, place: Place) -> None:
        self._unschedulable.pop(entry.key, None)
        self._moves += 1
        entry.turn = self._moves
        entry.place = place

    def _activate(self, entry: Entry) -> None:
        self._move(entry, Place.ACTIVE)
        heapq.heappush(self._active, (0.0, -entry.priority, entry.queued, entry.turn, entry.key))

    def _activate_or_back_off(self, entry: Entry) -> None:
        ends = self._backoff_ends(entry)
        if ends <= self._clock.monotonic():
            self._activate(entry)
            return
        self._move(entry, Place.BACKOFF)
        heap = self._errors if entry.errors else self._backoff
        heapq.heappush(heap, (ends, -entry.priority, entry.queued, entry.turn, entry.key))
