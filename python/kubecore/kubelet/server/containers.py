"""Paths that lead to a container: /containerLogs, /exec, /attach, /run, /portForward. Who may ask is settled before.

/exec/NAMESPACE/POD/CONTAINER    /exec/NAMESPACE/POD/UID/CONTAINER    the same for attach and run
/portForward/NAMESPACE/POD       /portForward/NAMESPACE/POD/UID
"""

from __future__ import annotations

from aiohttp import web

from kubecore.api.meta import Object
from kubecore.kubelet.runtimes.protocol import Container, ContainerState, RuntimeFailure, Streams
from kubecore.kubelet.server import portforward, remotecommand
from kubecore.kubelet.server.command import Wanted
from kubecore.kubelet.server.host import Host
from kubecore.kubelet.server.logs import ContainerLogs

_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_POD = "/{namespace}/{pod}"
RUN_SECONDS = 600.0


class ContainerRoutes:
    def __init__(self, host: Host) -> None:
        self._pods = host.pods
        self._runtime = host.runtime
        self._logs = ContainerLogs(host.pods, host.clock)

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get(f"/containerLogs{_POD}/{{container}}", self._container_logs)
        for tail in ("/{container}", "/{uid}/{container}"):
            for method in ("GET", "POST"):
                router.add_route(method, f"/exec{_POD}{tail}", self._exec)
                router.add_route(method, f"/attach{_POD}{tail}", self._attach)
            router.add_post(f"/run{_POD}{tail}", self._run)
        for tail in ("", "/{uid}"):
            for method in ("GET", "POST"):
                router.add_route(method, f"/portForward{_POD}{tail}", self._port_forward)

    async def _container_logs(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request)
        name = request.match_info["container"]
        spec = pod["spec"]
        if all(each["name"] != name for row in _CONTAINER_LISTS for each in spec.get(row) or ()):
            raise web.HTTPNotFound(text=f'container "{name}" not found in pod "{pod["metadata"]["name"]}"\n')
        return await self._logs.send(request, pod, name)

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        wanted = _wanted(request)
        container = self._running(request)
        command = tuple(request.query.getall("command", ()))

        async def start() -> Streams:
            return await self._runtime.exec(
                container.id,
                command,
                stdin=wanted.stdin,
                stdout=wanted.stdout,
                stderr=wanted.stderr,
                tty=wanted.tty,
            )

        return await remotecommand.handle(request, wanted, start, what="executing command in")

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        wanted = _wanted(request)
        container = self._running(request)

        async def start() -> Streams:
            return await self._runtime.attach(
                container.id, stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr, tty=wanted.tty
            )

        return await remotecommand.handle(request, wanted, start, what="attaching to")

    async def _run(self, request: web.Request) -> web.StreamResponse:
        container = self._running(request)
        form = await request.post() if request.can_read_body else {}
        command = str(request.query.get("cmd") or form.get("cmd") or "").split(" ")
        try:
            result = await self._runtime.exec_sync(container.id, command, RUN_SECONDS)
        except RuntimeFailure as failure:
            raise web.HTTPInternalServerError(text=failure.message) from failure
        output = result.stdout + result.stderr
        if result.exit_code != 0:
            text = output.decode(errors="replace") + f"command terminated with exit code {result.exit_code}"
            raise web.HTTPInternalServerError(text=text)
        return web.Response(body=output, content_type="text/plain")

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request)
        metadata = pod["metadata"]
        sandbox = self._pods.sandbox(metadata["uid"])
        if sandbox is None:
            raise web.HTTPInternalServerError(text=f'pod "{metadata["name"]}" is not running\n')
        sandbox_id = sandbox.id

        async def connect(port: int) -> Streams:
            return await self._runtime.port_forward(sandbox_id, port)

        told_as = f"pod {metadata['name']}_{metadata['namespace']}, uid {metadata['uid']}"
        return await portforward.handle(request, portforward.Target(connect, told_as))

    def _pod(self, request: web.Request) -> Object:
        """Raises HTTPNotFound. A mirror's uid stands for its static pod's."""
        asked = request.match_info
        pod = self._pods.by_name(asked["namespace"], asked["pod"])
        if pod is not None and (uid := asked.get("uid")) and pod["metadata"]["uid"] != uid:
            mirror = self._pods.mirror_of(pod)
            pod = pod if mirror is not None and mirror["metadata"]["uid"] == uid else None
        if pod is None:
            raise web.HTTPNotFound(text=f'pod "{asked["pod"]}" does not exist\n')
        return pod

    def _running(self, request: web.Request) -> Container:
        """Raises HTTPNotFound, HTTPInternalServerError as upstream."""
        pod, name = self._pod(request), request.match_info["container"]
        container = self._pods.container(pod["metadata"]["uid"], name)
        if container is None or container.state is not ContainerState.RUNNING:
            raise web.HTTPInternalServerError(text=f'container not found ("{name}")\n')
        return container


def _wanted(request: web.Request) -> Wanted:
    """Raises HTTPBadRequest if nothing is asked for."""
    stdin, stdout, stderr, tty = (request.query.get(name) == "1" for name in ("input", "output", "error", "tty"))
    if not (stdin or stdout or stderr):
        raise web.HTTPBadRequest(text="you must specify at least 1 of stdin, stdout, stderr\n")
    # A terminal has one output.
    return Wanted(stdin=stdin, stdout=stdout, stderr=stderr and not tty, tty=tty)
