"""httpGet: 200 to 399 is well. Redirects are followed on the same host, ten at most; one to another host is a warning.

Certificates are not verified. Source: https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from kubecore.kubelet.probes.outcome import OUTPUT_BYTES_MAX, Outcome, Verdict, dial_problem, failure, join, linger

REDIRECTS_MAX = 10
USER_AGENT = "kube-probe/1.35"
"""With the version that the API is of, as upstream's."""
REDIRECTS = (301, 302, 303, 307, 308)

_NO_HEADERS_YET = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"


async def probe(url: str, headers: CIMultiDict[str], *, timeout_seconds: float) -> Outcome:
    connector = aiohttp.TCPConnector(force_close=True, ssl=False, socket_factory=_socket)
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, skip_auto_headers=("Accept-Encoding", "Accept", "User-Agent")
    ) as session:
        try:
            async with asyncio.timeout(timeout_seconds):
                return await _follow(session, url, headers)
        except TimeoutError:
            return failure(f'Get "{url}": {_NO_HEADERS_YET}')


def _socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    linger(made)
    return made


async def _follow(session: aiohttp.ClientSession, url: str, headers: CIMultiDict[str]) -> Outcome:
    first = urlsplit(url).hostname
    at = url
    for _ in range(REDIRECTS_MAX):
        try:
            async with session.get(URL(at, encoded=True), headers=headers, allow_redirects=False) as answer:
                location = answer.headers.get("Location")
                if answer.status in REDIRECTS and location:
                    following = urljoin(at, location)
                    if urlsplit(following).hostname == first:
                        at = following
                        # The name that was asked for stays only with the first request.
                        headers = CIMultiDict(
                            (name, value) for name, value in headers.items() if name.lower() != "host"
                        )
                        continue
                return _judge(answer.status, await answer.content.read(OUTPUT_BYTES_MAX))
        except aiohttp.ClientConnectorError as problem:
            return failure(f'Get "{at}": {dial_problem(problem.host, problem.port or 0, problem.os_error)}')
        except aiohttp.ServerDisconnectedError:
            return failure(f'Get "{at}": EOF')
        except aiohttp.ClientOSError as problem:
            return failure(f'Get "{at}": read tcp: {(problem.strerror or str(problem)).lower()}')
        except (aiohttp.ClientError, ValueError) as problem:
            return failure(f'Get "{at}": {problem}')
    return failure(f'Get "{at}": stopped after {REDIRECTS_MAX} redirects')


def _judge(status: int, body: bytes) -> Outcome:
    text = body.decode(errors="replace")
    if 200 <= status < 300:
        return Outcome(Verdict.SUCCESS, text)
    if 300 <= status < 400:
        return Outcome(Verdict.WARNING, f"Probe terminated redirects, Response body: {text}")
    # Not the body: it may hold what nobody should read in an event.
    return failure(f"HTTP probe failed with statuscode: {status}")


def url_of(action: Mapping[str, Any], host: str, port: int) -> str:
    path = action.get("path") or "/"
    # A path may bring a query; a host or scheme in it does not count.
    bare = urlsplit(path if path.startswith("/") else f"/{path}")
    query = f"?{bare.query}" if bare.query else ""
    scheme = (action.get("scheme") or "HTTP").lower()
    return f"{scheme}://{join(host, port)}{bare.path or '/'}{query}"


def headers_of(action: Mapping[str, Any]) -> CIMultiDict[str]:
    """The probe's own, and User-Agent and Accept unless it has them; an empty Accept is none."""
    headers = CIMultiDict((each["name"], each.get("value", "")) for each in action.get("httpHeaders") or ())
    headers.setdefault("User-Agent", USER_AGENT)
    headers.setdefault("Accept", "*/*")
    if headers["Accept"] == "":
        del headers["Accept"]
    return headers
