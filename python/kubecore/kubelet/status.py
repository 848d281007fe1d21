"""A pod's status as the kubelet says it: phase, conditions, containers, addresses. Pure.

In: the pod, what the runtime has of it, probe results, why containers wait, the status before. Out: the complete status;
conditions have no times yet and startTime may be missing: `status_manager` fills those in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubecore.api.meta import Object
from kubecore.kubelet import conditions, pods, resources
from kubecore.kubelet.container_status import STATUS_FIELD, Messages, container_statuses, ended_for_good
from kubecore.kubelet.phase import phase_of
from kubecore.kubelet.plan import Observed, ProbeResult, sandbox_change
from kubecore.kubelet.pods import Kind
from kubecore.kubelet.runtimes.protocol import ContainerState
from kubecore.kubelet.seams import Eviction, ProbeKind, Rejection

TERMINAL = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class StatusInput:
    """Everything that a pod's status is made of. `before`: its status until now, the kubelet's own if it has made one."""

    pod: Object
    observed: Observed
    before: Object
    runtime: str
    probe: ProbeResult
    qos_class: str
    host_ips: tuple[str, ...] = ()
    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    messages: Messages = lambda container: container.message
    eviction: Eviction | None = None
    more_conditions: Sequence[Object] = ()
    is_ended: bool = False


def pod_status(given: StatusInput) -> Object:
    pod, before = given.pod, given.before
    lists = {
        kind: container_statuses(
            pod,
            kind,
            given.observed,
            before,
            runtime=given.runtime,
            waiting=given.waiting,
            messages=given.messages,
        )
        for kind in Kind
    }
    _say_started_and_ready(pod, lists, given.probe, before)
    counted = lists[Kind.INIT] + lists[Kind.REGULAR]
    phase = _phase(given, counted)
    status: Object = {"observedGeneration": pod["metadata"].get("generation", 0), "phase": phase}
    _add_reason(status, given, phase)
    foreign = [each for each in pod.get("status", {}).get("conditions") or () if each["type"] not in conditions.OWNED]
    foreign = _disrupted(foreign, given)
    needed, _ = sandbox_change(pod, given.observed)
    owned = [*given.more_conditions, *conditions.owned(pod, counted, foreign, phase=phase, sandbox=not needed)]
    status["conditions"] = foreign + [{**each, "observedGeneration": status["observedGeneration"]} for each in owned]
    for kind, statuses in lists.items():
        if statuses:
            status[STATUS_FIELD[kind]] = statuses
    status["qosClass"] = given.qos_class
    _add_addresses(status, given)
    for kept in ("startTime", "nominatedNodeName", "resourceClaimStatuses", "extendedResourceClaimStatus"):
        if kept in before or kept in pod.get("status", {}):
            status[kept] = before.get(kept) or pod["status"][kept]
    return status


def _phase(given: StatusInput, counted: Sequence[Object]) -> str:
    """A terminal phase is never left."""
    if given.eviction is not None:
        return "Failed"
    for said in (given.pod.get("status", {}), given.before):
        if said.get("phase") in TERMINAL:
            return str(said["phase"])
    regular = (given.observed.latest(each["name"]) for each in pods.containers(given.pod, Kind.REGULAR))
    was_initialized = any(each is not None and each.state is ContainerState.RUNNING for each in regular)
    return phase_of(given.pod, counted, is_ended=given.is_ended, was_initialized=was_initialized)


def _add_reason(status: Object, given: StatusInput, phase: str) -> None:
    """Reason and message belong to a phase, and stay as long as it does."""
    said: Mapping[str, str | None] = {}
    if given.eviction is not None:
        said = {"reason": given.eviction.reason, "message": given.eviction.message}
    elif given.before.get("phase") == phase:
        api = given.pod.get("status", {})
        said = {name: given.before.get(name) or api.get(name) for name in ("reason", "message")}
    status.update({name: text for name, text in said.items() if text})


def _disrupted(foreign: list[Object], given: StatusInput) -> list[Object]:
    """With the conditions that the kubelet has set once, when it ended the pod."""
    once = [each for each in given.before.get("conditions") or () if each["type"] in conditions.SHARED]
    if given.eviction is not None:
        once = once or [dict(each) for each in given.eviction.conditions]
    kinds = {each["type"] for each in once}
    return [each for each in foreign if each["type"] not in kinds] + once


def _add_addresses(status: Object, given: StatusInput) -> None:
    if given.host_ips:
        status["hostIP"] = given.host_ips[0]
        status["hostIPs"] = [{"ip": ip} for ip in given.host_ips]
    sandbox = given.observed.sandbox
    ips: Sequence[str] = ()
    if pods.on_host_network(given.pod):
        ips = [each["ip"] for each in given.before.get("podIPs") or ()] or given.host_ips
    elif sandbox is not None:
        ips = _in_order(sandbox.ips, given.host_ips)
    if ips:
        status["podIP"] = ips[0]
        status["podIPs"] = [{"ip": ip} for ip in ips]


def _in_order(ips: Sequence[str], host_ips: Sequence[str]) -> list[str]:
    """One of each family, the node's own family first."""
    first = ipaddress.ip_address(host_ips[0]).version if host_ips else 4
    by_family: dict[int, str] = {}
    for ip in ips:
        by_family.setdefault(ipaddress.ip_address(ip).version, ip)
    return [by_family[family] for family in (first, 10 - first) if family in by_family]


