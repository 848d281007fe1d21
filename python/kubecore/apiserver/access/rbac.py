"""RBAC compiled: from the stored roles and bindings to an index that answers one question in a dictionary look-up.

In: Roles, ClusterRoles and their bindings, read through `PolicySource` whenever its epoch has moved. Out: for a user, a
`SubjectPolicy` that knows which rules reach that user cluster-wide and in each namespace, remembers its answers,
and says how far each answer holds. All of it is thrown away when policy changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from kubecore.api.meta import Object, labels_of, name_of
from kubecore.apiserver.access.rules import PolicyRule, rule_matches, rule_matches_url

SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
ANSWERS_REMEMBERED = 4096
"""Answers one subject remembers, and subjects one index remembers; at the bound all are forgotten and computed again.
"""


class PolicySource(Protocol):
    """Where roles and bindings come from."""

    def epoch(self) -> int:
        """Moves whenever what `objects` gives may have changed."""

    def objects(self, plural: str) -> list[Object]:
        """All roles, clusterroles, rolebindings or clusterrolebindings. Shared: never changed here."""


class Grant(NamedTuple):
    """A binding that reaches the subject: the rules it brings, and the words for why."""

    rules: tuple[PolicyRule, ...]
    reason: str
    broken: str
    """Not empty: the role is missing, and this is what upstream says about it."""


class Answer(NamedTuple):
    """What the grants say on one (verb, group, resource, subresource): allowed for every name, or for some."""

    any_name: str | None
    """The reason, if a rule without resource names allows it."""
    names: Mapping[str, str]
    """Name → reason, from rules with resource names."""


class Grants:
    """The rules of one subject in one scope."""

    __slots__ = ("_answers", "grants")

    def __init__(self, grants: tuple[Grant, ...]) -> None:
        self.grants = grants
        self._answers: dict[tuple[str, str, str, str], Answer] = {}

    def answer(self, verb: str, group: str, resource: str, subresource: str) -> Answer:
        key = (verb, group, resource, subresource)
        found = self._answers.get(key)
        if found is None:
            if len(self._answers) >= ANSWERS_REMEMBERED:
                self._answers.clear()
            found = self._answers[key] = self._evaluate(verb, group, resource, subresource)
        return found

    def _evaluate(self, verb: str, group: str, resource: str, subresource: str) -> Answer:
        names: dict[str, str] = {}
        for grant in self.grants:
            for rule in grant.rules:
                if not rule_matches(rule, verb, group, resource, subresource):
                    continue
                listed = rule.get("resourceNames")
                if not listed:
                    return Answer(grant.reason, names)
                for name in listed:
                    names.setdefault(name, grant.reason)
        return Answer(None, names)

    def url(self, verb: str, path: str) -> str | None:
        """The reason why this path is allowed, None if it is not."""
        for grant in self.grants:
            for rule in grant.rules:
                if rule_matches_url(rule, verb, path):
                    return grant.reason
        return None

    def rules(self) -> Iterator[PolicyRule]:
        for grant in self.grants:
            yield from grant.rules

    def broken(self) -> Iterator[str]:
        return (grant.broken for grant in self.grants if grant.broken)


class SubjectPolicy:
    """What one user (name and groups) may do, by scope. Namespaces are compiled when first asked for."""

    __slots__ = ("_compile", "_namespaces", "cluster")

    def __init__(self, cluster: Grants, compile_namespace: Callable[[str], Grants]) -> None:
        self.cluster = cluster
        self._compile = compile_namespace
        self._namespaces: dict[str, Grants] = {}

    def namespace(self, namespace: str) -> Grants:
        found = self._namespaces.get(namespace)
        if found is None:
            if len(self._namespaces) >= ANSWERS_REMEMBERED:
                self._namespaces.clear()
            found = self._namespaces[namespace] = self._compile(namespace)
        return found


class _Binding(NamedTuple):
    name: str
    namespace: str
    role_kind: str
    role_name: str


def subject_keys(subject: Mapping[str, Any], binding_namespace: str) -> Iterator[tuple[str, str]]:
    """(`User` or `Group`, name) under which a binding's subject is found; a service account is the user it acts as."""
    kind, name = subject.get("kind"), subject.get("name", "")
    if kind in ("User", "Group"):
        yield kind, name
    elif kind == "ServiceAccount":
        namespace = subject.get("namespace") or binding_namespace
        if namespace:
            yield "User", f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def aggregate(cluster_roles: Iterable[Object]) -> dict[str, tuple[PolicyRule, ...]]:
    """Cluster role name → its rules; those with an aggregation rule get the union of the roles that it selects."""
    by_name = {role["metadata"]["name"]: role for role in sorted(cluster_roles, key=name_of)}
    computed: dict[str, tuple[PolicyRule, ...]] = {}

    def rules_of(name: str, inside: frozenset[str]) -> tuple[PolicyRule, ...]:
        role = by_name[name]
        selectors = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
        if not selectors:
            return tuple(role.get("rules") or ())
        if name in computed:
            return computed[name]
        union: list[PolicyRule] = []
        for other_name, other in by_name.items():
            if other_name == name or other_name in inside:
                continue
            if any(selector_matches(selector, labels_of(other)) for selector in selectors):
                union.extend(rule for rule in rules_of(other_name, inside | {name}) if rule not in union)
        if not inside:
            computed[name] = tuple(union)
        return tuple(union)

    return {name: rules_of(name, frozenset()) for name in by_name}


