"""The kinds that ask about access and are never stored: the SubjectAccessReviews, rules, who am I, and TokenReview.

`review_table` is what the registry's `virtual` table takes: (group, plural) → a function of the asking user and the
object, which gives the object back with its status. Source:
https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from typing import Any

from kubecore.api.errors import BadRequest, invalid
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.access.authenticate import Authenticator
from kubecore.apiserver.access.authorize import Attributes, AuthorizerChain
from kubecore.apiserver.access.tokens import InvalidToken
from kubecore.apiserver.registry.admission import User
from kubecore.apiserver.registry.hooks import VirtualHandler

AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"


def review_table(authenticator: Authenticator, authorizer: AuthorizerChain) -> dict[tuple[str, str], VirtualHandler]:
    """The registry's `VirtualTable`."""
    access, tokens = AccessReviews(authorizer), TokenReviews(authenticator)
    return {
        (AUTHORIZATION, "subjectaccessreviews"): access.subject,
        (AUTHORIZATION, "localsubjectaccessreviews"): access.local_subject,
        (AUTHORIZATION, "selfsubjectaccessreviews"): access.self_subject,
        (AUTHORIZATION, "selfsubjectrulesreviews"): access.self_rules,
        (AUTHENTICATION, "selfsubjectreviews"): self_subject_review,
        (AUTHENTICATION, "tokenreviews"): tokens.review,
    }


def user_info(user: User) -> dict[str, Any]:
    """`authentication.k8s.io/v1 UserInfo`, empty fields left out."""
    info: dict[str, Any] = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def self_subject_review(user: User, resource: Resource, namespace: str, review: Object) -> Object:
    """`kubectl auth whoami`."""
    return {**review, "status": {"userInfo": user_info(user)}}


class AccessReviews:
    """May somebody do something?"""

    def __init__(self, authorizer: AuthorizerChain) -> None:
        self._authorizer = authorizer

    def subject(self, user: User, resource: Resource, namespace: str, review: Object) -> Object:
        """Anybody's rights, anywhere."""
        spec = _spec(review)
        _check(resource, review, _subject_causes(spec))
        return self._answer(review, _named_user(spec), spec)

    def local_subject(self, user: User, resource: Resource, namespace: str, review: Object) -> Object:
        """Anybody's rights in one namespace."""
        spec = _spec(review)
        causes = _subject_causes(spec)
        if spec.get("nonResourceAttributes") is not None:
            causes.append(_cause("spec.nonResourceAttributes", "disallowed on this kind of request"))
        _check(resource, review, causes)
        asked = spec["resourceAttributes"].get("namespace", "")
        if asked != namespace:
            raise BadRequest(f"spec.resourceAttributes.namespace must match namespace: {namespace}")
        return self._answer(review, _named_user(spec), spec)

    def self_subject(self, user: User, resource: Resource, namespace: str, review: Object) -> Object:
        """The asking user's own rights: `kubectl auth can-i`."""
        spec = _spec(review)
        _check(resource, review, _attribute_causes(spec))
        return self._answer(review, user, spec)

    def self_rules(self, user: User, resource: Resource, namespace: str, review: Object) -> Object:
        """All rules that reach the asking user in a namespace: `kubectl auth can-i --list`."""
        wanted = _spec(review).get("namespace", "")
        if not wanted:
            raise BadRequest("no namespace on request")
        rules, errors = self._authorizer.rules_for(user, wanted)
        status: dict[str, Any] = {
            "resourceRules": [
                _fields(rule, "verbs", "apiGroups", "resources", "resourceNames")
                for rule in rules
                if "resources" in rule
            ],
            "nonResourceRules": [
                _fields(rule, "verbs", "nonResourceURLs") for rule in rules if rule.get("nonResourceURLs")
            ],
            "incomplete": bool(errors),
        }
        if errors:
            status["evaluationError"] = ", ".join(errors)
        return {**review, "status": status}

    def _answer(self, review: Object, user: User, spec: dict[str, Any]) -> Object:
        verdict = self._authorizer.authorize(_attributes(user, spec))
        status: dict[str, Any] = {"allowed": verdict.allowed}
        if verdict.reason:
            status["reason"] = verdict.reason
        return {**review, "status": status}


class TokenReviews:
    """Whose token is this, and does it hold?"""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def review(self, user: User, resource: Resource, namespace: str, review: Object) -> Object:
        spec = _spec(review)
        token = spec.get("token", "")
        if not token:
            raise BadRequest("token is required for TokenReview in authentication")
        try:
            found, audiences = self._authenticator.authenticate_token(token, spec.get("audiences") or ())
        except InvalidToken as error:
            return {**review, "status": {"user": {}, "error": f"[invalid bearer token, {error}]"}}
        return {**review, "status": {"authenticated": True, "user": user_info(found), "audiences": list(audiences)}}


def _spec(review: Object) -> dict[str, Any]:
    return review.get("spec") or {}


def _fields(rule: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {field: list(rule[field]) for field in fields if rule.get(field)}


def _named_user(spec: dict[str, Any]) -> User:
    extra = {key: tuple(values or ()) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), spec.get("uid", ""), tuple(spec.get("groups") or ()), extra)


def _attributes(user: User, spec: dict[str, Any]) -> Attributes:
    asked = spec.get("resourceAttributes")
    if asked is None:
        path = spec["nonResourceAttributes"]
        return Attributes(user, path.get("verb", ""), path=path.get("path", ""), is_resource=False)
    return Attributes(
        user,
        asked.get("verb", ""),
        asked.get("group", ""),
        asked.get("version", ""),
        asked.get("resource", ""),
        asked.get("subresource", ""),
        asked.get("namespace", ""),
        asked.get("name", ""),
    )


def _cause(field: str, why: str, value: str = "null") -> dict[str, str]:
    return {"reason": "FieldValueInvalid", "message": f"Invalid value: {value}: {why}", "field": field}


def _attribute_causes(spec: dict[str, Any]) -> list[dict[str, str]]:
    on_resource, on_path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if on_resource is not None and on_path is not None:
        return [_cause("spec.nonResourceAttributes", "cannot be specified in combination with resourceAttributes")]
    if on_resource is None and on_path is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [_cause("spec.resourceAttributes", why)]
    return []


def _subject_causes(spec: dict[str, Any]) -> list[dict[str, str]]:
    causes = _attribute_causes(spec)
    if not spec.get("user") and not spec.get("groups"):
        causes.append(_cause("spec.user", "at least one of user or group must be specified", '""'))
    return causes


def _check(resource: Resource, review: Object, causes: list[dict[str, str]]) -> None:
    if causes:
        raise invalid(resource.kind, resource.group, "", causes)
