"""Builds the parts of a kubelet and runs them.

In: a client that acts as `system:node:<name>`, a container runtime, the configuration, the clock, and where this kubelet
lives. Out: a registered node whose pods run. `kubelet.pods`, `kubelet.recorder`, `kubelet.evict` are what the other rooms
are built with.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kubecore.api.clock import Clock
from kubecore.api.meta import Object
from kubecore.client import Client, EventRecorder
from kubecore.kubelet.admission import admit
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.containers import Containers, NodeNames
from kubecore.kubelet.crash_backoff import CrashBackoff
from kubecore.kubelet.directories import Directories
from kubecore.kubelet.image_collection import ImageCollection
from kubecore.kubelet.images import Images
from kubecore.kubelet.lifecycle import Hooks, HttpGet, http_get
from kubecore.kubelet.log_rotation import LogRotation
from kubecore.kubelet.node_status import NodeStatus
from kubecore.kubelet.pod_manager import PodManager
from kubecore.kubelet.resize import refusal
from kubecore.kubelet.rooms import furnish
from kubecore.kubelet.runtime_view import RuntimeView
from kubecore.kubelet.runtimes.protocol import Container, ContainerState, Runtime, RuntimeFailure
from kubecore.kubelet.seams import Eviction, Rejection, Rooms
from kubecore.kubelet.sources import ApiSource
from kubecore.kubelet.static import StaticPods
from kubecore.kubelet.stats import NodeReader
from kubecore.kubelet.stats.samples import Machine
from kubecore.kubelet.status_manager import StatusManager
from kubecore.kubelet.termination import TerminationMessages
from kubecore.kubelet.turns import Turns
from kubecore.kubelet.worker import Worker, WorkerParts

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kubelet lives: what its command line says and its configuration file does not."""

    node_name: str
    root_directory: Path = Path("/var/lib/kubelet")
    """Pods' directories; several kubelets on a box have one each."""
    node_ips: tuple[str, ...] = ()
    """The node's addresses, the first one is its InternalIP; empty: the address by which it would leave the host."""
    node_labels: dict[str, str] = field(default_factory=dict)
    hostname: str = field(default_factory=socket.gethostname)
    log_directory: Path = Path("/var/log")


MakeRooms = Callable[["Kubelet"], Rooms]


