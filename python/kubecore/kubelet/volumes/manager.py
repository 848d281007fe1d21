"""Puts the volumes of this node's pods on disk, keeps them current, takes them away.

In: pods, again whenever the worker prepares one; what they refer to. Out: directories and tmpfs below the kubelet's root
directory. When an object that a mounted pod uses has changed, or a token's time is up, what differs is written, all at
once for each volume, without asking the worker; a pod that is not mounted yet is woken by its objects, and the worker
asks again.

```
mount(pod) → objects followed → each volume that a container mounts: contents → directory → atomic writer
                                            ▲                                          │ token: at its renewal
                                            └── refresh ◀── an object changed ─────────┘
```

What is in memory here is only what was written last; a kubelet that comes back finds its volumes on disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from kubecore.api import quantity
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, uid_of
from kubecore.client import Client
from kubecore.kubelet.objects import PodObjects
from kubecore.kubelet.resources import Enforcement, all_containers, pod_resources, whole
from kubecore.kubelet.seams import MountFailure
from kubecore.kubelet.volumes import claims, host_path, paths, subpath, writer
from kubecore.kubelet.volumes.mounts import Mounter
from kubecore.kubelet.volumes.ownership import fs_group, set_group
from kubecore.kubelet.volumes.payload import Allocatable, Collector, VolumeFailure
from kubecore.kubelet.volumes.tokens import Tokens

PLUGINS = {
    "configMap": "kubernetes.io/configmap",
    "secret": "kubernetes.io/secret",
    "downwardAPI": "kubernetes.io/downward-api",
    "projected": "kubernetes.io/projected",
    "emptyDir": "kubernetes.io/empty-dir",
}
"""Volumes with a directory of their own → the plugin that names it."""

WRITTEN = ("configMap", "secret", "downwardAPI", "projected")
"""Whose files the kubelet writes; containers only read them."""
IN_MEMORY = ("secret", "downwardAPI", "projected")
"""Never on a disk."""
CLAIMED = ("persistentVolumeClaim", "ephemeral")
SERVED = (*PLUGINS, "hostPath", *CLAIMED)


RETRY_SECONDS = 30.0
"""A mounted volume that could not be kept current is tried again after this."""
REFRESH_SECONDS_MIN = 10.0
"""No volume is refreshed for time's sake sooner: a server whose clock is behind gives tokens that look old at once."""


def kind_of(volume: Mapping[str, Any]) -> str:
    """`configMap`, ...; a volume that names no source is an emptyDir."""
    return next((key for key in volume if key != "name" and volume[key] is not None), "emptyDir")


def mounted_names(pod: Object) -> set[str]:
    """Volumes that a container mounts or reads; others are left alone, as upstream leaves them."""
    names: set[str] = set()
    for container in (*all_containers(pod), *(pod["spec"].get("ephemeralContainers") or ())):
        names |= {mount["name"] for mount in container.get("volumeMounts") or ()}
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
            if reference:
                names.add(reference["volumeName"])
    return names


def volumes_of(pod: Object) -> Iterator[Mapping[str, Any]]:
    wanted = mounted_names(pod)
    yield from (volume for volume in pod["spec"].get("volumes") or () if volume["name"] in wanted)


