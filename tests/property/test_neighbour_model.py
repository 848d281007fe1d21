"""Ports, spreading and affinity: the kernel against the plain model over random clusters; each plugin must matter in some of them."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from kubecore.scheduler.kernel import Kernel
from support.random_pods import NAMESPACES, key_of, random_node, random_pod
from support.scheduling_model import Model

Object = dict[str, Any]

CLUSTERS = 200
PLUGINS = (
    "NodePorts",
    "PodTopologySpread",
    "InterPodAffinity",
    "PodTopologySpread score",
    "InterPodAffinity score",
    "default spreading",
)


def random_together(choose: random.Random) -> list[tuple[str, Object]]:
    """Services and replica sets that select some of the pods."""
    found: dict[tuple[str, str, str], Object] = {}
    for index in range(choose.randint(2, 6)):
        metadata = {"name": f"set-{index % 3}", "namespace": choose.choice(list(NAMESPACES))}
        labels = {"app": choose.choice("abc")}
        resource = choose.choice(["services", "replicasets"])
        selector: Object = labels if resource == "services" else {"matchLabels": labels}
        found[resource, metadata["namespace"], metadata["name"]] = {
            "metadata": metadata,
            "spec": {"selector": selector},
        }
    return [(resource, thing) for (resource, _, _), thing in found.items()]


def random_cluster(seed: int) -> tuple[list[Object], list[tuple[str, Object]], list[Object]]:
    """Nodes; pods that run there already, some of them being deleted; pods to place, in runs of equal ones."""
    choose = random.Random(seed)
    nodes = [random_node(choose, f"node-{index}") for index in range(choose.randint(2, 10))]
    made = 0

    def named(pod: Object, **more: Any) -> Object:
        nonlocal made
        made += 1
        return {**pod, "metadata": {**pod["metadata"], "name": f"pod-{made}", "uid": str(made), **more}}

    running = []
    for _ in range(choose.randint(0, 12)):
        more = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if choose.random() < 0.2 else {}
        running.append((choose.choice(nodes)["metadata"]["name"], named(random_pod(choose), **more)))
    pods: list[Object] = []
    while len(pods) < 25:
        pod = random_pod(choose)
        pods += [named(pod) for _ in range(choose.choice([1, 1, 2, 5]))]
    return nodes, running, pods


def model_of(seed: int, without: str = "") -> tuple[Model, list[Object]]:
    nodes, running, pods = random_cluster(seed)
    by_name = {node["metadata"]["name"]: node for node in nodes}
    model = Model(seed, without, by_name, namespaces=NAMESPACES, together=random_together(random.Random(seed)))
    for name, pod in running:
        model.run(name, pod)
    return model, pods


def kernel_of(seed: int) -> Kernel:
    nodes, running, pods = random_cluster(seed)
    kernel = Kernel(seed=seed)
    for name, labels in NAMESPACES.items():
        body = json.dumps({"metadata": {"name": name, "labels": labels}}).encode()
        kernel.related_event("namespaces", "ADDED", body)
    for resource, thing in random_together(random.Random(seed)):
        kernel.related_event(resource, "ADDED", json.dumps(thing).encode())
    for node in nodes:
        kernel.node_event("ADDED", json.dumps(node).encode())
    bound = [{**pod, "spec": {**pod["spec"], "nodeName": name}} for name, pod in running]
    kernel.pod_events([("ADDED", json.dumps(pod).encode()) for pod in [*bound, *pods]])
    return kernel


@pytest.mark.parametrize("seed", range(CLUSTERS))
def test_the_kernel_places_pods_among_their_neighbours_as_the_plain_model_does(seed: int) -> None:
    kernel = kernel_of(seed)
    model, pods = model_of(seed)
    for (key, placed, failure), pod in zip(kernel.schedule([key_of(pod) for pod in pods]), pods, strict=True):
        if failure is not None:
            reasons = Counter(reason for node in model.nodes.values() for reason in model.refusal(pod, node))
            assert dict(failure.reasons) == dict(reasons), f"seed {seed}, {key}"
        assert placed == model.schedule(pod), f"seed {seed}, {key}"


@pytest.mark.parametrize("plugin", PLUGINS)
def test_each_plugin_between_pods_decides_something(plugin: str) -> None:
    different = 0
    for seed in range(30):
        (whole, pods), (lacking, _) = model_of(seed), model_of(seed, plugin)
        different += [whole.schedule(pod) for pod in pods] != [lacking.schedule(pod) for pod in pods]
    assert different >= 10, f"without {plugin} only {different} of 30 clusters come out differently"
