"""Typed verbs over a transport: objects in and out, failures as the exceptions of `kubecore.api.errors`.

One client acts as one identity: that of its transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from kubecore.api import errors
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource, core
from kubecore.client import codec, requests
from kubecore.client.requests import PatchType, options
from kubecore.client.transport import Request, Response, StreamRefused, Transport, TransportError, WatchEvent

PAGE_LIMIT = 500
"""Objects a list asks for at a time."""

RETRIES_MAX = 10
"""Times a request is sent again because the server said when (429 or 5xx with Retry-After)."""

REWATCH_SECONDS = 1.0
"""Pause of `wait_for` after a broken connection."""

# Aliases, because `Client.list` hides the type of that name.
Batches = AsyncGenerator[list[WatchEvent], None]
Results = list[Object | errors.StatusError]
Outcomes = list[errors.StatusError | None]


@dataclass(frozen=True, slots=True)
class ObjectList:
    """All objects that matched, and the state of the collection that they are from."""

    items: list[Object]
    resource_version: str


@dataclass(frozen=True, slots=True)
class RawObjectList:
    """As `ObjectList`, each item still encoded."""

    items: list[bytes]
    resource_version: str


def error_of(response: Response) -> errors.StatusError:
    """The exception that an answer of failure stands for."""
    try:
        status = codec.decode(response.body)
    except msgspec.DecodeError:
        text = response.body.decode(errors="replace").strip() or f"the server answered {response.status}"
        return errors.StatusError(text, code=response.status)
    return errors.from_status(status, code=response.status)


class Client:
    """The API as one identity sees it."""

    def __init__(self, transport: Transport, *, page_limit: int = PAGE_LIMIT) -> None:
        self.transport = transport
        self._page_limit = page_limit

    # ── single objects ──

    async def get(self, resource: Resource, namespace: str, name: str, *, resource_version: str = "") -> Object:
        return await self.send(requests.get(resource, namespace, name, resource_version=resource_version))

    async def create(
        self,
        resource: Resource,
        obj: Object,
        *,
        namespace: str = "",
        subresource: str = "",
        name: str = "",
        dry_run: bool = False,
        field_manager: str = "",
    ) -> Object:
        return await self.send(
            requests.create(
                resource,
                obj,
                namespace=namespace,
                subresource=subresource,
                name=name,
                dry_run=dry_run,
                field_manager=field_manager,
            )
        )

    async def update(
        self, resource: Resource, obj: Object, *, subresource: str = "", dry_run: bool = False, field_manager: str = ""
    ) -> Object:
        """Replaces the object; its resourceVersion, if given, is compared (Conflict)."""
        return await self.send(
            requests.update(resource, obj, subresource=subresource, dry_run=dry_run, field_manager=field_manager)
        )

    async def update_status(self, resource: Resource, obj: Object) -> Object:
        return await self.update(resource, obj, subresource="status")

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Any,
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        return await self.send(
            requests.patch(
                resource,
                namespace,
                name,
                body,
                patch_type=patch_type,
                subresource=subresource,
                field_manager=field_manager,
                force=force,
                dry_run=dry_run,
            )
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str = "",
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Gives the object if it still exists (grace, finalizers), else a Status of success."""
        return await self.send(
            requests.delete(
                resource,
                namespace,
                name,
                grace_period_seconds=grace_period_seconds,
                propagation_policy=propagation_policy,
                uid=uid,
                resource_version=resource_version,
                dry_run=dry_run,
            )
        )

    async def bind(self, namespace: str, name: str, *, node: str, uid: str = "") -> None:
        await self.send(requests.bind(core("pods"), namespace, name, node=node, uid=uid))

    async def evict(self, namespace: str, name: str, *, grace_period_seconds: int | None = None) -> None:
        """Raises TooManyRequests while a disruption budget forbids it."""
        request = requests.evict(core("pods"), namespace, name, grace_period_seconds=grace_period_seconds)
        raise_for_status(await self._exchange(request))

    async def scale(self, resource: Resource, namespace: str, name: str, *, replicas: int) -> Object:
        """Sets the wanted replicas through the scale subresource; gives the Scale."""
        return await self.patch(resource, namespace, name, {"spec": {"replicas": replicas}}, subresource="scale")

    # ── collections ──

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> ObjectList:
        """All objects that match, read in pages of one consistent state. Raises Expired if that state went away
        meanwhile."""
        raw = await self.list_raw(
            resource,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
        )
        items = [codec.decode(item) for item in raw.items]
        for item in items:
            # Upstream leaves these out of a list's items.
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return ObjectList(items, raw.resource_version)

    async def list_raw(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> RawObjectList:
        items = _no_bytes()
        token = ""
        while True:
            query = options(
                label_selector=label_selector,
                field_selector=field_selector,
                limit=self._page_limit or None,
                continue_=token,
                resource_version="" if token else resource_version,
            )
            response = await self._exchange(Request("GET", resource.path(namespace), query, (requests.JSON_ACCEPT,)))
            raise_for_status(response)
            page = codec.decode_list(response.body)
            items.extend(bytes(item) for item in page.items or ())
            token = page.metadata.continue_token
            if not token:
                return RawObjectList(items, page.metadata.resourceVersion)

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        grace_period_seconds: int | None = None,
        propagation_policy: str = "",
    ) -> Object:
        body = requests.delete_options(grace_period_seconds=grace_period_seconds, propagation_policy=propagation_policy)
        query = options(label_selector=label_selector, field_selector=field_selector)
        request = Request("DELETE", resource.path(namespace), query, requests.JSON_HEADERS, codec.encode(body))
        return await self.send(request)

    # ── watches ──

    def stream(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        send_initial_events: bool = False,
        timeout_seconds: int | None = None,
    ) -> Batches:
        """Batches of encoded events, bookmarks among them, as the transport gives them; what reflectors use.

        An ERROR event is not raised. Raises StreamRefused, TransportError.
        """
        query = options(
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
            timeout_seconds=timeout_seconds,
            send_initial_events=send_initial_events or None,
            resource_version_match="NotOlderThan" if send_initial_events else "",
        )
        return self.transport.stream(resource.path(namespace), query, (requests.JSON_ACCEPT,))

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int | None = None,
    ) -> AsyncIterator[tuple[str, Object]]:
        """(type, object) of each change from a state on, until the server ends the stream. Raises Expired and other
        errors."""
        batches = self.stream(
            resource,
            namespace,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
            timeout_seconds=timeout_seconds,
        )
        try:
            async for batch in batches:
                for event_type, body in batch:
                    obj = codec.decode(body)
                    if event_type == "ERROR":
                        raise errors.from_status(obj)
                    if event_type != "BOOKMARK":
                        yield event_type, obj
        except StreamRefused as refused:
            raise error_of(refused.response) from refused
        finally:
            await batches.aclose()

    async def wait_for(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        condition: Callable[[Object | None], bool],
        *,
        timeout_seconds: float = 30.0,
    ) -> Object | None:
        """Watches one object until the condition holds for it; None stands for an absent object. Gives that state.

        Raises TimeoutError, and what a list raises (Forbidden and so on).
        """
        async with asyncio.timeout(timeout_seconds):
            while True:
                selector = f"metadata.name={name}"
                listed = await self.list(resource, namespace, field_selector=selector)
                current = listed.items[0] if listed.items else None
                if condition(current):
                    return current
                events = self.watch(
                    resource, namespace, resource_version=listed.resource_version, field_selector=selector
                )
                try:
                    async for event_type, obj in events:
                        current = None if event_type == "DELETED" else obj
                        if condition(current):
                            return current
                except errors.Expired:
                    continue
                except TransportError:
                    await asyncio.sleep(REWATCH_SECONDS)

    # ── requests as values ──

    async def send(self, request: Request) -> Object:
        """Sends a request of `kubecore.client.requests`, gives the object in the answer, raises the error in it."""
        response = await self._exchange(request)
        raise_for_status(response)
        return codec.decode(response.body)

    async def send_all(self, batch: Sequence[Request]) -> Results:
        """Sends independent requests as one batch. Each result is the object or, not raised, the error."""
        return [
            codec.decode(response.body) if response.status < 400 else error_of(response)
            for response in await self.transport.batch(batch)
        ]

    async def try_all(self, batch: Sequence[Request]) -> Outcomes:
        """As `send_all`, for those who need only know whether it worked: answers of success are not decoded."""
        return [None if response.status < 400 else error_of(response) for response in await self.transport.batch(batch)]

    async def _exchange(self, request: Request) -> Response:
        for _ in range(RETRIES_MAX):
            response = await self.transport.request(
                request.method, request.path, request.query, request.headers, request.body
            )
            retry_after = response.header("retry-after") if response.status in (429, 500, 503, 504) else None
            if retry_after is None or not retry_after.isdecimal():
                return response
            await asyncio.sleep(int(retry_after))
        return response


def _no_bytes() -> list[bytes]:
    return []


def raise_for_status(response: Response) -> None:
    if response.status >= 400:
        raise error_of(response)
