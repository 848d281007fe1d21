"""What the scheduler counts, under upstream's names. One registry a scheduler: two clusters in a process do not mix.

Source: https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

DURATIONS = tuple(0.001 * 2**power for power in range(15))
SLI_DURATIONS = tuple(0.01 * 2**power for power in range(20))
ATTEMPTS = (1, 2, 4, 8, 16)


class SchedulerMetrics:
    def __init__(self, scheduler_name: str, pending: Callable[[], Mapping[str, int]]) -> None:
        """`pending`: pods by queue, asked when somebody reads the metrics."""
        self.registry = CollectorRegistry()
        self._profile = scheduler_name
        self._attempts = Counter(
            "scheduler_schedule_attempts",
            "Attempts to schedule pods, by result.",
            ("result", "profile"),
            registry=self.registry,
        )
        gauge = Gauge("scheduler_pending_pods", "Pending pods, by queue.", ("queue",), registry=self.registry)
        for queue in ("active", "backoff", "unschedulable", "gated"):
            gauge.labels(queue).set_function(partial(_read, pending, queue))
        self._algorithm = Histogram(
            "scheduler_scheduling_algorithm_duration_seconds",
            "Time to choose nodes for one batch of pods.",
            buckets=DURATIONS,
            registry=self.registry,
        )
        self._pod_attempts = Histogram(
            "scheduler_pod_scheduling_attempts",
            "Attempts until a pod was bound.",
            buckets=ATTEMPTS,
            registry=self.registry,
        )
        self._sli = Histogram(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "Time from when a pod entered the queue until it was bound.",
            ("attempts",),
            buckets=SLI_DURATIONS,
            registry=self.registry,
        )

    def attempted(self, result: str, count: int) -> None:
        """result: scheduled, unschedulable or error."""
        if count:
            self._attempts.labels(result, self._profile).inc(count)

    def chose(self, seconds: float) -> None:
        self._algorithm.observe(seconds)

    def bound(self, attempts: int, seconds: float) -> None:
        self._pod_attempts.observe(attempts)
        self._sli.labels(str(attempts) if attempts < 16 else "16+").observe(seconds)


def _read(pending: Callable[[], Mapping[str, int]], queue: str) -> float:
    return pending()[queue]
