"""May this user do this? The chain of authorizers, the verdict, and upstream's words for no.

In: `Attributes` of a request. Out: a `Verdict` that also says how wide it holds, so that the wire can reuse it:
`any_name` if the deciding rule names no objects, `any_namespace` if it came from a ClusterRoleBinding. `system:masters`
passes before any rule is read, as upstream's privileged group does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from kubecore.api.errors import Forbidden, forbidden
from kubecore.apiserver.access.rbac import Grants, PolicySource, RbacIndex, SubjectPolicy
from kubecore.apiserver.access.rules import PolicyRule
from kubecore.apiserver.registry.admission import User

MASTERS = "system:masters"


class Attributes(msgspec.Struct, frozen=True):
    """What an authorizer looks at. For a request that is no resource's, only verb and path count."""

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    is_resource: bool = True


class Verdict(msgspec.Struct, frozen=True):
    """reason: why, in upstream's words, empty if there is nothing to say. Width counts only when allowed."""

    allowed: bool
    reason: str = ""
    any_name: bool = False
    any_namespace: bool = False


class Authorizer(Protocol):
    """What the wire and the reviews ask."""

    def authorize(self, attributes: Attributes) -> Verdict: ...

    def rules_for(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        """(all rules that reach the user in this namespace, errors met on the way)."""


def denial(attributes: Attributes, reason: str) -> Forbidden:
    """The 403 that upstream answers, word for word."""
    user = attributes.user.name
    if not attributes.is_resource:
        text = f'User "{user}" cannot {attributes.verb} path "{attributes.path}"'
        return Forbidden(f"forbidden: {text}" + (f": {reason}" if reason else ""))
    resource = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
    scope = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    text = f'User "{user}" cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}" {scope}'
    return forbidden(attributes.resource, attributes.group, attributes.name, f"{text}: {reason}" if reason else text)


def go_errors(errors: Sequence[str]) -> str:
    """Several errors as one text: alone, or `[a, b]`."""
    return errors[0] if len(errors) == 1 else "[" + ", ".join(errors) + "]"


_ALLOWED_EVERYWHERE = Verdict(True, any_name=True, any_namespace=True)
_NO_OPINION = Verdict(False)


class AlwaysAllow:
    """`--authorization-mode=AlwaysAllow`."""

    def authorize(self, attributes: Attributes) -> Verdict:
        return _ALLOWED_EVERYWHERE

    def rules_for(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        return list(EVERYTHING), []


class AlwaysDeny:
    """`--authorization-mode=AlwaysDeny`."""

    def authorize(self, attributes: Attributes) -> Verdict:
        return Verdict(False, "Everything is forbidden.")

    def rules_for(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        return [], []


class RbacAuthorizer:
    """RBAC over an index that is rebuilt when the policy's epoch has moved."""

    def __init__(self, source: PolicySource) -> None:
        self._source = source
        self._epoch = -1
        self._index: RbacIndex | None = None

    def index(self) -> RbacIndex:
        """The policy as it is now."""
        # The epoch is read before the objects: a change in between is seen at the next question.
        epoch = self._source.epoch()
        if self._index is None or epoch != self._epoch:
            self._index = RbacIndex(self._source)
            self._epoch = epoch
        return self._index

    def subject(self, user: User) -> SubjectPolicy:
        return self.index().subject(user.name, user.groups)

    def authorize(self, attributes: Attributes) -> Verdict:
        user = attributes.user
        policy = self.index().subject(user.name, user.groups)
        if not attributes.is_resource:
            reason = policy.cluster.url(attributes.verb, attributes.path)
            return _denied(policy.cluster) if reason is None else Verdict(True, reason)
        namespace = attributes.namespace
        what = (attributes.verb, attributes.group, attributes.resource, attributes.subresource)
        cluster = policy.cluster.answer(*what)
        if cluster.any_name is not None:
            return Verdict(True, cluster.any_name, True, True)
        local = policy.namespace(namespace) if namespace else None
        answer = local.answer(*what) if local is not None else None
        if answer is not None and answer.any_name is not None:
            return Verdict(True, answer.any_name, True, False)
        if attributes.name:
            if attributes.name in cluster.names:
                return Verdict(True, cluster.names[attributes.name], False, True)
            if answer is not None and attributes.name in answer.names:
                return Verdict(True, answer.names[attributes.name], False, False)
        return _denied(policy.cluster, local)

    def rules_for(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        policy = self.subject(user)
        scopes = [policy.cluster, *([policy.namespace(namespace)] if namespace else [])]
        return [rule for grants in scopes for rule in grants.rules()], [e for grants in scopes for e in grants.broken()]


def _denied(*scopes: Grants | None) -> Verdict:
    broken = list(dict.fromkeys(error for grants in scopes if grants is not None for error in grants.broken()))
    return Verdict(False, f"RBAC: {go_errors(broken)}") if broken else _NO_OPINION


EVERYTHING: tuple[PolicyRule, ...] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


class AuthorizerChain:
    """`system:masters` first, then each mode in turn until one allows; the reasons of those that did not are joined."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    def authorize(self, attributes: Attributes) -> Verdict:
        if MASTERS in attributes.user.groups:
            return _ALLOWED_EVERYWHERE
        reasons: list[str] = []
        for authorizer in self._authorizers:
            verdict = authorizer.authorize(attributes)
            if verdict.allowed:
                return verdict
            if verdict.reason:
                reasons.append(verdict.reason)
        return Verdict(False, "\n".join(reasons)) if reasons else _NO_OPINION

    def check(self, attributes: Attributes) -> Verdict:
        """The verdict if allowed; raises the 403 otherwise."""
        verdict = self.authorize(attributes)
        if not verdict.allowed:
            raise denial(attributes, verdict.reason)
        return verdict

    def rules_for(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        rules: list[PolicyRule] = list(EVERYTHING) if MASTERS in user.groups else []
        errors: list[str] = []
        for authorizer in self._authorizers:
            more, failed = authorizer.rules_for(user, namespace)
            rules.extend(rule for rule in more if rule not in rules)
            errors.extend(failed)
        return rules, errors


def build_authorizer(modes: Sequence[str], rbac: RbacAuthorizer) -> AuthorizerChain:
    """`--authorization-mode`: a list of AlwaysAllow, AlwaysDeny, RBAC. `Node` is accepted where RBAC is there too,
    which gives nodes their rights. Raises ValueError on anything else."""
    makers: dict[str, Callable[[], Authorizer]] = {
        "AlwaysAllow": AlwaysAllow,
        "AlwaysDeny": AlwaysDeny,
        "RBAC": lambda: rbac,
    }
    if "Node" in modes and "RBAC" not in modes:
        raise ValueError(
            "authorization mode Node needs RBAC beside it: RBAC's system:node binding gives nodes their rights"
        )
    chain: list[Authorizer] = []
    for mode in modes:
        if mode == "Node":
            continue
        if mode not in makers:
            raise ValueError(f'unknown authorization mode "{mode}", expected AlwaysAllow, AlwaysDeny, Node or RBAC')
        chain.append(makers[mode]())
    if not chain:
        raise ValueError("at least one authorization mode must be given")
    return AuthorizerChain(chain)
