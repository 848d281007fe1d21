"""PolicyRules as RBAC reads them: what a rule matches, and whether a set of rules covers another.

Rules are the plain dictionaries of Role and ClusterRole. Nothing here knows who asks or where rules come from.
Source: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/role-v1/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

PolicyRule = dict[str, Any]
EVERY = "*"


def _words(rule: PolicyRule, field: str) -> tuple[str, ...]:
    return tuple(rule.get(field) or ())


def url_matches(pattern: str, path: str) -> bool:
    """`*` is every path; a trailing `*` is a prefix; anything else is the path itself."""
    if pattern in (path, EVERY):
        return True
    return pattern.endswith(EVERY) and path.startswith(pattern.rstrip(EVERY))


def resource_matches(patterns: Iterable[str], resource: str, subresource: str) -> bool:
    """`*` is every resource and subresource; `*/scale` is that subresource of every resource."""
    combined = f"{resource}/{subresource}" if subresource else resource
    return any(
        pattern in (EVERY, combined) or (subresource != "" and pattern == f"*/{subresource}") for pattern in patterns
    )


def rule_matches(rule: PolicyRule, verb: str, group: str, resource: str, subresource: str) -> bool:
    """Whether the rule is about this, leaving its resource names aside."""
    verbs, groups = _words(rule, "verbs"), _words(rule, "apiGroups")
    return (
        (verb in verbs or EVERY in verbs)
        and (group in groups or EVERY in groups)
        and resource_matches(_words(rule, "resources"), resource, subresource)
    )


def rule_matches_url(rule: PolicyRule, verb: str, path: str) -> bool:
    verbs = _words(rule, "verbs")
    return (verb in verbs or EVERY in verbs) and any(
        url_matches(pattern, path) for pattern in _words(rule, "nonResourceURLs")
    )


class Atom(NamedTuple):
    """A rule that cannot be split further: one verb on one resource, or on one URL pattern. `name` None: every name."""

    verb: str
    group: str
    resource: str
    name: str | None
    url: str | None


def atoms(rules: Iterable[PolicyRule]) -> list[Atom]:
    """Rules broken into single rights, in the rules' order, each once."""
    found: dict[Atom, None] = {}
    for rule in rules:
        for verb in _words(rule, "verbs"):
            for group in _words(rule, "apiGroups"):
                for resource in _words(rule, "resources"):
                    for name in _words(rule, "resourceNames") or (None,):
                        found[Atom(verb, group, resource, name, None)] = None
            for url in _words(rule, "nonResourceURLs"):
                found[Atom(verb, "", "", None, url)] = None
    return list(found)


def _covers_resource(owned: Sequence[str], resource: str) -> bool:
    if EVERY in owned or resource in owned:
        return True
    _, slash, subresource = resource.partition("/")
    return slash != "" and f"*/{subresource}" in owned


def _rule_covers(rule: PolicyRule, atom: Atom) -> bool:
    verbs = _words(rule, "verbs")
    if atom.verb not in verbs and EVERY not in verbs:
        return False
    if atom.url is not None:
        return any(
            owned in (EVERY, atom.url) or (owned.endswith(EVERY) and atom.url.startswith(owned.rstrip(EVERY)))
            for owned in _words(rule, "nonResourceURLs")
        )
    groups, names = _words(rule, "apiGroups"), _words(rule, "resourceNames")
    return (
        (atom.group in groups or EVERY in groups)
        and _covers_resource(_words(rule, "resources"), atom.resource)
        and (not names or atom.name in names)
    )


def missing_rights(owner: Sequence[PolicyRule], wanted: Iterable[PolicyRule]) -> list[Atom]:
    """The single rights of `wanted` that no rule of `owner` gives; empty means covered."""
    return [atom for atom in atoms(wanted) if not any(_rule_covers(rule, atom) for rule in owner)]


def describe_rights(missing: Iterable[Atom]) -> list[str]:
    """Rights in upstream's short form, verbs on the same resource together: `{APIGroups:[""], Resources:["pods"],
    Verbs:["get"]}`."""
    resources: dict[tuple[str, str, str | None], list[str]] = {}
    described: list[str] = []
    for atom in missing:
        if atom.url is None:
            resources.setdefault((atom.group, atom.resource, atom.name), []).append(atom.verb)
        else:
            described.append(f"{{NonResourceURLs:{quoted_list([atom.url])}, Verbs:{quoted_list([atom.verb])}}}")
    for (group, resource, name), verbs in resources.items():
        named = f", ResourceNames:{quoted_list([name])}" if name is not None else ""
        described.append(
            f"{{APIGroups:{quoted_list([group])}, Resources:{quoted_list([resource])}{named}, "
            f"Verbs:{quoted_list(verbs)}}}"
        )
    return sorted(set(described))


def quoted_list(words: Iterable[str]) -> str:
    """`["a" "b"]`: how Go prints a list of quoted strings."""
    return "[" + " ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words) + "]"
