import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from kubecore.client import virtual_loop
from kubecore.client.workqueue import Shutdown, WorkQueue


def in_virtual_time(main: Coroutine[Any, Any, Any]) -> Any:
    return virtual_loop.run(main)


def test_a_key_added_twice_is_worked_on_once() -> None:
    async def scenario() -> None:
        queue = WorkQueue()
        queue.add("a")
        queue.add("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.idle

    in_virtual_time(scenario())


def test_a_key_added_while_it_is_worked_on_comes_again_afterwards_and_not_before() -> None:
    async def scenario() -> None:
        queue = WorkQueue()
        queue.add("a")
        await queue.get()
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert await queue.get() == "a"

    in_virtual_time(scenario())


def test_a_waiting_worker_wakes_when_a_key_comes() -> None:
    async def scenario() -> str:
        queue = WorkQueue()
        waiting = asyncio.ensure_future(queue.get())
        await asyncio.sleep(1)
        queue.add("a")
        return await waiting

    assert in_virtual_time(scenario()) == "a"


def test_a_delayed_key_comes_at_the_shortest_of_its_delays() -> None:
    async def scenario() -> float:
        queue = WorkQueue()
        queue.add_after("a", 60)
        queue.add_after("a", 5)
        queue.add_after("a", 30)
        await queue.get()
        return asyncio.get_running_loop().time()

    assert in_virtual_time(scenario()) == pytest.approx(5)


def test_pauses_between_failures_double_until_the_key_is_forgotten() -> None:
    async def scenario() -> list[float]:
        queue = WorkQueue(retry_first_seconds=1, retry_longest_seconds=4)
        loop, moments = asyncio.get_running_loop(), []
        for _ in range(4):
            queue.add_rate_limited("a")
            queue.done(await queue.get())
            moments.append(loop.time())
        queue.forget("a")
        queue.add_rate_limited("a")
        await queue.get()
        return [*moments, loop.time()]

    assert in_virtual_time(scenario()) == pytest.approx([1, 3, 7, 11, 12])


def test_a_closed_queue_gives_out_what_it_holds_and_then_ends() -> None:
    async def scenario() -> None:
        queue = WorkQueue()
        queue.add("a")
        queue.close()
        queue.add("b")
        assert await queue.get() == "a"
        with pytest.raises(Shutdown):
            await queue.get()

    in_virtual_time(scenario())


def test_a_full_queue_says_so() -> None:
    async def scenario() -> None:
        queue = WorkQueue(keys_max=1)
        queue.add("a")
        assert not queue.overflowed
        queue.add("b")
        assert queue.overflowed
        assert len(queue) == 1

    in_virtual_time(scenario())


def test_a_worker_that_is_cancelled_loses_no_wake_up() -> None:
    async def scenario() -> str:
        queue = WorkQueue()
        first = asyncio.ensure_future(queue.get())
        second = asyncio.ensure_future(queue.get())
        await asyncio.sleep(1)
        queue.add("a")
        first.cancel()
        return await asyncio.wait_for(second, 10)

    assert in_virtual_time(scenario()) == "a"
