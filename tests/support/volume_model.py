"""Claims and volumes as a person would write it from upstream's documents: each claim is looked up again for each node.

Sources: the concept pages on persistent volumes, storage classes and node-specific volume limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support.neighbour_model import labels_of
from support.scheduling_model import term_matches

Object = dict[str, Any]

ZONE = "topology.kubernetes.io/zone"


@dataclass
class Storage:
    claims: dict[str, Object] = field(default_factory=dict)
    volumes: dict[str, Object] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    """Of the driver `disk`, by node."""

    def claims_of(self, pod: Object) -> list[Object]:
        names = [each["persistentVolumeClaim"]["claimName"] for each in pod["spec"].get("volumes", ())]
        return [self.claims[name] for name in names]

    def volumes_of(self, pod: Object) -> list[Object]:
        return [self.volumes[claim["spec"]["volumeName"]] for claim in self.claims_of(pod)]

    def handles_of(self, pod: Object) -> set[str]:
        return {volume["spec"]["csi"]["volumeHandle"] for volume in self.volumes_of(pod) if "csi" in volume["spec"]}


def restrictions(storage: Storage, pod: Object, everybody: list[Object]) -> list[str]:
    for claim in storage.claims_of(pod):
        if "ReadWriteOncePod" in claim["spec"]["accessModes"]:
            for other in everybody:
                if any(each is claim for each in storage.claims_of(other)):
                    return [
                        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
                        "already in-use by another pod"
                    ]
    return []


def limits(storage: Storage, pod: Object, node: Object, there: list[Object]) -> list[str]:
    most = storage.limits.get(node["metadata"]["name"])
    attached = {handle for other in there for handle in storage.handles_of(other)}
    new = storage.handles_of(pod) - attached
    if most is not None and new and len(attached) + len(new) > most:
        return ["node(s) exceed max volume count"]
    return []


def reach(storage: Storage, pod: Object, node: Object) -> list[str]:
    for volume in storage.volumes_of(pod):
        required = volume["spec"].get("nodeAffinity", {}).get("required")
        if required is not None and not any(term_matches(term, node) for term in required["nodeSelectorTerms"]):
            return ["node(s) didn't match PersistentVolume's node affinity"]
    return []


def zone(storage: Storage, pod: Object, node: Object) -> list[str]:
    here = labels_of(node).get(ZONE)
    for volume in storage.volumes_of(pod):
        zones = volume["metadata"]["labels"].get(ZONE)
        if here is not None and zones is not None and here not in zones.split("__"):
            return ["node(s) had no available volume zone"]
    return []


def refusals(
    storage: Storage, pod: Object, node: Object, running: dict[str, list[Object]]
) -> list[tuple[str, list[str]]]:
    """By plugin, in the order in which they run."""
    everybody = [other for pods in running.values() for other in pods]
    there = running.get(node["metadata"]["name"], [])
    return [
        ("VolumeRestrictions", restrictions(storage, pod, everybody)),
        ("NodeVolumeLimits", limits(storage, pod, node, there)),
        ("VolumeBinding", reach(storage, pod, node)),
        ("VolumeZone", zone(storage, pod, node)),
    ]
