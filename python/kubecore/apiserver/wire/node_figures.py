"""Asks kubelets what their node and pods use, when somebody wants to know, and remembers it for `FRESH_SECONDS`.

Simulated nodes have no kubelet: their pods use what their annotations say (KWOK's `kwok.x-k8s.io/usage-cpu`, `-memory`), and what has
none is left out. Bounds: `KUBELETS_AT_ONCE` questions at a time, `TIMEOUT_SECONDS` each; a kubelet that does not answer is left out and
not asked again before `FRESH_SECONDS`, nor while its node is known to be silent; a node that is not asked for any more is forgotten.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from kubecore.api import quantity, scheme
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, key_of, name_of, timestamp
from kubecore.apiserver.storage.protocol import Storage, Stored
from kubecore.apiserver.wire.response import decode_json

FRESH_SECONDS = 5.0
WINDOW_SECONDS = 10.0
"""Over which a kubelet takes its rates: its sampling interval."""
TIMEOUT_SECONDS = 5.0
KUBELETS_AT_ONCE = 16

SIMULATED = ("kwok.x-k8s.io/node", "fake")
USAGE_CPU, USAGE_MEMORY = "kwok.x-k8s.io/usage-cpu", "kwok.x-k8s.io/usage-memory"
_MENTIONS_USAGE = b"kwok.x-k8s.io/usage-"
_SIMULATED_NODE = b'"kwok.x-k8s.io/node":"fake"'

FetchSummary = Callable[[Object, float], bytes]
"""(node, timeout in seconds) → its kubelet's /stats/summary, cut to processor and memory. Raises OSError."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Used:
    cpu: int
    """Nanocores."""
    memory: int
    """Bytes of working set."""


@dataclass(frozen=True, slots=True)
class Usage(Used):
    timestamp: str
    window_seconds: float = WINDOW_SECONDS
    containers: tuple[tuple[str, Used], ...] = ()


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """`node` None: unknown. `pods` by `namespace/name`."""

    node: Usage | None = None
    pods: Mapping[str, Usage] = field(default_factory=dict)


class NodeFigures:
    """Safe to ask from several threads: who asks for a node that is being asked already waits for that answer."""

    def __init__(self, storage: Storage, fetch: FetchSummary, *, clock: Clock) -> None:
        self._storage = storage
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Future[NodeUsage]]] = {}
        self._simulated: tuple[int, dict[str, NodeUsage]] = (-1, {})
        self._kubelets = ThreadPoolExecutor(KUBELETS_AT_ONCE, thread_name_prefix="ask-kubelet")

    def of(self, nodes: Sequence[Object]) -> dict[str, NodeUsage]:
        """By node. Blocks until all have answered or their time is over."""
        found: dict[str, NodeUsage] = {}
        asked: dict[str, Future[NodeUsage]] = {}
        for node in nodes:
            name = name_of(node)
            if is_simulated(node):
                found[name] = self._simulated_usages().get(name, NodeUsage())
            elif is_silent(node):
                found[name] = NodeUsage()
            else:
                asked[name] = self._ask(name, node)
        return found | {name: future.result() for name, future in asked.items()}

    def may_know(self) -> Callable[[Stored], bool] | None:
        """Which pods can have figures at all, by their encoded value; None: any. Where all nodes are simulated, 10,000 pods that
        say nothing need not be decoded."""
        nodes = self._storage.list(scheme.core("nodes").key_prefix()).items
        if all(_SIMULATED_NODE in node.value for node in nodes):
            return lambda pod: _MENTIONS_USAGE in pod.value
        return None

    def close(self) -> None:
        self._kubelets.shutdown(wait=False, cancel_futures=True)

    def _ask(self, name: str, node: Object) -> Future[NodeUsage]:
        now = self._clock.monotonic()
        with self._lock:
            asked_at, future = self._known.get(name, (float("-inf"), None))
            if future is None or (future.done() and now - asked_at >= FRESH_SECONDS):
                future = self._kubelets.submit(self._read, name, node)
                self._known = {
                    known: (when, each)
                    for known, (when, each) in self._known.items()
                    if now - when < FRESH_SECONDS or not each.done()
                }
                self._known[name] = (now, future)
            return future

    def _read(self, name: str, node: Object) -> NodeUsage:
        try:
            return from_summary(decode_json(self._fetch(node, TIMEOUT_SECONDS)))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as failure:
            # The latter three: JSON, but no summary. One node that says nonsense is not to cost the others their figures.
            log.warning("node %s gives no figures: %r", name, failure)
            return NodeUsage()

    def _simulated_usages(self) -> dict[str, NodeUsage]:
        """All simulated pods' usage by node, read again when something was written. Only pods that say any are decoded."""
        revision = self._storage.revision()
        with self._lock:
            read_at, usages = self._simulated
            if revision != read_at:
                pods = self._storage.list(scheme.core("pods").key_prefix()).items
                saying = [stored.object for stored in pods if _MENTIONS_USAGE in stored.value]
                usages = simulated_usage(saying, timestamp(self._clock.now()))
                self._simulated = (revision, usages)
            return usages


