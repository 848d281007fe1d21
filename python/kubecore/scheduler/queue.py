"""The pods that want a node, in the order in which they get a turn.

```
          put                     pop                        failed(helped_by)
 new pod ─────▶ active ──────────────────▶ (being scheduled) ───────────────▶ unschedulable
   │              ▲  ▲                          │                                │    │
   ▼ gate         │  └──── backoff ◀────────────┘ error                          │    │
 gated ───────────┘ put       ▲   over           wake, still backing off         │    │
                              └──────────────────────────────────────────────────┘    │
                  ▲                              wake, or 5 minutes                   │
                  └───────────────────────────────────────────────────────────────────┘
```

In: keys and what happened to them. Out: keys by priority, then by how long they have been in the queue. Time comes
from the clock that is handed in; nothing here sleeps: the owner asks `next_seconds` and comes back. Memory: one entry
a pending pod.
"""

from __future__ import annotations

import heapq
from collections.abc import Set
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

from kubecore.api.clock import Clock
from kubecore.scheduler.profile import Happening

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LONGEST_SECONDS = 10.0
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
    tried: float = 0.0
    helped_by: Set[Happening] = field(default_factory=frozenset)
    turn: int = 0
    """Raised at each move: entries left behind in a heap are told by it."""


def backoff_seconds(attempts: int) -> float:
    """1, 2, 4, 8, 10, 10… seconds after each failed attempt."""
    if attempts <= 0:
        return 0.0
    # Past a few doublings it is the longest anyway: no need for a huge power.
    return min(BACKOFF_FIRST_SECONDS * 2.0 ** min(attempts - 1, 10), BACKOFF_LONGEST_SECONDS)


class SchedulingQueue:
    """Used from one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._active: list[tuple[int, float, int, str, int]] = []
        self._backoff: list[tuple[float, int, str, int]] = []
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

    def failed(self, key: str, helped_by: Set[Happening]) -> None:
        """It fits nowhere: it waits until something happens that may help."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.helped_by = helped_by
            entry.queued = self._clock.monotonic()
            self._move(entry, Place.UNSCHEDULABLE)
            self._unschedulable[key] = entry

    def error(self, key: str) -> None:
        """Not the pod's fault (its binding failed): it is tried again after its backoff."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.queued = self._clock.monotonic()
            self._activate_or_back_off(entry)

    def wake(self, happenings: Set[Happening]) -> int:
        """Something happened that may help: gives how many pods it brought back."""
        helped = [entry for entry in self._unschedulable.values() if not happenings.isdisjoint(entry.helped_by)]
        for entry in helped:
            self._activate_or_back_off(entry)
        return len(helped)

    # ── turns ──

    def pop(self, limit: int) -> list[str]:
        """The next pods to decide, at most `limit`, first the most important, then the longest in the queue."""
        self._flush()
        keys: list[str] = []
        now = self._clock.monotonic()
        while self._active and len(keys) < limit:
            _, _, _, key, turn = heapq.heappop(self._active)
            entry = self._entries.get(key)
            if entry is None or entry.turn != turn:
                continue
            self._move(entry, Place.IN_FLIGHT)
            entry.attempts += 1
            entry.tried = now
            keys.append(key)
        return keys

    def next_seconds(self) -> float | None:
        """How long until a pod may get a turn: 0 if one waits; None if only an event can bring one."""
        self._trim()
        if self._active:
            return 0.0
        now = self._clock.monotonic()
        times = [self._backoff[0][0]] if self._backoff else []
        times += [entry.queued + UNSCHEDULABLE_LONGEST_SECONDS for entry in self._longest_unschedulable(1)]
        return max(0.0, min(times) - now) if times else None

    # ── places ──

    def _flush(self) -> None:
        """Backoffs that are over, and pods that have waited longest."""
        now = self._clock.monotonic()
        while self._backoff and self._backoff[0][0] <= now:
            _, _, key, turn = heapq.heappop(self._backoff)
            entry = self._entries.get(key)
            if entry is not None and entry.turn == turn:
                self._activate(entry)
        for entry in self._longest_unschedulable(len(self._unschedulable)):
            if now - entry.queued < UNSCHEDULABLE_LONGEST_SECONDS:
                return
            self._activate_or_back_off(entry)

    def _longest_unschedulable(self, count: int) -> list[Entry]:
        """They are kept in the order in which they failed."""
        return list(islice(self._unschedulable.values(), count))

    def _trim(self) -> None:
        while self._active and self._is_stale(self._active[0][3], self._active[0][4]):
            heapq.heappop(self._active)
        while self._backoff and self._is_stale(self._backoff[0][2], self._backoff[0][3]):
            heapq.heappop(self._backoff)

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
        heapq.heappush(self._active, (-entry.priority, entry.queued, entry.turn, entry.key, entry.turn))

    def _activate_or_back_off(self, entry: Entry) -> None:
        until = entry.tried + backoff_seconds(entry.attempts)
        if until <= self._clock.monotonic():
            self._activate(entry)
            return
        self._move(entry, Place.BACKOFF)
        heapq.heappush(self._backoff, (until, entry.turn, entry.key, entry.turn))
