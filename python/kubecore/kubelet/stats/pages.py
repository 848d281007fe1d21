"""The kubelet's pages of figures: which path says what.

The kubelet's server asks for a path and sends what it gets; authentication and authorization are the server's. `/stats/history` is
our own: the short history behind charts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kubecore.kubelet.stats.cadvisor_metrics import cadvisor_metrics
from kubecore.kubelet.stats.exposition import TEXT_FORMAT
from kubecore.kubelet.stats.probe_metrics import ProbeMetrics
from kubecore.kubelet.stats.resource_metrics import resource_metrics
from kubecore.kubelet.stats.sampler import NODE_SERIES, Sampler
from kubecore.kubelet.stats.summary import summary

JSON = "application/json"
_TRUE = ("true", "1", "t", "T", "TRUE", "True")
"""What upstream's parser takes for true."""


@dataclass(frozen=True, slots=True)
class Page:
    content_type: str
    body: bytes


class StatsPages:
    """`PATHS` says which pages there are."""

    PATHS = ("/stats/summary", "/stats/history", "/metrics/resource", "/metrics/cadvisor", "/metrics/probes")

    def __init__(self, sampler: Sampler, probes: ProbeMetrics, *, node_name: str) -> None:
        self._sampler = sampler
        self._probes = probes
        self._node_name = node_name

    async def page(self, path: str, query: Mapping[str, str]) -> Page | None:
        """None: no such page."""
        match path.rstrip("/"):
            case "/stats/summary":
                return _json(await self._summary(query))
            case "/stats/history":
                return _json(self._history(query))
            case "/metrics/resource":
                return Page(TEXT_FORMAT, resource_metrics(await self._sampler.fresh()))
            case "/metrics/cadvisor":
                return Page(TEXT_FORMAT, cadvisor_metrics(await self._sampler.fresh(), self._sampler.machine))
            case "/metrics/probes":
                return Page(TEXT_FORMAT, self._probes.text())
        return None

    async def _summary(self, query: Mapping[str, str]) -> dict[str, Any]:
        return summary(
            await self._sampler.fresh(),
            self._sampler.rates,
            node_name=self._node_name,
            only_cpu_and_memory=query.get("only_cpu_and_memory", "") in _TRUE,
        )

    def _history(self, query: Mapping[str, str]) -> dict[str, Any]:
        """`?pod=UID`, `?pod=UID&container=NAME`, or of the node: points of [seconds, nanocores or null, bytes]."""
        series = query.get("pod") or NODE_SERIES
        if query.get("pod") and query.get("container"):
            series = f"{query['pod']}/{query['container']}"
        return {"nodeName": self._node_name, "points": self._sampler.history.of(series)}


def _json(value: dict[str, Any]) -> Page:
    return Page(JSON, msgspec.json.encode(value))
