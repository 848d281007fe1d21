"""Builds apibench and drives a fresh `kubecore up` with it: creates, gets, lists and watches over TLS. One JSON line a run.

usage: python benches/run_apibench.py [-n PODS] [--connections N] [--watchers N] [--storage embedded|memory]
The server and the client share this machine's cores; compare runs of one machine only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "python")]

from tests.support.processes import up  # noqa: E402

from kubecore.client.kubeconfig import load  # noqa: E402


def build(directory: Path) -> Path:
    binary = directory / "apibench"
    subprocess.run(["go", "build", "-o", str(binary), "."], cwd=ROOT / "benches" / "apibench", check=True)
    return binary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000, help="pods to create, and gets")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=300, help="creates per second while watching")
    parser.add_argument("--storage", default="embedded")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        binary = build(directory)
        with up(directory, "--nodes", "0", "--storage", given.storage) as cluster:
            config = load(cluster.kubeconfig)
            certificate, key = directory / "admin.crt", directory / "admin.key"
            certificate.write_bytes(config.client_certificate_pem)
            key.write_bytes(config.client_key_pem)
            common = ("-server", config.server, "-cert", str(certificate), "-key", str(key))
            runs = (
                ("create", "-conns", str(given.connections), "-n", str(given.n)),
                ("get", "-conns", str(given.connections), "-n", str(given.n * 5)),
                ("list", "-conns", "4", "-n", "40"),
                ("watch", "-watchers", str(given.watchers), "-rate", str(given.rate), "-n", "3000", "-prefix", "w"),
            )
            for run in runs:
                subprocess.run([str(binary), run[0], *common, *run[1:]], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
