"""What the registry asks of the access room: who may escalate, who signs tokens, who answers reviews.

All are injected, so that this room imports nothing above it. Each raises a `StatusError` to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry.admission import User


class TokenIssuer(Protocol):
    """Signs service account tokens (TokenRequest)."""

    @property
    def api_audiences(self) -> Sequence[str]:
        """The server's own: for whom a token is that names nobody."""

    def issue(
        self,
        *,
        service_account: Object,
        audiences: list[str],
        expiration_seconds: int,
        bound_object: dict[str, Any] | None,
        now_seconds: float,
    ) -> tuple[str, float]:
        """Gives (token, when it expires, seconds since the epoch). `bound_object`: kind, apiVersion, name, uid of
        the Pod, Secret or Node that the token dies with, already checked to exist; empty audiences: the server's own."""


class EscalationChecker(Protocol):
    """RBAC's rule that nobody can grant what they do not have, unless allowed to escalate or bind; and that a verb gives no
    other verb's rights."""

    def check_create(self, user: User, resource: Resource, namespace: str, name: str) -> None:
        """Before an update creates what was not there: it needs the right to create too. Raises Forbidden."""

    def check_rules(
        self, user: User, resource: Resource, namespace: str, name: str, rules: list[dict[str, Any]]
    ) -> None:
        """Before a Role or ClusterRole with these rules is written. Raises Forbidden."""

    def check_aggregation(self, user: User, resource: Resource, name: str) -> None:
        """Before a ClusterRole with an aggregation rule, or one that had it, is written: it can gather anything.
        Raises Forbidden."""

    def check_binding(
        self, user: User, resource: Resource, namespace: str, name: str, role_ref: dict[str, Any]
    ) -> None:
        """Before a binding to this role is written. Raises Forbidden."""


VirtualHandler = Callable[[User, Resource, str, Object], Object]
"""Answers a create-only resource that is never stored (SubjectAccessReview, TokenReview, SelfSubjectReview, ...):
(user, resource, namespace, the decoded object) → the object with its status filled. May raise a StatusError."""

VirtualTable = dict[tuple[str, str], VirtualHandler]
"""(group, plural) → handler."""
