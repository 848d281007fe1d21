"""Who asks the kubelet: a client certificate of the cluster's CA, or a token that the API server knows.

In: a request. Out: a user, or nobody. The API server is asked with a TokenReview; its yes is kept for `cacheTTL`.
Bound: `TOKENS_MAX` kept answers; at the bound all are forgotten, which costs each one question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubecore.api import scheme
from kubecore.api.clock import Clock
from kubecore.client import Client
from kubecore.kubelet.configuration import Authentication

TOKENS_MAX = 1_000
ANONYMOUS = "system:anonymous"


@dataclass(frozen=True, slots=True)
class User:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, list[str]] = field(default_factory=dict)


class Authenticator:
    def __init__(self, client: Client, configuration: Authentication, clock: Clock) -> None:
        self._client = client
        self._configuration = configuration
        self._clock = clock
        self._known: dict[str, tuple[float, User]] = {}

    async def identify(self, certificate: Mapping[str, Any] | None, token: str) -> User | None:
        """`certificate`: as the ssl module gives a verified peer's, or None. None: nobody may ask so. Raises what a request to
        the API server raises."""
        user = of_certificate(certificate) if certificate else None
        if user is None and token and self._configuration.webhook.enabled:
            user = await self._of_token(token)
            if user is None:
                return None
        if user is not None:
            return _authenticated(user)
        if token or not self._configuration.anonymous.enabled:
            return None
        return User(ANONYMOUS, groups=("system:unauthenticated",))

    async def _of_token(self, token: str) -> User | None:
        now = self._clock.monotonic()
        until, user = self._known.get(token, (now, None))
        if user is not None and until > now:
            return user
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        reviews = scheme.resource("authentication.k8s.io", "v1", "tokenreviews")
        status = (await self._client.create(reviews, review)).get("status") or {}
        if not status.get("authenticated"):
            return None
        told = status.get("user") or {}
        user = User(
            told.get("username", ""), told.get("uid", ""), tuple(told.get("groups") or ()), told.get("extra") or {}
        )
        if len(self._known) >= TOKENS_MAX:
            self._known.clear()
        self._known[token] = (now + self._configuration.webhook.cache_ttl, user)
        return user


def of_certificate(certificate: Mapping[str, Any]) -> User | None:
    """The common name is the user, each organization a group."""
    pairs = [pair for part in certificate.get("subject") or () for pair in part]
    name = next((value for key, value in pairs if key == "commonName"), "")
    groups = tuple(value for key, value in pairs if key == "organizationName")
    return User(name, groups=groups) if name else None


def _authenticated(user: User) -> User:
    if "system:authenticated" in user.groups or user.name == ANONYMOUS:
        return user
    return User(user.name, user.uid, (*user.groups, "system:authenticated"), user.extra)
