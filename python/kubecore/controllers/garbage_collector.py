"""Garbage collector: deletes what has lost all its owners, and sees deletions through in the order that was asked for.

In: the metadata of every object of every resource that can be watched and deleted (events aside). Out: deletions of
dependents without owners, removed references to owners that are gone, the `foregroundDeletion` and `orphan`
finalizers removed when their work is done. Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from kubecore.api import errors, scheme
from kubecore.api.scheme import Resource
from kubecore.client import Reflector, WatchEvent
from kubecore.controllers import gc_graph
from kubecore.controllers.base import Context, Controller
from kubecore.controllers.gc_graph import FOREGROUND, ORPHAN, Graph, Node, OwnerReference

log = logging.getLogger(__name__)

WORKERS = 20
ABSENT_MAX = 10_000
"""Owners known to be gone; beyond it the one unused for longest is asked for again."""

IGNORED = frozenset({"events"})


def collectable() -> list[Resource]:
    """Each storage once, in the fact table's order."""
    found: dict[tuple[str, str, str], Resource] = {}
    for resource in scheme.resources():
        if resource.served and {"list", "watch", "delete"} <= set(resource.verbs) and resource.plural not in IGNORED:
            found.setdefault(resource.storage, resource)
    return list(found.values())


class _Feed:
    """One resource's objects on their way into the graph."""

    def __init__(
        self, resource: Resource, graph: Graph, look: Callable[[Iterable[str]], None], gone: Callable[[str], None]
    ) -> None:
        self._resource = resource
        self._graph = graph
        self._look = look
        self._gone = gone
        self._uids: dict[str, None] = {}
        self.synced = asyncio.Event()

    def replace(self, items: list[bytes]) -> None:
        before, self._uids = self._uids, {}
        for item in items:
            metadata = gc_graph.decode(item)
            self._uids[metadata.uid] = None
            self._look(self._graph.observe(self._resource, metadata))
        for uid in before:
            if uid not in self._uids:
                self._remove(uid)
        self.synced.set()

    def apply(self, events: list[WatchEvent]) -> None:
        for event_type, body in events:
            metadata = gc_graph.decode(body)
            if event_type == "DELETED":
                self._uids.pop(metadata.uid, None)
                self._remove(metadata.uid)
            else:
                self._uids[metadata.uid] = None
                self._look(self._graph.observe(self._resource, metadata))

    def _remove(self, uid: str) -> None:
        look = list(self._graph.remove(uid))
        if look:
            self._gone(uid)
            self._look(look)


