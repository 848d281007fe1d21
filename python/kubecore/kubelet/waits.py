"""Why containers of one pod are not started yet, and until when: crash loops, images that cannot be pulled, what is missing.

In: failed starts, ends of containers. Out: reasons for the pod's status, times before which a plan does not start them.
"""

from __future__ import annotations

from collections.abc import Callable

from kubecore.api.clock import Clock
from kubecore.api.meta import Object
from kubecore.kubelet import pods
from kubecore.kubelet.crash_backoff import CrashBackoff
from kubecore.kubelet.images import StartFailure
from kubecore.kubelet.plan import Delay, Start
from kubecore.kubelet.runtimes.protocol import Container, ContainerState

SHOWN_SECONDS = 3.0
"""How long ErrImagePull is shown before it becomes ImagePullBackOff."""
TOLD_MAX = 100
"""Ended runs of which a BackOff event has told."""


class Waits:
    """`reasons`: container's name → (reason, message). `held`: container's name → when it may be tried again."""

    def __init__(self, uid: str, backoff: CrashBackoff, clock: Clock, retry_at: Callable[[], float]) -> None:
        self._uid = uid
        self._backoff = backoff
        self._clock = clock
        self._retry_at = retry_at
        self.reasons: dict[str, tuple[str, str]] = {}
        self.held: dict[str, float] = {}
        self._lacking: set[str] = set()
        """Held containers that wait for something in the API: tried again whenever the pod is woken."""
        self._told: dict[str, None] = {}

    def pause(self, container: Object, latest: Container) -> float:
        """Seconds from its end to its next start."""
        return self._backoff.pause(self._key(container), latest.finished_at / 1e9)

    def delayed(self, pod: Object, delay: Delay) -> bool:
        """It crashes again and again. Gives whether this is news."""
        name = delay.container["name"]
        pause = go_duration(delay.pause_seconds)
        message = f"back-off {pause} restarting failed container={name} pod={pods.title(pod)}"
        self.reasons[name] = ("CrashLoopBackOff", message)
        if delay.latest.id in self._told:
            return False
        self._told[delay.latest.id] = None
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]
        return True

    def must_wait(self, container: Object) -> bool:
        """A container that ends at this moment would not be started at once."""
        return self._backoff.pause(self._key(container), self._clock.now()) > 0

    def starting(self, start: Start) -> None:
        """A run after another: the pause after it will be longer."""
        latest, now = start.latest, self._clock.now()
        if latest is not None and latest.state is not ContainerState.CREATED:
            ended = latest.finished_at / 1e9 if latest.finished_at else now
            self._backoff.next(self._key(start.container), ended, now)

    def started(self, name: str) -> None:
        self.reasons.pop(name, None)
        self.held.pop(name, None)

    def failed(self, name: str, failure: StartFailure) -> None:
        self.reasons[name] = (failure.reason, failure.message)
        if failure.reason == "ErrImagePull":
            self.held[name] = self._clock.now() + SHOWN_SECONDS
        else:
            self.held[name] = failure.retry_at if failure.retry_at is not None else self._retry_at()
        if failure.reason == "CreateContainerConfigError":
            self._lacking.add(name)

    def woken(self) -> None:
        """What a container lacks may be there now."""
        for name in self._lacking:
            self.held.pop(name, None)
        self._lacking.clear()

    def forget(self) -> None:
        """The pod is gone."""
        self._backoff.forget(f"{self._uid}/")

    def _key(self, container: Object) -> str:
        return f"{self._uid}/{container['name']}/{pods.container_hash(container)}"


def go_duration(seconds: float) -> str:
    """`10s`, `1m20s`, `5m0s`: as Go prints a duration."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
