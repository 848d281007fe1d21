"""Static pods: a directory of manifests, each a pod that runs whether or not there is an API server.

In: YAML or JSON files in one directory. Out: pods with upstream's marks (name ending in the node's, uid and hash from the
content, config.source) to the pod manager. The directory is watched by inotify; a slow look now and then finds what a file
system does not tell of. Source: https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import yaml

from kubecore.api import codec
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, micro_timestamp
from kubecore.kubelet import pods

log = logging.getLogger(__name__)

MANIFEST_BYTES_MAX = 3 * 1024 * 1024

_CHANGES = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200
"""IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE"""

SETTLE_SECONDS = 0.1
"""A file that is being written is read once it has been quiet for that long."""


class ManifestError(ValueError):
    """The file is no pod."""


def read_manifest(path: Path, node_name: str, seen: float) -> Object:
    """Raises ManifestError."""
    try:
        content = path.read_bytes()
    except OSError as failure:
        raise ManifestError(str(failure)) from failure
    if len(content) > MANIFEST_BYTES_MAX:
        raise ManifestError(f"larger than {MANIFEST_BYTES_MAX} bytes")
    try:
        written = yaml.safe_load(content)
    except yaml.YAMLError as failure:
        raise ManifestError(str(failure)) from failure
    if not isinstance(written, dict) or written.get("kind") != "Pod" or written.get("apiVersion") != "v1":
        raise ManifestError("not a v1 Pod")
    try:
        decoded = codec.decode("", "v1", "Pod", msgspec.json.encode(written))
    except codec.DecodeError as failure:
        raise ManifestError(str(failure)) from failure
    return _mark(decoded.object, path, node_name, seen)


def _mark(pod: Object, path: Path, node_name: str, seen: float) -> Object:
    metadata = pod.setdefault("metadata", {})
    if not metadata.get("name") or not (pod.get("spec") or {}).get("containers"):
        raise ManifestError("a pod needs a name and containers")
    content = {"file": str(path), "node": node_name, "metadata": metadata, "spec": pod["spec"]}
    digest = pods.pod_hash(content)
    name = f"{metadata['name']}-{node_name.lower()}"
    annotations = {
        **(metadata.get("annotations") or {}),
        pods.CONFIG_SOURCE: "file",
        pods.CONFIG_HASH: digest,
        pods.CONFIG_SEEN: micro_timestamp(seen),
    }
    uid = metadata.get("uid") or digest
    namespace = metadata.get("namespace") or "default"
    # A static pod stays on its node whatever happens to it.
    stays = {"operator": "Exists", "effect": "NoExecute"}
    spec = {**pod["spec"], "nodeName": node_name, "tolerations": [*(pod["spec"].get("tolerations") or ()), stays]}
    marked = {**metadata, "name": name, "namespace": namespace, "uid": uid, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": marked, "spec": spec, "status": {"phase": "Pending"}}


class StaticPods:
    """Run `run` as a task. `put` and `drop` are the pod manager's."""

    def __init__(
        self,
        directory: Path,
        node_name: str,
        clock: Clock,
        *,
        put: Callable[[Object], None],
        drop: Callable[[Object], None],
        known: Callable[[], None],
        check_seconds: float,
    ) -> None:
        """`known` is called once all files have been read for the first time."""
        self._directory = directory
        self._node_name = node_name
        self._clock = clock
        self._put = put
        self._drop = drop
        self._all_known = known
        self._check_seconds = check_seconds
        self._known: dict[str, Object] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        watch = self._watch()
        self.look()
        self._all_known()
        try:
            while True:
                self._changed.clear()
                self.look()
                try:
                    async with asyncio.timeout(self._check_seconds):
                        await self._changed.wait()
                        await asyncio.sleep(SETTLE_SECONDS)
                except TimeoutError:
                    continue
        finally:
            if watch is not None:
                asyncio.get_running_loop().remove_reader(watch)
                os.close(watch)

    def look(self) -> None:
        """Reads the directory, or the one file that it is, and says what is new and what is gone."""
        found: dict[str, Object] = {}
        for path in self._files():
            try:
                pod = read_manifest(path, self._node_name, self._clock.now())
            except ManifestError as failure:
                log.warning("the static pod %s cannot be used: %s", path, failure)
                continue
            found[pod["metadata"]["uid"]] = pod
        before, self._known = self._known, {**found}
        for uid, pod in before.items():
            if uid in found:
                self._known[uid] = pod
            else:
                self._drop(pod)
        for uid, pod in found.items():
            if uid not in before:
                self._put(pod)

    def _files(self) -> list[Path]:
        if self._directory.is_file():
            return [self._directory]
        if not self._directory.is_dir():
            return []
        return sorted(each for each in self._directory.iterdir() if each.is_file() and not each.name.startswith("."))

    def _watch(self) -> int | None:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if descriptor < 0:
            return None
        if libc.inotify_add_watch(descriptor, os.fsencode(self._directory), _CHANGES) < 0:
            log.warning("the static pods in %s are looked at every %g s only", self._directory, self._check_seconds)
            os.close(descriptor)
            return None
        asyncio.get_running_loop().add_reader(descriptor, self._told, descriptor)
        return int(descriptor)

    def _told(self, descriptor: int) -> None:
        os.read(descriptor, 65536)
        self._changed.set()