class GarbageCollector(Controller):
    name = "garbage-collector-controller"
    identity = component = "generic-garbage-collector"

    def __init__(self, context: Context) -> None:
        super().__init__(context, workers=WORKERS)
        self._graph = Graph()
        self._absent: OrderedDict[str, None] = OrderedDict()
        self._feeds: list[_Feed] = []
        self._reflectors: list[Reflector] = []
        for resource in collectable():
            feed = _Feed(resource, self._graph, self._look, self._note_absent)
            own = random.Random(context.randomness.random())
            self._feeds.append(feed)
            self._reflectors.append(Reflector(self.client, resource, feed, randomness=own))

    def _look(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self.queue.add(uid)

    def all_keys(self) -> Iterable[str]:
        return list(self._graph.uids())

    async def wait_synced(self) -> None:
        """Nothing is judged before everything is known: an owner not seen yet is not an owner gone."""
        for feed in self._feeds:
            await feed.synced.wait()

    async def run(self) -> None:
        tasks = [asyncio.create_task(each.run(), name=f"gc {each.resource.qualified}") for each in self._reflectors]
        tasks.append(asyncio.create_task(super().run(), name=self.name))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ── one object ──

    async def reconcile(self, key: str) -> None:
        node = self._graph.get(key)
        if node is None or node.resource is None:
            return
        if node.orphaning:
            await self._orphan(node)
        elif node.foreground:
            await self._finish_foreground(node)
        elif not node.deleting and node.owners:
            await self._judge(node, node.resource)

    async def _judge(self, node: Node, resource: Resource) -> None:
        """Keep it, take dead references away, or delete it."""
        solid, dangling, waiting = [], [], []
        for reference in node.owners:
            owner = self._graph.get(reference.uid)
            if await self._is_gone(node, reference, owner):
                dangling.append(reference)
            elif owner is not None and owner.foreground:
                waiting.append(reference)
            else:
                solid.append(reference)
        if solid:
            if dangling or waiting:
                await self._drop_references(node, resource, [*dangling, *waiting])
            return
        policy, version = "Background", node.resource_version
        if waiting and node.dependents:
            policy = "Foreground"
            if any(each.foreground for each in self._graph.dependents(node)):
                # Perhaps a circle, in which everybody would wait for the next: this one is waited for no longer.
                version = await self._unblock_owners(node, resource)
        await self._tolerant(
            self.client.delete(
                resource,
                node.namespace,
                node.name,
                uid=node.uid,
                resource_version=version,
                propagation_policy=policy,
            )
        )

    async def _is_gone(self, node: Node, reference: OwnerReference, owner: Node | None) -> bool:
        if reference.uid in self._absent:
            self._absent.move_to_end(reference.uid)
            return True
        if owner is not None and not owner.virtual:
            # The same uid under another name or in another namespace is not that owner.
            return owner.name != reference.name or owner.namespace not in ("", node.namespace)
        group, version = scheme.parse_api_version(reference.api_version)
        kind = scheme.by_kind().get((group, version, reference.kind))
        if kind is None or (kind.namespaced and not node.namespace):
            # A kind that nobody knows may exist all the same: nothing is deleted on a guess.
            return False
        try:
            found = await self.client.get(kind, node.namespace if kind.namespaced else "", reference.name)
        except errors.NotFound:
            self._note_absent(reference.uid)
            return True
        if found["metadata"]["uid"] == reference.uid:
            return False
        self._note_absent(reference.uid)
        return True

    def _note_absent(self, uid: str) -> None:
        self._absent[uid] = None
        if len(self._absent) > ABSENT_MAX:
            self._absent.popitem(last=False)

    async def _finish_foreground(self, node: Node) -> None:
        """The owner goes once no dependent blocks it any more."""
        blocking = [each for each in self._graph.dependents(node) if each.blocks(node.uid)]
        for dependent in blocking:
            if not dependent.deleting:
                self.queue.add(dependent.uid)
        if not blocking:
            await self._remove_finalizer(node, FOREGROUND)

    async def _orphan(self, node: Node) -> None:
        """Dependents forget their owner, then it goes."""
        for dependent in self._graph.dependents(node):
            if dependent.resource is not None:
                await self._drop_references(dependent, dependent.resource, [OwnerReference(uid=node.uid)])
        await self._remove_finalizer(node, ORPHAN)

    # ── writes ──

    async def _drop_references(self, node: Node, resource: Resource, gone: list[OwnerReference]) -> None:
        uids = {reference.uid for reference in gone}
        await self._change(
            node,
            resource,
            "ownerReferences",
            lambda references: [each for each in references if each["uid"] not in uids],
        )

    async def _unblock_owners(self, node: Node, resource: Resource) -> str:
        """Gives the resourceVersion that the object has then."""
        return await self._change(
            node,
            resource,
            "ownerReferences",
            lambda references: [
                {**each, "blockOwnerDeletion": False} if each.get("blockOwnerDeletion") else each for each in references
            ],
        )

    async def _remove_finalizer(self, node: Node, finalizer: str) -> None:
        assert node.resource is not None, "only what was shown has finalizers"
        await self._change(
            node, node.resource, "finalizers", lambda finalizers: [each for each in finalizers if each != finalizer]
        )

    async def _change(self, node: Node, resource: Resource, name: str, how: Callable[[list[Any]], list[Any]]) -> str:
        """Reads the object as it is now and writes one list of its metadata. Gives its resourceVersion afterwards."""
        try:
            found = await self.client.get(resource, node.namespace, node.name)
            metadata = found["metadata"]
            before = metadata.get(name) or []
            after = how(before)
            if metadata["uid"] != node.uid or after == before:
                return str(metadata["resourceVersion"])
            change = {"resourceVersion": metadata["resourceVersion"], name: after or None}
            changed = await self.client.patch(resource, node.namespace, node.name, {"metadata": change})
        except errors.NotFound:
            return node.resource_version
        return str(changed["metadata"]["resourceVersion"])

    async def _tolerant(self, write: Awaitable[object]) -> None:
        """What is gone already needs no write."""
        try:
            await write
        except errors.NotFound:
            return
