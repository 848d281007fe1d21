"""Registers the node, says how it is, and gives its signs of life.

In: the runtime's state, pressures, images, the node's object. Out: the Node (created once, its status patched when
something changed or five minutes have passed), its Lease (renewed at a quarter of its duration), events about the node; the
node's pod range to the runtime.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from kubecore.api import errors
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, micro_timestamp
from kubecore.api.scheme import core, resource
from kubecore.client import Client, EventRecorder, TransportError
from kubecore.kubelet import node_object
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.node_object import NodeInput
from kubecore.kubelet.runtimes.protocol import Condition, Image, Runtime, RuntimeFailure
from kubecore.kubelet.seams import NodeCondition
from kubecore.kubelet.stats.samples import Machine

log = logging.getLogger(__name__)

SOON_SECONDS = 1.0
"""Pause while the node is not registered or not ready."""
LEASE_FRACTION = 0.25
IMAGES_SECONDS = 60.0
"""How often the runtime is asked for its images."""

EVENTS = {
    ("Ready", "True"): "NodeReady",
    ("Ready", "False"): "NodeNotReady",
    ("MemoryPressure", "True"): "NodeHasInsufficientMemory",
    ("MemoryPressure", "False"): "NodeHasSufficientMemory",
    ("DiskPressure", "True"): "NodeHasDiskPressure",
    ("DiskPressure", "False"): "NodeHasNoDiskPressure",
    ("PIDPressure", "True"): "NodeHasInsufficientPID",
    ("PIDPressure", "False"): "NodeHasSufficientPID",
}


def later(known: Object | None, answer: Object) -> Object:
    """The later of two versions: the watch may bring a newer one (with its pod range) before our own write is answered."""
    if known is None or known["metadata"].get("uid") != answer["metadata"].get("uid"):
        return answer
    return known if _version(known) > _version(answer) else answer


def _version(node: Object) -> int:
    # Comparable since Kubernetes 1.35 (KEP-5504).
    return int(node["metadata"].get("resourceVersion") or 0)


class NodeStatus:
    """Run `run` as a task."""

    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        recorder: EventRecorder,
        configuration: KubeletConfiguration,
        clock: Clock,
        *,
        name: str,
        hostname: str,
        addresses: tuple[str, ...],
        labels: dict[str, str],
        machine: Machine,
        root_directory: Path,
        randomness: random.Random,
        pressure: Callable[[], Sequence[NodeCondition]],
        problems: Callable[[], Sequence[str]],
    ) -> None:
        self._client = client
        self._runtime = runtime
        self._recorder = recorder
        self._configuration = configuration
        self._clock = clock
        self._name = name
        self._hostname = hostname
        self.addresses = addresses
        self._labels = labels
        self._machine = machine
        self._root_directory = root_directory
        self._random = randomness
        self._pressure = pressure
        self._problems = problems
        self._node: Object | None = None
        self._written: Object = {}
        self._written_at = float("-inf")
        self._conditions: Sequence[Condition] | None = None
        self._images: Sequence[Image] = ()
        self._images_at = float("-inf")
        self._runtime_version = ""
        self._pod_cidr = ""
        self._said: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._registered = asyncio.Event()

    # ── what others ask ──

    @property
    def node(self) -> Object | None:
        """The node's object as the API has it."""
        return self._node

    @property
    def runtime_name(self) -> str:
        return self._runtime_version.partition("://")[0] or "kubecore"

    def network_problem(self) -> str:
        """Why the runtime cannot give pods a network yet, or ""."""
        for condition in self._conditions or ():
            if condition.type == "NetworkReady" and not condition.status:
                told = f"{condition.type}=false reason:{condition.reason} message:{condition.message}"
                return f"container runtime network not ready: {told}"
        return ""

    def node_changed(self, node: Object | None) -> None:
        """The informer has a newer one, or it is gone."""
        if node is None:
            # Somebody deleted it: it is registered again.
            self._registered.clear()
        self._node = node
        self._changed.set()

    def look(self) -> None:
        """Something changed that the status tells of: say so now."""
        self._changed.set()

    # ── running ──

    async def run(self) -> None:
        """Until cancelled."""
        reference = self._reference()
        self._recorder.event(reference, "Normal", "Starting", "Starting kubelet.")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report(), name="node status")
            tasks.create_task(self._renew(), name="node lease")

    def _reference(self) -> Object:
        """The node as events name it: its name is its uid, since a kubelet may speak before it has registered."""
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._name, "uid": self._name}}

    async def _report(self) -> None:
        while True:
            self._changed.clear()
            ready = False
            try:
                await self._configure_network()
                given = await self._look_around()
                ready = not node_object.not_ready(given)
                if not self._registered.is_set() and self._configuration.register_node:
                    await self._register(given)
                await self._write(given)
            except (errors.StatusError, TransportError, RuntimeFailure) as failure:
                log.info("the node's status: %s; again soon", failure)
                ready = False
            pause = float(self._configuration.node_status_update_frequency) if ready else SOON_SECONDS
            try:
                async with asyncio.timeout(pause * (1 + 0.04 * self._random.random())):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _look_around(self) -> NodeInput:
        now = self._clock.monotonic()
        try:
            if not self._runtime_version:
                version = await self._runtime.version()
                self._runtime_version = f"{version.runtime_name}://{version.runtime_version}"
            self._conditions = await self._runtime.status()
            if now - self._images_at >= IMAGES_SECONDS:
                self._images = await self._runtime.list_images()
                self._images_at = now
        except RuntimeFailure as failure:
            log.warning("the container runtime: %s", failure.message)
            self._conditions = None
        room = os.statvfs(self._root_directory)
        return NodeInput(
            name=self._name,
            hostname=self._hostname,
            addresses=self.addresses,
            configuration=self._configuration,
            machine=self._machine,
            disk_bytes=room.f_blocks * room.f_frsize,
            runtime_version=self._runtime_version,
            runtime_conditions=self._conditions,
            problems=self._problems(),
            pressure=self._pressure(),
            images=self._images,
        )

    async def _configure_network(self) -> None:
        cidr = self._configuration.pod_cidr or ((self._node or {}).get("spec") or {}).get("podCIDR") or ""
        if cidr and cidr != self._pod_cidr:
            await self._runtime.update_runtime_config(cidr)
            self._pod_cidr = cidr

    def _answered(self, answer: Object) -> None:
        # What is known is looked at now: it may have changed while the answer was awaited.
        self._node = later(self._node, answer)

    async def _register(self, given: NodeInput) -> None:
        wanted = node_object.new_node(given, self._labels, self._clock.now())
        try:
            self._answered(await self._client.create(core("nodes"), wanted))
            self._written, self._written_at = wanted["status"], self._clock.monotonic()
            self._say(wanted["status"])
        except errors.AlreadyExists:
            self._answered(await self._client.get(core("nodes"), "", self._name))
            await self._correct(wanted)
        self._registered.set()

    async def _correct(self, wanted: Object) -> None:
        """A node that was registered before: its own labels and annotations may be of an older kubelet."""
        assert self._node is not None, "just read"
        known = self._node["metadata"]
        parts = {
            part: {
                name: value
                for name, value in wanted["metadata"][part].items()
                if (known.get(part) or {}).get(name) != value
            }
            for part in ("labels", "annotations")
        }
        change = {part: values for part, values in parts.items() if values}
        if change:
            self._answered(await self._client.patch(core("nodes"), "", self._name, {"metadata": change}))

    async def _write(self, given: NodeInput) -> None:
        node = self._node
        if node is None:
            return
        before = node.get("status") or {}
        status = node_object.node_status(given, before, self._clock.now())
        due = self._written_at + float(self._configuration.node_status_report_frequency)
        asked = node_object.without_heartbeats(status) == node_object.without_heartbeats(self._written)
        if asked and _agrees(before, status) and self._clock.monotonic() < due:
            return
        change = node_object.changes(status, before)
        change["conditions"] = status["conditions"]
        if "addresses" in change and before.get("addresses"):
            change["addresses"] = [*change["addresses"], {"$patch": "replace"}]
        answer = await self._client.patch(
            core("nodes"), "", self._name, {"status": change}, patch_type="strategic", subresource="status"
        )
        self._answered(answer)
        self._written, self._written_at = status, self._clock.monotonic()
        self._say(status)

    def _say(self, status: Object) -> None:
        """An event for each condition that is not what it was."""
        for condition in status["conditions"]:
            kind, now = condition["type"], condition["status"]
            if self._said.get(kind) != now:
                self._said[kind] = now
                reason = EVENTS[kind, now]
                message = f"Node {self._name} status is now: {reason}"
                self._recorder.event(self._reference(), "Normal", reason, message)

    # ── the lease ──

    async def _renew(self) -> None:
        leases = resource("coordination.k8s.io", "v1", "leases")
        pause = self._configuration.node_lease_duration_seconds * LEASE_FRACTION
        exists = False
        while True:
            await self._registered.wait()
            renewed = True
            try:
                now = micro_timestamp(self._clock.now())
                if exists:
                    change = {"spec": {"renewTime": now, "holderIdentity": self._name}}
                    await self._client.patch(leases, node_object.LEASES, self._name, change)
                else:
                    await self._client.create(leases, self._lease(now), namespace=node_object.LEASES)
                exists = True
            except errors.AlreadyExists:
                exists, renewed = True, False
            except errors.NotFound:
                exists, renewed = False, False
            except (errors.StatusError, TransportError) as failure:
                log.info("the node's lease: %s", failure)
                renewed = False
            await asyncio.sleep(pause * (1 + 0.04 * self._random.random()) if renewed else SOON_SECONDS * 0.2)

    def _lease(self, now: str) -> Object:
        node = self._node or {}
        owner = {
            "apiVersion": "v1",
            "kind": "Node",
            "name": self._name,
            "uid": node.get("metadata", {}).get("uid", ""),
        }
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": node_object.LEASES, "ownerReferences": [owner]},
            "spec": {
                "holderIdentity": self._name,
                "leaseDurationSeconds": self._configuration.node_lease_duration_seconds,
                "renewTime": now,
            },
        }


def _agrees(before: Object, status: Object) -> bool:
    """The API's conditions say the same: a node controller that marked the node Unknown is contradicted at once."""
    known = {each["type"]: each["status"] for each in before.get("conditions") or ()}
    return all(known.get(each["type"]) == each["status"] for each in status["conditions"])
