"""How long a container that ended waits until it is started again: 10 s, doubled up to 300 s.

The first restart is at once. A container that has run for twice the longest pause is forgiven. Kept in memory only: a
new kubelet starts over, as upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_SECONDS = 10.0
KEYS_MAX = 20_000
"""Containers remembered; beyond it the one unused for longest is forgotten, and its next restart is at once."""


@dataclass(slots=True)
class _Entry:
    seconds: float
    since: float


class CrashBackoff:
    """Keys are of the caller's making: pod, container and its hash."""

    def __init__(self, *, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._entries: dict[str, _Entry] = {}

    def pause(self, key: str, ended_at: float) -> float:
        """Seconds from that end to the next start."""
        entry = self._entries.get(key)
        if entry is None or self._forgiven(entry, ended_at):
            return 0.0
        return entry.seconds

    def next(self, key: str, ended_at: float, now: float) -> None:
        """It is started again now: the next pause is longer."""
        entry = self._entries.pop(key, None)
        if entry is None or self._forgiven(entry, ended_at):
            seconds = min(FIRST_SECONDS, self._longest_seconds)
        else:
            seconds = min(entry.seconds * 2, self._longest_seconds)
        self._entries[key] = _Entry(seconds, now)
        if len(self._entries) > KEYS_MAX:
            del self._entries[next(iter(self._entries))]

    def forget(self, prefix: str) -> None:
        """The pod whose keys begin so is gone."""
        for key in [key for key in self._entries if key.startswith(prefix)]:
            del self._entries[key]

    def _forgiven(self, entry: _Entry, ended_at: float) -> bool:
        return ended_at - entry.since > 2 * self._longest_seconds
