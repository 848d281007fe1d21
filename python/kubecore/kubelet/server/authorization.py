"""May this user ask that of the kubelet? The API server is asked with a SubjectAccessReview on a subresource of the node.

    /stats…, /metrics…, /logs…          nodes/stats, nodes/metrics, nodes/log
    /healthz…, /configz, /pods, /runningpods   nodes/healthz, nodes/configz, nodes/pods; else nodes/proxy (KEP-2862)
    everything else                     nodes/proxy

Answers are kept: a yes for cacheAuthorizedTTL, a no for cacheUnauthorizedTTL. Bound: `ANSWERS_MAX`; at the bound all are forgotten.
"""

from __future__ import annotations

from kubecore.api import scheme
from kubecore.api.clock import Clock
from kubecore.api.meta import Object
from kubecore.client import Client
from kubecore.kubelet.configuration import Authorization
from kubecore.kubelet.server.authentication import User

ANSWERS_MAX = 4_000

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCES = (
    ("/stats", ("stats",)),
    ("/metrics", ("metrics",)),
    ("/logs", ("log",)),
    ("/healthz", ("healthz", "proxy")),
    ("/configz", ("configz", "proxy")),
    ("/pods", ("pods", "proxy")),
    ("/runningpods", ("pods", "proxy")),
)
"""By path, or what lies below it: the subresources of which one must be allowed, the narrowest first."""


def verb_of(method: str) -> str:
    return _VERBS.get(method, "")


def subresources_of(path: str) -> tuple[str, ...]:
    for prefix, subresources in _SUBRESOURCES:
        if path == prefix or path.startswith(prefix + "/"):
            return subresources
    return ("proxy",)


class Authorizer:
    def __init__(self, client: Client, configuration: Authorization, clock: Clock, *, node_name: str) -> None:
        self._client = client
        self._configuration = configuration
        self._clock = clock
        self._node_name = node_name
        self._known: dict[tuple[object, ...], tuple[float, bool]] = {}

    async def allows(self, user: User, method: str, path: str) -> bool:
        """Raises what a request to the API server raises."""
        if self._configuration.mode == "AlwaysAllow":
            return True
        for subresource in subresources_of(path):
            if await self._allows(user, verb_of(method), subresource):
                return True
        return False

    async def _allows(self, user: User, verb: str, subresource: str) -> bool:
        key = (user.name, user.uid, user.groups, repr(sorted(user.extra.items())), verb, subresource)
        now = self._clock.monotonic()
        until, allowed = self._known.get(key, (now, False))
        if until > now:
            return allowed
        reviews = scheme.resource("authorization.k8s.io", "v1", "subjectaccessreviews")
        answer = await self._client.create(reviews, self._review(user, verb, subresource))
        allowed = bool((answer.get("status") or {}).get("allowed"))
        webhook = self._configuration.webhook
        if len(self._known) >= ANSWERS_MAX:
            self._known.clear()
        kept = webhook.cache_authorized_ttl if allowed else webhook.cache_unauthorized_ttl
        self._known[key] = (now + kept, allowed)
        return allowed

    def _review(self, user: User, verb: str, subresource: str) -> Object:
        attributes = {
            "verb": verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": subresource,
            "name": self._node_name,
        }
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": dict(user.extra),
            "resourceAttributes": attributes,
        }
        return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
