"""Lifecycle hooks: what runs in a container after its start and before its stop.

In: a container, the pod and a handler (exec, httpGet, sleep). Out: nothing, or `HookFailure`.
Source: https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from kubecore.api.meta import Object
from kubecore.kubelet.runtimes.protocol import Runtime, RuntimeFailure

HTTP_SECONDS_MAX = 600.0
"""A hook's request is given up then; its container's grace period usually ends it sooner."""

HttpGet = Callable[[str, Mapping[str, str]], Awaitable[int]]
"""(URL, headers) → status code. Raises OSError."""


class HookFailure(Exception):
    """The hook could not be run or said no."""


async def http_get(url: str, headers: Mapping[str, str]) -> int:
    """Certificates of pods are not verified: nobody says who signs them."""
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    timeout = aiohttp.ClientTimeout(total=HTTP_SECONDS_MAX)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers=headers, ssl=unverified, allow_redirects=False) as answer,
        ):
            return answer.status
    except aiohttp.ClientError as failure:
        raise OSError(str(failure)) from failure


class Hooks:
    """Runs handlers."""

    def __init__(self, runtime: Runtime, get: HttpGet = http_get) -> None:
        self._runtime = runtime
        self._get = get

    async def run(self, container: Object, handler: Object, container_id: str, pod_ip: str) -> None:
        """Raises HookFailure."""
        if "exec" in handler:
            await self._exec(handler["exec"].get("command") or [], container_id)
        elif "httpGet" in handler:
            await self._http(container, handler["httpGet"], pod_ip)
        elif "sleep" in handler:
            await asyncio.sleep(float(handler["sleep"]["seconds"]))
        else:
            raise HookFailure(f"cannot run handler: unknown handler of container {container['name']}")

    async def _exec(self, command: list[str], container_id: str) -> None:
        try:
            result = await self._runtime.exec_sync(container_id, command, 0)
        except RuntimeFailure as failure:
            raise HookFailure(failure.message) from failure
        if result.exit_code:
            output = (result.stdout + result.stderr).decode(errors="replace").strip()
            raise HookFailure(f"command '{' '.join(command)}' exited with {result.exit_code}: {output}")

    async def _http(self, container: Object, request: Object, pod_ip: str) -> None:
        host = request.get("host") or pod_ip
        host = f"[{host}]" if ":" in host else host
        scheme = str(request.get("scheme") or "HTTP").lower()
        path = "/" + str(request.get("path") or "").lstrip("/")
        headers = {each["name"]: each["value"] for each in request.get("httpHeaders") or ()}
        try:
            await self._get(f"{scheme}://{host}:{port_number(container, request['port'])}{path}", headers)
        except (OSError, TimeoutError) as failure:
            raise HookFailure(str(failure)) from failure


def port_number(container: Object, port: int | str) -> int:
    """A port as a number, or by the name that the container gives it. Raises HookFailure."""
    if isinstance(port, int):
        return port
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    if port.isdecimal():
        return int(port)
    raise HookFailure(f"couldn't find port: {port}")
