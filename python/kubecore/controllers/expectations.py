"""What a controller has asked for and its informer has not shown yet.

A controller that creates a pod and is woken before the informer shows that pod would create it once more. So after
each write it notes the uid; while notes stand, the owner's replicas are not touched again. A note that never comes
true (a watch that skips) expires.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubecore.api.clock import Clock

EXPIRY_SECONDS = 300.0


class Expectations:
    """Notes by owner key. Bounded by what one sync may write (its burst) for each owner."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: dict[str, dict[str, float]] = {}

    def expect(self, owner: str, uids: Iterable[str]) -> None:
        """Each uid is to be observed: shown by the informer if created, gone or terminating if deleted."""
        expiry = self._clock.monotonic() + EXPIRY_SECONDS
        pending = self._pending.setdefault(owner, {})
        for uid in uids:
            pending[uid] = expiry
        if not pending:
            del self._pending[owner]

    def observed(self, owner: str, uid: str) -> None:
        pending = self._pending.get(owner)
        if pending is not None and pending.pop(uid, None) is not None and not pending:
            del self._pending[owner]

    def satisfied(self, owner: str) -> bool:
        pending = self._pending.get(owner)
        if pending is None:
            return True
        now = self._clock.monotonic()
        if min(pending.values()) > now:
            return False
        del self._pending[owner]
        return True

    def forget(self, owner: str) -> None:
        self._pending.pop(owner, None)
