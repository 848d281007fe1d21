"""What a pod's imagePullSecrets say for the registry of an image.

In: a pod, an image's name, secrets by name. Out: who to be at that registry, or nobody.
Source: https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Iterator
from typing import Any

from kubecore.api import errors
from kubecore.api.meta import Object
from kubecore.client import EventRecorder
from kubecore.kubelet.environment import ObjectReader, ObjectsUnavailable
from kubecore.kubelet.runtimes.protocol import RegistryAuth

DEFAULT_REGISTRY = "docker.io"
_ALIASES = {"index.docker.io": DEFAULT_REGISTRY, "registry-1.docker.io": DEFAULT_REGISTRY}


def registry_and_path(image: str) -> tuple[str, str]:
    """`ghcr.io/a/b:1` → (`ghcr.io`, `a/b`); `nginx` → (`docker.io`, `library/nginx`)."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = DEFAULT_REGISTRY, name if slash else f"library/{name}"
    path, colon, tag = rest.rpartition(":")
    return first, path if colon and "/" not in tag else rest


class PullSecrets:
    """Calls give the credentials for a pod's image."""

    def __init__(self, secrets: ObjectReader, recorder: EventRecorder) -> None:
        self._secrets = secrets
        self._recorder = recorder

    async def __call__(self, pod: Object, image: str) -> RegistryAuth | None:
        named = [each["name"] for each in pod["spec"].get("imagePullSecrets") or () if each.get("name")]
        found: list[tuple[str, RegistryAuth]] = []
        missing: list[str] = []
        for name in named:
            try:
                secret = await self._secrets.get(pod["metadata"]["namespace"], name)
            except (errors.StatusError, ObjectsUnavailable):
                missing.append(name)
                continue
            found.extend(credentials_in(secret))
        if missing:
            message = (
                f"Unable to retrieve some image pull secrets ({', '.join(missing)}); "
                "attempting to pull the image may not succeed."
            )
            self._recorder.event(pod, "Warning", "FailedToRetrieveImagePullSecret", message)
        return best_match(image, found)


def best_match(image: str, found: list[tuple[str, RegistryAuth]]) -> RegistryAuth | None:
    """Of those whose place matches the image's, the one that names the longest path."""
    registry, path = registry_and_path(image)
    matching = [(place, auth) for place, auth in found if _matches(place, registry, path)]
    return max(matching, key=lambda each: len(each[0]), default=(None, None))[1]


def _matches(place: str, registry: str, path: str) -> bool:
    host, _, prefix = place.partition("/")
    host = _ALIASES.get(host, host)
    # A star stands for one part of the host's name.
    parts, wanted = registry.split("."), host.split(".")
    if len(parts) != len(wanted) or not all(map(fnmatch.fnmatchcase, parts, wanted)):
        return False
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def credentials_in(secret: Object) -> Iterator[tuple[str, RegistryAuth]]:
    """(place, credentials) of a secret of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg."""
    data = secret.get("data") or {}
    for key, nested in ((".dockerconfigjson", True), (".dockercfg", False)):
        if key not in data:
            continue
        try:
            written = json.loads(base64.b64decode(data[key]))
        except (ValueError, binascii.Error):
            continue
        entries = (written.get("auths") if nested else written) if isinstance(written, dict) else None
        for place, entry in (entries or {}).items():
            auth = _auth(place, entry)
            if auth is not None:
                yield _place(place), auth


def _place(text: str) -> str:
    """`https://index.docker.io/v1/` → `index.docker.io`."""
    bare = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    for version in ("/v1", "/v2"):
        bare = bare.removesuffix(version)
    return bare


def _auth(place: str, entry: Any) -> RegistryAuth | None:
    if not isinstance(entry, dict):
        return None
    username, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (ValueError, binascii.Error):
            return None
    return RegistryAuth(username=username, password=password, server_address=_place(place))
