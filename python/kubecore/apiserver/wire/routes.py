"""The paths that are no resource's: one table from first path segment to who answers."""

from __future__ import annotations

from collections.abc import Callable

from kubecore.api.errors import MethodNotAllowed
from kubecore.apiserver.wire.discovery import Discovery
from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.health import Health
from kubecore.apiserver.wire.logs import LogPages
from kubecore.apiserver.wire.openapi import OpenApi
from kubecore.apiserver.wire.response import Response, of_json
from kubecore.apiserver.wire.ui import UserInterface
from kubecore.apiserver.wire.version import version_info

_ONLY_READ = ("api", "apis", "version")
"""Where upstream says that a method is not allowed; elsewhere it knows no such path."""

Handler = Callable[[Call], Response | None]


class Routes:
    """`extra`: more exact paths (such as the token issuer's documents) and who answers them."""

    def __init__(
        self,
        *,
        discovery: Discovery,
        health: Health,
        openapi: OpenApi,
        metrics: Handler,
        logs: LogPages,
        ui: UserInterface,
        extra: dict[str, Handler] | None = None,
    ) -> None:
        self._exact: dict[str, Handler] = {
            "/": self._index,
            "/version": lambda _call: of_json(version_info()),
            "/metrics": metrics,
            **(extra or {}),
        }
        self._by_first_segment: dict[str, Handler] = {
            "api": discovery.answer,
            "apis": discovery.answer,
            "openapi": openapi.answer,
            "healthz": health.answer,
            "livez": health.answer,
            "readyz": health.answer,
            "logs": logs.answer,
            "ui": ui.answer,
        }
        self._listed = (discovery.paths, health.paths, openapi.paths, logs.paths, ui.paths)

    def answer(self, call: Call) -> Response | None:
        """None: nobody serves this path."""
        path = call.path.rstrip("/") or "/"
        first = path.split("/")[1]
        handler = self._exact.get(path) or self._by_first_segment.get(first)
        if call.method in ("GET", "HEAD"):
            return None if handler is None else handler(call)
        if first in _ONLY_READ and handler is not None and handler(call) is not None:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        return None

    def _index(self, _call: Call) -> Response:
        found = {path for paths in self._listed for path in paths()} | set(self._exact) - {"/"}
        return of_json({"paths": sorted(found)})