def is_simulated(node: Object) -> bool:
    annotation, value = SIMULATED
    return (node["metadata"].get("annotations") or {}).get(annotation) == value


def is_silent(node: Object) -> bool:
    """The node controller has not heard of it for long: a question would only wait."""
    conditions = node.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "Unknown" for each in conditions)


def from_summary(summary: dict[str, Any]) -> NodeUsage:
    """What a kubelet's summary says, ours or upstream's. A pod counts once every one of its containers has a rate."""
    pods: dict[str, Usage] = {}
    for pod in summary.get("pods") or ():
        containers = [(each["name"], _used(each)) for each in pod.get("containers") or ()]
        known = tuple((name, used) for name, used in containers if used is not None)
        if known and len(known) == len(containers):
            reference = pod["podRef"]
            pods[f"{reference['namespace']}/{reference['name']}"] = Usage(
                cpu=sum(used.cpu for _, used in known),
                memory=sum(used.memory for _, used in known),
                timestamp=min(each["cpu"]["time"] for each in pod["containers"]),
                containers=known,
            )
    node = summary.get("node") or {}
    used = _used(node)
    whole = None if used is None else Usage(cpu=used.cpu, memory=used.memory, timestamp=node["cpu"]["time"])
    return NodeUsage(whole, pods)


def _used(part: dict[str, Any]) -> Used | None:
    cpu = (part.get("cpu") or {}).get("usageNanoCores")
    memory = (part.get("memory") or {}).get("workingSetBytes")
    return None if cpu is None or memory is None else Used(cpu, memory)


def simulated_usage(pods: Sequence[Object], at: str) -> dict[str, NodeUsage]:
    """By node: what running pods say that each of their containers uses, and the node what its pods use together."""
    by_node: dict[str, dict[str, Usage]] = {}
    for pod in pods:
        used = _annotated(pod)
        if used is None or pod.get("status", {}).get("phase") != "Running":
            continue
        containers = tuple((container["name"], used) for container in pod["spec"]["containers"])
        by_node.setdefault(pod["spec"].get("nodeName", ""), {})[key_of(pod)] = Usage(
            cpu=used.cpu * len(containers), memory=used.memory * len(containers), timestamp=at, containers=containers
        )
    return {
        node: NodeUsage(
            Usage(
                cpu=sum(usage.cpu for usage in usages.values()),
                memory=sum(usage.memory for usage in usages.values()),
                timestamp=at,
            ),
            usages,
        )
        for node, usages in by_node.items()
    }


def _annotated(pod: Object) -> Used | None:
    """None: it says nothing, or nothing that can be read."""
    annotations = pod["metadata"].get("annotations") or {}
    if USAGE_CPU not in annotations and USAGE_MEMORY not in annotations:
        return None
    try:
        cpu = quantity.of(annotations.get(USAGE_CPU, "0"))
        memory = quantity.value(annotations.get(USAGE_MEMORY, "0"))
    except quantity.QuantityError:
        return None
    return Used(int(cpu * 1_000_000_000), memory)
