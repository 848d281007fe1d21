"""Upstream's kube-apiserver with our store as its etcd: objects written, watched, deleted, and there again after the store was killed (-9).

usage: PYTHONPATH=python:tests apiserver_on_store.py --binary build/kube-apiserver

Every claim is printed once it was seen to hold; it ends with 0 if all of them did.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.processes import Process

READY_SECONDS = 90.0
CONFIG_MAPS = 200
SERVING = re.compile(r"serving .* at (http://\S+) ")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, type=Path)
    binary = parser.parse_args().binary
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as ends:
        folder = Path(name)
        store, url = serve_store(folder, port=0)
        ends.callback(lambda: store.end())
        api = Api(binary, folder, url)
        ends.callback(api.end)
        claim("upstream's kube-apiserver is ready on our store", until(api.is_ready))
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "judge"}})
        maps = "/api/v1/namespaces/judge/configmaps"
        for number in range(CONFIG_MAPS):
            api.call("POST", maps, {"metadata": {"name": f"map-{number}"}, "data": {"number": str(number)}})
        listed = api.call("GET", maps)
        names = {item["metadata"]["name"] for item in listed["items"]}
        claim(f"{CONFIG_MAPS} objects written are listed", {f"map-{n}" for n in range(CONFIG_MAPS)} <= names)
        first = api.call("GET", f"{maps}?limit=50")
        rest = api.call("GET", f"{maps}?limit=500&continue={first['metadata']['continue']}")
        claim("pages of a list add up to it", len(first["items"]) + len(rest["items"]) == len(listed["items"]))
        stale = {"metadata": {"name": "map-1", "resourceVersion": "1"}, "data": {}}
        claim("an update of what has changed since is a conflict", api.status("PUT", f"{maps}/map-1", stale) == 409)
        since = listed["metadata"]["resourceVersion"]
        api.call("DELETE", f"{maps}/map-0")
        api.call("PUT", f"{maps}/map-2", {"metadata": {"name": "map-2"}, "data": {"number": "two"}})
        events = api.call("GET", f"{maps}?watch=1&resourceVersion={since}&timeoutSeconds=3", lines=True)
        seen = [(event["type"], event["object"]["metadata"]["name"]) for event in events]
        claim("a watch from the list tells both changes", seen == [("DELETED", "map-0"), ("MODIFIED", "map-2")])

        store.kill()
        store, _ = serve_store(folder, port=int(url.rpartition(":")[2]))
        claim("after the store was killed (-9) and came back, the server is ready again", until(api.is_ready))
        after = api.call("GET", maps)["items"]
        claim("nothing acknowledged is lost", {item["metadata"]["name"] for item in after} == names - {"map-0"})
        claim("and it takes writes", api.status("POST", maps, {"metadata": {"name": "later"}}) == 201)
    return 0


def claim(what: str, held: bool) -> None:
    print(f"{'ok' if held else 'NOT'}: {what}", flush=True)
    if not held:
        sys.exit(1)


def until(held: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if held():
            return True
        time.sleep(0.1)
    return False


def serve_store(folder: Path, *, port: int) -> tuple[Process, str]:
    arguments = (f"--data-dir={folder / 'data'}", f"--listen-client-urls=http://127.0.0.1:{port}")
    process = Process("store", "serve", *arguments)
    return process, process.wait_for_line(SERVING).group(1)


class Api:
    """Upstream's server as a process, and an administrator's requests to it."""

    def __init__(self, binary: Path, folder: Path, etcd: str) -> None:
        self._token = secrets.token_hex(16)
        (folder / "tokens.csv").write_text(f"{self._token},admin,1,system:masters\n")
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "accounts.key").write_bytes(private)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._server = f"https://127.0.0.1:{port}"
        self._tls = ssl.create_default_context()
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE  # its certificate is made at its start
        with (folder / "kube-apiserver.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(binary),
                    f"--etcd-servers={etcd}",
                    f"--secure-port={port}",
                    "--bind-address=127.0.0.1",
                    f"--cert-dir={folder / 'certificates'}",
                    f"--token-auth-file={folder / 'tokens.csv'}",
                    f"--service-account-key-file={folder / 'accounts.key'}",
                    f"--service-account-signing-key-file={folder / 'accounts.key'}",
                    "--service-account-issuer=https://kubernetes.default.svc",
                    "--service-cluster-ip-range=10.0.0.0/24",
                    "--authorization-mode=RBAC",
                ],
                stdout=log,
                stderr=log,
            )

    def is_ready(self) -> bool:
        if self._process.poll() is not None:
            return False
        try:
            return self._request("GET", "/readyz")[0] == 200
        except (OSError, urllib.error.URLError):
            return False

    def status(self, method: str, path: str, body: Any = None) -> int:
        return self._request(method, path, body)[0]

    def call(self, method: str, path: str, body: Any = None, *, lines: bool = False) -> Any:
        code, text = self._request(method, path, body)
        if code >= 300:
            raise SystemExit(f"{method} {path}: {code} {text[:500]!r}")
        return [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)

    def _request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        request = urllib.request.Request(
            self._server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
