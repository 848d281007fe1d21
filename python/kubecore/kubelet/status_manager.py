"""Writes pods' statuses: one PATCH when something changed, and the last delete once a pod has ended.

In: `set` with a complete status, `finish` for a pod that has ended and is to go. Out: PATCH pods/status (strategic, with
the pod's uid), DELETE with grace period 0 and the uid as precondition. Several changes while a write is under way become
one. For a static pod the status goes to its mirror.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable

from kubecore.api import errors
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, timestamp
from kubecore.api.scheme import core
from kubecore.client import Client, Shutdown, TransportError, WorkQueue
from kubecore.kubelet import conditions

log = logging.getLogger(__name__)

WRITERS = 8
"""Statuses written at a time."""

RETRY_LONGEST_SECONDS = 10.0

Target = Callable[[str], Object | None]
"""Pod's uid → the API's object of it: the pod, or a static pod's mirror; None if there is none."""


class StatusManager:
    """Run `run` as a task. `set` may be called at any time."""

    def __init__(self, client: Client, clock: Clock, target: Target) -> None:
        self._client = client
        self._clock = clock
        self._target = target
        self._statuses: dict[str, Object] = {}
        self._answers: dict[str, tuple[Object, Object]] = {}
        """Of the last write: the API's answer, and the status that was asked for."""
        self._finished: dict[str, Object] = {}
        self._queue = WorkQueue(retry_longest_seconds=RETRY_LONGEST_SECONDS)

    def get(self, uid: str) -> Object | None:
        return self._statuses.get(uid)

    def set(self, pod: Object, status: Object) -> None:
        """`pod`: as the source has it. Times are filled in here."""
        uid = pod["metadata"]["uid"]
        before = self._statuses.get(uid) or pod.get("status") or {}
        now = timestamp(self._clock.now())
        status = {**status, "startTime": status.get("startTime") or before.get("startTime") or now}
        status["conditions"] = [_with_time(each, before, now) for each in status["conditions"]]
        if status != self._statuses.get(uid) or self._change(uid, status) is not None:
            self._statuses[uid] = status
            self._queue.add(uid)

    def finish(self, pod: Object) -> None:
        """Nothing of the pod is left: write what is unwritten, then delete its object."""
        self._finished[pod["metadata"]["uid"]] = pod
        self._queue.add(pod["metadata"]["uid"])

    def forget(self, uid: str) -> None:
        for held in (self._statuses, self._answers, self._finished):
            held.pop(uid, None)
        self._queue.forget(uid)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                tasks.create_task(self._work(), name=f"status writer {number}")

    async def _work(self) -> None:
        while True:
            try:
                uid = await self._queue.get()
            except Shutdown:
                return
            try:
                await self._write(uid)
            except (errors.StatusError, TransportError) as failure:
                log.info("the status of pod %s: %s; again later", uid, failure)
                self._queue.add_rate_limited(uid)
            else:
                self._queue.forget(uid)
            finally:
                self._queue.done(uid)

    async def flush(self) -> None:
        """Writes now what is not written: before the kubelet ends. What fails is left."""
        for uid in sorted(self._statuses):
            try:
                await self._write(uid)
            except (errors.StatusError, TransportError) as failure:
                log.warning("the last status of pod %s: %s", uid, failure)

    async def _write(self, uid: str) -> None:
        await self._patch(uid)
        finished = self._finished.get(uid)
        if finished is not None:
            await self._delete(finished)
            self._finished.pop(uid, None)

    async def _patch(self, uid: str) -> None:
        status = self._statuses.get(uid)
        api = self._newest(uid)
        if status is None or api is None:
            return
        change = self._change(uid, status)
        if change is None:
            return
        metadata = api["metadata"]
        body = {"metadata": {"uid": metadata["uid"]}, "status": change}
        try:
            answer = await self._client.patch(
                core("pods"),
                metadata["namespace"],
                metadata["name"],
                body,
                patch_type="strategic",
                subresource="status",
            )
        except errors.NotFound:
            return
        except errors.Conflict as conflict:
            # Another pod has the name by now: this one is gone.
            log.debug("the status of pod %s: %s", uid, conflict)
            return
        if uid in self._statuses:
            self._answers[uid] = (answer, status)

    async def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            await self._client.delete(
                core("pods"), metadata["namespace"], metadata["name"], grace_period_seconds=0, uid=metadata["uid"]
            )
        except (errors.NotFound, errors.Conflict) as gone:
            log.debug("pod %s is gone already: %s", metadata["uid"], gone)

    def _newest(self, uid: str) -> Object | None:
        """The API's object: the informer's, or the answer to the last write if the informer has not caught up."""
        seen = self._target(uid)
        answer, _ = self._answers.get(uid, (None, None))
        if seen is None or answer is None or seen["metadata"]["uid"] != answer["metadata"]["uid"]:
            return seen
        return answer if _version(answer) > _version(seen) else seen

    def _change(self, uid: str, status: Object) -> Object | None:
        api = self._newest(uid)
        if api is None:
            return None
        answer, asked = self._answers.get(uid, (None, None))
        if answer is not None and asked == status and _version(answer) == _version(api):
            # The server may keep it in another form (an empty map left out): asking again would change nothing.
            return None
        return changes(api.get("status") or {}, status)


def _version(obj: Object) -> int:
    text = obj["metadata"].get("resourceVersion", "")
    return int(text) if text.isdecimal() else 0


def _with_time(condition: Object, before: Object, now: str) -> Object:
    if "lastTransitionTime" in condition:
        return condition
    known = conditions.find(before.get("conditions"), condition["type"])
    kept = known is not None and known["status"] == condition["status"]
    since = known.get("lastTransitionTime") if kept and known is not None else None
    return {**condition, "lastTransitionTime": since or now}


def changes(written: Object, wanted: Object) -> Object | None:
    """A strategic merge patch from one status to the other, or None. Conditions of others are left to them."""
    patch: Object = {}
    for name in wanted.keys() | written.keys():
        if name == "conditions":
            continue
        if name not in wanted:
            if name in _OURS:
                patch[name] = None
        elif wanted[name] != written.get(name):
            patch[name] = _replaced(wanted[name]) if name in _MERGED_LISTS and written.get(name) else wanted[name]
    listed = _changed_conditions(written.get("conditions") or (), wanted["conditions"])
    if listed:
        patch["conditions"] = listed
    return copy.deepcopy(patch) or None


_OURS = (
    "reason",
    "message",
    "podIP",
    "podIPs",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
)
_MERGED_LISTS = ("podIPs", "hostIPs")


def _replaced(items: list[Object]) -> list[Object]:
    return [*items, {"$patch": "replace"}]


def _changed_conditions(written: list[Object] | tuple[()], wanted: list[Object]) -> list[Object]:
    changed = []
    for each in wanted:
        if each["type"] not in (*conditions.OWNED, *conditions.SHARED):
            continue
        known = {
            name: value for name, value in (conditions.find(written, each["type"]) or {}).items() if value is not None
        }
        if known != each:
            gone = {name: None for name in known if name not in each}
            changed.append({**each, **gone})
    kept = {each["type"] for each in wanted}
    gone_types = [each["type"] for each in written if each["type"] in conditions.OWNED and each["type"] not in kept]
    return changed + [{"$patch": "delete", "type": each} for each in gone_types]
