"""`kubecore bench scheduler`: upstream's scheduler_perf, for the kernel alone and end to end through the API server.

```
kernel      objects are read first; each measured pod is one decision, timed alone; victims of preemption leave at once
end to end  an API server and a scheduler, each a process (TLS, RBAC, durable storage; as upstream, the admission of service
            accounts, taints and priorities is off); from the first measured pod's creation until the last one is bound
```
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kubecore.api.errors import AlreadyExists
from kubecore.api.meta import Object, key_of
from kubecore.api.scheme import core
from kubecore.client import Client, RawInformer, Request, WatchEvent, requests
from kubecore.client.codec import encode, metadata_of
from kubecore.client.kubeconfig import load
from kubecore.scheduler.kernel import Kernel
from kubecore_cli.bench_report import Progress
from kubecore_cli.bench_server import Failed, Process, scheduler_kubeconfig
from kubecore_cli.bench_workloads import Pods, Workload
from kubecore_cli.tables import columns

BATCH = 64
"""Requests in one batch of the creating client."""
SENDERS = 4
"""Batches under way at once."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one workload, one way."""

    pods: int
    placed: int
    seconds: float
    p50_seconds: float
    p99_seconds: float

    def as_json(self) -> dict[str, float]:
        return {
            "pods": self.pods,
            "placed": self.placed,
            "pods_per_second": self.placed / self.seconds,
            "p50_seconds": self.p50_seconds,
            "p99_seconds": self.p99_seconds,
        }


def _figures(pods: int, waits: list[float], seconds: float) -> Figures:
    ordered = sorted(waits) or [0.0]
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return Figures(pods, len(waits), seconds, statistics.median(ordered), p99)


# ── the kernel alone ──


class KernelBench:
    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._kernel = Kernel(seed=1)
        self._bodies: dict[str, Object] = {}

    def run(self) -> Figures:
        kernel, workload = self._kernel, self._workload
        for plural, objects in (("namespaces", workload.namespaces), ("services", workload.services)):
            for obj in objects:
                kernel.related_event(plural, "ADDED", encode(obj))
        for node in workload.nodes:
            kernel.node_event("ADDED", encode(node))
        for pods in workload.waiting:
            self._add(pods)
        for pods in workload.init:
            kernel.schedule(self._add(pods))
        keys = self._add(workload.measure)
        churn = self._add(workload.churn.pods) if workload.churn else []
        waits, spent = [], 0.0
        for index, key in enumerate(keys):
            started = time.perf_counter()
            ((_, placed_on, _),) = kernel.schedule([key])
            taken = time.perf_counter() - started
            spent += taken
            if placed_on is not None:
                waits.append(taken)
            if workload.churn and index % workload.churn.every == 0 and churn:
                spent += self._churn(churn.pop())
        return _figures(len(keys), waits, spent)

    def _add(self, pods: Pods) -> list[str]:
        keys = []
        for pod in pods:
            key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            pod["metadata"]["uid"] = key
            self._bodies[key] = pod
            keys.append(key)
        self._kernel.pod_events([("ADDED", encode(self._bodies[key])) for key in keys])
        return keys

    def _churn(self, key: str) -> float:
        """Its decisions count, the leaving of its victims does not."""
        started = time.perf_counter()
        ((_, _, failure),) = self._kernel.schedule([key])
        spent = time.perf_counter() - started
        if failure is not None and failure.victims:
            self._kernel.pod_events([("DELETED", encode(self._bodies[victim])) for victim, _, _ in failure.victims])
            started = time.perf_counter()
            self._kernel.schedule([key])
            spent += time.perf_counter() - started
        return spent


# ── end to end ──


