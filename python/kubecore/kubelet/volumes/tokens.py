"""Service account tokens for pods, from TokenRequest, kept until it is time for a new one.

A token is asked for again when a fifth of its life is left, or when it is a day old. While asking fails, the old one
serves as long as it is valid.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass

from kubecore.api.clock import Clock
from kubecore.api.errors import StatusError
from kubecore.api.meta import Object, parse_timestamp
from kubecore.api.scheme import core
from kubecore.client import Client, TransportError

log = logging.getLogger(__name__)

AGE_SECONDS_MAX = 24 * 3600.0
LIFE_LEFT_PERCENT = 20
JITTER_SECONDS_MAX = 10.0
RETRY_SECONDS = 10.0
"""After a refresh that failed."""


class TokenFailure(Exception):
    """There is no valid token. The message is upstream's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: the key of the cache."""

    namespace: str
    account: str
    audience: str
    expiration_seconds: int
    pod_name: str
    pod_uid: str


@dataclass(frozen=True, slots=True)
class Token:
    """`renew_at`, `expires_at`: wall clock."""

    text: str
    renew_at: float
    expires_at: float


class Tokens:
    """Bound: one for each projection of a pod of this node; a pod's go with it."""

    def __init__(self, client: Client, *, clock: Clock, randomness: random.Random) -> None:
        self._client = client
        self._clock = clock
        self._random = randomness
        self._cache: dict[Wanted, Token] = {}

    async def get(self, wanted: Wanted) -> Token:
        """Raises TokenFailure."""
        known = self._cache.get(wanted)
        now = self._clock.now()
        if known is not None and now < known.renew_at:
            return known
        try:
            fresh = await self._request(wanted)
        except (StatusError, TransportError) as failure:
            if known is None:
                raise TokenFailure(f"failed to fetch token: {failure}") from failure
            if now > known.expires_at:
                raise TokenFailure(
                    f'token "{wanted.account}"/"{wanted.namespace}" expired and refresh failed: {failure}'
                ) from failure
            log.warning("renewing the token of %s/%s: %s", wanted.namespace, wanted.pod_name, failure)
            kept = Token(known.text, now + RETRY_SECONDS, known.expires_at)
            self._cache[wanted] = kept
            return kept
        self._cache[wanted] = fresh
        return fresh

    def release(self, uid: str) -> None:
        for wanted in [wanted for wanted in self._cache if wanted.pod_uid == uid]:
            del self._cache[wanted]

    async def _request(self, wanted: Wanted) -> Token:
        body: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [wanted.audience] if wanted.audience else [],
                "expirationSeconds": wanted.expiration_seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": wanted.pod_name,
                    "uid": wanted.pod_uid,
                },
            },
        }
        answer = await self._client.create(
            core("serviceaccounts"), body, namespace=wanted.namespace, name=wanted.account, subresource="token"
        )
        life = answer["spec"].get("expirationSeconds") or wanted.expiration_seconds
        expires_at = parse_timestamp(answer["status"]["expirationTimestamp"])
        jitter = self._random.random() * JITTER_SECONDS_MAX
        by_age = expires_at - life + AGE_SECONDS_MAX - jitter
        by_life = expires_at - life * LIFE_LEFT_PERCENT / 100 - jitter
        return Token(answer["status"]["token"], min(by_age, by_life), expires_at)
