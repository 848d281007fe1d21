"""Namespace: empties a namespace that is being deleted, then lets it go.

In: namespaces. Out: its content deleted, resource by resource; conditions that say what is left; the finalizer
`kubernetes` removed through `finalize` once nothing is. Which resources there are it knows from the fact table.
Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kubecore.api import errors, scheme
from kubecore.api.meta import Object, timestamp
from kubecore.api.scheme import Resource, core
from kubecore.controllers.base import Context, Controller

FINALIZER = "kubernetes"

RECHECK_SECONDS = 1.0
"""Content that leaves by grace or by other finalizers is looked for again after so long."""


@dataclass(slots=True)
class Remaining:
    """What a pass found still there."""

    counts: dict[str, int] = field(default_factory=dict)
    finalizers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        return not self.counts and not self.failures


def content_resources() -> list[Resource]:
    """What can be in a namespace: each storage once; pods first, events last."""
    found: dict[tuple[str, str, str], Resource] = {}
    for resource in scheme.resources():
        if resource.namespaced and resource.served and {"list", "deletecollection"} <= set(resource.verbs):
            found.setdefault(resource.storage, resource)
    rank = {"pods": -1, "events": 1}
    return sorted(found.values(), key=lambda resource: rank.get(resource.plural, 0))


def conditions(remaining: Remaining, old: list[Object], now: float) -> list[Object]:
    """Upstream's five, each with its last transition kept while its status stays."""
    counts = ", ".join(
        # The core group's name is empty and its dot stays, as upstream's text has it.
        f"{name if '.' in name else name + '.'} has {count} resource instances"
        for name, count in sorted(remaining.counts.items())
    )
    held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(remaining.finalizers.items()))
    rows = (
        ("NamespaceDeletionDiscoveryFailure", False, "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            bool(remaining.failures),
            "ContentDeletionFailed" if remaining.failures else "ContentDeleted",
            f"Failed to delete all resource types, {len(remaining.failures)} remaining: "
            + ", ".join(sorted(remaining.failures))
            if remaining.failures
            else "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            bool(counts),
            "SomeResourcesRemain" if counts else "ContentRemoved",
            f"Some resources are remaining: {counts}" if counts else "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            bool(held),
            "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
            f"Some content in the namespace has finalizers remaining: {held}"
            if held
            else "All content-preserving finalizers finished",
        ),
    )
    known = {condition["type"]: condition for condition in old}
    made = []
    for kind, failed, reason, message in rows:
        status = "True" if failed else "False"
        before = known.get(kind)
        since = before["lastTransitionTime"] if before and before["status"] == status else timestamp(now)
        made.append({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message})
    return made


class Namespaces(Controller):
    name = "namespace-controller"
    identity = "namespace-controller"
    component = "namespace-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._namespaces = self.enqueue_changes_of(core("namespaces"))
        self._content = content_resources()

    async def reconcile(self, key: str) -> None:
        namespace = self._namespaces.get(key)
        if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
            return
        if FINALIZER not in (namespace.get("spec", {}).get("finalizers") or ()):
            return
        remaining = await self._delete_content(key)
        if remaining.nothing:
            await self._finalize(key)
            return
        await self._say(namespace, remaining)
        self.queue.add_after(key, RECHECK_SECONDS)

    async def _delete_content(self, name: str) -> Remaining:
        """Pods may need what is beside them (network policies, secrets) until they end: the rest waits for them."""
        remaining = Remaining()
        for resource in self._content:
            if core("pods").qualified in remaining.counts:
                break
            try:
                listed = await self.client.list(resource, name)
                if not listed.items:
                    continue
                await self.client.delete_collection(resource, name, propagation_policy="Background")
                listed = await self.client.list(resource, name)
            except errors.MethodNotAllowed:
                continue
            except errors.StatusError as error:
                remaining.failures.append(f"{resource.qualified}: {error.message}")
                continue
            if listed.items:
                remaining.counts[resource.qualified] = len(listed.items)
            for item in listed.items:
                for finalizer in item["metadata"].get("finalizers") or ():
                    remaining.finalizers[finalizer] = remaining.finalizers.get(finalizer, 0) + 1
        return remaining

    async def _finalize(self, name: str) -> None:
        """Read anew: the finalizer list belongs to others too."""
        try:
            current = await self.client.get(core("namespaces"), "", name)
            kept = [each for each in current.get("spec", {}).get("finalizers") or () if each != FINALIZER]
            finalized = {**current, "spec": {**current.get("spec", {}), "finalizers": kept}}
            await self.client.update(core("namespaces"), finalized, subresource="finalize")
        except errors.NotFound:
            return

    async def _say(self, namespace: Object, remaining: Remaining) -> None:
        status = namespace.get("status") or {}
        said = conditions(remaining, status.get("conditions") or [], self.clock.now())
        if status.get("conditions") == said:
            return
        await self.client.update_status(core("namespaces"), {**namespace, "status": {**status, "conditions": said}})
