"""The scheduling bench: three measurements, then what must hold.

```
kernel      decisions in this process, no server
end to end  `kubecore up`, pods created by a client process, until all are bound and Running
            → lists again and checks; ends the server; starts the API server alone on the same data → checks
prefilled   pods created while no scheduler runs; then `kubecore scheduler` starts
```
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from kubecore.api.errors import AlreadyExists, NotFound, StatusError
from kubecore.api.scheme import core, resource
from kubecore.client import Client, RawInformer, TransportError, WatchEvent
from kubecore.client.kubeconfig import KubeconfigError, load
from kubecore_cli import bench_verify as verify
from kubecore_cli.bench_load import pod_body
from kubecore_cli.bench_report import Progress, machine, versions
from kubecore_cli.bench_server import Failed, Process, own_peak_memory_bytes, scheduler_kubeconfig

NAMESPACE = "bench"
PREFILLED = "prefilled"


@dataclass(frozen=True, slots=True)
class Settings:
    nodes: int
    pods: int
    connections: int
    data_dir: Path | None
    timeout_seconds: float
    parts: str = "tasks"
    """How `kubecore up` runs its parts."""


def run(settings: Settings) -> dict[str, Any]:
    """Measures and checks. A phase that fails is a failed check; what was measured before it stays in the result."""
    progress = Progress()
    result: dict[str, Any] = {
        "kernel_pods_per_second": None,
        "end_to_end_pods_per_second": None,
        "prefilled_pods_per_second": None,
        "create_to_bind_p50_seconds": None,
        "create_to_bind_p99_seconds": None,
        "nodes_considered_per_pod": None,
        "peak_memory_bytes": {},
        "nodes": settings.nodes,
        "pods": settings.pods,
        "connections": settings.connections,
        "parts": settings.parts,
        "machine": machine(),
        "versions": versions(),
        "command": sys.argv,
        "checks": [],
    }
    with contextlib.ExitStack() as stack:
        directory = settings.data_dir or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="kubecore-bench-"))
        )
        directory.mkdir(parents=True, exist_ok=True)
        bench = Bench(settings, directory, progress, result)
        try:
            bench.kernel()
            asyncio.run(bench.cluster())
        except (Failed, StatusError, TransportError, KubeconfigError, TimeoutError) as failure:
            result["checks"].append(verify.check("the bench came to its end", False, str(failure) or repr(failure)))
        result["peak_memory_bytes"]["watching client"] = own_peak_memory_bytes()
    return result


@dataclass(slots=True)
class Bound:
    """What the watching client has seen of one namespace's pods."""

    bound: dict[str, float] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, events: list[WatchEvent]) -> None:
        now = time.monotonic()
        for _, body in events:
            pod = READ_POD(body)
            if pod.spec.nodeName:
                self.bound.setdefault(pod.metadata.name, now)
            if pod.status.phase == "Running":
                self.running.add(pod.metadata.name)
        self.changed.set()


READ_POD = msgspec.json.Decoder(verify.Pod).decode


