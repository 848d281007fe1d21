"""Upstream's kube-proxy and kubecore's service proxy side by side: one node's namespace, one API server (ours), random services.

usage: PYTHONPATH=python:tests service_proxy.py --binary build/kube-proxy [--seed 1] [--services 60] [--rounds 4]

Both run in nftables mode and write tables of their own. After each round of changes the tables must say the same
(`proxy_rules.py`). It ends with 0 if they always did.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance.proxy_rules import Table, differences, read
from kubecore.cluster import Cluster, ClusterOptions
from support.netns import address, inside, ip, namespaces

Object = dict[str, Any]

NODE, OTHER = "node-0", "node-1"
SETTLE_SECONDS = 40.0
LOOK_SECONDS = 0.5
FAMILIES = ("ip", "ip6")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--services", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kubeconfig = folder / "kubeconfig"
        cluster = ClusterOptions(
            nodes=0, port=0, storage="memory", service_cidr="10.96.0.0/16,fd96::/108", kubeconfig=kubeconfig
        )
        stack.enter_context(Cluster(cluster))
        [namespace] = stack.enter_context(namespaces("judge"))
        api = Api(kubeconfig)
        api.make_node()
        make_host(namespace, port_of(kubeconfig))
        flags = [f"--kubeconfig={kubeconfig}", f"--hostname-override={NODE}", "--proxy-mode=nftables"]
        flags += ["--cluster-cidr=10.244.0.0/16,fd44::/64", "--detect-local-mode=ClusterCIDR"]
        theirs = [str(options.binary), *flags, "--conntrack-max-per-core=0"]
        theirs += ["--healthz-bind-address=127.0.0.1:20256", "--metrics-bind-address=127.0.0.1:20249"]
        ours = [sys.executable, "-m", "kubecore_cli", "service-proxy", *flags]
        for command in (theirs, ours):
            stack.enter_context(running(namespace, command))
        for turn in range(options.rounds):
            for number in range(options.services):
                if turn == 0 or draw.random() < 0.3:
                    api.put(number, draw)
            if not agree(namespace):
                return 1
            print(f"round {turn + 1}: the same", flush=True)
    return 0


class Api:
    """By stock kubectl."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig

    def make_node(self) -> None:
        ranges = {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24", "fd44::/80"]}
        labels = {"topology.kubernetes.io/zone": "east"}
        self._apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}, "spec": ranges})
        listed = [{"type": "InternalIP", "address": each} for each in ("198.18.0.11", "fd18::11")]
        self._status("node", NODE, {"addresses": listed})

    def put(self, number: int, draw: random.Random) -> None:
        """A service of that number, or none, and its slices, all new."""
        name = f"service-{number}"
        self._kubectl("delete", f"service/{name}", "--ignore-not-found")
        self._kubectl("delete", "endpointslices", f"-l=kubernetes.io/service-name={name}")
        if draw.random() < 0.1:
            return
        spec = service_spec(number, draw)
        self._apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
        if spec["type"] == "LoadBalancer":
            self._status("service", name, {"loadBalancer": {"ingress": [{"ip": f"198.51.100.{number + 1}"}]}})
        for family in spec["ipFamilies"]:
            if draw.random() < 0.85:
                self._apply(endpoint_slice(number, family, spec["ports"], draw))

    def _apply(self, obj: Object) -> None:
        self._kubectl("create", "-f", "-", text=json.dumps(obj))

    def _status(self, kind: str, name: str, status: Object) -> None:
        self._kubectl("patch", kind, name, "--subresource=status", "-p", json.dumps({"status": status}))

    def _kubectl(self, *words: str, text: str | None = None) -> None:
        command = ["kubectl", f"--kubeconfig={self._kubeconfig}", *words]
        subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)


