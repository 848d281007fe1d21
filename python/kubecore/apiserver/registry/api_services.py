"""APIServices: one for each group and version that is served, as upstream's aggregator keeps them.

Scripts wait for them (`kubectl wait --for=condition=Available apiservice/v1beta1.metrics.k8s.io`) and tools list them. All are answered
by this server itself: `Local`. Flows in: what is served, in the order of preference. Flows out: objects in storage; those of versions that
are served no more are removed.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubecore.api import scheme
from kubecore.api.meta import Object, labels_of
from kubecore.apiserver.registry.bootstrap import ensure
from kubecore.apiserver.registry.registry import Registry

MANAGED_LABEL = "kube-aggregator.kubernetes.io/automanaged"
MANAGED = "onstart"
GROUP_PRIORITY_FIRST, GROUP_PRIORITY_STEP = 18_000, 100
VERSION_PRIORITY_FIRST = 15


def ensure_api_services(registry: Registry, versions_by_group: Sequence[tuple[str, Sequence[str]]]) -> None:
    """versions_by_group: the most preferred first, of both."""
    resource = scheme.resource("apiregistration.k8s.io", "v1", "apiservices")
    wanted: set[str] = set()
    for place, (group, versions) in enumerate(versions_by_group):
        for age, version in enumerate(versions):
            name = f"{version}.{group}"
            wanted.add(name)
            spec = {
                "group": group,
                "version": version,
                "groupPriorityMinimum": GROUP_PRIORITY_FIRST - place * GROUP_PRIORITY_STEP,
                "versionPriority": max(1, VERSION_PRIORITY_FIRST - age),
            }
            ensure(registry, resource, "", name, {**_local(registry), "spec": spec}, follow=("spec",))
    storage = registry.environment.storage
    for stored in storage.list(resource.key_prefix()).items:
        managed = labels_of(stored.object).get(MANAGED_LABEL) == MANAGED
        if managed and stored.object["metadata"]["name"] not in wanted:
            storage.delete(stored.key)


def _local(registry: Registry) -> Object:
    available = {
        "type": "Available",
        "status": "True",
        "reason": "Local",
        "message": "Local APIServices are always available",
        "lastTransitionTime": registry.environment.now(),
    }
    return {"metadata": {"labels": {MANAGED_LABEL: MANAGED}}, "status": {"conditions": [available]}}
