"""What the demo shows: the cluster's List-Watch flow, told live in the founding document's words, and claims that were checked.

In: watches of one client. Out: lines on standard output, each with the revision at which it happened, and the latest
state of what was seen.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

from kubecore.api import scheme
from kubecore.api.meta import Object, controller_of
from kubecore.client.client import Client

STEP_SECONDS = 90.0
"""The longest that one claim is waited for."""
COLOURED = sys.stdout.isatty()


class ClaimFailed(Exception):
    """Something on the screen would not have been true."""


def paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOURED else text


def heading(text: str) -> None:
    print("\n" + paint(text, "1;36"), flush=True)


def claim(text: str, held: bool) -> None:
    """Says what was checked, or ends the demo."""
    if not held:
        raise ClaimFailed(text)
    print(f"  {paint('✓', '32')} {text}", flush=True)


class Flow:
    """Watches the cluster and tells each step of the List-Watch flow; holds the latest state of what it saw."""

    WATCHED = ("replicationcontrollers", "pods", "services", "endpoints", "nodes")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._objects: dict[tuple[str, str], Object] = {}
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for plural in self.WATCHED:
            resource = scheme.core(plural)
            namespace = "default" if resource.namespaced else ""
            listed = await self._client.list(resource, namespace)
            for obj in listed.items:
                self._objects[plural, obj["metadata"]["name"]] = obj
            self._tasks.append(asyncio.create_task(self._follow(plural, namespace, listed.resource_version)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def all(self, plural: str, where: Callable[[Object], bool] = lambda _: True) -> list[Object]:
        return [obj for (kind, _), obj in self._objects.items() if kind == plural and where(obj)]

    def one(self, plural: str, name: str) -> Object | None:
        return self._objects.get((plural, name))

    async def until(self, what: str, held: Callable[[], bool]) -> None:
        """Waits for the state in which `held` is true, then claims it."""
        try:
            async with asyncio.timeout(STEP_SECONDS), self._changed:
                await self._changed.wait_for(held)
        except TimeoutError as error:
            raise ClaimFailed(f"{what} (not within {STEP_SECONDS:g} s)") from error
        claim(what, held=True)

    async def _follow(self, plural: str, namespace: str, resource_version: str) -> None:
        events = self._client.watch(scheme.core(plural), namespace, resource_version=resource_version)
        async for event_type, obj in events:
            key = (plural, obj["metadata"]["name"])
            before = self._objects.get(key)
            if event_type == "DELETED":
                self._objects.pop(key, None)
            else:
                self._objects[key] = obj
            for sentence in TELLERS[plural](event_type, before, obj):
                revision = obj["metadata"]["resourceVersion"]
                print(f"  {paint(f'{revision:>7}', '2')}  {sentence}", flush=True)
            async with self._changed:
                self._changed.notify_all()


# ── what a change means, in the founding document's words ──


def _told_rc(event_type: str, before: Object | None, after: Object) -> Sequence[str]:
    name = after["metadata"]["name"]
    if event_type == "ADDED":
        return [f"kubectl → API server → store    ReplicationController {name}: {after['spec']['replicas']} wanted"]
    if before and before["spec"]["replicas"] != after["spec"]["replicas"]:
        wanted = f"{before['spec']['replicas']} → {after['spec']['replicas']} wanted"
        return [f"kubectl → API server → store    ReplicationController {name}: {wanted}"]
    return []


def _told_pod(event_type: str, before: Object | None, after: Object) -> Sequence[str]:
    name, spec, status = after["metadata"]["name"], after["spec"], after.get("status") or {}
    node = spec.get("nodeName") or "no node"
    if event_type == "DELETED":
        return [f"store → everybody               Pod {name} is gone from {node}"]
    told = []
    if before is None:
        owner = controller_of(after)
        told.append(f"store → replication controller  Pod {name} created for {owner['name'] if owner else 'nobody'}")
    if spec.get("nodeName") and not (before or {}).get("spec", {}).get("nodeName"):
        told.append(f"store → scheduler → store       Pod {name} bound to {node}")
    if status.get("phase") == "Running" and ((before or {}).get("status") or {}).get("phase") != "Running":
        told.append(f"store → kubelet of {node} → store  Pod {name} runs at {status.get('podIP')}")
    if is_ready(after) and before is not None and not is_ready(before):
        told.append(f"kubelet of {node} → API server  Pod {name} is ready, image {image_running(after)}")
    if before is not None and image_running(after) not in ("", image_running(before)) and image_running(before):
        told.append(f"kubelet of {node} → API server  Pod {name} now runs image {image_running(after)}")
    if before is not None and image_wanted(before) != image_wanted(after):
        told.append(f"kubectl → API server → store    Pod {name}: image {image_wanted(before)} → {image_wanted(after)}")
    if after["metadata"].get("deletionTimestamp") and before and not before["metadata"].get("deletionTimestamp"):
        told.append(f"API server → kubelet of {node}   Pod {name} must go")
    return told


def image_wanted(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def image_running(pod: Object) -> str:
    """The image of the container that runs now, as its kubelet says; empty while none runs."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if "running" in (status.get("state") or {}):
            return str(status["image"])
    return ""


