"""Metric families as Prometheus reads them: made here, written by prometheus-client.

A family is filled row by row with its labels by name, so that a missing label is a KeyError and not a shifted column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
_NANOSECONDS = 1_000_000_000
_NO_LABELS: Mapping[str, str] = {}


class Family:
    """One metric: its name as it is told, `_total` included."""

    def __init__(
        self, name: str, help_text: str, kind: Literal["counter", "gauge"], labels: Sequence[str] = ()
    ) -> None:
        # The writer adds `_total` to a counter's name in the headers.
        self._metric = Metric(name.removesuffix("_total") if kind == "counter" else name, help_text, kind)
        self._name = name
        self._labels = tuple(labels)

    def add(self, value: float, labels: Mapping[str, str] = _NO_LABELS, *, timestamp: int = 0) -> None:
        """timestamp: nanoseconds since the epoch, 0 for none."""
        named = {label: labels[label] for label in self._labels}
        self._metric.add_sample(self._name, named, value, timestamp / _NANOSECONDS if timestamp else None)

    def finished(self) -> Metric:
        return self._metric


class _Once(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def text_of(metrics: Iterable[Metric]) -> bytes:
    """Families without a sample are left out, as a registry that has nothing to say."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([metric for metric in metrics if metric.samples]))
    return generate_latest(registry)