def service_spec(number: int, draw: random.Random) -> Object:
    families = draw.choice([["IPv4"], ["IPv4"], ["IPv6"], ["IPv4", "IPv6"]])
    protocols = draw.sample(["TCP", "UDP", "SCTP"], draw.randint(1, 2))
    spec: Object = {
        "type": draw.choice(["ClusterIP", "NodePort", "LoadBalancer"]),
        "ports": [{"name": f"p{at}", "port": 80 + at, "protocol": each} for at, each in enumerate(protocols)],
        "ipFamilies": families,
        "ipFamilyPolicy": "RequireDualStack" if len(families) > 1 else "SingleStack",
        "internalTrafficPolicy": draw.choice(["Cluster", "Cluster", "Local"]),
        "sessionAffinity": draw.choice(["None", "None", "ClientIP"]),
    }
    if spec["type"] != "ClusterIP":
        spec["externalTrafficPolicy"] = draw.choice(["Cluster", "Local"])
    if draw.random() < 0.3:
        spec["externalIPs"] = [f"203.0.113.{number + 1}", f"2001:db8::{number + 1:x}"]
    if spec["type"] == "LoadBalancer" and draw.random() < 0.5:
        ranges = [["192.0.2.0/24"], ["192.0.2.0/24", "198.18.0.0/15"], ["0.0.0.0/0"], ["2001:db8::/32"]]
        spec["loadBalancerSourceRanges"] = draw.choice(ranges)
    return spec


def endpoint_slice(number: int, family: str, ports: list[Object], draw: random.Random) -> Object:
    hinted = draw.random() < 0.3
    endpoints = []
    for at in range(draw.choice([0, 1, 2, 3, 12])):
        node = draw.choice([NODE, OTHER])
        conditions = draw.choice(
            [
                {"ready": True},
                {"ready": True},
                {"ready": False, "serving": True, "terminating": True},
                {"ready": False, "serving": False},
            ]
        )
        ip_address = f"10.244.{number}.{at + 1}" if family == "IPv4" else f"fd44::{number:x}:{at + 1:x}"
        each: Object = {"addresses": [ip_address], "conditions": conditions, "nodeName": node}
        if hinted:
            each["hints"] = {"forZones": [{"name": draw.choice(["east", "west"])}]}
            if draw.random() < 0.9:
                each["hints"]["forNodes"] = [{"name": node}]
        endpoints.append(each)
    labels = {"kubernetes.io/service-name": f"service-{number}"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"service-{number}-{family.lower()}", "labels": labels},
        "addressType": family,
        "ports": [{"name": each["name"], "port": 8080, "protocol": each["protocol"]} for each in ports],
        "endpoints": endpoints,
    }


# ── the node ──


def make_host(namespace: str, port: int) -> None:
    ip("link", "add", "eth0", "type", "bridge", inside_of=namespace)
    ip("link", "set", "eth0", "up", inside_of=namespace)
    address(namespace, "eth0", "198.18.0.11/24")
    address(namespace, "eth0", "fd18::11/64")
    with inside(namespace):
        listener = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=_carry, args=(listener, port), daemon=True).start()


def _carry(listener: socket.socket, port: int) -> None:
    """Connections from in there to the API server out here."""
    while True:
        inner, _ = listener.accept()
        outer = socket.create_connection(("127.0.0.1", port))
        for one, other in ((inner, outer), (outer, inner)):
            threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def port_of(kubeconfig: Path) -> int:
    found = re.search(r"server: https://127\.0\.0\.1:(\d+)", kubeconfig.read_text())
    assert found is not None, "the kubeconfig names its server"
    return int(found.group(1))


@contextlib.contextmanager
def running(namespace: str, command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(["ip", "netns", "exec", namespace, *command], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def agree(namespace: str) -> bool:
    """Whether both say the same before the time is up; both follow the API at their own pace."""
    until = time.monotonic() + SETTLE_SECONDS
    pairs: list[tuple[Table | None, Table | None]] = []
    while time.monotonic() < until:
        with inside(namespace):
            pairs = [(read(family, "kube-proxy"), read(family, "kubecore-proxy")) for family in FAMILIES]
        if all(theirs is not None and theirs == ours for theirs, ours in pairs):
            return True
        time.sleep(LOOK_SECONDS)
    for family, (theirs, ours) in zip(FAMILIES, pairs, strict=True):
        print(f"table {family}: {'there' if theirs else 'missing'} and {'there' if ours else 'missing'}")
        print("\n".join(differences(theirs or {}, ours or {}) if theirs and ours else []))
    return False


if __name__ == "__main__":
    sys.exit(main())
