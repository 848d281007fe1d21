"""`metrics.k8s.io/v1beta1`: what nodes and pods use now, in metrics-server's shape.

Flows in: an authorised request. Flows out: an answer made on another thread, because it waits for kubelets. Nothing is stored and
nothing polls: kubelets are asked when somebody asks here (`node_figures.py`).
Source: https://github.com/kubernetes/metrics, https://github.com/kubernetes-sigs/metrics-server/tree/master/pkg/api
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from decimal import Decimal

from kubecore.api import errors, quantity, scheme
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, key_of, labels_of, name_of, namespace_of, timestamp
from kubecore.api.metrics import GROUP, NODE_METRICS, POD_METRICS
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry import answers
from kubecore.apiserver.registry.answers import Form, Result
from kubecore.apiserver.registry.listing import select
from kubecore.apiserver.storage.protocol import Storage
from kubecore.apiserver.wire.app import Result as Answered
from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.node_figures import NodeFigures, Usage
from kubecore.apiserver.wire.response import query

_KIBI = 1024


class MetricsApi:
    """Answers the group's requests. `executor` runs what waits."""

    def __init__(self, storage: Storage, figures: NodeFigures, *, executor: Executor, clock: Clock) -> None:
        self._storage = storage
        self._figures = figures
        self._executor = executor
        self._clock = clock

    def handle(self, call: Call) -> Future[Answered]:
        """Raises StatusError for what is refused at once; the future raises it for what is refused later."""
        resource = POD_METRICS if call.resource == "pods" else NODE_METRICS
        if call.verb not in resource.verbs or call.subresource:
            what = f'{call.verb or call.method} is not supported on resources of kind "{resource.qualified}"'
            raise errors.MethodNotAllowed(what)
        form = answers.form_of(call, tabular=True)
        make = self._pods if resource is POD_METRICS else self._nodes
        return self._executor.submit(self._answer, call, form, resource, make)

    def _answer(
        self, call: Call, form: Form, resource: Resource, make: Callable[[Call, Sequence[Object]], list[Object]]
    ) -> Result:
        found = make(call, self._selected(call, resource))
        if call.verb == "list":
            return answers.in_form(form, self._list(form, resource, found))
        if not found:
            kind, name = resource.kind.lower(), call.name
            raise errors.not_found(kind, GROUP, f"{call.namespace}/{name}" if call.namespace else name)
        shown = self._table(form, resource, found) if form.transform == "Table" else found[0]
        return answers.in_form(form, shown)

    def _selected(self, call: Call, resource: Resource) -> list[Object]:
        """The nodes or pods that are asked for. Raises NotFound if the one is not there."""
        kept = scheme.core(resource.plural)
        if call.verb == "get":
            stored = self._storage.get(kept.key(call.namespace, call.name))
            if stored is None:
                raise errors.not_found(kept.plural, "", call.name)
            return [stored.object]
        stored_ones, _ = select(
            self._storage,
            kept,
            call.namespace,
            label_selector=query(call, "labelSelector") or "",
            field_selector=query(call, "fieldSelector") or "",
            only=self._figures.may_know() if resource is POD_METRICS else None,
        )
        return [each.object for each in stored_ones]

    def _nodes(self, call: Call, nodes: Sequence[Object]) -> list[Object]:
        usages = self._figures.of(nodes)
        return [
            self._item(NODE_METRICS, node, usage, {"usage": _amounts(usage.cpu, usage.memory)})
            for node in nodes
            if (usage := usages[name_of(node)].node) is not None
        ]

    def _pods(self, call: Call, pods: Sequence[Object]) -> list[Object]:
        running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
        names = {pod["spec"].get("nodeName", "") for pod in running}
        nodes = [stored.object for name in sorted(names) if (stored := self._storage.get(_node_key(name))) is not None]
        usages = self._figures.of(nodes)
        found = []
        for pod in running:
            figures = usages.get(pod["spec"].get("nodeName", ""))
            usage = figures.pods.get(key_of(pod)) if figures is not None else None
            if usage is not None:
                containers = [
                    {"name": name, "usage": _amounts(used.cpu, used.memory)} for name, used in usage.containers
                ]
                found.append(self._item(POD_METRICS, pod, usage, {"containers": containers}))
        return found

    def _item(self, resource: Resource, about: Object, usage: Usage, rest: Object) -> Object:
        metadata: Object = {"name": name_of(about), "creationTimestamp": timestamp(self._clock.now())}
        if namespace := namespace_of(about):
            metadata["namespace"] = namespace
        if labels := labels_of(about):
            metadata["labels"] = labels
        return {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            "metadata": metadata,
            "timestamp": usage.timestamp,
            "window": f"{usage.window_seconds:g}s",
            **rest,
        }

    def _list(self, form: Form, resource: Resource, found: list[Object]) -> Object:
        if form.transform == "Table":
            return self._table(form, resource, found)
        # As upstream: what is in a list of one kind does not repeat it.
        items = [{key: value for key, value in item.items() if key not in ("kind", "apiVersion")} for item in found]
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": {},
            "items": items,
        }

    def _table(self, form: Form, resource: Resource, found: list[Object]) -> Object:
        """metrics-server's: a column for each thing that is used, in alphabetical order."""
        names = sorted({name for item in found for name in _used(item)})
        columns = [
            {"name": "Name", "type": "string", "format": "name", "description": "Name of the resource", "priority": 0},
            *(
                {"name": name, "type": "string", "format": "quantity", "description": "", "priority": 0}
                for name in names
            ),
            {"name": "Window", "type": "string", "format": "duration", "description": "", "priority": 0},
        ]
        rows = []
        for item in found:
            used = _used(item)
            partial = {
                "kind": "PartialObjectMetadata",
                "apiVersion": f"meta.k8s.io/{form.version}",
                "metadata": item["metadata"],
            }
            cells = [name_of(item), *(used[name] for name in names), item["window"]]
            rows.append({"cells": cells, "object": partial})
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{form.version}",
            "metadata": {},
            "columnDefinitions": columns if found else [],
            "rows": rows,
        }


def _node_key(name: str) -> str:
    return scheme.core("nodes").key("", name)


def _amounts(cpu_nanocores: int, memory_bytes: int) -> dict[str, str]:
    """As metrics-server writes them: nanocores, and kibibytes rounded up."""
    return {"cpu": f"{cpu_nanocores}n" if cpu_nanocores else "0", "memory": f"{-(-memory_bytes // _KIBI)}Ki"}


def _used(item: Object) -> dict[str, str]:
    """An item's usage, a pod's containers together."""
    parts: Iterable[dict[str, str]] = (
        [item["usage"]] if "usage" in item else [container["usage"] for container in item["containers"]]
    )
    sums: dict[str, Decimal] = {}
    for part in parts:
        for name, text in part.items():
            sums[name] = sums.get(name, Decimal(0)) + quantity.of(text)
    return {name: quantity.text_of(total, binary=name == "memory") for name, total in sums.items()}
