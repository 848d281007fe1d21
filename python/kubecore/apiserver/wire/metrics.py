"""`/metrics`: what the wire counts in Rust, the store's figures and the process's, under upstream's names.

Source: https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import psutil
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.response import Response
from kubecore.apiserver.wire.version import MAJOR, MINOR, version_info

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST_LABELS = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "code")
_DURATION_LABELS = _REQUEST_LABELS[:-1]
_COUNTERS = {
    "kubecore_python_calls": ("python_calls_total", "Requests that Python decided or allowed."),
    "kubecore_verdict_hits": ("verdict_hits_total", "Reads served under a cached verdict, without Python."),
    "kubecore_rejected_requests": ("rejected_total", "Requests refused because the hand-over queue was full."),
    "kubecore_slow_readers_cut": ("slow_readers_cut_total", "Connections cut because the client took nothing."),
    "apiserver_watch_events": ("watch_events_total", "Watch events sent over HTTP."),
}
_GAUGES = {
    "kubecore_connections": ("connections", "Open connections."),
    "kubecore_cached_verdicts": ("verdicts", "Verdicts in the cache."),
    "kubecore_calls_in_flight": ("calls_in_flight", "Requests waiting for Python."),
}

Figures = Mapping[str, Any]


class Metrics(Collector):
    def __init__(
        self,
        door: Callable[[], Figures],
        store: Callable[[], Mapping[str, int]],
        object_counts: Callable[[], Iterable[tuple[str, int]]],
    ) -> None:
        """object_counts: (qualified resource, how many are stored)."""
        self._door = door
        self._store = store
        self._object_counts = object_counts
        self._process = psutil.Process()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def answer(self, _call: Call) -> Response:
        return Response(200, generate_latest(self._registry), TEXT_FORMAT)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        figures = self._door()
        yield from _requests(figures)
        yield from _in_flight(figures)
        for name, (key, text) in _COUNTERS.items():
            yield CounterMetricFamily(name, text, figures[key])
        for name, (key, text) in _GAUGES.items():
            yield GaugeMetricFamily(name, text, figures[key])
        watchers = GaugeMetricFamily(
            "kubecore_watchers",
            "Running watches by what they watch and whose they are.",
            labels=["resource", "watcher"],
        )
        for row in figures["watchers"]:
            watchers.add_metric([row["resource"], row["watcher"]], row["count"])
        yield watchers
        yield from self._storage()
        yield from self._process_figures()

    def _storage(self) -> Iterable[Metric]:
        objects = GaugeMetricFamily("apiserver_storage_objects", "Stored objects by resource.", labels=["resource"])
        for resource, count in self._object_counts():
            objects.add_metric([resource], count)
        yield objects
        for key, value in self._store().items():
            yield GaugeMetricFamily(f"kubecore_store_{key}", f"The store's {key.replace('_', ' ')}.", value)

    def _process_figures(self) -> Iterable[Metric]:
        info = GaugeMetricFamily(
            "kubernetes_build_info", "Which version this is.", labels=["major", "minor", "git_version"]
        )
        info.add_metric([MAJOR, MINOR, str(version_info()["gitVersion"])], 1)
        yield info
        memory, times = self._process.memory_info(), self._process.cpu_times()
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory.", memory.rss)
        yield CounterMetricFamily("process_cpu_seconds", "Processor time, user and system.", times.user + times.system)
        yield GaugeMetricFamily("process_start_time_seconds", "When it started.", self._process.create_time())
        yield GaugeMetricFamily("process_open_fds", "Open file descriptors.", self._process.num_fds())


def _requests(figures: Figures) -> Iterable[Metric]:
    counter = CounterMetricFamily(
        "apiserver_request", "Requests by what they asked and how it ended.", labels=_REQUEST_LABELS
    )
    histogram = HistogramMetricFamily(
        "apiserver_request_duration_seconds", "How long answers took.", labels=_DURATION_LABELS
    )
    bounds = [str(bound) for bound in figures["duration_buckets_seconds"]]
    merged: dict[tuple[str, ...], tuple[list[int], int, float]] = {}
    for row in figures["requests"]:
        counter.add_metric([str(row[label]) for label in _REQUEST_LABELS], row["count"])
        if row["verb"] == "WATCH":
            # How long a watch lasts says nothing of the server: counted but not timed, as upstream.
            continue
        labels = tuple(str(row[label]) for label in _DURATION_LABELS)
        buckets, count, seconds = merged.get(labels, ([0] * len(bounds), 0, 0.0))
        summed = [old + new for old, new in zip(buckets, row["buckets"], strict=True)]
        merged[labels] = (summed, count + row["count"], seconds + row["sum_seconds"])
    for labels, (buckets, count, seconds) in merged.items():
        running, cumulative = 0, []
        for bound, number in zip(bounds, buckets, strict=True):
            running += number
            cumulative.append((bound, running))
        histogram.add_metric(list(labels), [*cumulative, ("+Inf", count)], seconds)
    return counter, histogram


def _in_flight(figures: Figures) -> Iterable[Metric]:
    current = GaugeMetricFamily(
        "apiserver_current_inflight_requests", "Requests being answered.", labels=["request_kind"]
    )
    current.add_metric(["readOnly"], figures["in_flight_reading"])
    current.add_metric(["mutating"], figures["in_flight_mutating"])
    running = GaugeMetricFamily(
        "apiserver_longrunning_requests", "Watches and forwarded streams that are running.", labels=["verb"]
    )
    running.add_metric(["WATCH"], figures["watches"])
    running.add_metric(["CONNECT"], figures["forwards"])
    return current, running
