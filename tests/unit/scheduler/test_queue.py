from dataclasses import dataclass

from kubecore.scheduler.queue import SchedulingQueue


@dataclass
class HandClock:
    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


def queue_with(*pods: tuple[str, int]) -> tuple[SchedulingQueue, HandClock]:
    clock = HandClock()
    queue = SchedulingQueue(clock)
    for key, priority in pods:
        queue.put(key, priority, changed=True)
        clock.seconds += 0.001
    return queue, clock


def test_the_most_important_pod_comes_first_then_the_one_that_has_waited_longest() -> None:
    queue, _ = queue_with(("a", 0), ("b", 10), ("c", 0), ("d", 10))
    assert queue.pop(10) == ["b", "d", "a", "c"]


def test_a_turn_takes_no_more_than_it_is_asked() -> None:
    queue, _ = queue_with(("a", 0), ("b", 0), ("c", 0))
    assert queue.pop(2) == ["a", "b"]
    assert queue.pop(2) == ["c"]
    assert queue.pop(2) == []


def test_backoff_doubles_from_one_second_to_ten() -> None:
    queue, clock = queue_with()
    assert [queue.backoff_seconds(failures) for failures in range(7)] == [0, 1, 2, 4, 8, 10, 10]
    slow = SchedulingQueue(clock, backoff_first_seconds=3, backoff_longest_seconds=60)
    assert [slow.backoff_seconds(failures) for failures in range(1, 8)] == [3, 6, 12, 24, 48, 60, 60]


def test_a_pod_that_fits_nowhere_waits_until_it_is_woken() -> None:
    queue, clock = queue_with(("a", 0))
    queue.pop(1)
    queue.failed("a")
    clock.seconds += 60
    assert queue.next_seconds() is not None
    queue.wake(["b"])
    assert queue.pop(1) == []
    queue.wake(["a"])
    assert queue.pop(1) == ["a"]


def test_a_pod_that_backs_off_gets_its_turn_early_if_nobody_else_waits() -> None:
    queue, _ = queue_with(("a", 9), ("b", 0))
    assert queue.pop(1) == ["a"]
    queue.failed("a")
    queue.wake(["a"])
    assert queue.counts()["backoff"] == 1
    assert queue.pop(1) == ["b"], "it is less important, but does not back off"
    assert queue.next_seconds() == 0.0
    assert queue.pop(1) == ["a"]


def test_backoffs_that_end_in_the_same_second_end_together_and_the_most_important_comes_first() -> None:
    queue, clock = queue_with(("a", 0), ("b", 5))
    queue.pop(2)
    for key in ("a", "b"):
        queue.error(key)
        clock.seconds += 0.1
    assert queue.pop(2) == []
    clock.seconds = 2.0
    assert queue.pop(2) == ["b", "a"]


def test_a_pod_that_nothing_helped_gets_a_turn_after_five_minutes() -> None:
    queue, clock = queue_with(("a", 0))
    queue.pop(1)
    queue.failed("a")
    clock.seconds += 299
    assert queue.pop(1) == []
    clock.seconds += 1
    assert queue.pop(1) == ["a"]


def test_whoever_comes_back_when_told_to_finds_a_pod_to_decide() -> None:
    for thousandth in range(2000):
        queue, clock = queue_with(("a", 0))
        clock.seconds = 217 + thousandth / 1000
        queue.pop(1)
        queue.failed("a")
        # A sum of such numbers, and the difference that undoes it, may differ in the last bit.
        clock.seconds += 300
        assert queue.next_seconds() == 0
        assert queue.pop(1) == ["a"], "else it would come back at once, for ever"


def test_an_event_that_changes_nothing_does_not_wake_the_pod_it_is_about() -> None:
    queue, clock = queue_with(("a", 0))
    queue.pop(1)
    queue.failed("a")
    clock.seconds += 30
    queue.put("a", 0, changed=False)
    assert queue.pop(1) == []
    queue.put("a", 0, changed=True)
    assert queue.pop(1) == ["a"]


def test_a_gated_pod_gets_no_turn_until_its_gates_are_gone() -> None:
    queue, _ = queue_with()
    assert queue.gate("a", 0)
    assert not queue.gate("a", 0), "the second time it is no news"
    assert queue.pop(1) == []
    assert queue.next_seconds() is None
    queue.put("a", 0, changed=True)
    assert queue.pop(1) == ["a"]


def test_a_failed_binding_is_tried_again_after_its_backoff() -> None:
    queue, clock = queue_with(("a", 0))
    queue.pop(1)
    for seconds in (2, 3, 5, 9, 11, 11):
        failed_at = clock.seconds = float(int(clock.seconds) + 1)
        queue.error("a")
        assert queue.pop(1) == []
        wait = queue.next_seconds()
        assert wait == seconds, "the backoff, to the end of the second it ends in"
        clock.seconds = failed_at + seconds
        assert queue.pop(1) == ["a"]


def test_a_pod_that_is_gone_gets_no_turn() -> None:
    queue, _ = queue_with(("a", 0), ("b", 0))
    queue.remove("a")
    assert queue.pop(10) == ["b"]
    assert len(queue) == 1


def test_a_raised_priority_moves_a_waiting_pod_forward() -> None:
    queue, _ = queue_with(("a", 0), ("b", 0))
    queue.put("b", 5, changed=True)
    assert queue.pop(10) == ["b", "a"]
