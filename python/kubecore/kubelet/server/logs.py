"""/containerLogs: which container's log is meant, what is wanted of it, and why there is none.

The words of refusal are upstream's; the API server shows them to the user as a BadRequest.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web

from kubecore.api.clock import Clock
from kubecore.api.meta import Object
from kubecore.kubelet.runtimes.protocol import Container, ContainerState
from kubecore.kubelet.seams import Pods
from kubecore.kubelet.server.log_lines import LogOptions, read_log
from kubecore.kubelet.server.websocket import accept

_STATUS_LISTS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_WAITING = {
    "ErrImagePull": "image can't be pulled",
    "ErrImagePullBackOff": "trying and failing to pull image",
    "ImagePullBackOff": "trying and failing to pull image",
}
BINARY, BASE64 = "binary.k8s.io", "base64.binary.k8s.io"
"""Protocols of a log that is read over a WebSocket."""
_STREAMS = {"": "", "All": "", "Stdout": "stdout", "Stderr": "stderr"}


class LogRefused(Exception):
    """There is no log to show; the text says why."""


class _Plain:
    """The body of an answer."""

    def __init__(self) -> None:
        self.response = web.StreamResponse(headers={"content-type": "text/plain"})

    async def write(self, piece: bytes) -> None:
        await self.response.write(piece)

    async def end(self) -> None:
        await self.response.write_eof()


class _Messages:
    """Messages of a WebSocket: bytes, or base64 for who asked for text."""

    def __init__(self, response: web.WebSocketResponse) -> None:
        self.response = response
        self._is_text = response.ws_protocol == BASE64

    async def write(self, piece: bytes) -> None:
        if self._is_text:
            await self.response.send_str(base64.b64encode(piece).decode())
        else:
            await self.response.send_bytes(piece)

    async def end(self) -> None:
        await self.response.close()


async def _sink(request: web.Request) -> _Plain | _Messages:
    if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        return _Messages(await accept(request, (BINARY, BASE64)))
    plain = _Plain()
    await plain.response.prepare(request)
    return plain


class ContainerLogs:
    def __init__(self, pods: Pods, clock: Clock) -> None:
        self._pods = pods
        self._clock = clock

    async def send(self, request: web.Request, pod: Object, container_name: str) -> web.StreamResponse:
        """Streams the log. Raises HTTPBadRequest with upstream's words."""
        try:
            options = log_options(request.query, now=self._clock.now())
            container = self._container(pod, container_name, previous=_flag(request.query, "previous"))
        except LogRefused as refusal:
            raise web.HTTPBadRequest(text=f"{refusal}") from refusal
        uid = pod["metadata"]["uid"]
        pieces = read_log(Path(container.log_path), options, is_running=self._is_running(uid, container.id, request))
        try:
            first = await anext(pieces, b"")
        except OSError as error:
            text = f'unable to read the log of container "{container_name}": {error.strerror}'
            raise web.HTTPBadRequest(text=text) from error
        sink = await _sink(request)
        try:
            if first:
                await sink.write(first)
            async for piece in pieces:
                await sink.write(piece)
            await sink.end()
        except ConnectionError:
            pass  # whoever read it has left
        finally:
            await pieces.aclose()
        return sink.response

    def _is_running(self, uid: str, container_id: str, request: web.Request) -> Callable[[], bool]:
        """Whether more may come that somebody still wants."""

        def is_running() -> bool:
            if request.transport is None:
                return False
            found = [each for each in self._pods.containers(uid) if each.id == container_id]
            return bool(found) and found[0].state in (ContainerState.RUNNING, ContainerState.CREATED)

        return is_running

    def _container(self, pod: Object, name: str, *, previous: bool) -> Container:
        """By the pod's status, as the user sees it."""
        uid, pod_name = pod["metadata"]["uid"], pod["metadata"]["name"]
        status = self._pods.status(uid) or {}
        told = next((each for row in _STATUS_LISTS for each in status.get(row) or () if each["name"] == name), None)
        if told is None:
            raise LogRefused(f'container "{name}" in pod "{pod_name}" is not available')
        wanted = _container_id(told, name=name, pod_name=pod_name, previous=previous)
        found = next((each for each in self._pods.containers(uid) if each.id == wanted), None)
        if found is None:
            raise LogRefused(f'unable to retrieve container logs for "{name}": the container is gone')
        return found


def _container_id(told: Object, *, name: str, pod_name: str, previous: bool) -> str:
    state: dict[str, Any] = told.get("state") or {}
    last = (told.get("lastState") or {}).get("terminated") or {}
    if previous:
        if not last.get("containerID"):
            raise LogRefused(f'previous terminated container "{name}" in pod "{pod_name}" not found')
        return _bare(last["containerID"])
    if state.get("running") is not None:
        return _bare(told.get("containerID", ""))
    ended = state.get("terminated")
    if ended is not None and ended.get("containerID"):
        return _bare(ended["containerID"])
    if last.get("containerID"):
        return _bare(last["containerID"])
    if ended is not None:
        raise LogRefused(f'container "{name}" in pod "{pod_name}" is terminated')
    reason = (state.get("waiting") or {}).get("reason", "")
    raise LogRefused(f'container "{name}" in pod "{pod_name}" is waiting to start: {_WAITING.get(reason, reason)}')


def _bare(container_id: str) -> str:
    """Without the runtime's name before it."""
    return container_id.rpartition("://")[2]


def log_options(query: Mapping[str, str], *, now: float) -> LogOptions:
    """Raises LogRefused."""
    since: float | None = None
    if query.get("sinceSeconds"):
        since = now - _number(query, "sinceSeconds")
    elif query.get("sinceTime"):
        try:
            since = datetime.fromisoformat(query["sinceTime"]).timestamp()
        except ValueError as error:
            raise LogRefused(f'{{"message": "Invalid sinceTime: {query["sinceTime"]}"}}') from error
    # The kubelet's own name of it is older than the API's.
    tail = "tailLines" if query.get("tailLines") else "tail"
    if query.get("stream", "") not in _STREAMS:
        raise LogRefused(f'unsupported log stream "{query["stream"]}"')
    return LogOptions(
        follow=_flag(query, "follow"),
        tail_lines=_number(query, tail) if query.get(tail) else None,
        limit_bytes=_number(query, "limitBytes") if query.get("limitBytes") else None,
        since=since,
        timestamps=_flag(query, "timestamps"),
        stream=_STREAMS[query.get("stream", "")],
    )


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "false").lower() not in ("false", "0")


def _number(query: Mapping[str, str], name: str) -> int:
    text = query[name]
    if not text.isdigit():
        raise LogRefused(f'invalid {name} "{text}"')
    return int(text)