class Bench:
    def __init__(self, settings: Settings, directory: Path, progress: Progress, result: dict[str, Any]) -> None:
        self._settings = settings
        self._directory = directory
        self._progress = progress
        self._result = result
        self._data = directory / "data"
        self._kubeconfig = directory / "kubeconfig"

    # ── the kernel alone ──

    def kernel(self) -> None:
        """Decisions only: nodes and pods are read beforehand."""
        from kubecore.scheduler.kernel import Kernel

        self._progress.phase("the kernel alone")
        kernel = Kernel(seed=1)
        allocatable = {"cpu": "32", "memory": "256Gi", "pods": "110"}
        for index in range(self._settings.nodes):
            node = {"metadata": {"name": f"node-{index}"}, "status": {"allocatable": allocatable}}
            kernel.node_event("ADDED", json.dumps(node).encode())
        keys = [f"{NAMESPACE}/{index}" for index in range(self._settings.pods)]
        kernel.pod_events([("ADDED", pod_body(str(index), NAMESPACE)) for index in range(self._settings.pods)])
        started = time.perf_counter()
        decisions = kernel.schedule(keys)
        seconds = time.perf_counter() - started
        placed = sum(node is not None for _, node, _ in decisions)
        stats = kernel.stats()
        self._result["kernel_pods_per_second"] = placed / seconds
        self._result["nodes_considered_per_pod"] = stats["nodes_considered"] / max(stats["decisions"], 1)
        found = f"{placed:,} of {len(keys):,}"
        self._check(verify.check("the kernel places every pod", placed == len(keys), found))

    # ── a real cluster ──

    async def cluster(self) -> None:
        await self._end_to_end()
        await self._restarted()

    async def _end_to_end(self) -> None:
        settings = self._settings
        self._progress.phase(f"end to end: kubecore up with {settings.nodes:,} simulated nodes")
        arguments = ["--data-dir", str(self._data), "--port", "0", "--kubeconfig", str(self._kubeconfig)]
        server = self._start("server", ["up", *arguments, "--nodes", str(settings.nodes), "--parts", settings.parts])
        try:
            async with self._client(server) as client:
                await self._nodes_ready(client)
                await self._namespace(client, NAMESPACE, make_account=False)
                async with self._watching(client, NAMESPACE) as seen:
                    before = server.cpu_seconds()
                    sent = await self._create(NAMESPACE, seen)
                    await self._until(seen, lambda: len(seen.bound), "bound")
                    self._report_end_to_end(sent, seen)
                    await self._until(seen, lambda: len(seen.running), "running")
                    spent = server.cpu_seconds() - before
                    self._result["server_cpu_microseconds_per_pod"] = spent * 1e6 / settings.pods
                self._before = await self._verify(client)
            self._result["peak_memory_bytes"].update(server.peak_memory_bytes())
        finally:
            code = server.end()
        self._check(verify.check("the server ends clean", code == 0, f"exit code {code}"))

    def _report_end_to_end(self, sent: dict[str, float], seen: Bound) -> None:
        last = max(seen.bound.values())
        waits = sorted(max(0.0, seen.bound[name] - at) for name, at in sent.items())
        self._result["end_to_end_pods_per_second"] = len(sent) / (last - min(sent.values()))
        self._result["create_to_bind_p50_seconds"] = statistics.median(waits)
        self._result["create_to_bind_p99_seconds"] = waits[min(len(waits) - 1, len(waits) * 99 // 100)]
        self._result["create_pods_per_second"] = len(sent) / max(max(sent.values()) - min(sent.values()), 1e-9)

    async def _verify(self, client: Client) -> list[verify.Pod]:
        """Lists everything again."""
        self._progress.phase("what the server holds")
        pods = await self._pods(client, NAMESPACE)
        nodes = verify.read(verify.Node, (await client.list_raw(core("nodes"))).items)
        for check in verify.every_pod_runs(pods, self._settings.pods):
            self._check(check)
        self._check(verify.no_node_is_over(pods, nodes))
        # Events are written behind the bindings: they may take a moment more.
        deadline = time.monotonic() + self._settings.timeout_seconds
        while True:
            listed = await client.list_raw(resource("events.k8s.io", "v1", "events"), NAMESPACE)
            check = verify.one_event_each(pods, verify.read(verify.Event, listed.items))
            if check["ok"] or len(listed.items) >= 3 * len(pods) or time.monotonic() > deadline:
                break
            self._progress.say(f"events: {check['found']}")
            await asyncio.sleep(1)
        self._check(check)
        return await self._pods(client, NAMESPACE)

    async def _restarted(self) -> None:
        """The API server alone, on the same data: it holds the same; then pods are created that nobody schedules."""
        self._progress.phase("restarted: the API server alone")
        self._kubeconfig.unlink()
        arguments = ["--data-dir", str(self._data), "--secure-port", "0", "--kubeconfig", str(self._kubeconfig)]
        server = self._start("apiserver", ["apiserver", *arguments])
        try:
            async with self._client(server) as client:
                after = await self._pods(client, NAMESPACE)
                self._check(verify.the_same(self._before, after))
                await self._prefilled(client)
            self._result["peak_memory_bytes"].update(server.peak_memory_bytes())
        finally:
            server.end()

    async def _prefilled(self, client: Client) -> None:
        await self._namespace(client, PREFILLED, make_account=True)
        async with self._watching(client, PREFILLED) as seen:
            self._progress.phase("prefilled: pods first, then the scheduler")
            await self._create(PREFILLED, seen)
            own = scheduler_kubeconfig(self._data, load(self._kubeconfig), self._directory / "scheduler.kubeconfig")
            scheduler = self._start("scheduler", ["scheduler", "--kubeconfig", str(own), "--leader-elect", "false"])
            try:
                await self._until(seen, lambda: len(seen.bound), "bound")
                self._result["peak_memory_bytes"].update(scheduler.peak_memory_bytes())
            finally:
                scheduler.end()
            last, first = max(seen.bound.values()), min(seen.bound.values())
            self._result["prefilled_pods_per_second"] = self._settings.pods / (last - scheduler.started)
            self._result["prefilled_seconds_to_first_bind"] = first - scheduler.started
        pods = await self._pods(client, PREFILLED)
        bound = sum(bool(pod.spec.nodeName) for pod in pods)
        found = f"{bound:,} of {self._settings.pods:,}"
        self._check(verify.check("every prefilled pod is bound", bound == self._settings.pods, found))

    # ── steps ──

    def _check(self, check: verify.Check) -> None:
        self._result["checks"].append(check)

    def _start(self, name: str, arguments: list[str]) -> Process:
        return Process(name, arguments, self._directory / f"{name}.log")

    @asynccontextmanager
    async def _client(self, server: Process) -> AsyncIterator[Client]:
        """Once the server says that it is ready."""
        from kubecore.client.http import HttpTransport

        server.wait_until(
            self._kubeconfig.exists, what="the kubeconfig is written", timeout_seconds=self._settings.timeout_seconds
        )
        transport = HttpTransport(load(self._kubeconfig))
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                while not await _is_ready(transport):
                    server.check()
                    await asyncio.sleep(0.05)
            yield Client(transport)
        finally:
            await transport.close()

    async def _nodes_ready(self, client: Client) -> None:
        ready: set[str] = set()
        changed = asyncio.Event()

        def see(events: list[WatchEvent]) -> None:
            for _, body in events:
                node = json.loads(body)
                conditions = node.get("status", {}).get("conditions") or ()
                is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
                if is_ready and not node["spec"].get("taints"):
                    ready.add(node["metadata"]["name"])
            changed.set()

        informer = RawInformer(client, core("nodes"), see, randomness=random.Random(1))
        async with _running(informer), asyncio.timeout(self._settings.timeout_seconds):
            while len(ready) < self._settings.nodes:
                self._progress.bar("nodes ready", len(ready), self._settings.nodes)
                changed.clear()
                await changed.wait()

    async def _namespace(self, client: Client, name: str, *, make_account: bool) -> None:
        """With its default service account, without which no pod is admitted. `make_account`: nobody else will."""
        with contextlib.suppress(AlreadyExists):
            await client.create(
                core("namespaces"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            )
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        if make_account:
            with contextlib.suppress(AlreadyExists):
                await client.create(core("serviceaccounts"), account)
        async with asyncio.timeout(self._settings.timeout_seconds):
            while True:
                try:
                    await client.get(core("serviceaccounts"), name, "default")
                    return
                except NotFound:
                    await asyncio.sleep(0.05)

    @asynccontextmanager
    async def _watching(self, client: Client, namespace: str) -> AsyncIterator[Bound]:
        seen = Bound()
        informer = RawInformer(client, core("pods"), seen.see, randomness=random.Random(1), namespace=namespace)
        async with _running(informer):
            await informer.wait_synced()
            yield seen

    async def _create(self, namespace: str, seen: Bound) -> dict[str, float]:
        """Runs the creating client to its end; gives when each pod was sent."""
        count = self._settings.pods
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "kubecore_cli.bench_load", str(self._kubeconfig), namespace, "pod-"),
            *(str(count), str(self._settings.connections)),
            stdout=asyncio.subprocess.PIPE,
            limit=2**27,
        )
        sent: dict[str, float] = {}
        assert child.stdout is not None
        async for line in child.stdout:
            said = json.loads(line)
            sent = said.get("sent", sent)
            if "peak_memory_bytes" in said:
                self._result["peak_memory_bytes"]["creating client"] = said["peak_memory_bytes"]
            self._progress.bar(f"created {said['created']:,}, bound", len(seen.bound), count)
        if await child.wait() != 0 or len(sent) != count:
            raise Failed(f"the creating client ended with code {child.returncode} (its reason is on standard error)")
        return sent

    async def _until(self, seen: Bound, reached: Any, what: str) -> None:
        async with asyncio.timeout(self._settings.timeout_seconds):
            while reached() < self._settings.pods:
                self._progress.bar(what, reached(), self._settings.pods)
                seen.changed.clear()
                await seen.changed.wait()

    async def _pods(self, client: Client, namespace: str) -> list[verify.Pod]:
        return verify.read(verify.Pod, (await client.list_raw(core("pods"), namespace)).items)


async def _is_ready(transport: Any) -> bool:
    try:
        answer = await transport.request("GET", "/readyz")
    except TransportError:
        return False
    return bool(answer.status == 200)


@asynccontextmanager
async def _running(informer: RawInformer) -> AsyncIterator[None]:
    task = asyncio.create_task(informer.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