@dataclass(slots=True)
class _PodVolumes:
    """What was set up for a pod. `written`: the contents last written, by volume."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    places: dict[str, Path] = field(default_factory=dict)
    written: dict[str, writer.Payload] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    pod: Object | None = None
    """As last mounted, None until all was there once."""
    refreshing: asyncio.Task[None] | None = None


class Recorder(Protocol):
    """An `EventRecorder`."""

    def event(self, regarding: Object, event_type: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class VolumeManager:
    """The `Volumes` of the kubelet's seams."""

    def __init__(
        self,
        client: Client,
        *,
        root: Path,
        objects: PodObjects,
        tokens: Tokens,
        mounter: Mounter,
        clock: Clock,
        recorder: Recorder,
        allocatable: Allocatable,
    ) -> None:
        """`root`: the kubelet's directory. `allocatable`: the node's, None while it is not known."""
        self._client = client
        self._root = root
        self._objects = objects
        self._tokens = tokens
        self._mounter = mounter
        self._clock = clock
        self._recorder = recorder
        self._allocatable = allocatable
        self._collector = Collector(
            config_maps=objects.config_maps, secrets=objects.secrets, tokens=tokens, allocatable=allocatable
        )
        self._pods: dict[str, _PodVolumes] = {}
        objects.listen(self._refresh_soon)

    async def mount(self, pod: Object) -> None:
        """Every volume of the pod is on disk and current. Raises MountFailure with the first that is not; the others are
        set up all the same. What each one lacks is said in FailedMount events."""
        uid = uid_of(pod)
        state = self._pods.setdefault(uid, _PodVolumes())
        self._objects.refer(pod)
        async with state.lock:
            failures = await self._bring_up(pod, state)
        for message in failures:
            self._say(pod, message)
        if failures:
            raise MountFailure(failures[0])

    async def _bring_up(self, pod: Object, state: _PodVolumes) -> list[str]:
        """Gives what went wrong, as events say it. With the state's lock."""
        uid = uid_of(pod)
        paths.pod_directory(self._root, uid).mkdir(mode=0o750, parents=True, exist_ok=True)
        failures: list[str] = []
        renewals: list[float] = []
        for volume in volumes_of(pod):
            try:
                renewals += await self._set_up(pod, state, volume)
            except (VolumeFailure, writer.PayloadFailure, OSError) as failure:
                failures.append(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {failure}')
        if not failures:
            state.pod = pod
        if failures:
            renewals.append(self._clock.now() + RETRY_SECONDS)
        self._refresh_at(uid, state, min(renewals, default=None))
        return failures

    def _refresh_at(self, uid: str, state: _PodVolumes, when: float | None) -> None:
        if state.timer is not None:
            state.timer.cancel()
            state.timer = None
        if when is not None:
            seconds = max(when - self._clock.now(), REFRESH_SECONDS_MIN)
            state.timer = asyncio.get_running_loop().call_later(seconds, self._refresh_soon, uid)

    def _refresh_soon(self, uid: str) -> None:
        """For a pod that was mounted; one that was not is the worker's."""
        state = self._pods.get(uid)
        if state is not None and state.pod is not None:
            state.refreshing = asyncio.create_task(self._refresh(state), name=f"refresh the volumes of {uid}")

    async def _refresh(self, state: _PodVolumes) -> None:
        async with state.lock:
            if state.pod is None:
                return
            pod = state.pod
            for message in await self._bring_up(pod, state):
                self._say(pod, message)

    def _say(self, pod: Object, message: str) -> None:
        self._recorder.event(pod, "Warning", "FailedMount", message)

    def path(self, pod: Object, name: str) -> Path:
        """Where a mounted volume is. Raises KeyError if it is not mounted."""
        return self._pods[uid_of(pod)].places[name]

    def known(self) -> Collection[str]:
        """Uids of pods that have a directory on disk."""
        directory = self._root / "pods"
        return sorted(os.listdir(directory)) if directory.is_dir() else []

    async def unmount(self, uid: str) -> None:
        """Takes the pod's volumes and its directory away, whoever made them. May be repeated."""
        state = self._pods.setdefault(uid, _PodVolumes())
        async with state.lock:
            state.pod = None
            if state.timer is not None:
                state.timer.cancel()
            self._objects.release(uid)
            self._tokens.release(uid)
            await asyncio.to_thread(self._take_away, paths.pod_directory(self._root, uid))
        self._pods.pop(uid, None)

    def _take_away(self, directory: Path) -> None:
        """Raises OSError rather than delete through a mount that would not go."""
        if not directory.exists():
            return
        for point in self._mounter.below(directory):
            self._mounter.unmount(point)
        left = self._mounter.below(directory)
        if left:
            raise OSError(f"{left[0]} is still mounted: {directory} stays")
        shutil.rmtree(directory)

    # ── setting up ──

    async def _set_up(self, pod: Object, state: _PodVolumes, volume: Mapping[str, Any]) -> list[float]:
        """Gives when to look again, if time alone makes it necessary."""
        name, kind = volume["name"], kind_of(volume)
        if kind in CLAIMED:
            if name in state.places:
                return []
            volume, kind = {"name": name, **await claims.resolve(self._client, pod, volume)}, "hostPath"
        if kind == "hostPath":
            place = Path(volume["hostPath"]["path"])
            host_path.prepare(place, volume["hostPath"].get("type") or "")
        elif kind not in PLUGINS:
            raise VolumeFailure(f"volumes of kind {kind} are not served by this kubelet; it serves {', '.join(SERVED)}")
        else:
            place = paths.volume_directory(self._root, uid_of(pod), PLUGINS[kind], name)
        renewals: list[float] = []
        if kind in WRITTEN:
            contents = await self._collector.collect(pod, volume)
            if state.written.get(name) != contents.files:
                self._write(pod, kind, name, place, contents.files)
                state.written[name] = contents.files
            renewals = [contents.renew_at] if contents.renew_at is not None else []
        elif kind == "emptyDir":
            self._make_empty(pod, volume, place)
        state.places[name] = place
        return renewals

    def _write(self, pod: Object, kind: str, name: str, place: Path, files: writer.Payload) -> None:
        self._directory(pod, place, in_memory=kind in IN_MEMORY, limit=None)
        for nested in nested_mount_points(pod, name):
            (place / nested).mkdir(mode=0o755, parents=True, exist_ok=True)
        group = fs_group(pod)
        writer.write(
            place,
            files,
            now=self._clock.now(),
            set_permissions=lambda: set_group(place, group, readonly=True),
        )

    def _make_empty(self, pod: Object, volume: Mapping[str, Any], place: Path) -> None:
        source = volume.get("emptyDir") or {}
        medium = source.get("medium") or ""
        if medium not in ("", "Memory"):
            raise VolumeFailure(f'unknown storage medium "{medium}"')
        in_memory = medium == "Memory"
        ready = paths.ready_marker(self._root, uid_of(pod), volume["name"])
        if ready.exists() and place.is_dir() and (not in_memory or self._mounter.is_mount(place)):
            return
        self._directory(pod, place, in_memory=in_memory, limit=source.get("sizeLimit"))
        set_group(place, fs_group(pod), readonly=False)
        ready.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        ready.touch()

    def _directory(self, pod: Object, place: Path, *, in_memory: bool, limit: Any) -> None:
        if not place.is_dir():
            place.mkdir(mode=0o777, parents=True, exist_ok=True)
            # Whatever the kubelet's umask is.
            place.chmod(0o777)
        if in_memory and not self._mounter.is_mount(place):
            self._mounter.tmpfs(place, size_bytes=self._memory_size(pod, limit))

    def _memory_size(self, pod: Object, limit: Any) -> int:
        """What the volume may hold: its own limit, but no more than the pod's memory, nor than the node's."""
        bounds = [whole((self._allocatable() or {}).get("memory"))]
        bounds.append(pod_resources(pod, Enforcement(memory_capacity_bytes=0)).memory_limit_bytes)
        bounds.append(quantity.value(limit) if limit is not None else 0)
        return min((bound for bound in bounds if bound > 0), default=0)

    # ── for containers ──

    def read_file(self, pod: Object, name: str, path: str) -> str:
        """A file of a mounted volume, wherever its links point in it. Raises OSError, ValueError."""
        try:
            return subpath.read_text(self.path(pod, name), path)
        except KeyError:
            raise FileNotFoundError(f'cannot find the volume "{name}"') from None

    def bind_part(self, pod: Object, *, name: str, path: str, container: str, index: int) -> Path:
        """A part of a mounted volume, bound where no container can change what it is. Raises OSError, SubPathFailure."""
        target = paths.subpath_target(self._root, uid_of(pod), name, container, index)
        subpath.prepare(self._mounter, self.path(pod, name), subpath.checked(path), target)
        return target


def nested_mount_points(pod: Object, name: str) -> set[str]:
    """Paths in a volume at which its containers mount other volumes: they must be there, for the volume is read-only."""
    nested: set[str] = set()
    for container in all_containers(pod):
        mounts = container.get("volumeMounts") or ()
        for own in (mount for mount in mounts if mount["name"] == name):
            inside = own["mountPath"].rstrip("/") + "/"
            for other in mounts:
                below = other["mountPath"].removeprefix(inside)
                if other["name"] != name and below != other["mountPath"] and ".." not in below.split("/"):
                    nested.add(below.strip("/"))
    return nested
