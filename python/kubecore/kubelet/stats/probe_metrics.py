"""`/metrics/probes`: how often each probe said what, and how long successful and failed ones took.

Flows in: one `note` a probe. Bound: rows go with their pod (`forget`).
Source: https://kubernetes.io/docs/reference/instrumentation/metrics/ (prober_probe_total, prober_probe_duration_seconds)
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from kubecore.kubelet.stats.exposition import text_of
from kubecore.kubelet.stats.samples import PodKey

ProbeKind = Literal["Liveness", "Readiness", "Startup"]
ProbeResult = Literal["successful", "failed", "unknown"]

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COUNT_LABELS = ("container", "namespace", "pod", "pod_uid", "probe_type", "result")
_DURATION_LABELS = ("container", "namespace", "pod", "probe_type")


class _Probed(NamedTuple):
    pod: PodKey
    container: str
    kind: ProbeKind


class _Durations:
    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_SECONDS) + 1)
        self.total_seconds = 0.0


class ProbeMetrics:
    def __init__(self) -> None:
        self._counts: dict[tuple[_Probed, ProbeResult], int] = {}
        self._durations: dict[_Probed, _Durations] = {}

    def note(
        self, pod: PodKey, container: str, kind: ProbeKind, result: ProbeResult, *, duration_seconds: float
    ) -> None:
        probed = _Probed(pod, container, kind)
        self._counts[probed, result] = self._counts.get((probed, result), 0) + 1
        if result != "unknown":
            durations = self._durations.setdefault(probed, _Durations())
            durations.counts[bisect_left(BUCKETS_SECONDS, duration_seconds)] += 1
            durations.total_seconds += duration_seconds

    def forget(self, pod_uid: str) -> None:
        """The pod is gone."""
        self._counts = {key: count for key, count in self._counts.items() if key[0].pod.uid != pod_uid}
        self._durations = {key: kept for key, kept in self._durations.items() if key.pod.uid != pod_uid}

    def text(self) -> bytes:
        counted = CounterMetricFamily(
            "prober_probe",
            "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
            labels=_COUNT_LABELS,
        )
        for (probed, result), count in self._counts.items():
            pod = probed.pod
            counted.add_metric([probed.container, pod.namespace, pod.name, pod.uid, probed.kind, result], count)
        took = HistogramMetricFamily(
            "prober_probe_duration_seconds",
            "[ALPHA] Duration in seconds for a probe response.",
            labels=_DURATION_LABELS,
        )
        for probed, durations in self._durations.items():
            running, buckets = 0, []
            for bound, count in zip((*map(str, BUCKETS_SECONDS), "+Inf"), durations.counts, strict=True):
                running += count
                buckets.append((bound, running))
            labels = [probed.container, probed.pod.namespace, probed.pod.name, probed.kind]
            took.add_metric(labels, buckets, durations.total_seconds)
        return text_of([took, counted])
