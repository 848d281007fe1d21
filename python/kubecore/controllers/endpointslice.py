"""EndpointSlices: each service's pods and ports in slices of at most a hundred.

In: services, pods, nodes (their zones). Out: slices, changed as little as possible: an endpoint stays in the slice it
is in, a change of one pod is a write of one slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kubecore.api import errors
from kubecore.api.meta import Object, labels_of, namespace_of, uid_of
from kubecore.api.scheme import core, resource
from kubecore.client import Request, requests
from kubecore.controllers import pods as pod_facts
from kubecore.controllers import service_backends as backends
from kubecore.controllers.base import Context
from kubecore.controllers.expectations import Expectations
from kubecore.controllers.ownership import is_namespace_terminating
from kubecore.controllers.pods import owner_reference

ENDPOINTS_MAX = 100
"""In one slice (`--max-endpoints-per-slice`)."""

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"

SAME_NODE = "PreferSameNode"
_NEAR = ("PreferClose", "PreferSameZone", SAME_NODE)
"""Values of `spec.trafficDistribution`; the first is the second's older name."""

BY_SERVICE = "service"


@dataclass(slots=True)
class Plan:
    """Slices to write."""

    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


Group = tuple[str, str]
"""Endpoints of one address type with equal ports share slices: (address type, ports as text)."""


def endpoint(service: Object, pod: Object, family: str, zone: str) -> Object:
    serving = pod_facts.is_ready(pod)
    terminating = bool(pod["metadata"].get("deletionTimestamp"))
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    made: Object = {
        "addresses": [backends.address_of(pod, family)],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": backends.target_reference(pod),
    }
    if pod["spec"].get("nodeName"):
        made["nodeName"] = pod["spec"]["nodeName"]
    if zone:
        made["zone"] = zone
    hostname = backends.hostname_of(pod, service)
    if hostname:
        made["hostname"] = hostname
    near = hints(service["spec"].get("trafficDistribution", ""), made) if ready else {}
    if near:
        made["hints"] = near
    return made


def hints(distribution: str, made: Object) -> Object:
    """Whom an endpoint is meant for, as the service wants its traffic spread: its own zone, or its own node and else its
    zone."""
    found: Object = {}
    if distribution in _NEAR and made.get("zone"):
        found["forZones"] = [{"name": made["zone"]}]
    if distribution == SAME_NODE and made.get("nodeName"):
        found["forNodes"] = [{"name": made["nodeName"]}]
    return found


def slice_labels(service: Object) -> dict[str, str]:
    reserved = (backends.HEADLESS, SERVICE_NAME, MANAGED_BY)
    labels = {name: value for name, value in labels_of(service).items() if name not in reserved}
    if backends.is_headless(service):
        labels[backends.HEADLESS] = ""
    return {**labels, SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: MANAGER}


def plan(
    service: Object, wanted: dict[Group, tuple[list[backends.Port], list[Object]]], existing: Sequence[Object]
) -> Plan:
    """`wanted`: ports and endpoints of each group."""
    planned = Plan()
    groups: dict[Group, list[Object]] = {group: [] for group in wanted}
    for each in existing:
        group = group_of(each["addressType"], each.get("ports") or [])
        if group in groups:
            groups[group].append(each)
        else:
            planned.delete.append(each)
    labels = slice_labels(service)
    for group, (ports, endpoints) in wanted.items():
        _plan_group(planned, service, labels, group[0], ports, endpoints, groups[group])
    _keep_placeholders(planned, service, labels, existing)
    return planned


def _plan_group(
    planned: Plan,
    service: Object,
    labels: dict[str, str],
    family: str,
    ports: list[backends.Port],
    endpoints: list[Object],
    existing: list[Object],
) -> None:
    missing = {each["targetRef"]["uid"]: each for each in endpoints}
    changed: list[tuple[Object, list[Object]]] = []
    unchanged: list[tuple[Object, list[Object]]] = []
    for each in existing:
        before = each.get("endpoints") or []
        kept = [missing.pop(uid) for old in before if (uid := old.get("targetRef", {}).get("uid")) in missing]
        if kept == before and labels_of(each) == labels and kept:
            unchanged.append((each, kept))
        else:
            changed.append((each, kept))
    left = list(missing.values())
    for _, kept in changed:
        room = max(0, ENDPOINTS_MAX - len(kept))
        kept += left[:room]
        del left[:room]
    if left and len(left) < ENDPOINTS_MAX:
        # The fullest slice that still takes them all: one write, no new slice.
        fitting = [pair for pair in unchanged if len(pair[1]) + len(left) <= ENDPOINTS_MAX]
        if fitting:
            chosen = max(fitting, key=lambda pair: len(pair[1]))
            changed.append((chosen[0], chosen[1] + left))
            left = []
    for each, kept in changed:
        if kept:
            metadata = {**each["metadata"], "labels": labels}
            planned.update.append({**each, "metadata": metadata, "endpoints": kept})
        else:
            planned.delete.append(each)
    for start in range(0, len(left), ENDPOINTS_MAX):
        planned.create.append(_slice(service, labels, family, ports, left[start : start + ENDPOINTS_MAX]))