class Kubelet:
    """One node's agent. Run `run` as a task; cancelled, it leaves its pods running."""

    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        configuration: KubeletConfiguration,
        clock: Clock,
        *,
        place: Place,
        randomness: random.Random,
        machine: Machine | None = None,
        rooms: MakeRooms = furnish,
        get: HttpGet = http_get,
    ) -> None:
        """`machine`: what the node is made of, read from the system if it is not given. `rooms` is called once, when
        `client`, `pods`, `recorder` and the other attributes are there. `get`: how hooks ask a pod over HTTP."""
        place.root_directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.client = client
        self.runtime = runtime
        self.configuration = configuration
        self.clock = clock
        self.place = place
        self.randomness = randomness
        self.machine = machine or NodeReader(root_directory=place.root_directory).machine
        self.recorder = EventRecorder(client, component="kubelet", clock=clock, host=place.node_name)
        self.directories = Directories(place.root_directory, Path(configuration.pod_logs_dir))
        self.view = RuntimeView(runtime, self.wake, clock)
        self.images = Images(runtime, configuration, clock)
        self.pods = PodManager(client, place.node_name, observe=self.view.pod, status=self._status_of)
        self.statuses = StatusManager(client, clock, self.pods.api_object)
        self.node_status = NodeStatus(
            client,
            runtime,
            self.recorder,
            configuration,
            clock,
            name=place.node_name,
            hostname=place.node_name,
            addresses=place.node_ips or (own_address(),),
            labels=place.node_labels,
            machine=self.machine,
            root_directory=place.root_directory,
            randomness=randomness,
            pressure=lambda: self.rooms.pressure(),
            problems=lambda: [*self.view.problems(clock.monotonic()), *self.rooms.problems()],
        )
        self.rooms = rooms(self)
        self.images.credentials = self.rooms.credentials
        self.images_collected = ImageCollection(
            runtime,
            configuration,
            clock,
            used_at=self.images.used_at,
            containers=self._containers,
            say=lambda reason, message: self.recorder.event(self._node_reference(), "Warning", reason, message),
        )
        self._source = ApiSource(
            client, place.node_name, self.pods, randomness=randomness, node_changed=self.node_status.node_changed
        )
        self.pods.make_worker = self._make_worker(get)
        self.pods.node = lambda: self.node_status.node

    # ── what the other rooms ask ──

    def wake(self, uid: str) -> None:
        """Something about that pod changed."""
        self.pods.wake(uid)

    async def evict(self, uid: str, eviction: Eviction) -> None:
        """Ends a pod; returns when its containers have stopped."""
        await self.pods.evict(uid, eviction)

    async def shut_down(self) -> None:
        """The node goes down: ends its pods with grace, where the configuration gives them some. `run` goes on meanwhile."""
        if self.rooms.shut_down is not None:
            await self.rooms.shut_down()
            await self.statuses.flush()
            await self.recorder.flush()

    def running_containers(self) -> list[Container]:
        return [each for each in self._containers() if each.state is ContainerState.RUNNING]

    def _containers(self) -> list[Container]:
        return [each for uid in sorted(self.view.uids()) for each in self.view.pod(uid).containers]

    def _status_of(self, uid: str) -> Object | None:
        return self.statuses.get(uid)

    def _node_reference(self) -> Object:
        name = self.place.node_name
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}}

    # ── workers ──

    def _make_worker(self, get: HttpGet) -> Callable[[Object, bool], Worker]:
        rooms, configuration = self.rooms, self.configuration
        names = NodeNames(self.place.hostname, self.node_status.addresses)
        containers = Containers(
            self.runtime,
            self.view,
            self.images,
            rooms.settings,
            Hooks(self.runtime, get),
            self.recorder,
            self.directories,
            configuration,
            self.clock,
            lambda: names,
        )
        longest = float(configuration.crash_loop_back_off.max_container_restart_period)
        parts = WorkerParts(
            view=self.view,
            containers=containers,
            images=self.images,
            settings=rooms.settings,
            volumes=rooms.volumes,
            probes=rooms.probes,
            statuses=self.statuses,
            directories=self.directories,
            backoff=CrashBackoff(longest_seconds=longest),
            messages=TerminationMessages(),
            turns=Turns(),
            clock=self.clock,
            randomness=self.randomness,
            runtime_name=lambda: self.node_status.runtime_name,
            host_ips=lambda: self.node_status.addresses,
            network_problem=self.node_status.network_problem,
            admit=self._admit,
            refuse_resize=lambda pod: refusal(pod, self._others(pod), self.node_status.node),
            reconcile_mirror=self.pods.reconcile_mirror,
            sync_seconds=float(configuration.sync_frequency),
        )
        return lambda pod, admitted: Worker(pod, parts, admitted=admitted)

    def _admit(self, pod: Object) -> Rejection | None:
        others = self._others(pod)
        rejection = admit(pod, others, self.node_status.node)
        for ask in self.rooms.admissions:
            rejection = rejection or ask(pod, others)
        return rejection

    def _others(self, pod: Object) -> list[Object]:
        return [each for each in self.pods.active() if each["metadata"]["uid"] != pod["metadata"]["uid"]]

    # ── running ──

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.recorder.run(), name="kubelet events")
            tasks.create_task(self.node_status.run(), name="node status")
            await self._wait_for_runtime()
            tasks.create_task(self.view.run(), name="runtime view")
            tasks.create_task(self.statuses.run(), name="pod statuses")
            tasks.create_task(self.pods.run(), name="pods")
            tasks.create_task(self._source.run(), name="pods from the API")
            if self.configuration.static_pod_path:
                tasks.create_task(self._static_pods().run(), name="static pods")
            else:
                self.pods.statics_are_known()
            rotation = LogRotation(self.runtime, self.configuration, self.clock, running=self.running_containers)
            tasks.create_task(rotation.run(), name="log rotation")
            tasks.create_task(self.images_collected.run(), name="image collection")
            tasks.create_task(self._keep_house(), name="housekeeping")
            for number, loop in enumerate(self.rooms.loops):
                tasks.create_task(loop(), name=f"kubelet room {number}")

    async def wait_synced(self) -> None:
        """The API's pods and the node are known."""
        await self._source.wait_synced()

    async def _wait_for_runtime(self) -> None:
        """What runs already must be known before anything is started."""
        while True:
            try:
                await self.view.relist()
            except RuntimeFailure as failure:
                log.warning("the container runtime: %s; again in %g s", failure.message, RECONNECT_SECONDS)
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return

    def _static_pods(self) -> StaticPods:
        def put(pod: Object) -> None:
            self.pods.put(pod)
            self.pods.start_waiting()

        return StaticPods(
            Path(self.configuration.static_pod_path),
            self.place.node_name,
            self.clock,
            put=put,
            drop=self.pods.drop,
            known=self.pods.statics_are_known,
            check_seconds=float(self.configuration.file_check_frequency),
        )

    async def _keep_house(self) -> None:
        """Ends what belongs to pods that nobody knows: what an earlier kubelet left."""
        await self.wait_synced()
        while True:
            self.pods.end_unknown(sorted(self.view.uids()))
            for uid in sorted(self.rooms.volumes.known()):
                if self.pods.is_unknown(uid):
                    await self._release(uid)
            self.directories.remove_orphaned_logs(lambda uid: not self.pods.is_unknown(uid))
            await asyncio.sleep(float(self.configuration.sync_frequency))

    async def _release(self, uid: str) -> None:
        try:
            await self.rooms.settings.release(uid)
            await self.rooms.volumes.unmount(uid)
        except OSError as failure:
            log.warning("what is left of pod %s: %s", uid, failure)


def own_address() -> str:
    """The address by which this host would leave; loopback if it cannot. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
