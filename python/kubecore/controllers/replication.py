"""As many pods as an owner wants: the one implementation behind ReplicationController and ReplicaSet.

In: owners and pods. Out: pods created from the template or deleted, orphans adopted, strays released, the owner's
status. Rows at the end say in what the two kinds differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from kubecore.api import errors, labels
from kubecore.api.meta import Object, key_of, labels_of, namespace_of, timestamp, uid_of
from kubecore.api.scheme import Resource, core, resource
from kubecore.client import requests
from kubecore.controllers import conditions, pods
from kubecore.controllers.base import Context, Controller
from kubecore.controllers.expectations import Expectations
from kubecore.controllers.ownership import adoption, is_namespace_terminating, release
from kubecore.controllers.pod_tally import PodClass, classify, shared_tally

BURST_REPLICAS = 500
"""Pods created or deleted for one owner before its informer is waited for."""

SLOW_START_FIRST = 1
"""Pods tried first; each batch that works is followed by one of twice its size. So a quota costs one refused request,
not five hundred."""


@dataclass(frozen=True, slots=True)
class Row:
    """In what kinds of owners differ."""

    resource: Callable[[], Resource]
    selects: Callable[[Object, Mapping[str, str]], bool]
    counts_terminating: bool
    """Whether the status has terminatingReplicas."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Pods to make, pods to delete: one of them is empty."""

    create: int
    delete: int


def plan(*, desired: int, active: int, burst: int = BURST_REPLICAS) -> Plan:
    missing = desired - active
    return Plan(create=min(missing, burst) if missing > 0 else 0, delete=min(-missing, burst) if missing < 0 else 0)


def plan_status(
    owner: Object, classes: Mapping[PodClass, int], *, available: int, failure: Object | None, row: Row
) -> Object:
    """The status that tells of those pods. `failure`: the ReplicaFailure condition, if pods could not be created or
    deleted."""
    wanted = (owner["spec"].get("template") or {}).get("metadata", {}).get("labels") or {}
    active = {kind: number for kind, number in classes.items() if kind.active}
    status: Object = {
        "replicas": sum(active.values()),
        "fullyLabeledReplicas": sum(
            number for kind, number in active.items() if wanted.items() <= dict(kind.labels).items()
        ),
        "readyReplicas": sum(number for kind, number in active.items() if kind.ready),
        "availableReplicas": available,
        "observedGeneration": owner["metadata"].get("generation", 0),
    }
    status = {name: value for name, value in status.items() if value or name == "replicas"}
    if row.counts_terminating:
        status["terminatingReplicas"] = sum(number for kind, number in classes.items() if kind.terminating)
    old = owner.get("status", {}).get("conditions")
    kept = conditions.put(old, failure) if failure else conditions.without(old, "ReplicaFailure")
    if kept:
        status["conditions"] = kept
    return status


