"""Random nodes, and pods that mean something to one another."""

from __future__ import annotations

import random
from typing import Any

Object = dict[str, Any]

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


def key_of(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