def _keep_placeholders(planned: Plan, service: Object, labels: dict[str, str], existing: Sequence[Object]) -> None:
    """A service without endpoints has one empty slice of each address type: readers tell 'none' from 'not yet'."""
    for family in backends.families_of(service):
        here = [each for each in existing if each["addressType"] == family]
        going = [each for each in planned.delete if each["addressType"] == family]
        if len(here) > len(going) or any(each["addressType"] == family for each in planned.create):
            continue
        empty = [each for each in going if not each.get("endpoints") and not each.get("ports")]
        if empty:
            planned.delete.remove(empty[0])
            if labels_of(empty[0]) != labels:
                planned.update.append({**empty[0], "metadata": {**empty[0]["metadata"], "labels": labels}})
        else:
            planned.create.append(_slice(service, labels, family, [], []))


def _slice(
    service: Object, labels: dict[str, str], family: str, ports: list[backends.Port], endpoints: list[Object]
) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{service['metadata']['name']}-",
            "namespace": namespace_of(service),
            "labels": labels,
            "ownerReferences": [owner_reference({"apiVersion": "v1", "kind": "Service", **service})],
        },
        "addressType": family,
        "ports": ports,
        "endpoints": endpoints,
    }


def group_of(family: str, ports: Iterable[backends.Port]) -> Group:
    return family, repr(sorted(sorted((name, str(value)) for name, value in port.items()) for port in ports))


class EndpointSlices(backends.ServiceController):
    name = identity = component = "endpointslice-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._resource = resource("discovery.k8s.io", "v1", "endpointslices")
        self._nodes = self.informer(core("nodes"))
        self._slices = self.informer(self._resource)
        self._slices.add_index(BY_SERVICE, _by_service)
        self._slices.add_handler(self._slice_changed)
        self._expectations = Expectations(self.clock)

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        for each in (old, new):
            for key in _by_service(each) if each is not None else ():
                self._expectations.observed(key, uid_of(each or {}))
                # Our own writes come back here, too: planning again then finds nothing to do.
                self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        service = self.services.get(key)
        if service is None:
            self._expectations.forget(key)
            # The slices are the service's: the garbage collector takes them.
            return
        if not backends.takes_endpoints(service) or not self._expectations.satisfied(key):
            return
        existing = [
            each
            for each in self._slices.by_index(BY_SERVICE, key)
            if labels_of(each).get(MANAGED_BY) == MANAGER and not each["metadata"].get("deletionTimestamp")
        ]
        await self._apply(key, service, plan(service, self._wanted(service), existing))

    def _wanted(self, service: Object) -> dict[Group, tuple[list[backends.Port], list[Object]]]:
        groups: dict[Group, tuple[list[backends.Port], list[Object]]] = {}
        portless = backends.is_headless(service) and not service["spec"].get("ports")
        selected = [pod for pod in self.selected(service) if not backends.is_finished(pod)]
        for family in backends.families_of(service):
            for pod in selected:
                if not backends.address_of(pod, family):
                    continue
                ports = backends.ports_of(service, pod)
                if not ports and not portless:
                    continue
                group = groups.setdefault(group_of(family, ports), (ports, []))
                group[1].append(endpoint(service, pod, family, self._zone(pod)))
        return groups

    def _zone(self, pod: Object) -> str:
        node = self._nodes.get(pod["spec"].get("nodeName", ""))
        return labels_of(node).get(ZONE, "") if node else ""

    async def _apply(self, key: str, service: Object, planned: Plan) -> None:
        namespace = namespace_of(service)
        batch: list[Request] = [requests.create(self._resource, each) for each in planned.create]
        batch += [requests.update(self._resource, each) for each in planned.update]
        batch += [requests.delete(self._resource, namespace, each["metadata"]["name"]) for each in planned.delete]
        if not batch:
            return
        failures = []
        for number, outcome in enumerate(await self.client.send_all(batch)):
            if not isinstance(outcome, errors.StatusError):
                if (
                    number < len(planned.create)
                    and self._slices.get(f"{namespace}/{outcome['metadata']['name']}") is None
                ):
                    self._expectations.expect(key, (uid_of(outcome),))
            elif is_namespace_terminating(outcome):
                return
            elif not isinstance(outcome, errors.NotFound):
                failures.append(outcome)
        if failures:
            worst = next((each for each in failures if not isinstance(each, errors.Conflict)), failures[0])
            if not isinstance(worst, errors.Conflict):
                message = f"Error updating Endpoint Slices for Service {key}: {worst.message}"
                self.recorder.event(service, "Warning", "FailedToUpdateEndpointSlices", message)
            raise worst


def _by_service(each: Object) -> Iterable[str]:
    name = labels_of(each).get(SERVICE_NAME)
    return (f"{namespace_of(each)}/{name}",) if name else ()