class ReplicationManager(Controller):
    """Works on owners of the kind that `row` names."""

    row: ClassVar[Row]

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.resource = self.row.resource()
        self._owners = self.informer(self.resource)
        self._owners.add_index(pods.BY_NAMESPACE, pods.by_namespace)
        self._pods = self.informer(core("pods"))
        self._pods.add_index(pods.BY_CONTROLLER, pods.by_controller)
        self._tally = shared_tally(context.informers)
        self._expectations = Expectations(self.clock)
        self._adopting: dict[str, None] = {}
        self._written: dict[str, tuple[str, Object]] = {}
        self._owners.add_handler(self._owner_changed)
        self._pods.add_handler(self._pod_changed)

    # ── what wakes an owner ──

    def _owner_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            key = key_of(old)
            self._expectations.forget(key)
            self._adopting.pop(key, None)
            self._written.pop(key, None)
            return
        key = key_of(new)
        if old is None or uid_of(old) != uid_of(new) or old.get("spec") != new.get("spec"):
            self._adopting[key] = None
        self.queue.add(key)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        owner_before = self._owner_key(old) if old is not None else ""
        owner = self._owner_key(new) if new is not None else ""
        pod = new if new is not None else old
        assert pod is not None
        if owner_before and (owner_before != owner):
            self._expectations.observed(owner_before, uid_of(pod))
            self.queue.add(owner_before)
        if new is None:
            return
        if owner:
            if old is None or new["metadata"].get("deletionTimestamp"):
                self._expectations.observed(owner, uid_of(new))
            if old is None or owner != owner_before or classify(old) != classify(new):
                self.queue.add(owner)
        elif not pods.controller_uid(new) and (old is None or owner_before or labels_of(old) != labels_of(new)):
            self._wake_adopters(new)

    def _owner_key(self, pod: Object) -> str:
        for reference in pod["metadata"].get("ownerReferences") or ():
            if reference.get("controller") and reference["kind"] == self.resource.kind:
                return f"{pod['metadata']['namespace']}/{reference['name']}"
        return ""

    def _wake_adopters(self, orphan: Object) -> None:
        for owner in self._owners.by_index(pods.BY_NAMESPACE, namespace_of(orphan)):
            if self.row.selects(owner, labels_of(orphan)):
                self._adopting[key_of(owner)] = None
                self.queue.add(key_of(owner))

    # ── one owner ──

    async def reconcile(self, key: str) -> None:
        owner = self._latest(key)
        if owner is None:
            return
        failure: errors.StatusError | None = None
        deleting = bool(owner["metadata"].get("deletionTimestamp"))
        if not deleting:
            await self._claim(key, owner)
            if self._expectations.satisfied(key):
                failure = await self._manage(key, owner)
        await self._report(key, owner, failure)
        if failure is not None:
            raise failure

    def _latest(self, key: str) -> Object | None:
        """The owner as the informer shows it, or as our own last status write left it while the informer still shows
        the state before."""
        owner = self._owners.get(key)
        if owner is None or key not in self._written:
            return owner
        before, written = self._written[key]
        if owner["metadata"]["resourceVersion"] == before:
            return written
        del self._written[key]
        return owner

    async def _claim(self, key: str, owner: Object) -> None:
        """Adopts matching orphans, releases owned pods that match no more."""
        namespace, uid = namespace_of(owner), uid_of(owner)
        strays = [
            pod
            for kind in self._tally.of(uid)
            if not self.row.selects(owner, dict(kind.labels))
            for pod in self._pods.by_index(pods.BY_CONTROLLER, uid)
            if classify(pod) == kind and not pod["metadata"].get("deletionTimestamp")
        ]
        orphans: list[Object] = []
        if key in self._adopting:
            orphans = [
                pod
                for pod in self._pods.by_index(pods.BY_CONTROLLER, pods.ORPHANS + namespace)
                if pods.is_active(pod) and self.row.selects(owner, labels_of(pod))
            ]
        if orphans:
            fresh = await self.client.get(self.resource, namespace, owner["metadata"]["name"])
            if uid_of(fresh) != uid or fresh["metadata"].get("deletionTimestamp"):
                orphans = []
        writes = [adoption(core("pods"), pod, owner) for pod in orphans]
        writes += [release(core("pods"), pod, owner) for pod in strays]
        if writes:
            for outcome in await self.client.try_all(writes):
                # A pod that is gone, or another by now, is no longer ours to claim.
                if outcome is not None and not isinstance(outcome, errors.NotFound | errors.Invalid):
                    raise outcome
            self._expectations.expect(key, (uid_of(pod) for pod in orphans if self._is_orphan(pod)))
        self._adopting.pop(key, None)

    def _is_orphan(self, pod: Object) -> bool:
        """Whether the informer does not show the adoption yet."""
        shown = self._pods.get(key_of(pod))
        return shown is not None and not pods.controller_uid(shown)

    async def _manage(self, key: str, owner: Object) -> errors.StatusError | None:
        """Creates or deletes. Gives the first failure."""
        active = sum(number for kind, number in self._tally.of(uid_of(owner)).items() if kind.active)
        planned = plan(desired=owner["spec"].get("replicas", 1), active=active)
        if planned.create:
            return await self._create(key, owner, planned.create)
        if planned.delete:
            return await self._delete(key, owner, planned.delete)
        return None

    async def _create(self, key: str, owner: Object, number: int) -> errors.StatusError | None:
        request = requests.create(
            core("pods"), pods.from_template(owner["spec"]["template"], owner), namespace=namespace_of(owner)
        )
        size = SLOW_START_FIRST
        while number > 0:
            failure: errors.StatusError | None = None
            for outcome in await self.client.send_all([request] * min(size, number)):
                if not isinstance(outcome, errors.StatusError):
                    if self._pods.get(key_of(outcome)) is None:
                        self._expectations.expect(key, (uid_of(outcome),))
                    name = outcome["metadata"]["name"]
                    self.recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name}")
                elif is_namespace_terminating(outcome):
                    # Nothing more can be made here, and whatever there is goes away.
                    return None
                else:
                    failure = failure or outcome
                    self.recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {outcome.message}")
            if failure:
                return failure
            number -= size
            size *= 2
        return None

    async def _delete(self, key: str, owner: Object, number: int) -> errors.StatusError | None:
        owned = [pod for pod in self._pods.by_index(pods.BY_CONTROLLER, uid_of(owner)) if pods.is_active(pod)]
        ordered = pods.deletion_order(owned, related_per_node=self._related_per_node(owner), now=self.clock.now())
        chosen = ordered[:number]
        failure: errors.StatusError | None = None
        outcomes = await self.client.try_all(
            [
                requests.delete(core("pods"), namespace_of(pod), pod["metadata"]["name"], uid=uid_of(pod))
                for pod in chosen
            ]
        )
        for pod, outcome in zip(chosen, outcomes, strict=True):
            name = pod["metadata"]["name"]
            if outcome is None:
                shown = self._pods.get(key_of(pod))
                if shown is not None and uid_of(shown) == uid_of(pod) and pods.is_active(shown):
                    self._expectations.expect(key, (uid_of(pod),))
                self.recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
            elif not isinstance(outcome, errors.NotFound):
                failure = failure or outcome
                self.recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {outcome.message}")
        return failure

    def _related_per_node(self, owner: Object) -> dict[str, int]:
        """Active pods on each node, of this owner and of those that share its own controller (a Deployment's
        ReplicaSets)."""
        related = [owner]
        parent = pods.controller_uid(owner)
        if parent:
            siblings = self._owners.by_index(pods.BY_NAMESPACE, namespace_of(owner))
            related = [sibling for sibling in siblings if pods.controller_uid(sibling) == parent]
        numbers: dict[str, int] = {}
        for each in related:
            for pod in self._pods.by_index(pods.BY_CONTROLLER, uid_of(each)):
                node = pod.get("spec", {}).get("nodeName")
                if node and pods.is_active(pod):
                    numbers[node] = numbers.get(node, 0) + 1
        return numbers

    async def _report(self, key: str, owner: Object, failure: errors.StatusError | None) -> None:
        """Writes the status if it changed."""
        classes = self._tally.of(uid_of(owner))
        ready = sum(number for kind, number in classes.items() if kind.active and kind.ready)
        available = self._available(key, owner, ready)
        old = owner.get("status", {})
        # A failure that is told already is not told anew: its message has another pod's name each time, and each change
        # of the status wakes this owner. And what was not tried did not succeed.
        told = conditions.find(old.get("conditions"), "ReplicaFailure")
        condition = told if failure or not self._expectations.satisfied(key) else None
        if failure and told is None:
            condition = self._failure_condition(owner, failure)
        status = plan_status(owner, classes, available=available, failure=condition, row=self.row)
        if status == {name: value for name, value in old.items() if value or name in status}:
            return
        shown = self._owners.get(key)
        written = await self.client.update_status(self.resource, {**owner, "status": status})
        if shown is not None and uid_of(shown) == uid_of(written):
            # What was shown before the write: the informer may be past it by now, with somebody else's later change.
            self._written[key] = (shown["metadata"]["resourceVersion"], written)

    def _available(self, key: str, owner: Object, ready: int) -> int:
        wait = owner["spec"].get("minReadySeconds", 0)
        if not wait or not ready:
            return ready
        now, available, next_seconds = self.clock.now(), 0, float(wait)
        for pod in self._pods.by_index(pods.BY_CONTROLLER, uid_of(owner)):
            if not pods.is_active(pod) or not pods.is_ready(pod):
                continue
            if pods.is_available(pod, min_ready_seconds=wait, now=now):
                available += 1
            else:
                next_seconds = min(next_seconds, pods.ready_since(pod) + wait - now)
        if available < ready:
            self.queue.add_after(key, max(next_seconds, 0.1))
        return available

    def _failure_condition(self, owner: Object, failure: errors.StatusError) -> Object:
        active = sum(number for kind, number in self._tally.of(uid_of(owner)).items() if kind.active)
        return {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate" if active < owner["spec"].get("replicas", 1) else "FailedDelete",
            "message": failure.message,
            "lastTransitionTime": timestamp(self.clock.now()),
        }


def _selects_by_map(owner: Object, pod_labels: Mapping[str, str]) -> bool:
    return labels.matches_simple(owner["spec"].get("selector"), dict(pod_labels))


def _selects_by_selector(owner: Object, pod_labels: Mapping[str, str]) -> bool:
    selector = owner["spec"].get("selector")
    return not labels.is_empty(selector) and labels.matches(selector, dict(pod_labels))


class ReplicationController(ReplicationManager):
    name = "replicationcontroller-controller"
    identity = component = "replication-controller"
    row = Row(partial(core, "replicationcontrollers"), _selects_by_map, counts_terminating=False)


class ReplicaSet(ReplicationManager):
    name = identity = component = "replicaset-controller"
    row = Row(partial(resource, "apps", "v1", "replicasets"), _selects_by_selector, counts_terminating=True)
