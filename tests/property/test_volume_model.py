"""Bound claims: the kernel against the plain model over random clusters; each plugin must matter in some of them."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from kubecore.scheduler.kernel import Kernel
from support import volume_model
from support.random_pods import random_node
from support.scheduling_model import Model
from support.volume_model import Storage

Object = dict[str, Any]

CLUSTERS = 100
PLUGINS = ("VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone")


def random_storage(choose: random.Random, nodes: list[Object]) -> Storage:
    storage = Storage()
    for index in range(8):
        labels = {}
        if choose.random() < 0.4:
            labels[volume_model.ZONE] = choose.choice(["a", "b", "a__c"])
        spec: Object = {"csi": {"driver": "disk", "volumeHandle": f"h{choose.randint(0, 5)}"}}
        if choose.random() < 0.4:
            names = [node["metadata"]["name"] for node in choose.sample(nodes, min(2, len(nodes)))]
            expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": names}
            spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
        storage.volumes[f"pv{index}"] = {"metadata": {"name": f"pv{index}", "labels": labels}, "spec": spec}
        storage.claims[f"c{index}"] = {
            "metadata": {"name": f"c{index}", "namespace": "default"},
            "spec": {
                "volumeName": f"pv{index}",
                "accessModes": [choose.choice(["ReadWriteOnce", "ReadWriteOnce", "ReadWriteOncePod"])],
            },
            "status": {"phase": "Bound"},
        }
    for node in nodes:
        if choose.random() < 0.7:
            storage.limits[node["metadata"]["name"]] = choose.randint(1, 3)
    return storage


def random_cluster(seed: int) -> tuple[list[Object], Storage, list[Object]]:
    choose = random.Random(seed)
    nodes = [random_node(choose, f"node-{index}") for index in range(choose.randint(2, 6))]
    storage = random_storage(choose, nodes)
    pods = []
    for index in range(15):
        names = choose.sample(sorted(storage.claims), choose.choice([0, 1, 1, 2]))
        volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
        spec = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
        pods.append({"metadata": {"name": f"pod-{index}", "namespace": "default", "uid": str(index)}, "spec": spec})
    return nodes, storage, pods


class VolumeModel(Model):
    """The model with the volume plugins between resources and neighbours, where upstream has them."""

    storage: Storage

    def refusal(self, pod: Object, node: Object) -> list[str]:
        reasons = super().refusal(pod, node)
        if reasons:
            return reasons
        for plugin, refused in volume_model.refusals(self.storage, pod, node, self.running):
            if refused and plugin != self.without:
                return refused
        return []


def model_of(seed: int, without: str = "") -> tuple[VolumeModel, list[Object]]:
    nodes, storage, pods = random_cluster(seed)
    model = VolumeModel(seed, without, {node["metadata"]["name"]: node for node in nodes})
    model.storage = storage
    return model, pods


def kernel_of(seed: int) -> Kernel:
    nodes, storage, pods = random_cluster(seed)
    kernel = Kernel(seed=seed)
    told = [("persistentvolumes", each) for each in storage.volumes.values()]
    told += [("persistentvolumeclaims", each) for each in storage.claims.values()]
    for name, count in storage.limits.items():
        driver = {"name": "disk", "nodeID": name, "allocatable": {"count": count}}
        told.append(("csinodes", {"metadata": {"name": name}, "spec": {"drivers": [driver]}}))
    for resource, obj in told:
        kernel.related_event(resource, "ADDED", json.dumps(obj).encode())
    for node in nodes:
        kernel.node_event("ADDED", json.dumps(node).encode())
    kernel.pod_events([("ADDED", json.dumps(pod).encode()) for pod in pods])
    return kernel


@pytest.mark.parametrize("seed", range(CLUSTERS))
def test_the_kernel_places_pods_near_their_volumes_as_the_plain_model_does(seed: int) -> None:
    kernel = kernel_of(seed)
    model, pods = model_of(seed)
    keys = [f"default/{pod['metadata']['name']}" for pod in pods]
    for (key, placed, failure), pod in zip(kernel.schedule(keys), pods, strict=True):
        if failure is not None:
            reasons = Counter(reason for node in model.nodes.values() for reason in model.refusal(pod, node))
            assert dict(failure.reasons) == dict(reasons), f"seed {seed}, {key}"
        assert placed == model.schedule(pod), f"seed {seed}, {key}"


@pytest.mark.parametrize("plugin", PLUGINS)
def test_each_volume_plugin_decides_something(plugin: str) -> None:
    different = 0
    for seed in range(30):
        (whole, pods), (lacking, _) = model_of(seed), model_of(seed, plugin)
        different += [whole.schedule(pod) for pod in pods] != [lacking.schedule(pod) for pod in pods]
    assert different >= 10, f"without {plugin} only {different} of 30 clusters come out differently"
