"""Preemption: the kernel against the plain model over random clusters; budgets, priorities and starts must matter in some of them."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from kubecore.scheduler.kernel import Kernel
from support.preemption_model import best_candidates
from support.random_pods import NAMESPACES, key_of, random_labels, random_node, random_pod
from support.scheduling_model import Model

Object = dict[str, Any]

CLUSTERS = 150


def running_pod(choose: random.Random, index: int, node: str) -> Object:
    """Most of them plain: it is their sizes and priorities that matter here."""
    pod = (
        random_pod(choose)
        if choose.random() < 0.3
        else {"metadata": {"namespace": "red"}, "spec": {"containers": [{}]}}
    )
    pod["metadata"] = {
        **pod["metadata"],
        "name": f"running-{index}",
        "uid": f"r{index}",
        "labels": random_labels(choose),
    }
    pod["spec"]["containers"][0].update(name="c", image="i")
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": choose.choice(["1", "2", "3"])}}
    pod["spec"].update(nodeName=node, priority=choose.choice([0, 1, 2, 5]))
    pod["status"] = {"phase": "Running", "startTime": f"2026-01-{choose.randint(1, 5):02}T00:00:00Z"}
    return pod


def random_budgets(choose: random.Random) -> list[Object]:
    return [
        {
            "metadata": {"name": f"budget-{index}", "namespace": "red"},
            "spec": {"selector": {"matchLabels": {"app": choose.choice("abc")}}},
            "status": {"disruptionsAllowed": choose.randint(0, 2)},
        }
        for index in range(choose.randint(0, 3))
    ]


def random_cluster(seed: int) -> tuple[Model, list[Object], Object]:
    """Full nodes, budgets, and a pod that fits nowhere or nearly so."""
    choose = random.Random(seed)
    nodes = [random_node(choose, f"node-{index}") for index in range(choose.randint(2, 7))]
    model = Model(seed, "", {node["metadata"]["name"]: node for node in nodes}, namespaces=NAMESPACES)
    made = 0
    for name in model.nodes:
        while model.used(name).get("cpu", 0) <= 5000:
            made += 1
            model.run(name, running_pod(choose, made, name))
    pod = random_pod(choose)
    pod["metadata"].update(name="preemptor", uid="p")
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": choose.choice(["4", "6", "8", "9"])}}
    pod["spec"]["priority"] = choose.choice([1, 3, 3, 9, 9])
    return model, random_budgets(choose), pod


@pytest.mark.parametrize("seed", range(CLUSTERS))
def test_the_kernel_evicts_whom_the_plain_model_would(seed: int) -> None:
    model, budgets, pod = random_cluster(seed)
    kernel = Kernel(seed=seed)
    for name, labels in NAMESPACES.items():
        kernel.related_event("namespaces", "ADDED", json.dumps({"metadata": {"name": name, "labels": labels}}).encode())
    for budget in budgets:
        kernel.related_event("poddisruptionbudgets", "ADDED", json.dumps(budget).encode())
    for node in model.nodes.values():
        kernel.node_event("ADDED", json.dumps(node).encode())
    everybody = [each for running in model.running.values() for each in running]
    kernel.pod_events([("ADDED", json.dumps(each).encode()) for each in [*everybody, pod]])
    ((_, placed, failure),) = kernel.schedule([key_of(pod)])
    if placed is not None:
        assert not model.refusal(pod, model.nodes[placed])
        return
    assert failure is not None
    best = best_candidates(model, pod, budgets)
    if failure.preemption == "nominated":
        victims = tuple(key for key, _, _ in failure.victims)
        assert (failure.nominated_node, victims) in [(each.node, each.victims) for each in best], f"seed {seed}"
    else:
        assert best == [], f"seed {seed}"


def test_budgets_priorities_and_starts_each_decide_something() -> None:
    decided = dict.fromkeys(("somebody is evicted", "nobody can be", "budgets", "starts", "several victims"), 0)
    for seed in range(CLUSTERS):
        model, budgets, pod = random_cluster(seed)
        if any(not model.refusal(pod, node) for node in model.nodes.values()):
            continue
        best = best_candidates(model, pod, budgets)
        unprotected = best_candidates(model, pod, [])
        for running in model.running.values():
            for each in running:
                each["status"] = {}
        timeless = best_candidates(model, pod, budgets)
        decided["somebody is evicted"] += bool(best)
        decided["nobody can be"] += not best
        decided["budgets"] += [each.victims for each in best] != [each.victims for each in unprotected]
        decided["starts"] += [each.victims for each in best] != [each.victims for each in timeless]
        decided["several victims"] += any(len(each.victims) > 1 for each in best)
    assert all(count >= 10 for count in decided.values()), decided
