"""Records events about objects: what kubectl describe shows at its end.

In: `recorder.event(object, type, reason, message)`, synchronous, from anywhere in a loop. Out: Event objects, written
in batches by `run`. A repeated event is not written again: its count grows. Two forms, as upstream's components use
them: core/v1 (controllers, kubelet) with aggregation of similar messages and a spam filter, events.k8s.io/v1
(scheduler) with a series. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal

from kubecore.api import errors
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, micro_timestamp, name_of, namespace_of, timestamp
from kubecore.api.scheme import Resource, resource
from kubecore.client import requests
from kubecore.client.client import Client
from kubecore.client.transport import Request, TransportError

log = logging.getLogger(__name__)

QUEUE_MAX = 200_000
"""Events waiting to be written. Beyond it an event is dropped and counted in `dropped`: events are best effort."""

BATCH_MAX = 500
"""Events written at a time."""

CACHE_MAX = 4096
"""Events, and objects, remembered for counting; beyond it the least recently used is forgotten and its next event is
a new one."""

SIMILAR_MAX = 10
SIMILAR_SECONDS = 600.0
"""More different messages than that about one object for one reason within this time are counted as one event."""
SIMILAR_PREFIX = "(combined from similar events): "

SPAM_BURST = 25
SPAM_REFILL_SECONDS = 300.0
"""A component may say that much about one object; one more each refill."""

SERIES_SECONDS = 360.0
"""A series ends when its event has not recurred for that long."""

WRITE_TRIES_MAX = 12
WRITE_PAUSE_SECONDS = 10.0
"""A batch is tried again while the server cannot be reached."""

EventType = Literal["Normal", "Warning"]
Form = Literal["core/v1", "events.k8s.io/v1"]
Key = tuple[str, ...]


@dataclass(slots=True)
class _Note:
    """One call of `event`, not yet written."""

    regarding: Object
    event_type: str
    reason: str
    message: str
    action: str
    related: Object | None
    seconds: float


@dataclass(slots=True)
class _Similar:
    """The different messages seen for one object and reason."""

    since: float
    messages: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Tokens:
    """A token bucket."""

    tokens: float
    at: float

    def take(self, now: float) -> bool:
        self.tokens = min(SPAM_BURST, self.tokens + (now - self.at) / SPAM_REFILL_SECONDS)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def reference_to(obj: Object) -> Object:
    """A `v1.ObjectReference` to an object that has its apiVersion and kind."""
    metadata = obj.get("metadata", {})
    reference = {
        "kind": obj.get("kind", ""),
        "namespace": metadata.get("namespace", ""),
        "name": metadata.get("name", ""),
        "uid": metadata.get("uid", ""),
        "apiVersion": obj.get("apiVersion", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return {name: value for name, value in reference.items() if value}


class EventRecorder:
    """Events of one component. Run `run` as a task; `event` may be called before."""

    def __init__(
        self,
        client: Client,
        *,
        component: str,
        clock: Clock,
        form: Form = "core/v1",
        host: str = "",
        instance: str = "",
    ) -> None:
        """`instance`: what events.k8s.io/v1 calls the reporting instance; must not be empty there."""
        self._client = client
        self._component = component
        self._clock = clock
        self._form = form
        self._host = host
        self._instance = instance or (f"{component}-{host}" if host else component)
        self._notes: list[_Note] = []
        self._waiting = asyncio.Event()
        self._written: OrderedDict[Key, Object] = OrderedDict()
        self._similar: OrderedDict[Key, _Similar] = OrderedDict()
        self._spam: OrderedDict[Key, _Tokens] = OrderedDict()
        self._last_suffix = 0
        self.dropped = 0

    @property
    def _resource(self) -> Resource:
        group = "" if self._form == "core/v1" else "events.k8s.io"
        return resource(group, "v1", "events")

    def event(
        self,
        regarding: Object,
        event_type: EventType,
        reason: str,
        message: str,
        *,
        action: str = "",
        related: Object | None = None,
        field_path: str = "",
    ) -> None:
        """`regarding`: an object or an ObjectReference-like object with kind and metadata. `action` is needed by
        events.k8s.io/v1. `field_path`: the part of the object that it is about."""
        if len(self._notes) >= QUEUE_MAX:
            self.dropped += 1
            return
        reference = reference_to(regarding)
        if field_path:
            reference["fieldPath"] = field_path
        self._notes.append(_Note(reference, event_type, reason, message, action, related, self._clock.now()))
        self._waiting.set()

    async def run(self) -> None:
        """Writes until cancelled; what is then unwritten is written by `flush`."""
        while True:
            await self._waiting.wait()
            await self.flush()

    async def flush(self) -> None:
        """Writes all that waits."""
        while self._notes:
            notes, self._notes = self._notes[:BATCH_MAX], self._notes[BATCH_MAX:]
            changed: dict[Key, bool] = {}
            for note in notes:
                key, is_new = self._correlate(note)
                if key is not None:
                    changed[key] = changed.get(key, False) or is_new
            # An event that this very batch pushed out of the cache is not written: the cache is larger than a batch.
            writes = [(self._written[key], is_new) for key, is_new in changed.items() if key in self._written]
            await self._write(writes)
        self._waiting.clear()

    # ── counting ──

    def _correlate(self, note: _Note) -> tuple[Key | None, bool]:
        """The event that stands for this note, counted; whether it is new. No key: filtered out."""
        if self._form == "core/v1":
            return self._correlate_core(note)
        regarding = note.regarding
        key: Key = (note.event_type, note.reason, note.action, *_identity(regarding), *_identity(note.related or {}))
        known = self._written.get(key)
        if known is None or note.seconds - known["_seconds"] > SERIES_SECONDS:
            self._remember(key, self._new_events_v1(note))
            return key, True
        series = known.get("series")
        count = series["count"] + 1 if series else 2
        series = {"count": count, "lastObservedTime": micro_timestamp(note.seconds)}
        self._remember(key, {**known, "series": series, "_seconds": note.seconds})
        return key, False

    def _correlate_core(self, note: _Note) -> tuple[Key | None, bool]:
        group: Key = (note.event_type, note.reason, *_identity(note.regarding))
        similar = self._similar.setdefault(group, _Similar(note.seconds))
        if note.seconds - similar.since > SIMILAR_SECONDS:
            similar = self._similar[group] = _Similar(note.seconds)
        similar.messages[note.message] = None
        _touch(self._similar, group)
        combined = len(similar.messages) >= SIMILAR_MAX
        key = (*group, note.regarding.get("fieldPath", ""), "" if combined else note.message)
        if combined:
            # What matters from here on is that there are many: the messages themselves need not be kept.
            similar.messages = {message: None for message in list(similar.messages)[:SIMILAR_MAX]}
        bucket = self._spam.setdefault(_identity(note.regarding), _Tokens(SPAM_BURST, note.seconds))
        _touch(self._spam, _identity(note.regarding))
        if not bucket.take(note.seconds):
            return None, False
        message = SIMILAR_PREFIX + note.message if combined else note.message
        known = self._written.get(key)
        if known is None:
            self._remember(key, self._new_core_v1(note, message))
            return key, True
        changes = {"count": known["count"] + 1, "lastTimestamp": timestamp(note.seconds), "message": message}
        self._remember(key, {**known, **changes})
        return key, False

    def _remember(self, key: Key, event: Object) -> None:
        self._written[key] = event
        _touch(self._written, key)

    def _metadata(self, note: _Note) -> Object:
        """Names are the object's with a suffix that never recurs: the time in nanoseconds, made to grow."""
        self._last_suffix = max(self._last_suffix + 1, int(note.seconds * 1e9))
        namespace = note.regarding.get("namespace") or "default"
        return {"name": f"{note.regarding.get('name', '')}.{self._last_suffix:x}", "namespace": namespace}

    def _new_core_v1(self, note: _Note, message: str) -> Object:
        source = {"component": self._component}
        if self._host:
            source["host"] = self._host
        at = timestamp(note.seconds)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": self._metadata(note),
            "involvedObject": note.regarding,
            "reason": note.reason,
            "message": message,
            "source": source,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "type": note.event_type,
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }

    def _new_events_v1(self, note: _Note) -> Object:
        event: Object = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": self._metadata(note),
            "eventTime": micro_timestamp(note.seconds),
            "reportingController": self._component,
            "reportingInstance": self._instance,
            "action": note.action,
            "reason": note.reason,
            "regarding": note.regarding,
            "note": note.message,
            "type": note.event_type,
            "_seconds": note.seconds,
        }
        if note.related:
            event["related"] = reference_to(note.related)
        return event

    # ── writing ──

    async def _write(self, writes: list[tuple[Object, bool]]) -> None:
        batch = [self._request(event, is_new=is_new) for event, is_new in writes]
        for attempt in range(WRITE_TRIES_MAX):
            try:
                outcomes = await self._client.try_all(batch)
                break
            except TransportError as failure:
                log.warning("writing %d events: %s (try %d)", len(batch), failure, attempt + 1)
                await asyncio.sleep(WRITE_PAUSE_SECONDS)
        else:
            self.dropped += len(batch)
            return
        for (event, is_new), failure_status in zip(writes, outcomes, strict=True):
            if failure_status is None:
                continue
            if isinstance(failure_status, errors.NotFound) and not is_new:
                await self._write([(event, True)])
                continue
            self.dropped += 1
            log.info("event %s about %s: %s", event["reason"], name_of(event), failure_status)

    def _request(self, event: Object, *, is_new: bool) -> Request:
        if is_new:
            sent = {name: value for name, value in event.items() if name != "_seconds"}
            return requests.create(self._resource, sent)
        fields = ("count", "lastTimestamp", "message") if self._form == "core/v1" else ("series",)
        changes = {name: event[name] for name in fields}
        return requests.patch(self._resource, namespace_of(event), name_of(event), changes)


def _identity(reference: Object) -> Key:
    return tuple(reference.get(part, "") for part in ("apiVersion", "kind", "namespace", "name", "uid"))


def _touch(cache: OrderedDict[Key, Any], key: Key) -> None:
    """Marks an entry as just used; forgets the one unused for longest beyond the bound."""
    cache.move_to_end(key)
    if len(cache) > CACHE_MAX:
        cache.popitem(last=False)
