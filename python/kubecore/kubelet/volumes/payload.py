"""What files a configMap, secret, downwardAPI or projected volume holds now.

In: the pod, a volume of its spec, the objects and tokens it names. Out: files, and when to look again (a token's
renewal). Raises VolumeFailure in upstream's words; of a projected volume, for all its sources at once.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubecore.api import errors
from kubecore.api.meta import Object, name_of, namespace_of, uid_of
from kubecore.kubelet.environment import ObjectReader, ObjectsUnavailable
from kubecore.kubelet.fields import FieldFailure, field_value, resource_value
from kubecore.kubelet.volumes.ownership import fs_group, fs_user
from kubecore.kubelet.volumes.tokens import TokenFailure, Tokens, Wanted
from kubecore.kubelet.volumes.writer import File, Payload

MODE_DEFAULT = 0o644
MODE_OF_TOKENS = 0o600
"""Where the pod names a user or a group for its files: the group's right to read is added with the group."""

TOKEN_SECONDS = 3600

Allocatable = Callable[[], Mapping[str, Any] | None]


class VolumeFailure(Exception):
    """The volume cannot be set up now."""


@dataclass(frozen=True, slots=True)
class Contents:
    """`renew_at`: wall clock, None if only changes of objects matter."""

    files: Payload
    renew_at: float | None = None


class Collector:
    """Collects contents. `allocatable` gives the node's, None while it is not known."""

    def __init__(
        self, *, config_maps: ObjectReader, secrets: ObjectReader, tokens: Tokens, allocatable: Allocatable
    ) -> None:
        self._config_maps = config_maps
        self._secrets = secrets
        self._tokens = tokens
        self._allocatable = allocatable

    async def collect(self, pod: Object, volume: Mapping[str, Any]) -> Contents:
        """Raises VolumeFailure."""
        if "projected" in volume:
            return await self._projected(pod, volume["projected"])
        kind = next(kind for kind in ("configMap", "secret", "downwardAPI") if kind in volume)
        source = volume[kind]
        if kind == "secret":
            source = {**source, "name": source.get("secretName", "")}
        return Contents(await self._plain(pod, kind, source, source.get("defaultMode", MODE_DEFAULT)))

    async def _plain(self, pod: Object, kind: str, source: Mapping[str, Any], mode: int) -> Payload:
        if kind == "downwardAPI":
            return self._downward(pod, source.get("items") or (), mode)
        found = await self._object(kind, namespace_of(pod), source)
        values = _values(kind, found) if found is not None else {}
        return _chosen(kind, values, source, mode)

    async def _object(self, kind: str, namespace: str, source: Mapping[str, Any]) -> Object | None:
        reader = self._config_maps if kind == "configMap" else self._secrets
        try:
            return await reader.get(namespace, source.get("name", ""))
        except errors.NotFound as missing:
            if source.get("optional"):
                return None
            raise VolumeFailure(str(missing)) from missing
        except (ObjectsUnavailable, errors.StatusError) as failure:
            raise VolumeFailure(str(failure)) from failure

    def _downward(self, pod: Object, items: Sequence[Mapping[str, Any]], mode: int) -> Payload:
        files: dict[str, File] = {}
        problems: list[str] = []
        for item in items:
            try:
                files[item["path"]] = File(self._downward_text(pod, item).encode(), item.get("mode", mode))
            except FieldFailure as failure:
                problems.append(str(failure))
        _raise_all(problems)
        return files

    def _downward_text(self, pod: Object, item: Mapping[str, Any]) -> str:
        if item.get("fieldRef"):
            return field_value(pod, item["fieldRef"]["fieldPath"])
        allocatable = self._allocatable()
        if allocatable is None:
            raise FieldFailure("failed to find node object, expected a node")
        return resource_value(pod, item["resourceFieldRef"], None, allocatable)

    async def _projected(self, pod: Object, projected: Mapping[str, Any]) -> Contents:
        mode = projected.get("defaultMode", MODE_DEFAULT)
        files: dict[str, File] = {}
        problems: list[str] = []
        renewals: list[float] = []
        for source in projected.get("sources") or ():
            kind = next(iter(source), "")
            try:
                if kind == "serviceAccountToken":
                    path, file, renew_at = await self._token(pod, source[kind], mode)
                    files[path] = file
                    renewals.append(renew_at)
                elif kind in ("configMap", "secret", "downwardAPI"):
                    files.update(await self._plain(pod, kind, source[kind], mode))
                else:
                    raise VolumeFailure(f"projected source {kind} is not served by this kubelet")
            except (VolumeFailure, TokenFailure) as failure:
                problems.append(str(failure))
        _raise_all(problems)
        return Contents(files, min(renewals, default=None))

    async def _token(self, pod: Object, source: Mapping[str, Any], mode: int) -> tuple[str, File, float]:
        token = await self._tokens.get(
            Wanted(
                namespace=namespace_of(pod),
                account=pod["spec"].get("serviceAccountName", "default"),
                audience=source.get("audience", ""),
                expiration_seconds=source.get("expirationSeconds", TOKEN_SECONDS),
                pod_name=name_of(pod),
                pod_uid=uid_of(pod),
            )
        )
        user = fs_user(pod)
        own = user is not None or fs_group(pod) is not None
        return source["path"], File(token.text.encode(), MODE_OF_TOKENS if own else mode, user), token.renew_at


def _values(kind: str, found: Object) -> dict[str, bytes]:
    binary = found.get("binaryData" if kind == "configMap" else "data") or {}
    values = {key: base64.b64decode(text) for key, text in binary.items()}
    if kind == "configMap":
        values.update({key: text.encode() for key, text in (found.get("data") or {}).items()})
    return values


def _chosen(kind: str, values: Mapping[str, bytes], source: Mapping[str, Any], mode: int) -> Payload:
    """Every key, or those that the volume names at their paths."""
    items = source.get("items")
    if not items:
        return {key: File(data, mode) for key, data in values.items()}
    files: dict[str, File] = {}
    for item in items:
        if item["key"] in values:
            files[item["path"]] = File(values[item["key"]], item.get("mode", mode))
        elif not source.get("optional"):
            what = "configmap references non-existent config key" if kind == "configMap" else _NO_SECRET_KEY
            raise VolumeFailure(f"{what}: {item['key']}")
    return files


_NO_SECRET_KEY = "references non-existent secret key"


def _raise_all(problems: Sequence[str]) -> None:
    """One problem as it is, several as Go prints an aggregate."""
    distinct = list(dict.fromkeys(problems))
    if len(distinct) == 1:
        raise VolumeFailure(distinct[0])
    if distinct:
        raise VolumeFailure(f"[{', '.join(distinct)}]")
