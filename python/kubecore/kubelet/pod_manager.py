"""The pods of this node as the sources tell of them, and their workers.

In: pods from the API (mirror pods among them) and static pods. Out: a worker for each pod uid; `Pods` for those who read;
mirror pods for static ones; an end for what the runtime has of pods that nobody knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from kubecore.api import errors
from kubecore.api.meta import Object
from kubecore.api.scheme import core
from kubecore.client import Client, TransportError
from kubecore.kubelet import pods
from kubecore.kubelet.containers import annotated_grace
from kubecore.kubelet.plan import Observed
from kubecore.kubelet.runtimes.protocol import Container, Sandbox
from kubecore.kubelet.seams import Eviction
from kubecore.kubelet.status import TERMINAL
from kubecore.kubelet.worker import Worker

log = logging.getLogger(__name__)

MakeWorker = Callable[[Object, bool], Worker]
"""(pod, whether it is on the node already)"""


class PodManager:
    """Implements `seams.Pods`. Workers run in the task group that `run` opens."""

    def __init__(
        self,
        client: Client,
        node_name: str,
        *,
        observe: Callable[[str], Observed],
        status: Callable[[str], Object | None],
    ) -> None:
        self._client = client
        self._node_name = node_name
        self._observe = observe
        self._status = status
        self._pods: dict[str, Object] = {}
        self._mirrors: dict[tuple[str, str], Object] = {}
        self._workers: dict[str, Worker] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._waiting: dict[str, Object] = {}
        self._statics_are_known = False
        self.make_worker: MakeWorker
        self.node: Callable[[], Object | None] = lambda: None

    # ── seams.Pods ──

    def all(self) -> Sequence[Object]:
        return list(self._pods.values())

    def get(self, uid: str) -> Object | None:
        return self._pods.get(uid)

    def by_name(self, namespace: str, name: str) -> Object | None:
        return self._find(namespace, name)

    def mirror_of(self, pod: Object) -> Object | None:
        return self._mirrors.get((pod["metadata"]["namespace"], pod["metadata"]["name"]))

    def status(self, uid: str) -> Object | None:
        return self._status(uid)

    def sandbox(self, uid: str) -> Sandbox | None:
        return self._observe(uid).sandbox

    def containers(self, uid: str) -> Sequence[Container]:
        return self._observe(uid).containers

    def container(self, uid: str, name: str, *, previous: bool = False) -> Container | None:
        found = [each for each in self._observe(uid).containers if each.metadata.name == name]
        place = 1 if previous else 0
        return found[place] if len(found) > place else None

    # ── for the kubelet ──

    def api_object(self, uid: str) -> Object | None:
        """The API's object whose status is that of the pod: itself, or the mirror of a static pod."""
        pod = self._pods.get(uid)
        if pod is None or not pods.is_static(pod):
            return pod
        return self.mirror_of(pod)

    def active(self) -> list[Object]:
        """Pods that take the node's resources: admitted and not ended, with what they have been given."""
        kept = []
        for uid, worker in self._workers.items():
            said = self._status(uid) or worker.pod.get("status") or {}
            if uid in self._pods and worker.is_admitted and said.get("phase") not in TERMINAL:
                kept.append(worker.pod)
        return kept

    def wake(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.wake()

    async def evict(self, uid: str, eviction: Eviction) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            await worker.evict(eviction)

    # ── what the sources say ──

    def put(self, pod: Object) -> None:
        """A pod that is new or has changed."""
        metadata = pod["metadata"]
        if pods.is_mirror(pod):
            self._mirrors[metadata["namespace"], metadata["name"]] = pod
            static = self._find(metadata["namespace"], metadata["name"])
            if static is not None:
                self.wake(static["metadata"]["uid"])
            elif self._statics_are_known:
                self._delete_soon(pod)
            return
        uid = metadata["uid"]
        self._pods[uid] = pod
        worker = self._workers.get(uid)
        if worker is None:
            self._waiting[uid] = pod
        else:
            worker.update(pod)

    def drop(self, pod: Object) -> None:
        """A pod that the source has no more."""
        metadata = pod["metadata"]
        if pods.is_mirror(pod):
            if self._mirrors.get((metadata["namespace"], metadata["name"]), pod)["metadata"]["uid"] == metadata["uid"]:
                self._mirrors.pop((metadata["namespace"], metadata["name"]), None)
            static = self._find(metadata["namespace"], metadata["name"])
            if static is not None:
                self.wake(static["metadata"]["uid"])
            return
        uid = metadata["uid"]
        self._pods.pop(uid, None)
        self._waiting.pop(uid, None)
        mirror = self.mirror_of(pod) if pods.is_static(pod) else None
        if mirror is not None:
            self._delete_soon(mirror)
        worker = self._workers.get(uid)
        if worker is not None:
            worker.remove()

    def statics_are_known(self) -> None:
        """The directory has been read: mirrors that show nothing may go."""
        self._statics_are_known = True
        for (namespace, name), mirror in list(self._mirrors.items()):
            if self._find(namespace, name) is None:
                self._delete_soon(mirror)

    def start_waiting(self) -> None:
        """Starts workers for new pods, the oldest first: who came first is let in first."""
        waiting, self._waiting = self._waiting, {}
        for pod in sorted(waiting.values(), key=_age):
            if pod["metadata"]["uid"] not in self._workers:
                self._start(pod, admitted=self._is_known(pod))

    def end_unknown(self, uids: Iterable[str]) -> None:
        """What the runtime has of pods that no source knows is ended and removed."""
        for uid in uids:
            if uid in self._pods or uid in self._workers:
                continue
            stub = _stub(uid, self._observe(uid))
            if stub is not None:
                log.info("pod %s is known to nobody: its containers are ended", pods.title(stub))
                self._start(stub, admitted=True)
                self._workers[uid].remove()

    def is_unknown(self, uid: str) -> bool:
        """Neither a source nor a worker knows it, and the runtime has nothing of it."""
        observed = self._observe(uid)
        return uid not in self._pods and uid not in self._workers and not (observed.containers or observed.sandboxes)

    def _is_known(self, pod: Object) -> bool:
        uid = pod["metadata"]["uid"]
        observed = self._observe(uid)
        phase = pod.get("status", {}).get("phase")
        return bool(observed.containers or observed.sandboxes) or phase not in ("Pending", None, "")

    def _find(self, namespace: str, name: str) -> Object | None:
        """The newest of that name: an older one may still be ending."""
        found = [
            pod
            for pod in self._pods.values()
            if pod["metadata"]["name"] == name and pod["metadata"]["namespace"] == namespace
        ]
        return max(found, key=_age, default=None)

    # ── workers ──

    async def run(self) -> None:
        """Runs the workers until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self.start_waiting()
            await asyncio.get_running_loop().create_future()

    def _start(self, pod: Object, *, admitted: bool) -> None:
        assert self._tasks is not None, "run has begun"
        uid = pod["metadata"]["uid"]
        worker = self._workers[uid] = self.make_worker(pod, admitted)
        before = [
            each
            for each in self._workers.values()
            if each is not worker
            and pods.is_static(pod)
            and each.pod["metadata"]["name"] == pod["metadata"]["name"]
            and each.pod["metadata"]["namespace"] == pod["metadata"]["namespace"]
        ]
        if pod["metadata"].get("deletionTimestamp"):
            worker.update(pod)
        self._tasks.create_task(self._work(worker, before), name=f"pod {pods.title(pod)}")

    async def _work(self, worker: Worker, before: list[Worker]) -> None:
        for other in before:
            # A static pod that was changed: the old one first.
            await other.finished.wait()
        await worker.run()
        self._workers.pop(worker.uid, None)
        known = self._pods.get(worker.uid)
        if known is not None:
            # It came back meanwhile: a static pod's file was taken away and put there again.
            self._waiting[worker.uid] = known
            self.start_waiting()

    # ── mirror pods ──

    async def reconcile_mirror(self, pod: Object) -> None:
        """Makes the API show a static pod: a mirror that is missing is made, one of an older file is replaced."""
        if not pods.is_static(pod):
            return
        mirror = self.mirror_of(pod)
        wanted = pods.annotations_of(pod)[pods.CONFIG_HASH]
        is_going = mirror is not None and mirror["metadata"].get("deletionTimestamp")
        if mirror is not None and pods.annotations_of(mirror)[pods.CONFIG_MIRROR] == wanted and not is_going:
            return
        node = self.node()
        if node is None:
            return
        try:
            if mirror is not None:
                await self._delete(mirror)
            await self._client.create(core("pods"), _mirror(pod, node), namespace=pod["metadata"]["namespace"])
        except errors.AlreadyExists:
            return
        except (errors.StatusError, TransportError) as failure:
            # The pod runs all the same: a static pod does not need an API.
            log.info("the mirror of %s: %s", pods.title(pod), failure)

    def _delete_soon(self, mirror: Object) -> None:
        if self._tasks is not None:
            self._tasks.create_task(self._try_delete(mirror))

    async def _try_delete(self, mirror: Object) -> None:
        try:
            await self._delete(mirror)
        except (errors.StatusError, TransportError) as failure:
            log.info("the mirror pod %s stays for now: %s", pods.title(mirror), failure)

    async def _delete(self, mirror: Object) -> None:
        metadata = mirror["metadata"]
        try:
            await self._client.delete(
                core("pods"), metadata["namespace"], metadata["name"], grace_period_seconds=0, uid=metadata["uid"]
            )
        except errors.NotFound:
            return


def _age(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["uid"]


def _mirror(pod: Object, node: Object) -> Object:
    """What the API gets to see of a static pod."""
    metadata = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
    marks = {**pods.annotations_of(pod), pods.CONFIG_MIRROR: pods.annotations_of(pod)[pods.CONFIG_HASH]}
    kept = {name: metadata[name] for name in ("name", "namespace", "labels") if metadata.get(name)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**kept, "annotations": marks, "ownerReferences": [{**owner, "controller": True}]},
        "spec": pod["spec"],
    }


def _stub(uid: str, observed: Observed) -> Object | None:
    """A pod of which only the runtime tells."""
    for sandbox in observed.sandboxes:
        metadata, notes = sandbox.metadata, sandbox.annotations
        found = {"name": metadata.name, "namespace": metadata.namespace, "uid": uid}
        spec = {"terminationGracePeriodSeconds": annotated_grace(notes), "containers": []}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": found, "spec": spec, "status": {"phase": "Failed"}}
    return None