def _told_service(event_type: str, before: Object | None, after: Object) -> Sequence[str]:
    name, spec = after["metadata"]["name"], after["spec"]
    told = []
    if before is None or before["spec"].get("type") != spec.get("type"):
        ports = ", ".join(
            f"{port['port']}" + (f", node port {port['nodePort']}" if port.get("nodePort") else "")
            for port in spec["ports"]
        )
        told.append(
            f"kubectl → API server → store    Service {name} ({spec['type']}): {spec['clusterIP']} port {ports}"
        )
    if balancer_address(after) and balancer_address(after) != balancer_address(before):
        told.append(f"service controller → store      Service {name} is balanced at {balancer_address(after)}")
    return told


def balancer_address(service: Object | None) -> str:
    ingress = (((service or {}).get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return str(ingress[0].get("ip", "")) if ingress else ""


def addresses(endpoints: Object | None) -> list[str]:
    found = []
    for subset in (endpoints or {}).get("subsets") or ():
        found += [address["ip"] for address in subset.get("addresses") or ()]
    return sorted(found)


def _told_endpoints(event_type: str, before: Object | None, after: Object) -> Sequence[str]:
    now = addresses(after)
    if event_type == "DELETED" or now == addresses(before):
        return []
    return [f"store → endpoint controller     Service {after['metadata']['name']} → {', '.join(now) or 'nobody'}"]


def is_ready(obj: Object) -> bool:
    """Of a node or a pod."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _told_node(event_type: str, before: Object | None, after: Object) -> Sequence[str]:
    if before is None or is_ready(before) == is_ready(after):
        return []
    return [
        f"node controller → API server    Node {after['metadata']['name']} is {'' if is_ready(after) else 'not '}ready"
    ]


TELLERS: dict[str, Callable[[str, Object | None, Object], Sequence[str]]] = {
    "replicationcontrollers": _told_rc,
    "pods": _told_pod,
    "services": _told_service,
    "endpoints": _told_endpoints,
    "nodes": _told_node,
}


# ── what the steps ask ──


def ready_pods(flow: Flow, app: str) -> list[Object]:
    return flow.all(
        "pods",
        lambda pod: (
            (pod["metadata"].get("labels") or {}).get("app") == app
            and not pod["metadata"].get("deletionTimestamp")
            and is_ready(pod)
        ),
    )


def served(flow: Flow, name: str, count: int) -> bool:
    """Whether exactly `count` ready pods stand behind the Service of that name."""
    ips = sorted(pod["status"]["podIP"] for pod in ready_pods(flow, name))
    return len(ips) == count and addresses(flow.one("endpoints", name)) == ips
