"""A registry on a store in memory, and requests to it without a wire."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from kubecore.api import scheme
from kubecore.apiserver.registry.admission import AdmissionChain, Plugin, User
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.backend import Backend
from kubecore.apiserver.registry.registry import Registry
from kubecore.apiserver.storage.embedded import EmbeddedStorage

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))


class StoppedClock:
    """Moves only when told to."""

    def __init__(self, seconds: float = 1_750_000_000.0) -> None:
        self.seconds = seconds

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class FakeCall:
    """What the registry reads of a `Call`."""

    method: str
    verb: str
    group: str
    version: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    path: str = ""
    remote_address: str = "192.0.2.7:4711"


@dataclass
class Reply:
    status: int
    body: Any
    raw: bytes
    content_type: str
    warnings: list[str]

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    @property
    def fields(self) -> list[str]:
        """The field paths of an Invalid."""
        return [cause["field"] for cause in self.body.get("details", {}).get("causes", ())]

    def ok(self) -> Any:
        """The body of a success."""
        assert self.status < 300, (self.status, self.body)
        return self.body


class Api:
    """Requests by path: `/api/v1/namespaces/default/pods/web/status`."""

    def __init__(self, *plugins: Plugin, seed: int = 1, **given: Any) -> None:
        self.clock = StoppedClock()
        self.storage = EmbeddedStorage.memory(threadless=True)
        self.registry = Registry(
            storage=self.storage,
            admission=AdmissionChain(plugins),
            clock=self.clock,
            random=random.Random(seed),
            **given,
        )
        self.user = ADMIN

    def post(self, path: str, obj: Any, **more: Any) -> Reply:
        return self.send("POST", path, obj, **more)

    def put(self, path: str, obj: Any, **more: Any) -> Reply:
        return self.send("PUT", path, obj, **more)

    def get(self, path: str, **more: Any) -> Reply:
        return self.send("GET", path, **more)

    def delete(self, path: str, options: Any = None, **more: Any) -> Reply:
        return self.send("DELETE", path, options, **more)

    def patch(self, path: str, body: Any, *, kind: str = "merge", **more: Any) -> Reply:
        media_type = {
            "merge": "application/merge-patch+json",
            "json": "application/json-patch+json",
            "strategic": "application/strategic-merge-patch+json",
            "apply": "application/apply-patch+yaml",
        }[kind]
        return self.send("PATCH", path, body, content_type=media_type, **more)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "",
        accept: str = "",
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        result = self.handled(
            method, path, body, content_type=content_type, accept=accept, query=query, headers=headers
        )
        assert not isinstance(result, Backend), "somebody else answers"
        warnings = [
            value.removeprefix('299 - "').removesuffix('"') for name, value in result.headers if name == "warning"
        ]
        text = result.content_type == "application/json" and result.body
        return Reply(
            result.status, json.loads(result.body) if text else None, result.body, result.content_type, warnings
        )

    def handled(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "",
        accept: str = "",
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Result | Backend:
        """What the registry says, as the wire gets it."""
        call = _call(method, path)
        call.query = list((query or {}).items())
        call.headers = list((headers or {}).items())
        call.body = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if content_type:
            call.headers.append(("content-type", content_type))
        if accept:
            call.headers.append(("accept", accept))
        return self.registry.handle(self.user, call)


_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


def _call(method: str, path: str) -> FakeCall:
    parts = path.strip("/").split("/")
    group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and (group, version, rest[2]) in scheme.by_plural():
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "")[:3]
    verb = _VERBS.get(method) or {"GET": "get", "DELETE": "delete"}.get(method, "")
    if verb and method not in _VERBS and not name:
        verb += "collection"
    if verb == "getcollection":
        verb = "list"
    if plural == "namespaces" and name and not namespace:
        namespace = name
    return FakeCall(method, verb, group, version, plural, subresource, namespace, name, path=path)


def pod(name: str = "web", **spec: Any) -> dict[str, Any]:
    """A pod with the fields that its kind requires of a client."""
    given = {"containers": [{"name": "main", "image": "nginx"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": given}


PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
