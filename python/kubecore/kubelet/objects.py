"""Config maps and secrets that this node's pods refer to: one watch for each object, shared by all its pods.

In: which pod refers to which names. Out: the objects as the API server has them now, and a wake of every pod that refers
to one that came, changed or went. An object that nobody refers to any more is no longer watched; one that is immutable
is kept and not watched. Bound: as many watches as names referred to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubecore.api import errors
from kubecore.api.meta import Object, namespace_of, uid_of
from kubecore.api.scheme import Resource, core
from kubecore.client import Client, Informer
from kubecore.kubelet.environment import ObjectsUnavailable
from kubecore.kubelet.resources import all_containers
from kubecore.kubelet.seams import Wake

SYNC_SECONDS = 1.0
"""How long a reader waits for the first answer of the API server."""

Name = tuple[str, str]
"""(namespace, name)"""


@dataclass(slots=True)
class _Followed:
    """One object and who refers to it."""

    informer: Informer
    task: asyncio.Task[None]
    pods: set[str] = field(default_factory=set)
    kept: Object | None = None
    """The object, once it is known to be immutable."""


class ObjectCache:
    """The objects of one resource. Calls and wakes are on the event loop."""

    def __init__(self, client: Client, resource: Resource, *, randomness: random.Random, wake: Wake) -> None:
        self._client = client
        self._resource = resource
        self._randomness = randomness
        self._wake = wake
        self._followed: dict[Name, _Followed] = {}
        self._names: dict[str, frozenset[Name]] = {}

    @property
    def _singular(self) -> str:
        """`configmap`: how messages name the resource."""
        return self._resource.singular

    def refer(self, uid: str, names: Iterable[Name]) -> None:
        """From now on the pod refers to these, and no others."""
        wanted, before = frozenset(names), self._names.get(uid, frozenset())
        for name in sorted(wanted - before):
            self._follow(name).pods.add(uid)
        for name in sorted(before - wanted):
            self._leave(name, uid)
        if wanted:
            self._names[uid] = wanted
        else:
            self._names.pop(uid, None)

    def release(self, uid: str) -> None:
        self.refer(uid, ())

    async def get(self, namespace: str, name: str) -> Object:
        """Raises errors.NotFound; ObjectsUnavailable while the API server has not answered."""
        followed = self._followed.get((namespace, name))
        if followed is None:
            raise ObjectsUnavailable(f'object "{namespace}"/"{name}" not registered')
        if followed.kept is not None:
            return followed.kept
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                await followed.informer.wait_synced()
        except TimeoutError:
            raise ObjectsUnavailable(
                f"failed to sync {self._singular} cache: timed out waiting for the condition"
            ) from None
        found = followed.informer.get(f"{namespace}/{name}")
        if found is None:
            raise errors.NotFound(f'{self._singular} "{name}" not found')
        if found.get("immutable"):
            followed.kept = found
            followed.task.cancel()
        return found

    async def close(self) -> None:
        """Ends all watches."""
        tasks = [followed.task for followed in self._followed.values()]
        self._followed.clear()
        self._names.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self, name: Name) -> _Followed:
        known = self._followed.get(name)
        if known is not None:
            return known
        namespace, own = name
        informer = Informer(
            self._client,
            self._resource,
            randomness=self._randomness,
            namespace=namespace,
            field_selector=f"metadata.name={own}",
        )
        task = asyncio.create_task(informer.run(), name=f"watch {self._singular} {namespace}/{own}")
        followed = self._followed[name] = _Followed(informer, task)

        def changed(_old: Object | None, _new: Object | None) -> None:
            for uid in sorted(followed.pods):
                self._wake(uid)

        informer.add_handler(changed)
        return followed

    def _leave(self, name: Name, uid: str) -> None:
        followed = self._followed[name]
        followed.pods.discard(uid)
        if not followed.pods:
            followed.task.cancel()
            del self._followed[name]


# ── what a pod refers to ──


@dataclass(frozen=True, slots=True)
class References:
    config_maps: frozenset[Name]
    secrets: frozenset[Name]


def references_of(pod: Object) -> References:
    """Every config map and secret that the pod names: in variables, volumes and for pulling images."""
    namespace, spec = namespace_of(pod), pod["spec"]
    config_maps: set[str] = set()
    secrets = {each.get("name", "") for each in spec.get("imagePullSecrets") or ()}
    ephemeral = spec.get("ephemeralContainers") or ()
    for container in (*all_containers(pod), *ephemeral):
        for source in _variable_sources(container):
            config_maps |= _named(source, "configMapRef", "configMapKeyRef")
            secrets |= _named(source, "secretRef", "secretKeyRef")
    for volume in spec.get("volumes") or ():
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            config_maps |= _named(source, "configMap")
            secrets |= _named(source, "secret")
        secrets |= _named(volume, "secret", key="secretName")
    return References(
        frozenset((namespace, name) for name in config_maps if name),
        frozenset((namespace, name) for name in secrets if name),
    )


def _variable_sources(container: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    yield from container.get("envFrom") or ()
    for variable in container.get("env") or ():
        yield variable.get("valueFrom") or {}


def _named(source: Mapping[str, Any], *kinds: str, key: str = "name") -> set[str]:
    return {(source.get(kind) or {}).get(key, "") for kind in kinds}


class PodObjects:
    """Both caches, told of a pod at once. A pod whose object came, changed or went is told to all listeners."""

    def __init__(self, client: Client, *, randomness: random.Random, wake: Wake) -> None:
        self._listeners = [wake]
        self.config_maps = ObjectCache(client, core("configmaps"), randomness=randomness, wake=self._tell)
        self.secrets = ObjectCache(client, core("secrets"), randomness=randomness, wake=self._tell)

    def listen(self, listener: Wake) -> None:
        """The newest listener is told first."""
        self._listeners.insert(0, listener)

    def _tell(self, uid: str) -> None:
        for listener in self._listeners:
            listener(uid)

    def refer(self, pod: Object) -> None:
        references = references_of(pod)
        self.config_maps.refer(uid_of(pod), references.config_maps)
        self.secrets.refer(uid_of(pod), references.secrets)

    def release(self, uid: str) -> None:
        self.config_maps.release(uid)
        self.secrets.release(uid)

    async def close(self) -> None:
        await self.config_maps.close()
        await self.secrets.close()
