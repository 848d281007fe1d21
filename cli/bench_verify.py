"""What must hold once a bench is over, looked up anew from the server.

In: pods, nodes and events as listed. Out: checks, each with what was found.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

Check = dict[str, Any]


class _Metadata(msgspec.Struct):
    name: str
    uid: str
    namespace: str = ""


class _Resources(msgspec.Struct):
    requests: dict[str, str] = {}


class _Container(msgspec.Struct):
    resources: _Resources = msgspec.field(default_factory=_Resources)


class _PodSpec(msgspec.Struct):
    containers: list[_Container]
    nodeName: str = ""


class _PodStatus(msgspec.Struct):
    phase: str = ""


class Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _PodSpec
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


class _NodeStatus(msgspec.Struct):
    allocatable: dict[str, str] = {}


class Node(msgspec.Struct):
    metadata: _Metadata
    status: _NodeStatus = msgspec.field(default_factory=_NodeStatus)


class _Reference(msgspec.Struct):
    kind: str = ""
    uid: str = ""


class Event(msgspec.Struct):
    reason: str = ""
    regarding: _Reference = msgspec.field(default_factory=_Reference)


def read(kind: type[Any], items: list[bytes]) -> list[Any]:
    decoder = msgspec.json.Decoder(kind)
    return [decoder.decode(item) for item in items]


def check(text: str, ok: bool, found: str) -> Check:
    return {"check": text, "ok": ok, "found": found}


def every_pod_runs(pods: list[Pod], expected: int) -> list[Check]:
    bound = sum(bool(pod.spec.nodeName) for pod in pods)
    running = sum(pod.status.phase == "Running" for pod in pods)
    return [
        check("every pod is bound", bound == expected == len(pods), f"{bound:,} of {expected:,}"),
        check("every pod is Running", running == expected, f"{running:,} of {expected:,}"),
    ]


SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def millis(text: str) -> int:
    """The quantities that a bench's own pods and simulated nodes use."""
    if text.endswith("m"):
        return int(text[:-1])
    for suffix, scale in SUFFIXES.items():
        if text.endswith(suffix):
            return int(float(text[: -len(suffix)]) * scale * 1000)
    return int(float(text) * 1000)


def no_node_is_over(pods: list[Pod], nodes: list[Node]) -> Check:
    used: dict[str, Counter[str]] = {}
    for pod in pods:
        counts = used.setdefault(pod.spec.nodeName, Counter())
        counts["pods"] += 1000
        for container in pod.spec.containers:
            for resource, text in container.resources.requests.items():
                counts[resource] += millis(text)
    allocatable = {
        node.metadata.name: {resource: millis(text) for resource, text in node.status.allocatable.items()}
        for node in nodes
    }
    over = [
        name
        for name, counts in used.items()
        if name and any(amount > allocatable.get(name, {}).get(resource, 0) for resource, amount in counts.items())
    ]
    most = max((counts["pods"] // 1000 for name, counts in used.items() if name), default=0)
    found = f"{len(over):,} of {len(nodes):,} over; at most {most} pods on one"
    return check("no node is above its allocatable", not over, found)


def one_event_each(pods: list[Pod], events: list[Event]) -> Check:
    counts = Counter(event.regarding.uid for event in events if event.reason == "Scheduled")
    right = sum(counts[pod.metadata.uid] == 1 for pod in pods)
    found = f"{right:,} of {len(pods):,} pods have exactly one"
    return check("one Scheduled event for each pod", right == len(pods), found)


def the_same(before: list[Pod], after: list[Pod]) -> Check:
    def held(pods: list[Pod]) -> set[tuple[str, str, str, str]]:
        return {(pod.metadata.name, pod.metadata.uid, pod.spec.nodeName, pod.status.phase) for pod in pods}

    same = held(before) & held(after)
    ok = held(before) == held(after)
    return check("a restarted server holds the same pods", ok, f"{len(same):,} of {len(before):,} alike")
