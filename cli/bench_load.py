"""A client that creates pods as fast as the server takes them: a process of its own, many keep-alive TLS connections.

`python -m kubecore_cli.bench_load KUBECONFIG NAMESPACE PREFIX COUNT CONNECTIONS`. Says `{"created": n}` lines while it
works and at its end one line with each pod's time of sending, in seconds of the monotonic clock, which processes of one
machine share. Plain HTTP/1.1 written by hand: a full client library would be what is measured.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from urllib.parse import urlsplit

PROGRESS_SECONDS = 0.2


def pod_body(name: str, namespace: str) -> bytes:
    """scheduler_perf's pod-default."""
    container = {
        "name": "pause",
        "image": "registry.k8s.io/pause:3.10.1",
        "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}, "limits": {"cpu": "100m", "memory": "500Mi"}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [container]},
    }
    return json.dumps(pod, separators=(",", ":")).encode()


class Refused(Exception):
    """The server would not create a pod."""


class Load:
    """What is left to send, and when each was sent."""

    def __init__(self, host: str, namespace: str, prefix: str, count: int) -> None:
        self._host = host
        self._namespace = namespace
        self._prefix = prefix
        self._count = count
        self._next = 0
        self.sent: dict[str, float] = {}
        self.created = 0

    def take(self) -> bytes | None:
        """The next request."""
        if self._next >= self._count:
            return None
        name = f"{self._prefix}{self._next:06d}"
        self._next += 1
        body = pod_body(name, self._namespace)
        head = (
            f"POST /api/v1/namespaces/{self._namespace}/pods HTTP/1.1\r\nhost: {self._host}\r\naccept: application/json\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.sent[name] = time.monotonic()
        return head.encode() + body


async def connection(load: Load, target: tuple[str, int, ssl.SSLContext]) -> None:
    host, port, tls = target
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        while (request := load.take()) is not None:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status, length = int(head[9:12]), content_length(head)
            answer = await reader.readexactly(length)
            if status != 201:
                raise Refused(f"{status}: {answer[:500].decode(errors='replace')}")
            load.created += 1
    finally:
        writer.close()


def content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise Refused(f"an answer without a length: {head[:200]!r}")


async def report(load: Load) -> None:
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        print(json.dumps({"created": load.created}), flush=True)


async def main(kubeconfig: str, namespace: str, prefix: str, count: str, connections: str) -> None:
    from kubecore.client.http import tls_context
    from kubecore.client.kubeconfig import load as load_config
    from kubecore_cli.bench_server import own_peak_memory_bytes

    config = load_config(kubeconfig)
    address = urlsplit(config.server)
    tls = tls_context(config)
    tls.set_alpn_protocols(["http/1.1"])
    load = Load(address.netloc, namespace, prefix, int(count))
    reporting = asyncio.create_task(report(load))
    target = (address.hostname or "", address.port or 443, tls)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(int(connections)):
            tasks.create_task(connection(load, target))
    reporting.cancel()
    done = {"created": load.created, "sent": load.sent, "peak_memory_bytes": own_peak_memory_bytes()}
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(*sys.argv[1:]))
