import asyncio
import os
import time

import pytest

from kubecore.api.clock import LoopClock
from kubecore.client import virtual_loop


def test_an_hour_passes_at_once() -> None:
    async def scenario() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop, epoch_seconds=1000.0)
        await asyncio.sleep(3600)
        return clock.monotonic(), clock.now()

    began = time.monotonic()
    assert virtual_loop.run(scenario()) == (3600.0, 4600.0)
    assert time.monotonic() - began < 5


def test_timers_fire_in_the_order_of_their_times() -> None:
    async def scenario() -> list[str]:
        log: list[str] = []

        async def say(name: str, after: float) -> None:
            await asyncio.sleep(after)
            log.append(name)

        await asyncio.gather(say("third", 3), say("first", 1), say("second", 2), say("also first", 1))
        return log

    assert virtual_loop.run(scenario()) == ["first", "also first", "second", "third"]


def test_what_can_never_go_on_is_reported() -> None:
    async def scenario() -> None:
        await asyncio.Event().wait()

    with pytest.raises(virtual_loop.Stuck):
        virtual_loop.run(scenario())


def test_a_file_descriptor_made_readable_by_this_thread_wakes_before_any_timer() -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        woken = asyncio.Event()
        loop.add_reader(reading, woken.set)
        os.write(writing, b"x")
        await asyncio.wait(
            (asyncio.create_task(woken.wait()), asyncio.create_task(asyncio.sleep(10))), return_when="FIRST_COMPLETED"
        )
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
        return loop.time()

    assert virtual_loop.run(scenario()) == 0.0
