"""What the scheduler counts, under upstream's names. One registry a scheduler: two clusters in a process do not mix.

The library's histogram walks its buckets in Python at each observation; here a pod costs one bisection.
Source: https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

DURATIONS = tuple(0.001 * 2**power for power in range(15))
SLI_DURATIONS = tuple(0.01 * 2**power for power in range(20))
ATTEMPTS = (1, 2, 4, 8, 16)
VICTIMS = (1, 2, 4, 8, 16, 32, 64)
QUEUES = ("active", "backoff", "unschedulable", "gated")


class _Histogram:
    """Counts by upper bound, the last one infinite."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        buckets, below = [], 0
        for bound, count in zip((*map(str, map(float, self._bounds)), "+Inf"), self._counts, strict=True):
            below += count
            buckets.append((bound, float(below)))
        family.add_metric(labels, buckets, self._sum)


class SchedulerMetrics(Collector):
    def __init__(self, scheduler_name: str, pending: Callable[[], Mapping[str, int]]) -> None:
        """`pending`: pods by queue, asked when somebody reads the metrics."""
        self.registry = CollectorRegistry()
        self._profile = scheduler_name
        self._pending = pending
        self._attempts = {"scheduled": 0, "unschedulable": 0, "error": 0}
        self._algorithm = _Histogram(DURATIONS)
        self._pod_attempts = _Histogram(ATTEMPTS)
        self._preemptions = 0
        self._victims = _Histogram(VICTIMS)
        self._sli: dict[str, _Histogram] = {}
        self.registry.register(self)

    def attempted(self, result: str, count: int) -> None:
        """result: scheduled, unschedulable or error."""
        self._attempts[result] += count

    def chose(self, seconds: float) -> None:
        self._algorithm.observe(seconds)

    def tried_to_preempt(self, victims: int) -> None:
        self._preemptions += 1
        if victims:
            self._victims.observe(victims)

    def bound(self, attempts: int, seconds: float) -> None:
        self._pod_attempts.observe(attempts)
        label = str(attempts) if attempts < 16 else "16+"
        histogram = self._sli.get(label)
        if histogram is None:
            histogram = self._sli[label] = _Histogram(SLI_DURATIONS)
        histogram.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "scheduler_schedule_attempts", "Attempts to schedule pods, by result.", labels=("result", "profile")
        )
        for result, count in self._attempts.items():
            attempts.add_metric((result, self._profile), count)
        yield attempts
        pending = GaugeMetricFamily("scheduler_pending_pods", "Pending pods, by queue.", labels=("queue",))
        counts = self._pending()
        for queue in QUEUES:
            pending.add_metric((queue,), counts[queue])
        yield pending
        algorithm = HistogramMetricFamily(
            "scheduler_scheduling_algorithm_duration_seconds", "Time to choose nodes for one batch of pods."
        )
        self._algorithm.add_to(algorithm, ())
        yield algorithm
        pod_attempts = HistogramMetricFamily("scheduler_pod_scheduling_attempts", "Attempts until a pod was bound.")
        self._pod_attempts.add_to(pod_attempts, ())
        yield pod_attempts
        yield CounterMetricFamily(
            "scheduler_preemption_attempts", "Attempts to make room by evicting pods.", value=self._preemptions
        )
        victims = HistogramMetricFamily("scheduler_preemption_victims", "Victims of a preemption.")
        self._victims.add_to(victims, ())
        yield victims
        sli = HistogramMetricFamily(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "Time from when a pod entered the queue until it was bound.",
            labels=("attempts",),
        )
        for label, histogram in self._sli.items():
            histogram.add_to(sli, (label,))
        yield sli
