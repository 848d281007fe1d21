"""Images of containers: pull policy, back-off of failing pulls, how many at a time.

In: a pod and one of its containers. Out: the image on this node, or a `StartFailure` that says why the container waits.
Source: https://kubernetes.io/docs/concepts/containers/images/
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

from kubecore.api.clock import Clock
from kubecore.api.meta import Object
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.crash_backoff import CrashBackoff
from kubecore.kubelet.runtimes.protocol import Image, ImageService, RuntimeFailure
from kubecore.kubelet.seams import Credentials

PULL_PAUSE_LONGEST_SECONDS = 300.0

Say = Callable[[str, str, str], None]
"""(Normal or Warning, reason, message): an event about the container."""


class StartFailure(Exception):
    """A container could not be started: it waits with `reason` and this message. `retry_at`: when it may be tried again,
    None for the usual pause."""

    def __init__(self, reason: str, message: str, *, retry_at: float | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retry_at = retry_at


def pull_policy(container: Mapping[str, str]) -> str:
    """As the API server defaults it."""
    given = container.get("imagePullPolicy")
    if given:
        return given
    name = container.get("image", "").rpartition("/")[2]
    is_latest = ":" not in name and "@" not in name
    return "Always" if is_latest or name.endswith(":latest") else "IfNotPresent"


class Images:
    """One for a kubelet."""

    def __init__(self, runtime: ImageService, configuration: KubeletConfiguration, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self.credentials: Credentials | None = None
        self._backoff = CrashBackoff(longest_seconds=PULL_PAUSE_LONGEST_SECONDS)
        self._failures: dict[str, tuple[str, float]] = {}
        self._turns: AbstractAsyncContextManager[object] = nullcontext()
        serial = configuration.serialize_image_pulls
        parallel = configuration.max_parallel_image_pulls
        if serial or (serial is None and (parallel or 0) < 2):
            self._turns = asyncio.Lock()
        elif parallel:
            self._turns = asyncio.Semaphore(parallel)
        self.used_at: dict[str, float] = {}
        """When an image (by id) was last wanted, for its collection."""

    async def ensure(self, pod: Object, container: Object, say: Say) -> tuple[Image, str]:
        """(the image, its reference). Raises StartFailure."""
        name, policy = container["image"], pull_policy(container)
        present = await self._look(name)
        if present is not None and policy != "Always":
            say(
                "Normal",
                "Pulled",
                f'Container image "{name}" already present on machine and can be accessed by the pod',
            )
            return self._used(present), _reference(present)
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            say("Warning", "ErrImageNeverPull", message)
            raise StartFailure("ErrImageNeverPull", message)
        self._check_backoff(pod, name, say)
        return await self._pull(pod, name, say)

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._backoff.forget(f"{uid}_")
        for key in [key for key in self._failures if key.startswith(f"{uid}_")]:
            del self._failures[key]

    async def _look(self, name: str) -> Image | None:
        try:
            return await self._runtime.image_status(name)
        except RuntimeFailure as failure:
            message = f'Failed to inspect image "{name}": {failure.message}'
            raise StartFailure("ImageInspectError", message) from failure

    def _check_backoff(self, pod: Object, name: str, say: Say) -> None:
        key = f"{pod['metadata']['uid']}_{name}"
        if key not in self._failures:
            return
        why, failed_at = self._failures[key]
        until = failed_at + self._backoff.pause(key, failed_at)
        if self._clock.now() < until:
            message = f'Back-off pulling image "{name}"'
            say("Normal", "BackOff", message)
            raise StartFailure("ImagePullBackOff", f"{message}: ErrImagePull: {why}", retry_at=until)

    async def _pull(self, pod: Object, name: str, say: Say) -> tuple[Image, str]:
        asked = self._clock.monotonic()
        auth = await self.credentials(pod, name) if self.credentials is not None else None
        async with self._turns:
            began = self._clock.monotonic()
            say("Normal", "Pulling", f'Pulling image "{name}"')
            try:
                reference = await self._runtime.pull_image(name, auth)
                pulled = await self._runtime.image_status(name)
            except RuntimeFailure as failure:
                raise self._failed(pod, name, failure.message, say) from failure
        if pulled is None:
            raise self._failed(pod, name, f'image "{name}" is not there after its pull', say)
        ended = self._clock.monotonic()
        say(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{name}" in {_took(ended - began)} ({_took(ended - asked)} including waiting). '
            f"Image size: {pulled.size_bytes} bytes.",
        )
        self._failures.pop(f"{pod['metadata']['uid']}_{name}", None)
        return self._used(pulled), reference or _reference(pulled)

    def _failed(self, pod: Object, name: str, why: str, say: Say) -> StartFailure:
        say("Warning", "Failed", f'Failed to pull image "{name}": {why}')
        key = f"{pod['metadata']['uid']}_{name}"
        now = self._clock.now()
        self._backoff.next(key, now, now)
        self._failures[key] = (why, now)
        return StartFailure("ErrImagePull", why, retry_at=now + self._backoff.pause(key, now))

    def _used(self, image: Image) -> Image:
        self.used_at[image.id] = self._clock.now()
        return image


def _reference(image: Image) -> str:
    return image.repo_digests[0] if image.repo_digests else image.id


def _took(seconds: float) -> str:
    """As Go prints a duration, in milliseconds."""
    return f"{seconds:.3f}s" if seconds >= 1 else f"{round(seconds * 1000)}ms"
