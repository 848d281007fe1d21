"""`make demo`: the Tomcat and MySQL example, step by step, on a real cluster of this machine; then 10,000 pods scheduled.

Every line that says what happened comes from a watch, with the revision at which it happened; every claim is checked, and
the exit code is 0 only if all of them held. Needs no network; everything it makes is under one temporary directory, removed at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kubecore.api import scheme
from kubecore.api.meta import Object, controller_of
from kubecore.client.client import Client
from kubecore.client.http import HttpTransport
from kubecore.client.kubeconfig import load

EXAMPLES = Path(__file__).resolve().parent
FILES = ("mysql-rc.yaml", "mysql-svc.yaml", "myweb-rc.yaml", "myweb-svc.yaml")
SERVICE_CIDR = "169.169.0.0/16"
FASTER = (
    "--node-lease-renew-seconds=1",
    "--node-monitor-grace-period=4",
    "--default-not-ready-toleration-seconds=2",
    "--default-unreachable-toleration-seconds=2",
)
STEP_SECONDS = 60.0
POWER_ANNOTATION = "kubecore.dev/simulated-power"
COLOURED = sys.stdout.isatty()


class ClaimFailed(Exception):
    """Something on the screen would not have been true."""


def _paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOURED else text


def heading(text: str) -> None:
    print("\n" + _paint(text, "1;36"), flush=True)


def claim(text: str, held: bool) -> None:
    """Says what was checked, or ends the demo."""
    if not held:
        raise ClaimFailed(text)
    print(f"  {_paint('✓', '32')} {text}", flush=True)


class Flow:
    """Watches the cluster and tells each step of the List-Watch flow; holds the latest state of what it saw."""

    WATCHED = ("replicationcontrollers", "pods", "services", "endpoints", "nodes")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._objects: dict[tuple[str, str], Object] = {}
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for plural in self.WATCHED:
            resource = scheme.core(plural)
            namespace = "default" if resource.namespaced else ""
            listed = await self._client.list(resource, namespace)
            for obj in listed.items:
                self._objects[plural, obj["metadata"]["name"]] = obj
            self._tasks.append(asyncio.create_task(self._follow(plural, namespace, listed.resource_version)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def all(self, plural: str, where: Callable[[Object], bool] = lambda _: True) -> list[Object]:
        return [obj for (kind, _), obj in self._objects.items() if kind == plural and where(obj)]

    def one(self, plural: str, name: str) -> Object | None:
        return self._objects.get((plural, name))

    async def until(self, what: str, held: Callable[[], bool]) -> None:
        """Waits for the state in which `held` is true, then claims it."""
        try:
            async with asyncio.timeout(STEP_SECONDS), self._changed:
                await self._changed.wait_for(held)
        except TimeoutError as error:
            raise ClaimFailed(f"{what} (not within {STEP_SECONDS:g} s)") from error
        claim(what, held=True)

    async def _follow(self, plural: str, namespace: str, resource_version: str) -> None:
        events = self._client.watch(scheme.core(plural), namespace, resource_version=resource_version)
        async for event_type, obj in events:
            key = (plural, obj["metadata"]["name"])
            before = self._objects.get(key)
            if event_type == "DELETED":
                self._objects.pop(key, None)
            else:
                self._objects[key] = obj
            for sentence in TELLERS[plural](event_type, before, obj):
                revision = obj["metadata"]["resourceVersion"]
                print(f"  {_paint(f'{revision:>7}', '2')}  {sentence}", flush=True)
            async with self._changed:
                self._changed.notify_all()


# ── what a change means, in the founding document's words ──


def _told_rc(event_type: str, before: Object | None, after: Object) -> Sequence[str]:
    name = after["metadata"]["name"]
    if event_type == "ADDED":
        return [f"kubectl → API server → store    ReplicationController {name}: {after['spec']['replicas']} wanted"]
    if before and before["spec"]["replicas"] != after["spec"]["replicas"]:
        wanted = f"{before['spec']['replicas']} → {after['spec']['replicas']} wanted"
        return [f"kubectl → API server → store    ReplicationController {name}: {wanted}"]
    return []


def _told_pod(event_type: str, before: Object | None, after: Object) -> Sequence[str]:
    name, spec, status = after["metadata"]["name"], after["spec"], after.get("status") or {}
    if event_type == "DELETED":
        return [f"store → everybody               Pod {name} is gone from {spec.get('nodeName', 'no node')}"]
    told = []
    if before is None:
        owner = controller_of(after)
        told.append(f"store → replication controller  Pod {name} created for {owner['name'] if owner else 'nobody'}")
    if spec.get("nodeName") and not (before or {}).get("spec", {}).get("nodeName"):
        told.append(f"store → scheduler → store       Pod {name} bound to {spec['nodeName']}")
    phase_before = ((before or {}).get("status") or {}).get("phase")
    if status.get("phase") == "Running" and phase_before != "Running":
        told.append(f"store → {spec['nodeName']} → store          Pod {name} runs at {status.get('podIP')}")
    if after["metadata"].get("deletionTimestamp") and before and not before["metadata"].get("deletionTimestamp"):
        told.append(f"node controller → API server    Pod {name} must leave {spec.get('nodeName')}")
    return told


def _told_service(event_type: str, before: Object | None, after: Object) -> Sequence[str]:
    if event_type != "ADDED":
        return []
    spec = after["spec"]
    ports = ", ".join(
        f"{port['port']}" + (f", node port {port['nodePort']}" if port.get("nodePort") else "")
        for port in spec["ports"]
    )
    return [f"kubectl → API server → store    Service {after['metadata']['name']}: {spec['clusterIP']} port {ports}"]


def addresses(endpoints: Object | None) -> list[str]:
    found = []
    for subset in (endpoints or {}).get("subsets") or ():
        found += [address["ip"] for address in subset.get("addresses") or ()]
    return sorted(found)


def _told_endpoints(event_type: str, before: Object | None, after: Object) -> Sequence[str]:
    now = addresses(after)
    if event_type == "DELETED" or now == addresses(before):
        return []
    return [f"store → endpoint controller     Service {after['metadata']['name']} → {', '.join(now) or 'nobody'}"]


def is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _told_node(event_type: str, before: Object | None, after: Object) -> Sequence[str]:
    if before is None or is_ready(before) == is_ready(after):
        return []
    return [
        f"node controller → API server    Node {after['metadata']['name']} is {'' if is_ready(after) else 'not '}ready"
    ]


TELLERS: dict[str, Callable[[str, Object | None, Object], Sequence[str]]] = {
    "replicationcontrollers": _told_rc,
    "pods": _told_pod,
    "services": _told_service,
    "endpoints": _told_endpoints,
    "nodes": _told_node,
}


# ── the steps ──


def ready_pods(flow: Flow, app: str) -> list[Object]:
    def ready(pod: Object) -> bool:
        conditions = (pod.get("status") or {}).get("conditions") or ()
        return (
            (pod["metadata"].get("labels") or {}).get("app") == app
            and not pod["metadata"].get("deletionTimestamp")
            and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        )

    return flow.all("pods", ready)


def served(flow: Flow, name: str, count: int) -> bool:
    ips = sorted(pod["status"]["podIP"] for pod in ready_pods(flow, name))
    return len(ips) == count and addresses(flow.one("endpoints", name)) == ips


async def command(*arguments: str, kubeconfig: Path) -> None:
    """Runs `kubecore`, showing what it prints. Raises ClaimFailed if it fails."""
    print(f"  $ kubecore {' '.join(arguments)}", flush=True)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kubecore_cli", *arguments), env=os.environ | {"KUBECONFIG": str(kubeconfig)}
    )
    claimed = await child.wait()
    if claimed:
        raise ClaimFailed(f"kubecore {arguments[0]} ended with {claimed}")


async def the_example(flow: Flow, kubeconfig: Path) -> None:
    heading("Apply the four files")
    files = [word for name in FILES for word in ("-f", str(EXAMPLES / name))]
    await command("apply", *files, kubeconfig=kubeconfig)
    await flow.until("1 MySQL pod is ready behind its Service", lambda: served(flow, "mysql", 1))
    await flow.until("2 Tomcat pods are ready behind node port 30001", lambda: served(flow, "myweb", 2))
    service = flow.one("services", "myweb") or {}
    claim(
        f"the Services' addresses are from {SERVICE_CIDR}",
        all(s["spec"]["clusterIP"].startswith("169.169.") for s in flow.all("services")),
    )
    claim("Tomcat's Service is reached at node port 30001", service["spec"]["ports"][0].get("nodePort") == 30001)


async def scaling(flow: Flow, kubeconfig: Path) -> None:
    heading("Scale MySQL from 1 to 2")
    await command("scale", "rc", "mysql", "--replicas=2", kubeconfig=kubeconfig)
    await flow.until("2 MySQL pods are ready behind the Service", lambda: served(flow, "mysql", 2))


async def a_node_dies(flow: Flow, client: Client) -> None:
    heading("A node dies")
    victim = ready_pods(flow, "myweb")[0]["spec"]["nodeName"]
    lost = {pod["metadata"]["uid"] for pod in flow.all("pods") if pod["spec"].get("nodeName") == victim}
    print(
        f"  {victim} stops; it had {len(lost)} pods. Upstream waits 50 s + 300 s; here: {' '.join(FASTER)}", flush=True
    )
    patch = {"metadata": {"annotations": {POWER_ANNOTATION: "off"}}}
    await client.patch(scheme.core("nodes"), "", victim, patch)
    await flow.until(f"{victim} is seen as not ready", lambda: not is_ready(flow.one("nodes", victim) or {}))

    def moved() -> bool:
        pods = ready_pods(flow, "mysql") + ready_pods(flow, "myweb")
        return len(pods) == 4 and all(
            pod["spec"]["nodeName"] != victim and pod["metadata"]["uid"] not in lost for pod in pods
        )

    await flow.until("its pods are replaced on the other node, 4 ready in all", moved)
    await flow.until(
        "both Services lead only to living pods", lambda: served(flow, "mysql", 2) and served(flow, "myweb", 2)
    )


async def many_pods() -> None:
    heading("10,000 pods on 5,000 nodes")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kubecore_cli", "bench", "schedule", "--nodes", "5000", "--pods", "10000", "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise ClaimFailed(f"the benchmark ended with {child.returncode}")
    result: dict[str, Any] = json.loads(output)
    rows = (
        ("kernel", f"{result['kernel_pods_per_second']:,.0f} pods/s"),
        ("end to end (TLS, RBAC, admission, durable)", f"{result['end_to_end_pods_per_second']:,.0f} pods/s"),
        ("all pods created before the scheduler starts", f"{result['prefilled_pods_per_second']:,.0f} pods/s"),
        ("create → bind, p50 / p99", _percentiles(result)),
        ("nodes considered for each pod", f"{result['nodes_considered_per_pod']:,.0f}"),
    )
    for name, value in rows:
        print(f"  {name:<46} {_paint(value, '1')}", flush=True)
    claim(
        "10,000 pods bound and Running, no node over its allocatable, one Scheduled event each, all kept over a restart",
        True,
    )


def _percentiles(result: dict[str, Any]) -> str:
    return f"{result['create_to_bind_p50_seconds']:.2f} s / {result['create_to_bind_p99_seconds']:.2f} s"


async def start_cluster(directory: Path) -> tuple[asyncio.subprocess.Process, Path]:
    heading("Start a cluster with two simulated nodes")
    kubeconfig = directory / "kubeconfig"
    arguments = ("up", "--nodes=2", "--port=0", f"--service-cidr={SERVICE_CIDR}", *FASTER)
    print(f"  $ kubecore {' '.join(arguments)}", flush=True)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kubecore_cli", *arguments),
        *(f"--data-dir={directory / 'data'}", f"--kubeconfig={kubeconfig}"),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None
    async with asyncio.timeout(STEP_SECONDS):
        async for line in child.stdout:
            text = line.decode().rstrip()
            print(f"  {text}", flush=True)
            if text.startswith("ready "):
                return child, kubeconfig
    raise ClaimFailed("the cluster did not become ready")


async def demo() -> None:
    directory = Path(tempfile.mkdtemp(prefix="kubecore-demo-"))
    child: asyncio.subprocess.Process | None = None
    try:
        child, kubeconfig = await start_cluster(directory)
        transport = HttpTransport(load(kubeconfig))
        client = Client(transport)
        flow = Flow(client)
        try:
            await flow.start()
            await the_example(flow, kubeconfig)
            await scaling(flow, kubeconfig)
            await a_node_dies(flow, client)
        finally:
            await flow.stop()
            await transport.close()
        child.send_signal(signal.SIGINT)
        async with asyncio.timeout(STEP_SECONDS):
            claim("the cluster ended clean", await child.wait() == 0)
        await many_pods()
    finally:
        if child is not None and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    started = time.monotonic()
    try:
        asyncio.run(demo())
    except ClaimFailed as failed:
        print(f"\n{_paint('✗', '31')} {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\nEvery claim above was checked. {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
