"""Pages of the kubelet: health, its pods, its configuration, its node's logs, its own figures, and those of other rooms."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from kubecore.api.component_config import Duration
from kubecore.api.meta import Object
from kubecore.kubelet.runtimes.protocol import (
    LABEL_POD_NAME,
    LABEL_POD_NAMESPACE,
    LABEL_POD_UID,
    ContainerState,
)
from kubecore.kubelet.server.host import Host, Pages

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class PageRoutes:
    def __init__(self, host: Host) -> None:
        self._host = host

    def add_to(self, router: web.UrlDispatcher) -> None:
        self.add_health_to(router)
        for path, handler in (
            ("/pods", self._pods),
            ("/runningpods", self._running_pods),
            ("/configz", self._configuration),
            ("/metrics", self._metrics),
        ):
            router.add_get(path, handler)
            router.add_get(f"{path}/", handler)
        for pages in self._host.pages:
            for path in pages.PATHS:
                router.add_get(path, _answers(pages))
        configuration = self._host.configuration
        directory = self._host.log_directory
        if configuration.enable_debugging_handlers and configuration.enable_system_log_handler and directory.is_dir():
            # Nothing outside of it is shown: links that lead out are not followed.
            router.add_static("/logs", directory, show_index=True, follow_symlinks=False)

    def add_health_to(self, router: web.UrlDispatcher) -> None:
        for path in ("/healthz", "/healthz/ping", "/healthz/log", "/healthz/syncloop"):
            router.add_get(path, self._health)

    async def _health(self, request: web.Request) -> web.Response:
        why = self._host.unhealthy() if request.path in ("/healthz", "/healthz/syncloop") else None
        if why is not None:
            return web.Response(status=500, text=f"[-]syncloop failed: {why}\nhealthz check failed\n")
        return web.Response(text="ok")

    async def _pods(self, request: web.Request) -> web.Response:
        pods = self._host.pods
        shown = []
        for pod in pods.all():
            status = pods.status(pod["metadata"]["uid"])
            shown.append(pod if status is None else {**pod, "status": status})
        return _pod_list(shown)

    async def _running_pods(self, request: web.Request) -> web.Response:
        """As the runtime knows them, whatever the API says."""
        running: dict[str, Object] = {}
        for container in await self._host.runtime.list_containers():
            labels = container.labels
            if container.state is not ContainerState.RUNNING or LABEL_POD_UID not in labels:
                continue
            metadata = {
                "name": labels[LABEL_POD_NAME],
                "namespace": labels[LABEL_POD_NAMESPACE],
                "uid": labels[LABEL_POD_UID],
                "creationTimestamp": None,
            }
            pod = running.setdefault(
                labels[LABEL_POD_UID], {"metadata": metadata, "spec": {"containers": []}, "status": {}}
            )
            pod["spec"]["containers"].append(
                {"name": container.metadata.name, "image": container.image_ref, "resources": {}}
            )
        return _pod_list(list(running.values()))

    async def _configuration(self, request: web.Request) -> web.Response:
        configuration = msgspec.to_builtins(_with_durations(self._host.configuration))
        return _json({"kubeletconfig": configuration})

    async def _metrics(self, request: web.Request) -> web.Response:
        pods = self._host.pods
        states: dict[str, int] = {}
        running = 0
        for pod in pods.all():
            containers = pods.containers(pod["metadata"]["uid"])
            running += any(each.state is ContainerState.RUNNING for each in containers)
            for container in containers:
                state = container.state.value.lower()
                states[state] = states.get(state, 0) + 1
        of_containers = GaugeMetricFamily(
            "kubelet_running_containers", "Number of containers by their state.", labels=["container_state"]
        )
        for state, count in sorted(states.items()):
            of_containers.add_metric([state], count)
        node = GaugeMetricFamily("kubelet_node_name", "The node's name. The count is always 1.", labels=["node"])
        node.add_metric([self._host.node_name], 1)
        of_pods = GaugeMetricFamily("kubelet_running_pods", "Number of pods that have a running container.", running)
        text = generate_latest(_Families([of_pods, of_containers, node]))
        return web.Response(body=text, headers={"content-type": _TEXT_FORMAT})


class _Families(Collector):
    """What is told once."""

    def __init__(self, families: list[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return list(self._families)


def _answers(pages: Pages) -> Any:
    async def answer(request: web.Request) -> web.Response:
        page = await pages.page(request.path, request.query)
        if page is None:
            raise web.HTTPNotFound(text="404 page not found\n")
        return web.Response(body=page.body, headers={"content-type": page.content_type})

    return answer


def _pod_list(pods: list[Object]) -> web.Response:
    return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _with_durations(value: Any) -> Any:
    """Durations as the file has them."""
    if isinstance(value, Duration):
        return f"{float(value):g}s"
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.fields(value)
        return {field.encode_name: _with_durations(getattr(value, field.name)) for field in fields}
    if isinstance(value, tuple | list):
        return [_with_durations(each) for each in value]
    return value
