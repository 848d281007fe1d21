"""The client for programs without an event loop: each call runs on the cluster's loop and waits for its answer.

Resources may be named as a person would (`pods`, `rc`, `deployments.apps`) or given as a `scheme.Resource`; manifests
as dictionaries or YAML text.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from kubecore.api import scheme
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.client.apply import apply, resource_of
from kubecore.client.client import Client
from kubecore.client.requests import PatchType

Result = TypeVar("Result")
Objects = list[Object]
"""Named here, because `SyncClient.list` hides the type."""
Condition = Callable[[Object | None], bool]

WATCH_QUEUE_MAX = 10_000
"""Events a watch iterator may be behind; then the watch stops reading, and the server decides (it lags, then 410 Gone)."""


def find_resource(word: str | Resource) -> Resource:
    """`pods`, `po`, `Deployment`, `deployments.apps`. Raises KeyError."""
    if isinstance(word, Resource):
        return word
    found = scheme.find(word)
    if found is None:
        raise KeyError(f"no resource is called {word!r}")
    return found


def manifests_of(given: Object | str) -> list[Object]:
    """The objects in YAML or JSON text, Lists opened; or the one object given."""
    if not isinstance(given, str):
        return [given]
    import yaml

    found: list[Object] = []
    for document in yaml.load_all(given, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if document is None:
            continue
        found.extend(document["items"] if document.get("kind") == "List" else [document])
    return found


class SyncClient:
    """`Client`'s verbs, waiting. Errors are those of `kubecore.api.errors`. Usable from any thread but the loop's own."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop, *, namespace: str = "default") -> None:
        self._client = client
        self._loop = loop
        self._namespace = namespace

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs a coroutine on the cluster's loop. Whoever stops waiting (Ctrl-C) ends it. Raises RuntimeError if the cluster
        is stopped meanwhile."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except concurrent.futures.CancelledError as stopped:
            raise RuntimeError("the cluster was stopped") from stopped
        finally:
            running.cancel()

    def _place(self, resource: Resource, namespace: str | None) -> str:
        if not resource.namespaced:
            return ""
        return self._namespace if namespace is None else namespace

    def get(self, resource: str | Resource, name: str, *, namespace: str | None = None) -> Object:
        found = find_resource(resource)
        return self.run(self._client.get(found, self._place(found, namespace), name))

    def list(
        self,
        resource: str | Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Objects:
        """The objects of a namespace; an empty namespace means all."""
        found = find_resource(resource)
        place = self._place(found, namespace)
        return self.run(
            self._client.list(found, place, label_selector=label_selector, field_selector=field_selector)
        ).items

    def create(self, manifest: Object, *, namespace: str | None = None) -> Object:
        resource = resource_of(manifest)
        place = manifest.get("metadata", {}).get("namespace") or self._place(resource, namespace)
        return self.run(self._client.create(resource, manifest, namespace=place))

    def apply(self, manifest: Object | str, *, namespace: str | None = None) -> Objects:
        """Applies one object, or all of a YAML text; gives them as they are after."""
        place = self._namespace if namespace is None else namespace
        return [self.run(apply(self._client, one, namespace=place)).object for one in manifests_of(manifest)]

    def update(self, obj: Object) -> Object:
        return self.run(self._client.update(resource_of(obj), obj))

    def patch(
        self,
        resource: str | Resource,
        name: str,
        body: Any,
        *,
        namespace: str | None = None,
        patch_type: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        found = find_resource(resource)
        place = self._place(found, namespace)
        return self.run(self._client.patch(found, place, name, body, patch_type=patch_type, subresource=subresource))

    def delete(
        self,
        resource: str | Resource,
        name: str,
        *,
        namespace: str | None = None,
        grace_period_seconds: int | None = None,
        propagation_policy: str = "",
    ) -> Object:
        found = find_resource(resource)
        return self.run(
            self._client.delete(
                found,
                self._place(found, namespace),
                name,
                grace_period_seconds=grace_period_seconds,
                propagation_policy=propagation_policy,
            )
        )

    def scale(self, resource: str | Resource, name: str, *, replicas: int, namespace: str | None = None) -> Object:
        found = find_resource(resource)
        return self.run(self._client.scale(found, self._place(found, namespace), name, replicas=replicas))

    def wait_for(
        self,
        resource: str | Resource,
        name: str,
        condition: Condition,
        *,
        namespace: str | None = None,
        timeout_seconds: float = 30.0,
    ) -> Object | None:
        """Watches until the condition holds (it sees None while the object is absent). Raises TimeoutError."""
        found = find_resource(resource)
        place = self._place(found, namespace)
        return self.run(self._client.wait_for(found, place, name, condition, timeout_seconds=timeout_seconds))

    def watch(
        self,
        resource: str | Resource,
        *,
        namespace: str | None = None,
        resource_version: str = "",
        label_selector: str = "",
        timeout_seconds: int | None = None,
    ) -> Iterator[tuple[str, Object]]:
        """(type, object) of each change until the server ends the watch or the iterator is closed."""
        found = find_resource(resource)
        events = self._client.watch(
            found,
            self._place(found, namespace),
            resource_version=resource_version,
            label_selector=label_selector,
            timeout_seconds=timeout_seconds,
        )
        return self._iterate(events)

    def _iterate(self, events: AsyncIterator[tuple[str, Object]]) -> Iterator[tuple[str, Object]]:
        passed: queue.Queue[tuple[str, Object] | BaseException | None] = queue.Queue()
        room = asyncio.Semaphore(WATCH_QUEUE_MAX)

        async def pump() -> None:
            try:
                async for event in events:
                    await room.acquire()
                    passed.put(event)
                passed.put(None)
            except asyncio.CancelledError:
                passed.put(None)
                raise
            except Exception as error:  # handed to the thread that iterates
                passed.put(error)

        pumping = asyncio.run_coroutine_threadsafe(pump(), self._loop)
        try:
            while (item := passed.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                self._loop.call_soon_threadsafe(room.release)
                yield item
        finally:
            pumping.cancel()
