"""Endpoints: each service's pods and ports in one object, the older form.

In: services and pods. Out: an Endpoints object of the service's name: ready and unready addresses, grouped by the
ports that they have in common.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubecore.api import errors
from kubecore.api.meta import Object, key_of, labels_of, namespace_of, split_key
from kubecore.api.scheme import core
from kubecore.client import requests
from kubecore.controllers import service_backends as backends
from kubecore.controllers.base import Context
from kubecore.controllers.ownership import is_namespace_terminating
from kubecore.controllers.pods import is_ready

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
LEADER_ELECTION = "control-plane.alpha.kubernetes.io/leader"

ADDRESSES_MAX = 1000
"""More addresses than that are left out, ready ones last; EndpointSlices hold them all."""


def plan_subsets(service: Object, pods: Sequence[Object]) -> tuple[list[Object], bool]:
    """The subsets, and whether addresses had to be left out."""
    unready_counts = bool(service["spec"].get("publishNotReadyAddresses"))
    family = backends.families_of(service)[0]
    found: list[tuple[bool, Object, tuple[tuple[tuple[str, str | int], ...], ...]]] = []
    for pod in pods:
        address = _address(service, pod, family, unready_counts=unready_counts)
        ports = backends.ports_of(service, pod)
        portless = backends.is_headless(service) and not service["spec"].get("ports")
        if address and (ports or portless):
            key = tuple(sorted(tuple(_without_empty(port).items()) for port in ports))
            found.append((unready_counts or is_ready(pod), address, key))
    truncated = len(found) > ADDRESSES_MAX
    if truncated:
        found = sorted(found, key=lambda each: not each[0])[:ADDRESSES_MAX]
    subsets: dict[tuple[tuple[tuple[str, str | int], ...], ...], Object] = {}
    for ready, address, key in found:
        subset = subsets.setdefault(key, {})
        subset.setdefault("addresses" if ready else "notReadyAddresses", []).append(address)
    for key, subset in subsets.items():
        for addresses in subset.values():
            addresses.sort(key=lambda address: (address["ip"], address["targetRef"]["uid"]))
        if key:
            subset["ports"] = [dict(port) for port in key]
    return [subset for _, subset in sorted(subsets.items(), key=lambda item: repr(item[0]))], truncated


def _address(service: Object, pod: Object, family: str, *, unready_counts: bool) -> Object | None:
    ip = backends.address_of(pod, family)
    leaving = bool(pod["metadata"].get("deletionTimestamp")) and not unready_counts
    if not ip or leaving or backends.is_finished(pod):
        return None
    address: Object = {"ip": ip, "targetRef": backends.target_reference(pod)}
    if pod["spec"].get("nodeName"):
        address["nodeName"] = pod["spec"]["nodeName"]
    hostname = backends.hostname_of(pod, service)
    if hostname:
        address["hostname"] = hostname
    return address


def _without_empty(port: backends.Port) -> backends.Port:
    return {name: value for name, value in port.items() if value != ""}


def plan(service: Object, pods: Sequence[Object], current: Object | None) -> Object | None:
    """The Endpoints to write, or None if the present ones are right."""
    subsets, truncated = plan_subsets(service, pods)
    labels = {**labels_of(service), MANAGED_BY: MANAGER}
    labels.pop(backends.HEADLESS, None)
    if backends.is_headless(service):
        labels[backends.HEADLESS] = ""
    annotations = dict((current or {}).get("metadata", {}).get("annotations") or {})
    annotations.pop(OVER_CAPACITY, None)
    if truncated:
        annotations[OVER_CAPACITY] = "truncated"
    if current is not None:
        kept = current["metadata"].get("annotations") or {}
        if (current.get("subsets") or []) == subsets and labels_of(current) == labels and kept == annotations:
            return None
    metadata = (
        dict(current["metadata"])
        if current
        else {
            "name": service["metadata"]["name"],
            "namespace": namespace_of(service),
        }
    )
    metadata["labels"] = labels
    if annotations or "annotations" in metadata:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}


class Endpoints(backends.ServiceController):
    name = "endpoints-controller"
    identity = component = "endpoint-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._endpoints = self.informer(core("endpoints"))
        self._endpoints.add_handler(self._endpoints_changed)

    def _endpoints_changed(self, old: Object | None, new: Object | None) -> None:
        """Those of a service, deleted or changed by somebody: put right. Those without one are their owner's own affair."""
        if old is not None and self.services.get(key_of(old)) is not None:
            self.queue.add(key_of(old))

    async def start(self) -> None:
        """Endpoints whose service went while nobody looked are found by their keys."""
        for endpoints in list(self._endpoints.list()):
            if LEADER_ELECTION not in (endpoints["metadata"].get("annotations") or {}):
                self.queue.add(key_of(endpoints))

    async def reconcile(self, key: str) -> None:
        service = self.services.get(key)
        current = self._endpoints.get(key)
        if service is None:
            if current is not None and LEADER_ELECTION not in (current["metadata"].get("annotations") or {}):
                namespace, name = split_key(key)
                await self._delete(namespace, name)
            return
        if not backends.takes_endpoints(service):
            return
        planned = plan(service, self.selected(service), current)
        if planned is None:
            return
        try:
            if current is None:
                await self.client.create(core("endpoints"), planned)
            else:
                await self.client.send(requests.update(core("endpoints"), planned))
        except errors.StatusError as failure:
            if is_namespace_terminating(failure):
                return
            if not isinstance(failure, errors.Conflict):
                verb = "create" if current is None else "update"
                message = f"Failed to {verb} endpoint {key}: {failure.message}"
                self.recorder.event(service, "Warning", f"FailedTo{verb.capitalize()}Endpoint", message)
            raise

    async def _delete(self, namespace: str, name: str) -> None:
        try:
            await self.client.delete(core("endpoints"), namespace, name)
        except errors.NotFound:
            return
