"""ResourceQuota: counts what a namespace uses, and says it in the quota's status.

In: quotas, and the objects that they count. Out: `status.hard` and `status.used`. Admission adds what is created,
within its own transaction; this controller gives back what was deleted or has finished, and counts all anew for a
quota that is new or changed. It counts from informers of just those resources that some quota names.
Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from kubecore.api import errors, quota_usage, scheme
from kubecore.api.amounts import Amounts, add, canonical
from kubecore.api.meta import Object, key_of, namespace_of
from kubecore.api.quota_usage import IGNORED, evaluator_for
from kubecore.api.scheme import Resource, core
from kubecore.client import Informer
from kubecore.controllers.base import Context, Controller

NAMESPACE_INDEX = "namespace"

RECOUNT_SECONDS = 300.0
"""All quotas are counted anew so often (`--resource-quota-sync-period`): what no event told of is found then."""

SETTLE_SECONDS = 0.1
"""Changes that come together are counted together, and the informers of what is counted have caught up by then. If
admission has counted something meanwhile, the write below conflicts and all is counted again."""


def counted_resources() -> list[Resource]:
    """The namespaced resources that a quota may name, each storage once."""
    found: dict[tuple[str, str, str], Resource] = {}
    for resource in scheme.resources():
        if resource.namespaced and resource.served and "list" in resource.verbs and resource.plural not in IGNORED:
            found.setdefault(resource.storage, resource)
    return list(found.values())


def usage(quota: Object, objects: Iterable[tuple[Resource, Object]]) -> Amounts:
    """What the objects use of the quota, for each name in its `hard`."""
    hard = quota.get("spec", {}).get("hard") or {}
    total: Amounts = dict.fromkeys(hard, "0")
    for resource, obj in objects:
        evaluator = evaluator_for(resource)
        if not quota_usage.in_scope(quota, obj, is_pod=evaluator.is_pod):
            continue
        used = evaluator.usage(obj)
        total = add(total, {name: amount for name, amount in used.items() if name in hard})
    return total


def plan(quota: Object, used: Amounts) -> Object | None:
    """The quota with its new status, or None if that is what it says already."""
    status = {"hard": canonical(quota.get("spec", {}).get("hard") or {}), "used": used}
    return None if quota.get("status") == status else {**quota, "status": status}


def gives_back(resource: Resource, old: Object, new: Object | None) -> bool:
    """Whether an object uses less than before."""
    if new is None:
        return True
    evaluator = evaluator_for(resource)
    if not (evaluator.is_pod or evaluator.on_update):
        return False
    return evaluator.usage(old) != evaluator.usage(new)


class ResourceQuotas(Controller):
    name = "resourcequota-controller"
    identity = "resourcequota-controller"
    component = "resourcequota-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._quotas = self.informer(core("resourcequotas"))
        self._quotas.add_handler(self._quota_changed)
        self._quotas.add_index(NAMESPACE_INDEX, _by_namespace)
        self._countable = counted_resources()
        self._counted: dict[Resource, Informer] = {}

    def _quota_changed(self, old: Object | None, new: Object | None) -> None:
        """Admission's own counting changes the status: that alone is no reason to count again."""
        if new is not None and (old is None or old.get("spec") != new.get("spec") or "status" not in new):
            self.queue.add_after(key_of(new), SETTLE_SECONDS)

    async def reconcile(self, key: str) -> None:
        quota = self._quotas.get(key)
        if quota is None:
            return
        hard = quota.get("spec", {}).get("hard") or {}
        objects: list[tuple[Resource, Object]] = []
        for resource in self._countable:
            if any(evaluator_for(resource).counts(name) for name in hard):
                informer = await self._informer_of(resource)
                objects += [(resource, obj) for obj in informer.by_index(NAMESPACE_INDEX, namespace_of(quota))]
        wanted = plan(quota, usage(quota, objects))
        if wanted is None:
            return
        try:
            await self.client.update_status(core("resourcequotas"), wanted)
        except errors.NotFound:
            return

    def background(self) -> list[Callable[[], Awaitable[None]]]:
        return [self._recount]

    async def _recount(self) -> None:
        while True:
            await asyncio.sleep(RECOUNT_SECONDS)
            for key in self.all_keys():
                self.queue.add(key)

    async def _informer_of(self, resource: Resource) -> Informer:
        """Its informer, started when a quota first names the resource."""
        informer = self._counted.get(resource)
        if informer is None:
            informer = self._counted[resource] = self.context.informers.of(resource)
            informer.add_index(NAMESPACE_INDEX, _by_namespace)
            informer.add_handler(lambda old, new: self._changed(resource, old, new))
        await informer.wait_synced()
        return informer

    def _changed(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        if old is not None and gives_back(resource, old, new):
            for quota in self._quotas.by_index(NAMESPACE_INDEX, namespace_of(old)):
                self.queue.add_after(key_of(quota), SETTLE_SECONDS)


def _by_namespace(obj: Object) -> list[str]:
    return [namespace_of(obj)]
