"""What the service proxy counts, under upstream's names, and the histogram behind it.

One registry a proxy: two proxies in a process do not mix.
Source: https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kubecore.proxy.backend import NoLocalEndpoints
from kubecore.proxy.model import Family

SYNCS = tuple(0.001 * 2**power for power in range(15))
PROGRAMMING = (
    *(0.25, 0.5),
    *map(float, range(1, 60)),
    *map(float, range(60, 120, 5)),
    *map(float, range(120, 330, 30)),
)
BY_FAMILY = ("ip_family",)


class ProxyMetrics:
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = tuple(families)
        self.registry = CollectorRegistry()
        self.sync = self._histogram("sync_proxy_rules_duration", "SyncProxyRules latency in seconds")
        self.full_sync = self._histogram("sync_full_proxy_rules_duration", "SyncProxyRules latency for full resyncs")
        self.partial_sync = self._histogram(
            "sync_partial_proxy_rules_duration", "SyncProxyRules latency for partial resyncs"
        )
        self.programming = self._histogram(
            "network_programming_duration", "In Cluster Network Programming Latency in seconds", PROGRAMMING
        )
        self.flows = self._histogram(
            "conntrack_reconciler_sync_duration", "ReconcileConntrackFlowsLatency latency in seconds"
        )
        self.flows_deleted = self._counter(
            "conntrack_reconciler_deleted_entries",
            "Cumulative conntrack flows deleted by conntrack reconciler",
            BY_FAMILY,
        )
        self.last_sync = self._gauge(
            "sync_proxy_rules_last_timestamp_seconds", "The last time proxy rules were successfully synced", BY_FAMILY
        )
        self.last_queued = self._gauge(
            "sync_proxy_rules_last_queued_timestamp_seconds",
            "The last time a sync of proxy rules was queued",
            BY_FAMILY,
        )
        self.service_changes = self._counter(
            "sync_proxy_rules_service_changes", "Cumulative proxy rules Service changes"
        )
        self.services_pending = self._gauge(
            "sync_proxy_rules_service_changes_pending", "Pending proxy rules Service changes"
        )
        self.endpoint_changes = self._counter(
            "sync_proxy_rules_endpoint_changes", "Cumulative proxy rules Endpoint changes"
        )
        self.endpoints_pending = self._gauge(
            "sync_proxy_rules_endpoint_changes_pending", "Pending proxy rules Endpoint changes"
        )
        self.failures = self._counter(
            "sync_proxy_rules_nftables_sync_failures", "Cumulative proxy nftables sync failures", BY_FAMILY
        )
        self.cleanup_failures = self._counter(
            "sync_proxy_rules_nftables_cleanup_failures", "Cumulative proxy nftables cleanup failures", BY_FAMILY
        )
        self.no_local_endpoints = self._gauge(
            "sync_proxy_rules_no_local_endpoints_total",
            "Number of services with a Local traffic policy and no endpoints",
            (*BY_FAMILY, "traffic_policy"),
        )
        self.healthz = self._counter("proxy_healthz", "Cumulative proxy healthz HTTP status", ("code",))
        self.livez = self._counter("proxy_livez", "Cumulative proxy livez HTTP status", ("code",))

    def synced(self, seconds: float, *, full: bool, at: float) -> None:
        """One transaction serves both families: each is said to have taken all of it."""
        for family in self._families:
            self.sync.labels(family).observe(seconds)
            (self.full_sync if full else self.partial_sync).labels(family).observe(seconds)
            self.last_sync.labels(family).set(at)
        self.services_pending.set(0)
        self.endpoints_pending.set(0)

    def queued(self, at: float) -> None:
        for family in self._families:
            self.last_queued.labels(family).set(at)

    def failed(self, *, cleanup: bool = False) -> None:
        for family in self._families:
            (self.cleanup_failures if cleanup else self.failures).labels(family).inc()

    def tell_no_local(self, counts: NoLocalEndpoints) -> None:
        for family in self._families:
            self.no_local_endpoints.labels(family, "internal").set(counts.total(family, "internal"))
            self.no_local_endpoints.labels(family, "external").set(counts.total(family, "external"))

    def _histogram(self, name: str, told: str, buckets: tuple[float, ...] = SYNCS) -> Histogram:
        return Histogram(f"kubeproxy_{name}_seconds", told, BY_FAMILY, buckets=buckets, registry=self.registry)

    def _counter(self, name: str, told: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"kubeproxy_{name}", told, labels, registry=self.registry)

    def _gauge(self, name: str, told: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"kubeproxy_{name}", told, labels, registry=self.registry)
