"""The kernel against a plain model over random clusters; each plugin must matter in some of them."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from kubecore.scheduler.kernel import Kernel
from support.scheduling_model import Model

Object = dict[str, Any]

CLUSTERS = 80
PLUGINS = (
    "NodeUnschedulable",
    "TaintToleration",
    "NodeAffinity",
    "NodeResourcesFit",
    "TaintToleration score",
    "NodeAffinity score",
    "LeastAllocated",
    "BalancedAllocation",
    "ImageLocality",
)
IMAGES = {"web:1": 700_000_000, "db:2": 1_500_000_000, "tool:latest": 90_000_000}


def random_node(choose: random.Random, name: str) -> Object:
    taints = [
        {"key": key, "value": choose.choice(["a", "b"]), "effect": choose.choice(effects)}
        for key, effects in (
            ("k", ["NoSchedule", "PreferNoSchedule", "NoExecute"]),
            ("l", ["PreferNoSchedule"]),
            ("m", ["PreferNoSchedule"]),
        )
        if choose.random() < 0.25
    ]
    labels = {"zone": choose.choice("abc"), "generation": str(choose.randint(1, 9))}
    if choose.random() < 0.5:
        labels["disk"] = choose.choice(["ssd", "hdd"])
    allocatable = {
        "cpu": choose.choice(["1", "2", "3500m", "8"]),
        "memory": choose.choice(["1Gi", "2Gi", "7900Mi", "16Gi"]),
        "pods": choose.choice(["3", "10", "110"]),
        "ephemeral-storage": choose.choice(["1Gi", "100Gi"]),
    }
    if choose.random() < 0.3:
        allocatable["example.com/gpu"] = choose.choice(["1", "4"])
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints, "unschedulable": choose.random() < 0.1},
        "status": {
            "allocatable": allocatable,
            "images": [
                {"names": [image], "sizeBytes": size} for image, size in IMAGES.items() if choose.random() < 0.4
            ],
        },
    }


def random_container(choose: random.Random) -> Object:
    requests = {}
    if choose.random() < 0.8:
        requests["cpu"] = choose.choice(["50m", "100m", "500m", "1", "0.3"])
    if choose.random() < 0.8:
        requests["memory"] = choose.choice(["64Mi", "200Mi", "1Gi", "100M"])
    if choose.random() < 0.1:
        requests["ephemeral-storage"] = choose.choice(["500Mi", "2Gi"])
    if choose.random() < 0.1:
        requests["example.com/gpu"] = choose.choice(["1", "2"])
    return {"name": "c", "image": choose.choice(list(IMAGES)), "resources": {"requests": requests}}


def random_expression(choose: random.Random) -> Object:
    return choose.choice(
        [
            {"key": "zone", "operator": "In", "values": choose.sample("abcd", 2)},
            {"key": "zone", "operator": "NotIn", "values": ["a"]},
            {"key": "disk", "operator": "Exists"},
            {"key": "disk", "operator": "DoesNotExist"},
            {"key": "generation", "operator": "Gt", "values": [str(choose.randint(1, 8))]},
            {"key": "generation", "operator": "Lt", "values": [str(choose.randint(2, 9))]},
        ]
    )


def random_pod(choose: random.Random, name: str) -> Object:
    spec: Object = {"containers": [random_container(choose) for _ in range(choose.randint(1, 2))]}
    if choose.random() < 0.3:
        spec["initContainers"] = [random_container(choose) for _ in range(choose.randint(1, 2))]
        if choose.random() < 0.5:
            spec["initContainers"][0]["restartPolicy"] = "Always"
    if choose.random() < 0.1:
        spec["overhead"] = {"cpu": "20m", "memory": "10Mi"}
    if choose.random() < 0.2:
        spec["nodeSelector"] = {"zone": choose.choice("abc")}
    if choose.random() < 0.4:
        spec["tolerations"] = choose.sample(
            [
                {"key": "k", "operator": "Exists"},
                {"key": "l", "operator": "Equal", "value": "a", "effect": "PreferNoSchedule"},
                {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"},
                {"operator": "Exists", "effect": "NoExecute"},
            ],
            choose.randint(1, 2),
        )
    affinity: Object = {}
    if choose.random() < 0.25:
        terms: list[Object] = [
            {"matchExpressions": [random_expression(choose) for _ in range(choose.randint(1, 2))]}
            for _ in range(choose.randint(1, 2))
        ]
        if choose.random() < 0.2:
            terms[0]["matchFields"] = [
                {"key": "metadata.name", "operator": choose.choice(["In", "NotIn"]), "values": ["node-1"]}
            ]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    if choose.random() < 0.4:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": choose.randint(1, 100), "preference": {"matchExpressions": [random_expression(choose)]}}
            for _ in range(choose.randint(1, 3))
        ]
    if affinity:
        spec["affinity"] = {"nodeAffinity": affinity}
    return {"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": spec}


def random_cluster(seed: int) -> tuple[list[Object], list[Object]]:
    """Nodes, and pods in runs of equal ones."""
    choose = random.Random(seed)
    nodes = [random_node(choose, f"node-{index}") for index in range(choose.randint(1, 12))]
    pods: list[Object] = []
    while len(pods) < 30:
        pod = random_pod(choose, "")
        for _ in range(choose.choice([1, 1, 2, 6])):
            metadata = {**pod["metadata"], "name": f"pod-{len(pods)}", "uid": f"{len(pods)}"}
            pods.append({**pod, "metadata": metadata})
    return nodes, pods


def model_of(nodes: list[Object], seed: int, without: str = "") -> Model:
    return Model(seed, without, {node["metadata"]["name"]: node for node in nodes})


@pytest.mark.parametrize("seed", range(CLUSTERS))
def test_the_kernel_places_every_pod_where_the_plain_model_does(seed: int) -> None:
    nodes, pods = random_cluster(seed)
    model, kernel = model_of(nodes, seed), Kernel(seed=seed)
    for node in nodes:
        kernel.node_event("ADDED", json.dumps(node).encode())
    kernel.pod_events([("ADDED", json.dumps(pod).encode()) for pod in pods])
    for (key, placed, failure), pod in zip(
        kernel.schedule([f"default/{pod['metadata']['name']}" for pod in pods]), pods, strict=True
    ):
        assert placed == model.schedule(pod), f"seed {seed}, {key}"
        if failure is not None and failure.before_nodes is None and not left_out(failure.reasons):
            reasons = Counter(reason for node in nodes for reason in model.refusal(pod, node))
            assert dict(failure.reasons) == dict(reasons), f"seed {seed}, {key}"


def left_out(reasons: list[tuple[str, int]]) -> bool:
    """The pod named its nodes: the others are not asked, which the model has no words for."""
    return any(reason.startswith("node(s) didn't satisfy") for reason, _ in reasons)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_each_plugin_decides_something(plugin: str) -> None:
    different = 0
    for seed in range(20):
        nodes, pods = random_cluster(seed)
        whole, lacking = model_of(nodes, seed), model_of(nodes, seed, plugin)
        different += [whole.schedule(pod) for pod in pods] != [lacking.schedule(pod) for pod in pods]
    assert different >= 3, f"without {plugin} only {different} of 20 clusters come out differently"
