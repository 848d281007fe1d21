"""Who owns whom: the graph that the garbage collector decides by. Pure bookkeeping; keys of what must be looked at
come out of it.

```
owner ◀──ownerReferences── dependent          an owner that nobody has shown yet is `virtual`
```
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from kubecore.api.scheme import Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class OwnerReference(msgspec.Struct, rename="camel", frozen=True):
    api_version: str = msgspec.field(default="", name="apiVersion")
    kind: str = ""
    name: str = ""
    uid: str = ""
    block_owner_deletion: bool | None = None


class Metadata(msgspec.Struct, rename="camel"):
    """What the collector reads of an object; the rest is not even decoded."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    finalizers: Sequence[str] | None = None
    owner_references: Sequence[OwnerReference] | None = None


class _Headed(msgspec.Struct):
    metadata: Metadata


_decode = msgspec.json.Decoder(_Headed).decode


def decode(body: bytes) -> Metadata:
    return _decode(body).metadata


@dataclass(slots=True)
class Node:
    """One object. `dependents`: uids of the objects that name it as an owner, in the order in which they came."""

    uid: str
    resource: Resource | None
    namespace: str
    name: str
    resource_version: str = ""
    virtual: bool = False
    deleting: bool = False
    foreground: bool = False
    orphaning: bool = False
    owners: Sequence[OwnerReference] = ()
    dependents: dict[str, None] = field(default_factory=dict)

    def blocks(self, owner_uid: str) -> bool:
        return any(owner.uid == owner_uid and owner.block_owner_deletion for owner in self.owners)


class Graph:
    """Nodes by uid."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def uids(self) -> Iterable[str]:
        return self._nodes

    def get(self, uid: str) -> Node | None:
        return self._nodes.get(uid)

    def dependents(self, node: Node) -> list[Node]:
        return [found for uid in node.dependents if (found := self._nodes.get(uid)) is not None]

    def observe(self, resource: Resource, metadata: Metadata) -> Iterable[str]:
        """An object was added or changed. Gives the uids to look at."""
        node = self._nodes.get(metadata.uid)
        look: list[str] = []
        if node is None:
            node = self._nodes[metadata.uid] = Node(metadata.uid, resource, metadata.namespace, metadata.name)
        node.resource, node.namespace, node.name = resource, metadata.namespace, metadata.name
        node.virtual = False
        node.resource_version = metadata.resource_version
        look += self._relink(node, metadata.owner_references or ())
        finalizers = metadata.finalizers or ()
        node.deleting = metadata.deletion_timestamp is not None
        foreground = node.deleting and FOREGROUND in finalizers
        if foreground and not node.foreground:
            look += node.dependents
        node.foreground = foreground
        node.orphaning = node.deleting and ORPHAN in finalizers
        if node.foreground or node.orphaning:
            look.append(node.uid)
        return look

    def _relink(self, node: Node, owners: Sequence[OwnerReference]) -> list[str]:
        look = []
        before = {owner.uid: owner for owner in node.owners}
        after = {owner.uid: owner for owner in owners}
        for uid in before:
            if uid not in after:
                self._unlink(uid, node.uid)
        for uid, reference in after.items():
            owner = self._nodes.get(uid)
            if owner is None:
                # Nobody has shown it: whether it exists is asked of the server.
                owner = self._nodes[uid] = Node(uid, None, node.namespace, reference.name, virtual=True)
                look.append(node.uid)
            elif uid not in before and owner.foreground:
                look.append(node.uid)
            owner.dependents[node.uid] = None
            if uid in before and before[uid].block_owner_deletion and not reference.block_owner_deletion:
                look.append(uid)
        look += [uid for uid in before if uid not in after and self._waits(uid)]
        node.owners = tuple(owners)
        return look

    def _waits(self, uid: str) -> bool:
        owner = self._nodes.get(uid)
        return owner is not None and owner.foreground

    def _unlink(self, owner_uid: str, uid: str) -> None:
        owner = self._nodes.get(owner_uid)
        if owner is not None:
            owner.dependents.pop(uid, None)
            if owner.virtual and not owner.dependents:
                del self._nodes[owner_uid]

    def remove(self, uid: str) -> Iterable[str]:
        """The object is gone. Gives the uids to look at: its dependents, and owners that waited for it."""
        node = self._nodes.pop(uid, None)
        if node is None:
            return ()
        look = list(node.dependents)
        for owner in node.owners:
            self._unlink(owner.uid, uid)
            if self._waits(owner.uid):
                look.append(owner.uid)
        if node.dependents:
            # They still name it; what it was is kept as absent until they are gone, too.
            self._nodes[uid] = Node(uid, None, node.namespace, node.name, virtual=True, dependents=node.dependents)
        return look