def selector_matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A `metav1.LabelSelector`; an empty one selects everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        value, values = labels.get(expression["key"]), expression.get("values") or ()
        holds = {
            "In": value is not None and value in values,
            "NotIn": value is None or value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds.get(expression["operator"], False):
            return False
    return True


class RbacIndex:
    """All roles and bindings at one moment, found by subject."""

    def __init__(self, source: PolicySource) -> None:
        self._roles: dict[tuple[str, str], tuple[PolicyRule, ...]] = {
            (role["metadata"]["namespace"], role["metadata"]["name"]): tuple(role.get("rules") or ())
            for role in source.objects("roles")
        }
        self._cluster_roles = aggregate(source.objects("clusterroles"))
        self._cluster_bindings = _by_subject(source.objects("clusterrolebindings"))
        by_namespace: dict[str, list[Object]] = {}
        for binding in source.objects("rolebindings"):
            by_namespace.setdefault(binding["metadata"]["namespace"], []).append(binding)
        self._bindings = {namespace: _by_subject(bindings) for namespace, bindings in by_namespace.items()}
        self._named_users = frozenset(
            name
            for bindings in (self._cluster_bindings, *self._bindings.values())
            for kind, name in bindings
            if kind == "User"
        )
        self._subjects: dict[tuple[str, tuple[str, ...]], SubjectPolicy] = {}

    def subject(self, user: str, groups: tuple[str, ...]) -> SubjectPolicy:
        # Users that no binding names have the rights of their groups: ten thousand nodes share one policy.
        key = (user if user in self._named_users else "", groups)
        found = self._subjects.get(key)
        if found is None:
            if len(self._subjects) >= ANSWERS_REMEMBERED:
                self._subjects.clear()
            found = self._subjects[key] = self._compile(user, groups)
        return found

    def role_rules(self, namespace: str, kind: str, name: str) -> tuple[PolicyRule, ...] | None:
        """The rules of the Role (in this namespace) or ClusterRole; None if there is none."""
        return self._cluster_roles.get(name) if kind == "ClusterRole" else self._roles.get((namespace, name))

    def _compile(self, user: str, groups: tuple[str, ...]) -> SubjectPolicy:
        keys = [("User", user), *(("Group", group) for group in groups)]

        def compile_namespace(namespace: str) -> Grants:
            return self._grants(self._bindings.get(namespace, {}), keys)

        return SubjectPolicy(self._grants(self._cluster_bindings, keys), compile_namespace)

    def _grants(self, bindings: Mapping[tuple[str, str], list[_Binding]], keys: Iterable[tuple[str, str]]) -> Grants:
        reached: dict[_Binding, str] = {}
        for kind, name in keys:
            for binding in bindings.get((kind, name), ()):
                reached.setdefault(binding, _subject_text(kind, name))
        return Grants(tuple(self._grant(binding, reached[binding]) for binding in sorted(reached)))

    def _grant(self, binding: _Binding, subject: str) -> Grant:
        rules = self.role_rules(binding.namespace, binding.role_kind, binding.role_name)
        if rules is None:
            missing = f'{binding.role_kind.lower()}.rbac.authorization.k8s.io "{binding.role_name}" not found'
            return Grant((), "", missing)
        scope = (
            f'RoleBinding "{binding.name}/{binding.namespace}"'
            if binding.namespace
            else (f'ClusterRoleBinding "{binding.name}"')
        )
        reason = f'RBAC: allowed by {scope} of {binding.role_kind} "{binding.role_name}" to {subject}'
        return Grant(rules, reason, "")


def _subject_text(kind: str, name: str) -> str:
    if kind == "User" and name.startswith(SERVICE_ACCOUNT_PREFIX):
        namespace, _, account = name.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
        return f'ServiceAccount "{account}/{namespace}"'
    return f'{kind} "{name}"'


def _by_subject(bindings: Iterable[Object]) -> dict[tuple[str, str], list[_Binding]]:
    found: dict[tuple[str, str], list[_Binding]] = {}
    for binding in bindings:
        metadata, reference = binding["metadata"], binding.get("roleRef") or {}
        namespace = metadata.get("namespace", "")
        row = _Binding(metadata["name"], namespace, reference.get("kind", ""), reference.get("name", ""))
        for subject in binding.get("subjects") or ():
            for key in subject_keys(subject, namespace):
                found.setdefault(key, []).append(row)
    return found
