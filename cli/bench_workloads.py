"""Workloads of the scheduler's bench, as a file declares them: nodes, pods that are there, pods that are measured.

In: YAML of the form of `scheduler_perf.yaml`. Out: workloads that make their objects one by one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import click
import yaml

Object = dict[str, Any]

ALLOCATABLE = {"cpu": "4", "memory": "32Gi", "pods": "110"}
IMAGE = "registry.k8s.io/pause:3.10.1"


@dataclass(frozen=True, slots=True)
class Pods:
    """So many pods of one shape. `over_namespaces`: spread over the namespaces with this prefix."""

    shape: Object
    prefix: str
    count: int
    namespace: str
    namespaces: int = 0

    def __iter__(self) -> Iterator[Object]:
        spec = copy.deepcopy(self.shape.get("spec") or {})
        container: Object = {"name": "pause", "image": IMAGE}
        if requests := self.shape.get("requests"):
            container["resources"] = {"requests": requests}
        spec["containers"] = [container]
        for index in range(self.count):
            namespace = f"{self.namespace}{index % self.namespaces}" if self.namespaces else self.namespace
            name = f"{self.prefix}-{index}"
            metadata = {"name": name, "namespace": namespace, "labels": self.shape.get("labels") or {}}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@dataclass(frozen=True, slots=True)
class Churn:
    """One of these for each `every` measured pods."""

    pods: Pods
    every: int


@dataclass(frozen=True, slots=True)
class Workload:
    """`waiting`: pods that are there and stay pending. `upstream`: pods a second, by where the figure is from."""

    name: str
    nodes: tuple[Object, ...]
    namespaces: tuple[Object, ...]
    services: tuple[Object, ...]
    init: tuple[Pods, ...]
    waiting: tuple[Pods, ...]
    measure: Pods
    churn: Churn | None
    upstream: Object


def read(path: Path | None, scale: float) -> list[Workload]:
    """`path` None: upstream's. `scale` shrinks all counts. Raises click.ClickException for a file that is none."""
    try:
        text = (
            path.read_text("utf-8")
            if path
            else resources.files(__package__).joinpath("scheduler_perf.yaml").read_text()
        )
        given = yaml.safe_load(text)
        return [_workload(each, given["pods"], scale) for each in given["workloads"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise click.ClickException(f"{path}: not a file of workloads: {error!r}") from error


def _scaled(count: int, scale: float) -> int:
    return max(1, math.ceil(count * scale))


def _workload(given: Object, shapes: Object, scale: float) -> Workload:
    def pods(each: Object, prefix: str) -> Pods:
        over = each.get("over_namespaces", "")
        count = _scaled(each["count"], scale) if "count" in each else 0
        namespace = over or each.get("namespace", "default")
        namespaces = given["namespaces"]["count"] if over else 0
        return Pods(shapes[each["pod"]], prefix, count, namespace, namespaces)

    measure = pods(given["measure"], "measured")
    churn = None
    if each := given.get("churn"):
        # Small runs churn as often in all as one of 32 would.
        every = min(each["every"], max(1, measure.count // 4))
        churn = Churn(pods({**each, "count": 0}, "churn"), every)
        churn = Churn(Pods(churn.pods.shape, "churn", measure.count // every, "default"), every)
    init = tuple(pods(each, f"init-{index}") for index, each in enumerate(given.get("init") or ()))
    waiting = tuple(pods(each, f"waiting-{index}") for index, each in enumerate(given.get("waiting") or ()))
    return Workload(
        name=given["name"],
        nodes=tuple(_nodes(given, scale)),
        namespaces=tuple(_namespaces(given, [*init, *waiting, measure])),
        services=tuple(_services(given)),
        init=init,
        waiting=waiting,
        measure=measure,
        churn=churn,
        upstream=given.get("upstream") or {},
    )


def _nodes(given: Object, scale: float) -> Iterator[Object]:
    zones = given["nodes"].get("zones") or []
    for index in range(_scaled(given["nodes"]["count"], scale)):
        name = f"scheduler-perf-{index}"
        zone = {"topology.kubernetes.io/zone": zones[index % len(zones)]} if zones else {}
        yield _node(name, given["nodes"].get("allocatable") or ALLOCATABLE, zone)
    if named := given.get("named_node"):
        yield _node(named["name"], named["allocatable"], {})


def _node(name: str, allocatable: Object, labels: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {},
        "status": {
            "capacity": allocatable,
            "allocatable": allocatable,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Bench"}],
        },
    }


def _namespaces(given: Object, pods: list[Pods]) -> Iterator[Object]:
    labelled = given.get("namespaces") or {}
    names = {f"{labelled['prefix']}{index}" for index in range(labelled["count"])} if labelled else set[str]()
    for name in sorted(names | {each.namespace for each in pods if not each.namespaces} - {"default"}):
        labels = labelled.get("labels") or {} if name in names else {}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _services(given: Object) -> Iterator[Object]:
    for index, each in enumerate(given.get("services") or ()):
        metadata = {"name": f"service-{index}", "namespace": each["namespace"]}
        spec = {"selector": each["selector"], "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8000}]}
        yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
