"""EndpointSlices for Endpoints that somebody wrote by hand: proxies and DNS read slices only.

In: Endpoints, Services, slices. Out: for the Endpoints of a service without a selector one slice for each address type
and set of ports, owned by the Endpoints. Nothing is mirrored that says so itself (a label), or that holds a leader's
election. Source: https://kubernetes.io/docs/concepts/services-networking/service/#endpointslice-mirroring
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubecore.api import errors
from kubecore.api.meta import Object, labels_of, name_of, namespace_of, uid_of
from kubecore.api.scheme import core, resource
from kubecore.client import Request, requests
from kubecore.controllers.base import Context, Controller
from kubecore.controllers.endpointslice import MANAGED_BY, SERVICE_NAME, Group, group_of
from kubecore.controllers.expectations import Expectations
from kubecore.controllers.ownership import is_namespace_terminating

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
NOT_COPIED = ("endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration")
ENDPOINTS_MAX = 1000
"""Of a subset; what is beyond is left out (`--mirroring-max-endpoints-per-subset`)."""

BY_SERVICE = "mirrored for"


def is_mirrored(endpoints: Object | None, service: Object | None) -> bool:
    if endpoints is None or service is None or endpoints["metadata"].get("deletionTimestamp"):
        return False
    annotations = endpoints["metadata"].get("annotations") or {}
    if labels_of(endpoints).get(SKIP) == "true" or LEADER in annotations:
        return False
    return not service["spec"].get("selector")


def wanted(endpoints: Object) -> dict[Group, Object]:
    """The slices, by address type and ports."""
    made: dict[Group, Object] = {}
    for subset in endpoints.get("subsets") or ():
        # As the server completes them in a slice: otherwise they would look changed each time.
        ports = [{"name": "", "protocol": "TCP", **port} for port in subset.get("ports") or ()]
        ready, unready = subset.get("addresses") or [], subset.get("notReadyAddresses") or []
        listed = [(each, True) for each in ready] + [(each, False) for each in unready]
        for address, is_ready in listed[:ENDPOINTS_MAX]:
            family = "IPv6" if ":" in address["ip"] else "IPv4"
            group = group_of(family, ports)
            if group not in made:
                made[group] = _slice(endpoints, family, ports)
            made[group]["endpoints"].append(_endpoint(address, is_ready=is_ready))
    return made


def _endpoint(address: Object, *, is_ready: bool) -> Object:
    made: Object = {"addresses": [address["ip"]], "conditions": {"ready": is_ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            made[field] = address[field]
    return made


def _slice(endpoints: Object, family: str, ports: list[Object]) -> Object:
    annotations = endpoints["metadata"].get("annotations") or {}
    kept = {name: value for name, value in annotations.items() if name not in NOT_COPIED}
    owner = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "name": name_of(endpoints),
        "uid": uid_of(endpoints),
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata: Object = {
        "generateName": f"{name_of(endpoints)}-",
        "namespace": namespace_of(endpoints),
        "labels": {**labels_of(endpoints), SERVICE_NAME: name_of(endpoints), MANAGED_BY: MANAGER},
        "ownerReferences": [owner],
    }
    if kept:
        metadata["annotations"] = kept
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": family,
        "ports": ports,
        "endpoints": [],
    }


def plan(slices: dict[Group, Object], existing: Sequence[Object]) -> tuple[list[Object], list[Object], list[Object]]:
    """(to create, to update, to delete): the first slice of a group is kept, and written only if it differs."""
    left = dict(slices)
    update, delete = [], []
    for each in existing:
        new = left.pop(group_of(each["addressType"], each.get("ports") or []), None)
        if new is None:
            delete.append(each)
        elif (
            any(_differs(each, new, field) for field in ("labels", "annotations"))
            or (each.get("endpoints") or []) != new["endpoints"]
        ):
            metadata = {**each["metadata"], "labels": new["metadata"]["labels"]}
            metadata["annotations"] = new["metadata"].get("annotations", {})
            update.append({**each, "metadata": metadata, "endpoints": new["endpoints"]})
    return list(left.values()), update, delete


def _differs(each: Object, new: Object, field: str) -> bool:
    return (each["metadata"].get(field) or {}) != (new["metadata"].get(field) or {})


class EndpointSliceMirroring(Controller):
    name = "endpointslice-mirroring-controller"
    identity = component = "endpointslicemirroring-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._resource = resource("discovery.k8s.io", "v1", "endpointslices")
        self._endpoints = self.enqueue_changes_of(core("endpoints"))
        self._services = self.enqueue_changes_of(core("services"))
        self._slices = self.informer(self._resource)
        self._slices.add_index(BY_SERVICE, _by_service)
        self._slices.add_handler(self._slice_changed)
        self._expectations = Expectations(self.clock)

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        for each in (old, new):
            for key in _by_service(each) if each is not None else ():
                self._expectations.observed(key, uid_of(each or {}))
                self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        if not self._expectations.satisfied(key):
            return
        endpoints = self._endpoints.get(key)
        slices = wanted(endpoints) if endpoints and is_mirrored(endpoints, self._services.get(key)) else {}
        existing = [each for each in self._slices.by_index(BY_SERVICE, key) if not _is_going(each)]
        await self._apply(key, *plan(slices, existing))

    async def _apply(self, key: str, create: list[Object], update: list[Object], delete: list[Object]) -> None:
        namespace = key.partition("/")[0]
        batch: list[Request] = [requests.create(self._resource, each) for each in create]
        batch += [requests.update(self._resource, each) for each in update]
        batch += [requests.delete(self._resource, namespace, each["metadata"]["name"]) for each in delete]
        if not batch:
            return
        failures = []
        for number, outcome in enumerate(await self.client.send_all(batch)):
            if not isinstance(outcome, errors.StatusError):
                made = number < len(create)
                if made and self._slices.get(f"{namespace}/{outcome['metadata']['name']}") is None:
                    self._expectations.expect(key, (uid_of(outcome),))
            elif is_namespace_terminating(outcome):
                return
            elif not isinstance(outcome, errors.NotFound):
                failures.append(outcome)
        if failures:
            raise failures[0]


def _is_going(each: Object) -> bool:
    return bool(each["metadata"].get("deletionTimestamp"))


def _by_service(each: Object) -> Iterable[str]:
    labels = labels_of(each)
    name = labels.get(SERVICE_NAME) if labels.get(MANAGED_BY) == MANAGER else None
    return (f"{namespace_of(each)}/{name}",) if name else ()
