"""RBAC's policy as the storage has it, with an epoch of its own.

Reads are at the applied head, decoded once per key and revision by the storage. What comes out is shared: never change
it.
"""

from __future__ import annotations

from kubecore.api import scheme
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.storage.protocol import Storage

RBAC_GROUP, RBAC_VERSION = "rbac.authorization.k8s.io", "v1"
RBAC_PLURALS = ("roles", "rolebindings", "clusterroles", "clusterrolebindings")


class StoredPolicy:
    """RBAC's `PolicySource` over a storage.

    The storage's policy epoch moves with service accounts too. When it has moved, (count, newest revision) of each RBAC
    kind tells whether RBAC did: every write raises the newest revision, and a deletion alone lowers the count.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._seen_epoch = -1
        self._fingerprint: tuple[tuple[int, int], ...] = ()
        self._epoch = 0
        self._objects: dict[str, list[Object]] = {}

    def epoch(self) -> int:
        seen = self._storage.policy_epoch()
        if seen != self._seen_epoch:
            pages = {plural: self._storage.list(_rbac(plural).key_prefix()).items for plural in RBAC_PLURALS}
            fingerprint = tuple(
                (len(items), max((stored.revision for stored in items), default=0)) for items in pages.values()
            )
            if fingerprint != self._fingerprint:
                self._objects = {plural: [stored.object for stored in items] for plural, items in pages.items()}
                self._fingerprint = fingerprint
                self._epoch += 1
            self._seen_epoch = seen
        return self._epoch

    def objects(self, plural: str) -> list[Object]:
        """As of the last `epoch`."""
        return self._objects.get(plural, [])


def _rbac(plural: str) -> Resource:
    return scheme.resource(RBAC_GROUP, RBAC_VERSION, plural)