class Bound:
    """When each measured pod got its node."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.changed = asyncio.Event()

    def take(self, events: list[WatchEvent]) -> None:
        now = time.perf_counter()
        for event_type, body in events:
            # The field is written only once there is a node; looking for it costs less than reading the pod.
            if event_type != "DELETED" and b'"nodeName":"' in body:
                self.at.setdefault(metadata_of(body).key, now)
        self.changed.set()

    async def wait_for(self, keys: Collection[str]) -> None:
        while not all(key in self.at for key in keys):
            self.changed.clear()
            await self.changed.wait()


def _batches(objects: Iterable[Object], plural: str) -> Iterator[list[tuple[str, Request]]]:
    resource, batch = core(plural), []
    for obj in objects:
        namespace = obj["metadata"].get("namespace", "")
        batch.append((key_of(obj), requests.create(resource, obj, namespace=namespace)))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _create(client: Client, objects: Iterable[Object], plural: str) -> dict[str, float]:
    """When each was sent, by key. Raises Failed if one is refused."""
    sent: dict[str, float] = {}
    left = _batches(objects, plural)

    async def send() -> None:
        for batch in left:
            now = time.perf_counter()
            sent.update((key, now) for key, _ in batch)
            for outcome in await client.try_all([request for _, request in batch]):
                if outcome is not None and not isinstance(outcome, AlreadyExists):
                    raise Failed(f"creating {plural}: {outcome}")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(SENDERS):
            tasks.create_task(send())
    return sent


class ClusterBench:
    def __init__(self, workload: Workload, directory: Path, timeout_seconds: float) -> None:
        self._workload = workload
        self._directory = directory
        self._timeout_seconds = timeout_seconds

    async def run(self) -> Figures:
        from kubecore.client.http import HttpTransport

        data, kubeconfig = self._directory / "data", self._directory / "kubeconfig"
        arguments = ["--data-dir", str(data), "--secure-port", "0", "--kubeconfig", str(kubeconfig)]
        off = ["--disable-admission-plugins", "ServiceAccount,TaintNodesByCondition,Priority"]
        server = Process("apiserver", ["apiserver", *arguments, *off], self._directory / "apiserver.log")
        try:
            server.wait_until(kubeconfig.exists, what="the API server", timeout_seconds=self._timeout_seconds)
            own = scheduler_kubeconfig(data, load(kubeconfig), self._directory / "scheduler.kubeconfig")
            transport = HttpTransport(load(kubeconfig))
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    return await self._with_scheduler(Client(transport), own)
            finally:
                await transport.close()
        finally:
            server.end()

    async def _with_scheduler(self, client: Client, kubeconfig: Path) -> Figures:
        workload = self._workload
        for plural, objects in (
            ("namespaces", workload.namespaces),
            ("services", workload.services),
            ("nodes", workload.nodes),
        ):
            await _create(client, objects, plural)
        for pods in workload.waiting:
            await _create(client, pods, "pods")
        arguments = ["scheduler", "--kubeconfig", str(kubeconfig), "--leader-elect", "false"]
        scheduler = Process("scheduler", arguments, self._directory / "scheduler.log")
        try:
            return await self._measure(client)
        finally:
            scheduler.end()

    async def _measure(self, client: Client) -> Figures:
        workload, bound = self._workload, Bound()
        informer = RawInformer(client, core("pods"), bound.take, randomness=random.Random(1))
        watching = asyncio.create_task(informer.run())
        try:
            await informer.wait_synced()
            for pods in workload.init:
                await bound.wait_for(await _create(client, pods, "pods"))
            sent = await _create(client, self._with_churn(), "pods")
            measured = {key: at for key, at in sent.items() if "/measured-" in key}
            await bound.wait_for(measured)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        waits = [bound.at[key] - at for key, at in measured.items()]
        seconds = max(bound.at[key] for key in measured) - min(measured.values())
        return _figures(len(measured), waits, seconds)

    def _with_churn(self) -> Iterator[Object]:
        churn = self._workload.churn
        others = iter(churn.pods) if churn else iter(())
        for index, pod in enumerate(self._workload.measure):
            yield pod
            if churn and index % churn.every == 0:
                yield from islice(others, 1)


# ── the table ──


def run(
    workloads: list[Workload], *, end_to_end: bool, timeout_seconds: float, progress: Progress
) -> list[dict[str, Any]]:
    """One row a workload. A workload that fails end to end says so in its row."""
    rows = []
    for workload in workloads:
        progress.phase(workload.name)
        row: dict[str, Any] = {"name": workload.name, "nodes": len(workload.nodes), "upstream": workload.upstream}
        row["kernel"] = KernelBench(workload).run().as_json()
        if end_to_end:
            with tempfile.TemporaryDirectory(prefix="kubecore-bench-") as directory:
                try:
                    figures = asyncio.run(ClusterBench(workload, Path(directory), timeout_seconds).run())
                    row["end_to_end"] = figures.as_json()
                except (Failed, TimeoutError, ExceptionGroup) as failure:
                    row["end_to_end"] = {"failed": str(failure) or f"not within {timeout_seconds:g} s"}
        rows.append(row)
    return rows


def screen(rows: list[dict[str, Any]]) -> list[str]:
    header = ("WORKLOAD", "NODES", "PODS", "KERNEL/s", "p99 ms", "END TO END/s", "p99 ms", "UPSTREAM/s", "TIMES")
    table = [header, *(_row(row) for row in rows)]
    return [line.rstrip() for line in columns(table)]


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    kernel, cluster, upstream = row["kernel"], row.get("end_to_end") or {}, row["upstream"]
    best = max(upstream.get("measured") or [upstream.get("threshold") or 0])
    says = "-".join(str(each) for each in dict.fromkeys(upstream.get("measured") or ())) or f">={best}"
    rate = cluster.get("pods_per_second")
    return (
        row["name"],
        f"{row['nodes']:,}",
        f"{kernel['pods']:,}",
        f"{kernel['pods_per_second']:,.0f}",
        f"{kernel['p99_seconds'] * 1000:.3f}",
        "failed" if "failed" in cluster else f"{rate:,.0f}" if rate else "",
        f"{cluster['p99_seconds'] * 1000:,.0f}" if rate else "",
        says if best else "",
        f"{rate / best:.1f}" if rate and best else "",
    )
