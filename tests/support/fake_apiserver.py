"""A small API server for tests of the loops: one store, watches, conflicts, finalizers, grace. No admission, no validation, no defaults.

A `FakeTransport` implements `kubecore.client.transport.Transport` on it. Where a test needs the real rules, it uses the
real server (tests/sim).
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from kubecore.api import errors
from kubecore.api.meta import timestamp
from kubecore.client.transport import Pairs, Request, Response, StreamRefused, WatchEvent

Object = dict[str, Any]

FIELDS: dict[str, Callable[[Object], str]] = {
    "metadata.name": lambda obj: obj["metadata"]["name"],
    "metadata.namespace": lambda obj: obj["metadata"].get("namespace", ""),
    "spec.nodeName": lambda obj: obj.get("spec", {}).get("nodeName", ""),
    "status.phase": lambda obj: obj.get("status", {}).get("phase", ""),
}


class FakeServer:
    """Objects by (group/version, plural, namespace, name), and what happened to them."""

    def __init__(self, *, seed: int = 0, now: Callable[[], float] = lambda: 1_800_000_000.0) -> None:
        self._random = random.Random(seed)
        self._now = now
        self.revision = 0
        self.objects: dict[tuple[str, str, str, str], bytes] = {}
        self.history: list[tuple[int, str, tuple[str, str, str, str], bytes]] = []
        self.compacted = 0
        self.requests: list[Request] = []
        self.refusals: list[Callable[[Request], errors.StatusError | None]] = []
        """Asked before each request: an error they give is the answer."""
        self.answer_delay_seconds = 0.0
        """How long a single request's answer is under way after it was decided."""
        self.waiters: list[asyncio.Event] = []
        self.streams = 0

    def transport(self) -> FakeTransport:
        return FakeTransport(self)

    # ── for tests ──

    def all(self, plural: str, namespace: str = "") -> list[Object]:
        return [
            json.loads(value)
            for (_, kept, space, _), value in sorted(self.objects.items())
            if kept == plural and namespace in ("", space)
        ]

    def find(self, plural: str, namespace: str, name: str) -> Object | None:
        return next((obj for obj in self.all(plural, namespace) if obj["metadata"]["name"] == name), None)

    def seed(self, plural: str, obj: Object) -> Object:
        """Puts an object in as it is, beside the API."""
        namespace = obj["metadata"].get("namespace", "")
        obj = json.loads(json.dumps(obj))
        obj["metadata"].setdefault("uid", self._uid())
        obj["metadata"].setdefault("creationTimestamp", self.now_text())
        return self._put((obj["apiVersion"], plural, namespace, obj["metadata"]["name"]), obj)

    def now_text(self) -> str:
        return timestamp(self._now())

    def forget_history(self) -> None:
        """Compacts: watches from before now get 410."""
        self.compacted = self.revision
        self.history.clear()

    # ── the store ──

    def _uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _put(self, key: tuple[str, str, str, str], obj: Object) -> Object:
        self.revision += 1
        event = "MODIFIED" if key in self.objects else "ADDED"
        obj["metadata"]["resourceVersion"] = str(self.revision)
        value = json.dumps(obj).encode()
        self.objects[key] = value
        self._record(event, key, value)
        return obj

    def _remove(self, key: tuple[str, str, str, str], obj: Object) -> Object:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        del self.objects[key]
        self._record("DELETED", key, json.dumps(obj).encode())
        return obj

    def _record(self, event: str, key: tuple[str, str, str, str], value: bytes) -> None:
        self.history.append((self.revision, event, key, value))
        for waiter in self.waiters:
            waiter.set()

    # ── requests ──

    def handle(self, request: Request) -> Response:
        self.requests.append(request)
        try:
            for refuse in self.refusals:
                refusal = refuse(request)
                if refusal:
                    raise refusal
            answer = self._answer(request)
        except errors.StatusError as error:
            return Response(error.status_code, [], json.dumps(error.to_status()).encode())
        return Response(201 if request.method == "POST" else 200, [], json.dumps(answer).encode())

    def _answer(self, request: Request) -> Object:
        api_version, plural, namespace, name, subresource = split(request.path)
        key = (api_version, plural, namespace, name)
        if request.method == "GET":
            return self._read(key) if name else self._list(api_version, plural, namespace, dict(request.query))
        body = json.loads(request.body) if request.body else {}
        if request.method == "POST":
            return self._subresource(key, subresource, body) if subresource else self._create(key, body)
        if request.method == "DELETE":
            return self._delete(key, body) if name else self._delete_all(api_version, plural, namespace, body)
        current = self._read(key)
        if request.method == "PATCH":
            strategic = "strategic" in dict(request.headers)["content-type"]
            owners = body.get("metadata", {}).pop("ownerReferences", None) if strategic else None
            if strategic:
                merge_status_lists(current, body)
            wanted_uid = body.get("metadata", {}).get("uid", current["metadata"]["uid"])
            if wanted_uid != current["metadata"]["uid"]:
                raise errors.conflict(plural, "", name, "the UID in the precondition does not match")
            body = merge(current, body)
            if owners is not None:
                body["metadata"]["ownerReferences"] = merge_owners(current, owners)
        return self._update(key, current, body, subresource)

    def _read(self, key: tuple[str, str, str, str]) -> Object:
        if key not in self.objects:
            group = key[0].rpartition("/")[0]
            raise errors.not_found(key[1], group, key[3])
        found: Object = json.loads(self.objects[key])
        return found

    def _list(self, api_version: str, plural: str, namespace: str, query: dict[str, str]) -> Object:
        selected = [
            json.loads(value)
            for (version, kept, space, _), value in sorted(self.objects.items())
            if (version, kept) == (api_version, plural) and namespace in ("", space)
        ]
        items = [obj for obj in selected if selects(query, obj)]
        start = int(query.get("continue", "0"))
        limit = int(query.get("limit", "0")) or len(items)
        metadata = {"resourceVersion": str(self.revision)}
        if start + limit < len(items):
            metadata["continue"] = str(start + limit)
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items[start : start + limit]}

    def _create(self, key: tuple[str, str, str, str], obj: Object) -> Object:
        api_version, plural, namespace, _ = key
        metadata = obj.setdefault("metadata", {})
        if metadata.get("generateName") and not metadata.get("name"):
            letters = "bcdfghjklmnpqrstvwxz2456789"
            metadata["name"] = metadata["generateName"] + "".join(self._random.choices(letters, k=5))
        name = metadata["name"]
        if (api_version, plural, namespace, name) in self.objects:
            raise errors.already_exists(plural, api_version.rpartition("/")[0], name)
        if namespace:
            metadata["namespace"] = namespace
        metadata["uid"] = self._uid()
        metadata["creationTimestamp"] = self.now_text()
        metadata["generation"] = 1
        return self._put((api_version, plural, namespace, name), obj)

    def _update(self, key: tuple[str, str, str, str], current: Object, new: Object, subresource: str) -> Object:
        expected = new["metadata"].get("resourceVersion")
        if expected and expected != current["metadata"]["resourceVersion"]:
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise errors.conflict(key[1], "", key[3], why)
        if subresource == "status":
            # As most of upstream's strategies: only the spec is out of a status update's reach.
            kept = {name: value for name, value in current.items() if name not in ("metadata", "status")}
            new = {**kept, "metadata": new["metadata"], "status": new.get("status", {})}
        elif subresource in ("", "finalize"):
            if "status" in current:
                new["status"] = current["status"]
            if new.get("spec") != current.get("spec"):
                new["metadata"]["generation"] = current["metadata"].get("generation", 1) + 1
        for kept in ("uid", "creationTimestamp", "deletionTimestamp"):
            if kept in current["metadata"]:
                new["metadata"][kept] = current["metadata"][kept]
        if {**new, "metadata": {**new["metadata"], "resourceVersion": ""}} == {
            **current,
            "metadata": {**current["metadata"], "resourceVersion": ""},
        }:
            return current
        if new["metadata"].get("deletionTimestamp") and not self._is_held(key, new):
            return self._remove(key, new)
        return self._put(key, new)

    def _is_held(self, key: tuple[str, str, str, str], obj: Object) -> bool:
        if obj["metadata"].get("finalizers"):
            return True
        return key[1] == "pods" and bool(obj["metadata"].get("deletionGracePeriodSeconds"))

    def _delete(self, key: tuple[str, str, str, str], options: Object) -> Object:
        obj = self._read(key)
        metadata = obj["metadata"]
        wanted = options.get("preconditions", {})
        if wanted.get("uid") not in (None, metadata["uid"]):
            raise errors.conflict(key[1], "", key[3], "the UID in the precondition does not match")
        if wanted.get("resourceVersion") not in (None, metadata["resourceVersion"]):
            raise errors.conflict(key[1], "", key[3], "the ResourceVersion in the precondition does not match")
        finalizers = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.get("propagationPolicy", ""))
        if finalizers and finalizers not in metadata.get("finalizers", ()):
            metadata["finalizers"] = [*metadata.get("finalizers", ()), finalizers]
        grace = 0
        if key[1] == "pods" and obj.get("spec", {}).get("nodeName"):
            grace = options.get("gracePeriodSeconds", obj["spec"].get("terminationGracePeriodSeconds", 30))
        metadata["deletionGracePeriodSeconds"] = grace
        if self._is_held(key, obj):
            if not metadata.get("deletionTimestamp"):
                metadata["deletionTimestamp"] = self.now_text()
            return self._put(key, obj)
        return self._remove(key, obj)

    def _delete_all(self, api_version: str, plural: str, namespace: str, options: Object) -> Object:
        names = [key[3] for key in self.objects if key[:3] == (api_version, plural, namespace)]
        for name in names:
            self._delete((api_version, plural, namespace, name), options)
        return {"kind": "Status", "status": "Success"}

    def _subresource(self, key: tuple[str, str, str, str], subresource: str, body: Object) -> Object:
        if subresource == "binding":
            pod = self._read(key)
            if body["metadata"].get("uid") not in (None, pod["metadata"]["uid"]):
                raise errors.conflict("pods/binding", "", key[3], "the UID in the precondition does not match")
            if node := pod["spec"].get("nodeName"):
                raise errors.conflict("pods/binding", "", key[3], f"pod {key[3]} is already assigned to node {node!r}")
            pod["spec"]["nodeName"] = body["target"]["name"]
            return self._put(key, pod)
        if subresource == "eviction":
            self._delete(key, body.get("deleteOptions", {}))
            return {"kind": "Status", "status": "Success"}
        raise errors.NotFound(f"no subresource {subresource}")


