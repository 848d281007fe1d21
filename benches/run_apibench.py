"""Builds apibench and drives a fresh server with it over TLS: creates, then gets, lists and watches on HTTP/1.1 and HTTP/2.

usage: python benches/run_apibench.py [-n PODS] [--connections N] [--watchers N] [--rate N] [--whole] [--only RUN ...]
The server is the API server alone, as upstream's figures are of kube-apiserver; with --whole it is `kubecore up` without nodes,
whose controllers and scheduler look at every pod too. One JSON line a run, with the load average and the processor time that the
server used; about a minute in all. Build the extension in release first (`cargo build --release -p kubecore-py`,
target/release/lib_core.so is python/kubecore/_core.abi3.so).
The server and the client share this machine's cores; compare runs of one machine only.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "python")]

from tests.support.processes import READY, Process  # noqa: E402

from kubecore.client.kubeconfig import load  # noqa: E402

QUIET_SECONDS_MAX = 20.0


def build(directory: Path) -> Path:
    binary = directory / "apibench"
    subprocess.run(["go", "build", "-o", str(binary), "."], cwd=ROOT / "benches" / "apibench", check=True)
    return binary


def runs(given: argparse.Namespace) -> dict[str, list[str]]:
    """Name of the run: apibench's arguments. Everything after `create` reads what it made."""
    connections, pods = str(given.connections), str(given.n)
    get = ["get", "-conns", connections, "-n", str(given.n * 5)]
    lists = ["list", "-conns", "4", "-n", "40"]
    watch = ["watch", "-watchers", str(given.watchers), "-rate", str(given.rate), "-n", str(given.rate * 6)]
    return {
        "create": ["create", "-conns", connections, "-n", pods],
        "get": get,
        "get-h2": [*get, "-h2"],
        "list": lists,
        "list-h2": [*lists, "-h2"],
        "watch": [*watch, "-prefix", "w"],
        "watch-h2": [*watch, "-prefix", "x", "-h2", "-h2conns", "8"],
    }


def server_seconds(pid: int) -> float:
    """Processor time of the cluster's processes."""
    server = psutil.Process(pid)
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def start(directory: Path, *, whole: bool, storage: str) -> Process:
    common = [
        "--data-dir",
        str(directory / "data"),
        "--kubeconfig",
        str(directory / "kubeconfig"),
        "--storage",
        storage,
    ]
    verb = ["up", "--nodes", "0", "--port", "0"] if whole else ["apiserver", "--secure-port", "0"]
    process = Process(*verb, *common)
    process.wait_for_line(READY)
    return process


def make_namespace(server: str, certificate: Path, key: Path) -> None:
    """With the ServiceAccount that admission asks for: without controllers nobody else makes it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    namespace = ("", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}})
    account = (
        "/bench/serviceaccounts",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}},
    )
    for path, made in (namespace, account):
        request = urllib.request.Request(f"{server}/api/v1/namespaces{path}", json.dumps(made).encode(), method="POST")
        request.add_header("content-type", "application/json")
        try:
            urllib.request.urlopen(request, context=context).close()
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise


def wait_until_quiet(pid: int) -> None:
    """What the last run left to do, such as pods to look at, is not the next one's."""
    deadline, before = time.monotonic() + QUIET_SECONDS_MAX, server_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(0.2)
        now = server_seconds(pid)
        if now - before < 0.02:
            return
        before = now


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000, help="pods to create; gets are five times as many")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=300, help="creates per second while watching")
    parser.add_argument("--storage", default="embedded")
    parser.add_argument("--whole", action="store_true", help="with controllers and scheduler")
    parser.add_argument("--only", nargs="*", help="runs beside `create`, such as get list-h2")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        binary = build(directory)
        process = start(directory, whole=given.whole, storage=given.storage)
        try:
            config = load(directory / "kubeconfig")
            certificate, key = directory / "admin.crt", directory / "admin.key"
            certificate.write_bytes(config.client_certificate_pem)
            key.write_bytes(config.client_key_pem)
            make_namespace(config.server, certificate, key)
            common = ("-server", config.server, "-cert", str(certificate), "-key", str(key))
            for name, run in runs(given).items():
                if given.only is not None and name != "create" and name not in given.only:
                    continue
                wait_until_quiet(process.pid)
                before = server_seconds(process.pid)
                done = subprocess.run(
                    [str(binary), run[0], *common, *run[1:]], check=True, stdout=subprocess.PIPE, text=True
                )
                used = server_seconds(process.pid) - before
                line = {"run": name, **json.loads(done.stdout)}
                line |= {"server_cpu_seconds": round(used, 2), "load_average": round(os.getloadavg()[0], 1)}
                print(json.dumps(line), flush=True)
        finally:
            process.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
