"""`make demo`: the Tomcat and MySQL example runs for real on two nodes of this machine; then 10,000 pods are scheduled.

Every line that says what happened comes from a watch, with the revision at which it happened; every page is fetched
from outside the cluster's network; every claim is checked, and the exit code is 0 only if all of them held. Needs root
(namespaces, nftables) and no network; everything it makes is gone at the end. Without root it says so and shows the
control plane with simulated nodes.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flow import (
    STEP_SECONDS,
    ClaimFailed,
    Flow,
    balancer_address,
    claim,
    heading,
    image_running,
    is_ready,
    paint,
    ready_pods,
    served,
)
from outside import Outside, Page

from kubecore.client.client import Client
from kubecore.client.http import HttpTransport
from kubecore.client.kubeconfig import load

EXAMPLES = Path(__file__).resolve().parent
FILES = ("mysql-rc.yaml", "mysql-svc.yaml", "myweb-rc.yaml", "myweb-svc.yaml")
SERVICE_CIDR = "169.169.0.0/16"
NODE_PORT = 30001
FASTER = (
    "--node-lease-renew-seconds=1",
    "--node-monitor-grace-period=4",
    "--default-not-ready-toleration-seconds=2",
    "--default-unreachable-toleration-seconds=2",
)
BENCH = ("bench", "schedule", "--nodes=5000", "--pods=10000", "--json")
REAL = ("--runtime=process", f"--images={EXAMPLES / 'images' / 'images.yaml'}")


class Demo:
    """The steps, in order; each says what happens and claims what it saw."""

    def __init__(self, flow: Flow, kubeconfig: Path, outside: Outside) -> None:
        self.flow, self.kubeconfig, self.outside = flow, kubeconfig, outside

    async def kubecore(self, *arguments: str) -> None:
        await command(*arguments, kubeconfig=self.kubeconfig)

    def node_urls(self) -> list[str]:
        """Tomcat's page at each living node's address."""
        return [
            f"http://{address['address']}:{NODE_PORT}/"
            for node in sorted(self.flow.all("nodes", is_ready), key=lambda node: str(node["metadata"]["name"]))
            for address in node["status"]["addresses"]
            if address["type"] == "InternalIP"
        ]

    async def page(self, what: str, url: str, wanted: Callable[[Page], bool], **fields: str) -> Page:
        """Fetches until a page is as wanted, then shows how and claims it."""
        print(f"  $ {' '.join(self.outside.command(url, fields))}", flush=True)
        deadline = time.monotonic() + STEP_SECONDS
        while time.monotonic() < deadline:
            page = await self.outside.fetch(url, fields)
            if page.status == 200 and wanted(page):
                claim(f"{what} ({page.pod}, database {page.database})", held=True)
                return page
            await asyncio.sleep(0.2)
        raise ClaimFailed(f"{what} (not within {STEP_SECONDS:g} s)")

    async def apply(self) -> None:
        heading("Apply the four files")
        await self.kubecore("apply", *(word for name in FILES for word in ("-f", str(EXAMPLES / name))))
        await self.flow.until("1 MySQL pod is ready behind its Service", lambda: served(self.flow, "mysql", 1))
        await self.flow.until("2 Tomcat pods are ready behind node port 30001", lambda: served(self.flow, "myweb", 2))
        claim(
            f"the Services' addresses are from {SERVICE_CIDR}",
            all(s["spec"]["clusterIP"].startswith("169.169.") for s in self.flow.all("services")),
        )

    async def from_outside(self) -> None:
        heading("Fetch the page from outside, at each node's address")
        for url in self.node_urls():
            await self.until_all("Tomcats have answered", "myweb", url, lambda page: page.pod)

    async def until_all(self, what: str, app: str, url: str, who: Callable[[Page], str]) -> None:
        """Fetches until each ready pod of an app has had its part in an answer."""
        missing = {pod["metadata"]["name"] for pod in ready_pods(self.flow, app)}
        count = len(missing)

        def wanted(page: Page) -> bool:
            missing.discard(who(page))
            return not missing

        await self.page(f"all {count} {what}", url, wanted)

    async def data(self) -> None:
        heading("What one Tomcat writes, the other reads")
        first, last = self.node_urls()[0], self.node_urls()[-1]
        written = await self.page("a line is written", first, lambda _: True, name="Ada", message="the first line")
        await self.page(
            "the other Tomcat reads it", last, lambda page: page.pod != written.pod and "the first line" in page.text
        )

    async def balancer(self) -> None:
        heading("NodePort becomes LoadBalancer")
        await self.kubecore("patch", "service", "myweb", "-p", '{"spec": {"type": "LoadBalancer"}}')
        await self.flow.until(
            "the service has an address", lambda: bool(balancer_address(self.flow.one("services", "myweb")))
        )
        address = balancer_address(self.flow.one("services", "myweb"))
        await self.page(
            "the page is served there", f"http://{address}:8080/", lambda page: "the first line" in page.text
        )

    async def scale_only(self) -> None:
        heading("Scale MySQL from 1 to 2")
        await self.kubecore("scale", "rc", "mysql", "--replicas=2")
        await self.flow.until("2 MySQL pods are ready behind the Service", lambda: served(self.flow, "mysql", 2))

    async def scaling(self) -> None:
        await self.scale_only()
        print("  (two databases that know nothing of each other: the Service only spreads connections)", flush=True)
        await self.until_all("databases have answered", "mysql", self.node_urls()[0], lambda page: page.database)

    async def upgrade(self) -> None:
        heading("Upgrade a running pod's image")
        pod = ready_pods(self.flow, "myweb")[0]["metadata"]["name"]
        image = "kubeguide/tomcat-app:v2"
        patch = {"spec": {"containers": [{"name": "myweb", "image": image}]}}
        await self.kubecore("patch", "pod", pod, "-p", json.dumps(patch))

        def upgraded() -> bool:
            return any(
                p["metadata"]["name"] == pod and image_running(p) == image for p in ready_pods(self.flow, "myweb")
            )

        await self.flow.until(f"the same pod runs {image}", upgraded)
        await self.page(
            "the new version answers", self.node_urls()[0], lambda page: page.pod == pod and "version v2" in page.text
        )

    async def a_node_dies(self) -> None:
        heading("A node dies")
        victim = ready_pods(self.flow, "myweb")[0]["spec"]["nodeName"]
        lost = {p["metadata"]["uid"] for p in self.flow.all("pods") if p["spec"].get("nodeName") == victim}
        print(f"  {victim} is killed; it had {len(lost)} pods. Upstream waits 50 s + 300 s; here: {' '.join(FASTER)}")
        await self.kubecore("node", "kill", victim)
        await self.flow.until(
            f"{victim} is seen as not ready", lambda: not is_ready(self.flow.one("nodes", victim) or {})
        )

        def moved() -> bool:
            pods = ready_pods(self.flow, "mysql") + ready_pods(self.flow, "myweb")
            return len(pods) == 4 and all(p["spec"]["nodeName"] != victim for p in pods)

        await self.flow.until("its pods are replaced on the other node, 4 ready in all", moved)
        await self.flow.until(
            "both Services lead only to living pods",
            lambda: served(self.flow, "mysql", 2) and served(self.flow, "myweb", 2),
        )
        await self.page("the page is served again", self.node_urls()[0], lambda _: True)
        # Only its kubelet can say that what ran there has ended: until then its pods are terminating.
        await self.kubecore("node", "start", victim)
        await self.flow.until(f"{victim} is ready again", lambda: is_ready(self.flow.one("nodes", victim) or {}))
        await self.flow.until(
            "it has nothing left of its former pods",
            lambda: not any(pod["metadata"]["uid"] in lost for pod in self.flow.all("pods")),
        )

    async def top(self) -> None:
        heading("What it costs")
        await self.kubecore("top", "node")
        await self.kubecore("top", "pod")

    async def many_pods(self) -> None:
        heading("10,000 pods on 5,000 simulated nodes")
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kubecore_cli", *BENCH),
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
            print(f"  {name:<46} {paint(value, '1')}", flush=True)
        claim(
            "10,000 pods bound and Running, no node over its allocatable, one Scheduled event each, all kept over a restart",
            True,
        )

    async def clean_up(self) -> None:
        heading("Clean up")
        await self.kubecore("delete", *(word for name in FILES for word in ("-f", str(EXAMPLES / name))))
        await self.flow.until("the last pod is gone", lambda: not self.flow.all("pods"))


async def command(*arguments: str, kubeconfig: Path) -> None:
    """Runs `kubecore`, showing what it prints. Raises ClaimFailed if it fails."""
    print(f"  $ kubecore {' '.join(arguments)}", flush=True)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kubecore_cli", *arguments), env=os.environ | {"KUBECONFIG": str(kubeconfig)}
    )
    claimed = await child.wait()
    if claimed:
        raise ClaimFailed(f"kubecore {arguments[0]} ended with {claimed}")


def _percentiles(result: dict[str, Any]) -> str:
    return f"{result['create_to_bind_p50_seconds']:.2f} s / {result['create_to_bind_p99_seconds']:.2f} s"


class Cluster:
    """`kubecore up` as a process of its own. `outside`: the namespace from which its nodes are reached; empty for simulated nodes."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.kubeconfig = directory / "kubeconfig"
        self.outside = ""
        self._flags = ("up", "--nodes=2", "--port=0", f"--service-cidr={SERVICE_CIDR}", *FASTER, *flags)
        self._places = (f"--data-dir={directory / 'data'}", f"--kubeconfig={self.kubeconfig}")
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when it says that it is ready; what it says is shown."""
        print(f"  $ kubecore {' '.join(self._flags)}", flush=True)
        self._child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kubecore_cli", *self._flags, *self._places),
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert self._child.stdout is not None, "asked for just above"
        async with asyncio.timeout(STEP_SECONDS):
            async for line in self._child.stdout:
                text = line.decode().rstrip()
                print(f"  {text}", flush=True)
                words = text.split()
                if "netns" in words:
                    self.outside = words[words.index("exec") + 1]
                if text.startswith("ready "):
                    return
        raise ClaimFailed("the cluster did not become ready")

    async def stop(self) -> int:
        assert self._child is not None, "stop comes after start"
        self._child.send_signal(signal.SIGINT)
        async with asyncio.timeout(STEP_SECONDS):
            return await self._child.wait()

    async def namespaces(self) -> list[str]:
        """Those of its network namespaces that are there."""
        if not self.outside:
            return []
        child = await asyncio.create_subprocess_exec("ip", "netns", "list", stdout=asyncio.subprocess.PIPE)
        output, _ = await child.communicate()
        name = self.outside.removesuffix("outside")
        return [line for line in output.decode().splitlines() if line.startswith(name)]

    async def kill(self) -> None:
        """Whatever happened, nothing goes on running."""
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            await self._child.wait()


REAL_STEPS = (
    Demo.apply,
    Demo.from_outside,
    Demo.data,
    Demo.balancer,
    Demo.scaling,
    Demo.upgrade,
    Demo.a_node_dies,
    Demo.top,
    Demo.many_pods,
    Demo.clean_up,
)
SIMULATED_STEPS = (Demo.apply, Demo.scale_only, Demo.many_pods, Demo.clean_up)
NEEDS_ROOT = (
    "Real nodes need root: network namespaces, mounts, nftables and cgroups. Run `sudo make demo` to see the pages served.\n"
    "Without it: the same control plane with simulated nodes."
)


async def the_example(directory: Path) -> None:
    real = os.geteuid() == 0
    if not real:
        print(NEEDS_ROOT)
    heading(f"Start a cluster with two {'' if real else 'simulated '}nodes")
    cluster = Cluster(directory, *(REAL if real else ()))
    try:
        await cluster.start()
        transport = HttpTransport(load(cluster.kubeconfig))
        flow = Flow(Client(transport))
        try:
            await flow.start()
            steps = Demo(flow, cluster.kubeconfig, Outside(cluster.outside))
            for step in REAL_STEPS if real else SIMULATED_STEPS:
                await step(steps)
        finally:
            await flow.stop()
            await transport.close()
        claim("the cluster ended", await cluster.stop() == 0)
        claim("none of its network namespaces is left", not await cluster.namespaces())
    finally:
        await cluster.kill()


async def demo() -> None:
    directory = Path(tempfile.mkdtemp(prefix="kubecore-demo-"))
    try:
        await the_example(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    started = time.monotonic()
    try:
        asyncio.run(demo())
    except ClaimFailed as failed:
        print(f"\n{paint('✗', '31')} {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\nEvery claim above was checked. {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
