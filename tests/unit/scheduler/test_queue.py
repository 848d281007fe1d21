from dataclasses import dataclass

from kubecore.scheduler.queue import SchedulingQueue, backoff_seconds


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
    assert [backoff_seconds(attempts) for attempts in range(7)] == [0, 1, 2, 4, 8, 10, 10]


def test_a_pod_that_fits_nowhere_waits_for_an_event_that_helps() -> None:
    queue, clock = queue_with(("a", 0))
    queue.pop(1)
    queue.failed("a", frozenset(("pod left",)))
    clock.seconds += 60
    assert queue.next_seconds() is not None
    assert queue.wake({"node labels"}) == 0
    assert queue.pop(1) == []
    assert queue.wake({"pod left", "node labels"}) == 1
    assert queue.pop(1) == ["a"]


def test_a_pod_woken_at_once_still_sits_out_its_backoff() -> None:
    queue, clock = queue_with(("a", 0))
    for seconds in (1, 2, 4, 8, 10, 10):
        assert queue.pop(1) == ["a"]
        queue.failed("a", frozenset(("pod left",)))
        queue.wake({"pod left"})
        assert queue.pop(1) == []
        wait = queue.next_seconds()
        assert wait is not None
        assert abs(wait - seconds) < 1e-6
        clock.seconds += seconds


def test_a_pod_that_nothing_helped_gets_a_turn_after_five_minutes() -> None:
    queue, clock = queue_with(("a", 0))
    queue.pop(1)
    queue.failed("a", frozenset())
    clock.seconds += 299
    assert queue.pop(1) == []
    clock.seconds += 1
    assert queue.pop(1) == ["a"]


def test_an_event_that_changes_nothing_does_not_wake_the_pod_it_is_about() -> None:
    queue, clock = queue_with(("a", 0))
    queue.pop(1)
    queue.failed("a", frozenset())
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
    queue.error("a")
    assert queue.pop(1) == []
    clock.seconds += 1
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
