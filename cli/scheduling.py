"""What `explain-pod` and `plan` share: a scheduler's configuration from a file, and pods out of manifests."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import click
import yaml

from kubecore.api.meta import Object
from kubecore.api.scheme import resource
from kubecore.client import Client
from kubecore.scheduler import Configuration, Refused, read_configuration

REPLICATED = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")


class ConfigurationFile(click.ParamType[Any]):
    """A KubeSchedulerConfiguration."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Configuration:
        if isinstance(value, Configuration):
            return value
        try:
            return read_configuration(yaml.safe_load(Path(value).read_text("utf-8")) or {})
        except (OSError, yaml.YAMLError, Refused) as error:
            self.fail(f"{value}: {error}", param, ctx)


def pods_of(obj: Object, namespace: str) -> list[Object]:
    """The pods that an object stands for: itself, its replicas, or those that a job runs at once. Empty: none."""
    kind, spec = obj.get("kind"), obj.get("spec") or {}
    metadata = {"namespace": namespace, **obj["metadata"]}
    if kind == "Pod":
        return [{**obj, "metadata": {"uid": f"plan-{metadata['name']}", **metadata}}]
    if kind in REPLICATED:
        count = spec.get("replicas", 1)
    elif kind == "Job":
        count = spec.get("parallelism", 1)
    else:
        return []
    template = spec["template"]
    made = []
    for index in range(count):
        name = f"{metadata['name']}-{index}"
        own = {"name": name, "namespace": metadata["namespace"], "uid": f"plan-{name}"}
        labels = (template.get("metadata") or {}).get("labels") or {}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**own, "labels": labels}}
        made.append({**pod, "spec": copy.deepcopy(template["spec"])})
    return made


async def give_priorities(client: Client, pods: list[Object]) -> None:
    """As admission would: the number that a pod's priority class stands for."""
    classes = resource("scheduling.k8s.io", "v1", "priorityclasses")
    listed = (await client.list(classes)).items
    values = {each["metadata"]["name"]: each for each in listed}
    default = next((each for each in listed if each.get("globalDefault")), None)
    for pod in pods:
        name = pod["spec"].get("priorityClassName", "")
        if name and name not in values:
            raise click.ClickException(f'there is no priority class "{name}"')
        chosen = values[name] if name else default
        if chosen is not None and "priority" not in pod["spec"]:
            pod["spec"]["priority"] = chosen["value"]
            pod["spec"].setdefault("preemptionPolicy", chosen.get("preemptionPolicy", "PreemptLowerPriority"))