def _say_started_and_ready(pod: Object, lists: Mapping[Kind, list[Object]], probe: ProbeResult, before: Object) -> None:
    known = {each.get("containerID"): each for kind in Kind for each in before.get(STATUS_FIELD[kind]) or ()}
    for kind in (Kind.REGULAR, Kind.INIT):
        specs = {each["name"]: each for each in pods.containers(pod, kind)}
        for status in lists[kind]:
            container = specs[status["name"]]
            if kind is Kind.INIT and not pods.is_sidecar(container):
                ended = status["state"].get("terminated")
                status["started"] = "running" in status["state"]
                status["ready"] = ended is not None and ended["exitCode"] == 0
                continue
            was = known.get(status.get("containerID") or None, {})
            has_started = _said(ProbeKind.STARTUP, container, status, was, probe)
            status["started"] = "running" in status["state"] and has_started
            status["ready"] = status["started"] and _said(ProbeKind.READINESS, container, status, was, probe)
    for status in lists[Kind.EPHEMERAL]:
        status["ready"] = False


_PROBES = {ProbeKind.STARTUP: ("startupProbe", "started"), ProbeKind.READINESS: ("readinessProbe", "ready")}


def _said(kind: ProbeKind, container: Object, status: Object, was: Object, probe: ProbeResult) -> bool:
    """What the probe settled; of a container that ran under the kubelet before this one, what that one said."""
    field, shown = _PROBES[kind]
    if not container.get(field):
        return True
    result = probe(kind, str(status.get("containerID", "")).partition("://")[2])
    return bool(was.get(shown)) if result is None else result


def rejected_status(pod: Object, rejection: Rejection) -> Object:
    """Of a pod that the node does not take: it never gets containers."""
    return {
        "observedGeneration": pod["metadata"].get("generation", 0),
        "phase": "Failed",
        "reason": rejection.reason,
        "message": f"Pod was rejected: {rejection.message}",
        "qosClass": str(resources.qos_class(pod)),
        "conditions": list(pod.get("status", {}).get("conditions") or ()),
    }


def ended_status(pod: Object, status: Object) -> Object:
    """The last status of a pod of which nothing is left: every container has ended, the phase is terminal."""
    final = dict(status)
    init = final.get("initContainerStatuses") or []
    initialized = not init or all(each.get("ready") or each.get("started") for each in init)
    initialized = initialized or (conditions.find(final["conditions"], "Initialized") or {}).get("status") == "True"
    if initialized and "containerStatuses" in final:
        final["containerStatuses"] = ended_for_good(final["containerStatuses"])
    begun = [number for number, each in enumerate(init) if _has_begun(each)]
    if begun:
        final["initContainerStatuses"] = ended_for_good(init[: begun[-1] + 1]) + init[begun[-1] + 1 :]
    if final["phase"] not in TERMINAL:
        final["phase"] = "Failed"
    counted = (final.get("initContainerStatuses") or []) + (final.get("containerStatuses") or [])
    foreign = [each for each in final["conditions"] if each["type"] not in conditions.OWNED]
    owned = conditions.owned(pod, counted, foreign, phase=final["phase"], sandbox=False)
    generation = pod["metadata"].get("generation", 0)
    final["conditions"] = foreign + [{**each, "observedGeneration": generation} for each in owned]
    return final


def _has_begun(status: Object) -> bool:
    return "waiting" not in status["state"] or bool(status.get("lastState"))
