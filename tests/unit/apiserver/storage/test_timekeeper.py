"""A storage without a thread learns the time from the event loop."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from kubecore.apiserver.storage.embedded import EmbeddedStorage
from kubecore.apiserver.storage.timekeeper import SLEEP_SECONDS_MAX, keep_time

EVENT = "/registry/core/events/default/web.1"


class SteppedClock:
    """Its time moves when the keeper sleeps, by as much as it sleeps."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


async def keep_time_for(
    storage: EmbeddedStorage, clock: SteppedClock, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = clock.seconds + seconds

    async def sleep(duration: float) -> None:
        await clock.sleep(duration)
        if clock.seconds >= end:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with contextlib.suppress(asyncio.CancelledError):
        await keep_time(storage, clock)


async def test_an_event_lives_its_hour_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, clock = EmbeddedStorage.memory(threadless=True), SteppedClock()
    storage.store.tick(clock.now())
    storage.create(EVENT, b"{}", splice=-1, ttl_seconds=3600)
    await keep_time_for(storage, clock, 3590, monkeypatch)
    assert storage.get(EVENT) is not None
    await keep_time_for(storage, clock, 3600 - 3590 + SLEEP_SECONDS_MAX, monkeypatch)
    assert storage.get(EVENT) is None


async def test_an_idle_storage_is_told_the_time_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, clock = EmbeddedStorage.memory(threadless=True), SteppedClock()
    await keep_time_for(storage, clock, 600, monkeypatch)
    assert clock.slept == [SLEEP_SECONDS_MAX] * 10


async def test_old_history_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, clock = EmbeddedStorage.memory(threadless=True), SteppedClock()
    storage.store.tick(clock.now())
    revision = storage.create(EVENT, b"{}", splice=-1).revision
    await keep_time_for(storage, clock, 240, monkeypatch)
    assert storage.compacted_revision() < revision
    await keep_time_for(storage, clock, 120, monkeypatch)
    assert storage.compacted_revision() == revision
