"""One leader among several instances of a part: whoever holds a Lease.

In: a Lease's name, this instance's identity, what to run while leading. The holder renews; the others watch the Lease
(they do not poll) and try once it has not been renewed for its duration. Clocks of different machines are never
compared: a Lease is old when *this* instance has seen no change for its duration.
Source: https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kubecore.api import errors
from kubecore.api.clock import Clock
from kubecore.api.meta import Object, micro_timestamp
from kubecore.api.scheme import resource
from kubecore.client.client import Client
from kubecore.client.transport import TransportError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ElectionTiming:
    """Upstream's defaults (`--leader-elect-...`)."""

    lease_duration_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_period_seconds: float = 2.0


class LeaderElection:
    """Runs `lead` while this instance holds the Lease `namespace/name`."""

    def __init__(
        self,
        client: Client,
        *,
        name: str,
        identity: str,
        clock: Clock,
        randomness: random.Random,
        namespace: str = "kube-system",
        timing: ElectionTiming | None = None,
    ) -> None:
        self._client = client
        self._leases = resource("coordination.k8s.io", "v1", "leases")
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._random = randomness
        self._timing = timing or ElectionTiming()
        self.leading = False

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Waits for the Lease, runs `lead`, returns when the Lease is lost (`lead` is cancelled then) or when `lead`
        ends."""
        await self._acquire()
        self.leading = True
        log.info("%s leads %s/%s", self._identity, self._namespace, self._name)
        leading = asyncio.ensure_future(lead())
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.leading = False
            for task in (leading, renewing):
                task.cancel()
            outcomes = await asyncio.gather(leading, renewing, return_exceptions=True)
            await self._release()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _acquire(self) -> None:
        while True:
            try:
                lease = await self._read()
                if lease is None or self._is_free(lease):
                    await self._take(lease)
                    return
                if await self._unchanged(lease):
                    await self._take(lease)
                    return
            except (errors.StatusError, TransportError) as failure:
                log.debug("%s does not lead %s yet: %s", self._identity, self._name, failure)
            await asyncio.sleep(self._timing.retry_period_seconds * (1 + 0.2 * self._random.random()))

    def _is_free(self, lease: Object) -> bool:
        holder = lease["spec"].get("holderIdentity")
        return not holder or holder == self._identity

    async def _unchanged(self, lease: Object) -> bool:
        """Whether the holder lets a whole duration pass without renewing. Watches meanwhile."""
        seen = lease["metadata"]["resourceVersion"]
        duration = float(lease["spec"].get("leaseDurationSeconds") or self._timing.lease_duration_seconds)
        try:
            await self._client.wait_for(
                self._leases,
                self._namespace,
                self._name,
                lambda now: now is None or now["metadata"]["resourceVersion"] != seen,
                timeout_seconds=duration,
            )
        except TimeoutError:
            return True
        return False

    async def _renew(self) -> None:
        """Returns when the Lease is lost, or has not been renewed before the deadline: a server that does not answer must
        not keep us leading when the Lease is another's by now."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(self._timing.retry_period_seconds)
            try:
                async with asyncio.timeout_at(renewed + self._timing.renew_deadline_seconds):
                    lease = await self._read()
                    if lease is None or not self._is_free(lease):
                        return
                    began = loop.time()
                    await self._take(lease)
                    renewed = began
            except TimeoutError:
                log.warning("%s/%s was not renewed in time", self._namespace, self._name)
                return
            except (errors.StatusError, TransportError) as failure:
                log.warning("renewing %s/%s: %s", self._namespace, self._name, failure)

    async def _release(self) -> None:
        """Lets the next instance lead at once."""
        try:
            async with asyncio.timeout(self._timing.renew_deadline_seconds):
                lease = await self._read()
                if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                    spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._client.update(self._leases, {**lease, "spec": spec})
        except (errors.StatusError, TransportError, TimeoutError) as failure:
            log.info("the lease %s/%s runs out by itself: %s", self._namespace, self._name, failure)

    async def _read(self) -> Object | None:
        try:
            return await self._client.get(self._leases, self._namespace, self._name)
        except errors.NotFound:
            return None

    async def _take(self, lease: Object | None) -> None:
        """Creates or updates the Lease; a Conflict says that another was faster."""
        now = micro_timestamp(self._clock.now())
        spec: Object = dict(lease["spec"]) if lease else {"acquireTime": now, "leaseTransitions": 0}
        if lease and spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = (spec.get("leaseTransitions") or 0) + 1
        spec["holderIdentity"] = self._identity
        spec["leaseDurationSeconds"] = max(1, int(self._timing.lease_duration_seconds))
        spec["renewTime"] = now
        if lease:
            await self._client.update(self._leases, {**lease, "spec": spec})
            return
        metadata = {"name": self._name, "namespace": self._namespace}
        await self._client.create(
            self._leases,
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec},
        )
