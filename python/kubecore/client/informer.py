"""A local copy of a collection that says what changed.

`Informer` holds decoded objects with indexes, shared by all its readers: never change an object you got from one.
`RawInformer` hands encoded objects on as they came, for a reader that decodes by itself. Both are sinks of a
reflector. Their memory is the collection's: nothing else is kept.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol

from kubecore.api.codec import read_shared
from kubecore.api.meta import Object, key_of
from kubecore.api.scheme import Resource
from kubecore.client import codec
from kubecore.client.client import Client
from kubecore.client.reflector import Reflector
from kubecore.client.transport import WatchEvent

Handler = Callable[[Object | None, Object | None], None]
"""Called with (old, new): old is None for an addition, new is None for a deletion (old is then the last state known).
It runs inside the informer's turn: it may enqueue keys, it must not block."""

IndexFunction = Callable[[Object], Iterable[str]]
"""The values under which an object is to be found in an index."""

RawHandler = Callable[[list[WatchEvent]], None]


class Reader(Protocol):
    """What readers of a local copy use."""

    def get(self, key: str) -> Object | None: ...
    def list(self) -> Iterable[Object]: ...
    def by_index(self, index: str, value: str) -> Collection[Object]: ...


class _Index:
    """Objects by the values that a function finds in them; each value's objects in the order in which they came."""

    def __init__(self, function: IndexFunction) -> None:
        self._function = function
        self._values: dict[str, dict[str, Object]] = {}
        self._found: dict[str, tuple[str, ...]] = {}

    def move(self, key: str, new: Object | None) -> None:
        """The object of that key is now another, or gone."""
        before = self._found.pop(key, ())
        after = tuple(self._function(new)) if new is not None else ()
        if after:
            self._found[key] = after
        for value in before:
            if value not in after:
                objects = self._values[value]
                objects.pop(key, None)
                if not objects:
                    del self._values[value]
        if new is not None:
            for value in after:
                self._values.setdefault(value, {})[key] = new

    def get(self, value: str) -> dict[str, Object]:
        return self._values.get(value, {})


class Store:
    """Decoded objects by key, and by index. The part of an informer that knows nothing of watching."""

    def __init__(self, indexers: Mapping[str, IndexFunction] | None = None) -> None:
        self._objects: dict[str, Object] = {}
        self._indexes = {name: _Index(function) for name, function in (indexers or {}).items()}

    def get(self, key: str) -> Object | None:
        return self._objects.get(key)

    def list(self) -> Iterable[Object]:
        return self._objects.values()

    def __iter__(self) -> Iterator[str]:
        """The keys, in the order in which their objects came."""
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def by_index(self, index: str, value: str) -> Collection[Object]:
        """The objects whose index function gives that value. A view: copy it before anything is awaited."""
        return self._indexes[index].get(value).values()

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Twice under one name is the same index: shared informers are indexed by each of their readers."""
        if name in self._indexes:
            return
        index = self._indexes[name] = _Index(function)
        for key, obj in self._objects.items():
            index.move(key, obj)

    def put(self, key: str, obj: Object) -> Object | None:
        """Gives the object that was there."""
        old = self._objects.get(key)
        self._objects[key] = obj
        for index in self._indexes.values():
            index.move(key, obj)
        return old

    def remove(self, key: str) -> Object | None:
        old = self._objects.pop(key, None)
        if old is not None:
            for index in self._indexes.values():
                index.move(key, None)
        return old


class Informer:
    """A decoded, indexed copy of one collection. Run `run` as a task."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        randomness: random.Random,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        indexers: Mapping[str, IndexFunction] | None = None,
    ) -> None:
        self.resource = resource
        self.store = Store(indexers)
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self.reflector = Reflector(
            client,
            resource,
            self,
            randomness=randomness,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )

    async def run(self) -> None:
        await self.reflector.run()

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def add_handler(self, handler: Handler) -> None:
        """The handler is told of every object already here, then of every change."""
        self._handlers.append(handler)
        for obj in list(self.store.list()):
            handler(None, obj)

    def add_index(self, name: str, function: IndexFunction) -> None:
        self.store.add_index(name, function)

    def get(self, key: str) -> Object | None:
        return self.store.get(key)

    def list(self) -> Iterable[Object]:
        return self.store.list()

    def by_index(self, index: str, value: str) -> Collection[Object]:
        return self.store.by_index(index, value)

    # ── the sink ──

    def replace(self, items: Iterable[bytes]) -> None:
        kept: dict[str, None] = {}
        for item in items:
            obj = self._decode(item)
            key = key_of(obj)
            kept[key] = None
            known = self.store.get(key)
            if known is None or known["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._put(key, obj)
        for key in [key for key in self.store if key not in kept]:
            self._remove(key, None)
        self._synced.set()

    def apply(self, events: Iterable[WatchEvent]) -> None:
        for event_type, body in events:
            obj = self._decode(body)
            key = key_of(obj)
            if event_type == "DELETED":
                self._remove(key, obj)
            else:
                self._put(key, obj)

    def _decode(self, body: bytes) -> Object:
        # Several informers of one process may follow a collection: what is decoded for one serves all.
        obj = read_shared(body)
        if "kind" not in obj:
            # Upstream leaves both out of a list's items.
            obj["apiVersion"], obj["kind"] = self.resource.api_version, self.resource.kind
        return obj

    def _put(self, key: str, obj: Object) -> None:
        old = self.store.put(key, obj)
        for handler in self._handlers:
            handler(old, obj)

    def _remove(self, key: str, last: Object | None) -> None:
        old = self.store.remove(key)
        if old is not None:
            for handler in self._handlers:
                handler(last or old, None)


class RawInformer:
    """Hands on encoded events, made complete: after a relist, what vanished meanwhile comes as DELETED with its last
    known state."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        handler: RawHandler,
        *,
        randomness: random.Random,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        self.resource = resource
        self._handler = handler
        self._objects: dict[str, tuple[str, bytes]] = {}
        self._synced = asyncio.Event()
        self.reflector = Reflector(
            client,
            resource,
            self,
            randomness=randomness,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )

    async def run(self) -> None:
        await self.reflector.run()

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def get(self, key: str) -> bytes | None:
        known = self._objects.get(key)
        return known[1] if known else None

    def replace(self, items: Iterable[bytes]) -> None:
        before, self._objects = self._objects, {}
        events: list[WatchEvent] = []
        for item in items:
            metadata = codec.metadata_of(item)
            known = before.pop(metadata.key, None)
            self._objects[metadata.key] = (metadata.resource_version, item)
            if known is None:
                events.append(("ADDED", item))
            elif known[0] != metadata.resource_version:
                events.append(("MODIFIED", item))
        events += [("DELETED", body) for _, body in before.values()]
        if events:
            self._handler(events)
        self._synced.set()

    def apply(self, events: list[WatchEvent]) -> None:
        for event_type, body in events:
            metadata = codec.metadata_of(body)
            if event_type == "DELETED":
                self._objects.pop(metadata.key, None)
            else:
                self._objects[metadata.key] = (metadata.resource_version, body)
        self._handler(events)
