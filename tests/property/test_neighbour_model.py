"""Ports, spreading and affinity: the kernel against the plain model over random clusters; each plugin must matter in some of them."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from kubecore.scheduler.kernel import Kernel
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
KEYS = ("kubernetes.io/hostname", "topology.kubernetes.io/zone", "rack")
NAMESPACES = {"red": {"team": "x"}, "green": {"team": "y"}, "blue": {}}


def random_node(choose: random.Random, name: str) -> Object:
    labels = {"kubernetes.io/hostname": name, "disk": choose.choice(["ssd", "hdd"])}
    if choose.random() < 0.85:
        labels["topology.kubernetes.io/zone"] = choose.choice("abc")
    if choose.random() < 0.6:
        labels["rack"] = choose.choice("123")
    taints = [{"key": "k", "effect": "NoSchedule"}] if choose.random() < 0.15 else []
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
        "status": {"allocatable": {"cpu": "8", "memory": "32Gi", "pods": choose.choice(["4", "20"])}},
    }


def random_labels(choose: random.Random) -> dict[str, str]:
    labels = {"app": choose.choice("abc")}
    if choose.random() < 0.5:
        labels["version"] = choose.choice("12")
    return labels


def random_selector(choose: random.Random) -> Object | None:
    return choose.choice(
        [
            {"matchLabels": {"app": choose.choice("abc")}},
            {"matchLabels": {"app": choose.choice("abc")}},
            {"matchExpressions": [{"key": "app", "operator": "In", "values": choose.sample("abc", 2)}]},
            {"matchExpressions": [{"key": "version", "operator": choose.choice(["Exists", "DoesNotExist"])}]},
            {"matchExpressions": [{"key": "version", "operator": "NotIn", "values": ["1"]}]},
            {},
            None,
        ]
    )


def random_constraint(choose: random.Random, action: str) -> Object:
    constraint: Object = {
        "topologyKey": choose.choice(KEYS),
        "maxSkew": choose.randint(1, 3),
        "whenUnsatisfiable": action,
        "labelSelector": random_selector(choose),
    }
    if action == "DoNotSchedule" and choose.random() < 0.3:
        constraint["minDomains"] = choose.randint(1, 4)
    if choose.random() < 0.3:
        constraint["nodeAffinityPolicy"] = choose.choice(["Honor", "Ignore"])
    if choose.random() < 0.3:
        constraint["nodeTaintsPolicy"] = choose.choice(["Honor", "Ignore"])
    if choose.random() < 0.2:
        constraint["matchLabelKeys"] = ["version"]
    return constraint


def random_term(choose: random.Random) -> Object:
    term: Object = {"topologyKey": choose.choice(KEYS), "labelSelector": random_selector(choose)}
    if choose.random() < 0.2:
        term["namespaces"] = choose.sample(list(NAMESPACES), 2)
    if choose.random() < 0.2:
        term["namespaceSelector"] = choose.choice([{}, {"matchLabels": {"team": "x"}}])
    return term


def random_affinity(choose: random.Random) -> Object:
    affinity: Object = {}
    for kind, required in (("podAffinity", 0.25), ("podAntiAffinity", 0.2)):
        if choose.random() < required:
            terms = [random_term(choose) for _ in range(choose.choice([1, 1, 2]))]
            affinity.setdefault(kind, {})["requiredDuringSchedulingIgnoredDuringExecution"] = terms
        if choose.random() < 0.3:
            affinity.setdefault(kind, {})["preferredDuringSchedulingIgnoredDuringExecution"] = [
                {"weight": choose.randint(1, 100), "podAffinityTerm": random_term(choose)}
                for _ in range(choose.randint(1, 2))
            ]
    return affinity


def random_pod(choose: random.Random) -> Object:
    container: Object = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}
    spec: Object = {"containers": [container]}
    if choose.random() < 0.15:
        port: Object = {"containerPort": 80, "hostPort": choose.choice([80, 81])}
        if choose.random() < 0.4:
            port["hostIP"] = choose.choice(["10.0.0.1", "10.0.0.2"])
        if choose.random() < 0.3:
            port["protocol"] = "UDP"
        container["ports"] = [port]
    if choose.random() < 0.2:
        spec["nodeSelector"] = {"disk": "ssd"}
    if choose.random() < 0.3:
        spec["tolerations"] = [{"key": "k", "operator": "Exists"}]
    if choose.random() < 0.4:
        spec["topologySpreadConstraints"] = [
            random_constraint(choose, choose.choice(["DoNotSchedule", "ScheduleAnyway"]))
            for _ in range(choose.choice([1, 1, 2]))
        ]
    affinity = random_affinity(choose) if choose.random() < 0.6 else {}
    if affinity:
        spec["affinity"] = affinity
    metadata: Object = {"namespace": choose.choice(list(NAMESPACES)), "labels": random_labels(choose)}
    if choose.random() < 0.5:
        owner = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": f"set-{choose.randint(0, 2)}",
            "controller": True,
        }
        metadata["ownerReferences"] = [owner]
    return {"metadata": metadata, "spec": spec}


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


def key_of(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


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
