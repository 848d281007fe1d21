"""Pauses that double up to a bound, with jitter from an injected source of randomness."""

from __future__ import annotations

import random

JITTER = 1.0
"""A pause is stretched by up to this share of itself."""


class Backoff:
    """`next()` gives the next pause in seconds; `reset()` after a success."""

    def __init__(self, first_seconds: float, longest_seconds: float, *, randomness: random.Random) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._random = randomness
        self._pause_seconds = first_seconds

    def next(self) -> float:
        pause = self._pause_seconds
        self._pause_seconds = min(pause * 2, self._longest_seconds)
        return pause * (1 + JITTER * self._random.random())

    def reset(self) -> None:
        self._pause_seconds = self._first_seconds
