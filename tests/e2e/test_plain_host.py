"""`kubecore kubelet` and `kubecore service-proxy` by hand, on a host's own network: a namespace that stands for a host."""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.kubectl import Kubectl, find
from tests.support.processes import environment
from tests.support.realnodes import IMAGES, web

from kubecore.cluster.machines import namespaces
from kubecore.cluster.machines.fabric import configure
from kubecore.kubelet import cgroups

pytestmark = pytest.mark.timeout(120)

ADDRESS = "192.0.2.10"
STOP_SECONDS = 20


class Host:
    """One network namespace with an address; its processes are ended by their pids."""

    def __init__(self, name: str, directory: Path) -> None:
        self.path = namespaces.create(name)
        configure(
            name,
            [
                "link set lo up",
                "link add eth0 type veth peer name wire",
                f"addr add {ADDRESS}/24 dev eth0",
                "link set eth0 up",
                "link set wire up",
                "route add default via 192.0.2.1",
            ],
        )
        self._directory = directory
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str) -> str:
        """What it prints; empty if it fails."""
        return subprocess.run(self._inside(command), capture_output=True, text=True, check=False).stdout

    def start(self, *command: str) -> None:
        log = (self._directory / f"{len(self._started)}.log").open("wb")
        arguments = self._inside((sys.executable, "-m", *command))
        self._started.append(subprocess.Popen(arguments, env=environment(), stdout=log, stderr=log))

    def end(self) -> None:
        for process in reversed(self._started):
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)

    def _inside(self, command: tuple[str, ...]) -> list[str]:
        return ["nsenter", f"--net={self.path}", *command]


class HostKubectl:
    """On the host: the API server listens on its address only."""

    def __init__(self, kubeconfig: Path, host: Host) -> None:
        self._environment = Kubectl(kubeconfig).environment
        self._command = ["nsenter", f"--net={host.path}", find()]

    def until(self, *arguments: str) -> str:
        """Again until it succeeds and says something (the test's own time limit ends an endless wait)."""
        command = [*self._command, *arguments]
        while True:
            done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout:
                return done.stdout


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    name = f"kct-{secrets.token_hex(3)}-host"
    made = Host(name, tmp_path)
    try:
        yield made
    finally:
        made.end()
        groups = cgroups.detect()
        groups.kill(f"/{name}")
        groups.remove(f"/{name}")
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if str(tmp_path) in (at := line.split()[4]):
                with contextlib.suppress(subprocess.CalledProcessError):
                    subprocess.run(["umount", "--lazy", at], check=True, capture_output=True)
        namespaces.remove(name)


def test_a_host_becomes_a_node_by_three_commands(host: Host, tmp_path: Path) -> None:
    (tmp_path / "images.yaml").write_text(IMAGES)
    (tmp_path / "web.yaml").write_text(web(replicas=1, node_port=30001))
    data, kubeconfig, socket = tmp_path / "data", tmp_path / "kubeconfig", tmp_path / "runtime.sock"
    host.start(
        *("kubecore_cli", "up", "--nodes=0", f"--bind={ADDRESS}", f"--data-dir={data}", f"--kubeconfig={kubeconfig}")
    )
    while not kubeconfig.exists():
        pass
    host.start(
        *("kubecore.kubelet.runtimes.process", f"--socket={socket}", f"--root={tmp_path / 'runtime'}"),
        *(f"--images={tmp_path / 'images.yaml'}", f"--cgroup-root=/{host.path.name}/runtime"),
    )
    host.start(
        *("kubecore_cli", "kubelet", f"--kubeconfig={kubeconfig}", f"--container-runtime-endpoint=unix://{socket}"),
        *("--hostname-override=box", f"--root-dir={tmp_path / 'kubelet'}", f"--pod-log-dir={tmp_path / 'pods'}"),
        *(
            "--pod-cidr=10.244.7.0/24",
            f"--cgroup-root=/{host.path.name}",
            f"--client-ca-file={data / 'pki' / 'ca.crt'}",
        ),
    )
    host.start(
        "kubecore_cli",
        "service-proxy",
        f"--kubeconfig={kubeconfig}",
        "--hostname-override=box",
        "--cluster-cidr=10.244.0.0/16",
    )
    kubectl = HostKubectl(kubeconfig, host)
    kubectl.until("wait", "--for=condition=Ready", "node/box", "--timeout=60s")
    assert kubectl.until("get", "node", "box", "-o=jsonpath={.status.addresses[0].address}") == ADDRESS
    kubectl.until("apply", "-f", str(tmp_path / "web.yaml"))
    kubectl.until("wait", "--for=jsonpath={.status.readyReplicas}=1", "rc/web", "--timeout=60s")
    pod = kubectl.until("get", "pods", "-o=jsonpath={.items[0].metadata.name}")
    service = kubectl.until("get", "service", "web", "-o=jsonpath={.spec.clusterIP}")
    for url in (f"http://{ADDRESS}:30001/", f"http://{service}/"):
        while host.run("curl", "-s", "--max-time", "5", url).strip() != pod:
            pass
    assert kubectl.until("exec", pod, "--", "hostname") == f"{pod}\n"