class FakeTransport:
    """Implements `Transport` on a fake server."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    async def request(
        self, method: str, path: str, query: Pairs = (), headers: Pairs = (), body: bytes = b""
    ) -> Response:
        await asyncio.sleep(0)
        response = self._server.handle(Request(method, path, query, headers, body))
        if self._server.answer_delay_seconds:
            await asyncio.sleep(self._server.answer_delay_seconds)
        return response

    async def batch(self, requests: Sequence[Request]) -> list[Response]:
        await asyncio.sleep(0)
        return [self._server.handle(request) for request in requests]

    async def stream(self, path: str, query: Pairs = (), headers: Pairs = ()) -> AsyncGenerator[list[WatchEvent], None]:
        server = self._server
        api_version, plural, namespace, _, _ = split(path)
        options = dict(query)
        waiter = asyncio.Event()
        server.waiters.append(waiter)
        server.streams += 1
        try:
            seen = int(options.get("resourceVersion") or server.revision)
            if options.get("sendInitialEvents") == "true":
                raise StreamRefused(
                    Response(422, [], json.dumps(errors.Invalid("sendInitialEvents is forbidden").to_status()).encode())
                )
            if seen < server.compacted:
                gone = errors.Expired("too old resource version")
                yield [("ERROR", json.dumps(gone.to_status()).encode())]
                return
            while True:
                waiter.clear()
                events = []
                for revision, event, key, value in server.history[_first_after(server.history, seen) :]:
                    if (key[0], key[1]) != (api_version, plural) or namespace not in ("", key[2]):
                        continue
                    if selects(options, json.loads(value)):
                        events.append((event, value))
                    seen = revision
                if events:
                    yield events
                    continue
                await waiter.wait()
        finally:
            server.waiters.remove(waiter)

    async def close(self) -> None:
        return None


def _first_after(history: list[tuple[int, str, tuple[str, str, str, str], bytes]], revision: int) -> int:
    low, high = 0, len(history)
    while low < high:
        middle = (low + high) // 2
        if history[middle][0] <= revision:
            low = middle + 1
        else:
            high = middle
    return low


def split(path: str) -> tuple[str, str, str, str, str]:
    """(apiVersion, plural, namespace, name, subresource)."""
    parts = path.strip("/").split("/")
    api_version, parts = (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    return api_version, plural, namespace, name, subresource


def selects(query: dict[str, str], obj: Object) -> bool:
    labels = obj["metadata"].get("labels") or {}
    for requirement in filter(None, query.get("labelSelector", "").split(",")):
        if requirement.startswith("!"):
            if requirement[1:] in labels:
                return False
            continue
        name, _, value = requirement.replace("==", "=").partition("=")
        if labels.get(name) != value:
            return False
    for requirement in filter(None, query.get("fieldSelector", "").split(",")):
        negated = "!=" in requirement
        name, _, value = requirement.replace("!=", "=").partition("=")
        if (FIELDS[name](obj) == value) == negated:
            return False
    return True


def merge_owners(current: Object, changes: list[Object]) -> list[Object]:
    """A strategic merge of owner references: by uid."""
    kept = {each["uid"]: each for each in current["metadata"].get("ownerReferences") or ()}
    for change in changes:
        if change.get("$patch") == "delete":
            kept.pop(change["uid"], None)
        else:
            kept[change["uid"]] = change
    return list(kept.values())


def merge_status_lists(current: Object, body: Object) -> None:
    """A strategic merge of the lists in a status that are not atomic: conditions by type, addresses replaced."""
    status = body.get("status") or {}
    if "conditions" in status:
        known = {each["type"]: each for each in (current.get("status") or {}).get("conditions") or ()}
        for change in status["conditions"]:
            if change.get("$patch") == "delete":
                known.pop(change["type"], None)
            else:
                known[change["type"]] = merge(known.get(change["type"], {}), change)
        status["conditions"] = list(known.values())
    for name in ("podIPs", "hostIPs", "addresses"):
        if isinstance(status.get(name), list):
            status[name] = [each for each in status[name] if "$patch" not in each]


def merge(target: Any, change: Any) -> Any:
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(change, dict):
        return change
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
