"""Nobody grants what they do not have: the check before a role or a binding is written.

The registry injects this as its `EscalationChecker`. Who may `escalate` (roles) or `bind` (bindings) passes, and so do
`system:masters`. Source:
https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubecore.api.errors import forbidden, not_found
from kubecore.api.scheme import Resource
from kubecore.apiserver.access.authorize import EVERYTHING, Attributes, AuthorizerChain, RbacAuthorizer, go_errors
from kubecore.apiserver.access.rules import PolicyRule, describe_rights, missing_rights, quoted_list
from kubecore.apiserver.registry.admission import User

RBAC_GROUP = "rbac.authorization.k8s.io"
_ROLE_RESOURCE = {"Role": "roles", "ClusterRole": "clusterroles"}


class EscalationCheck:
    """`EscalationChecker` over the authorizer and RBAC's own index."""

    def __init__(self, authorizer: AuthorizerChain, rbac: RbacAuthorizer) -> None:
        self._authorizer = authorizer
        self._rbac = rbac

    def check_create(self, user: User, resource: Resource, namespace: str, name: str) -> None:
        """Before a PUT creates what was not there. Raises Forbidden."""
        asked = Attributes(
            user, "create", resource.group, resource.version, resource.plural, namespace=namespace, name=name
        )
        self._authorizer.check(asked)

    def check_rules(
        self, user: User, resource: Resource, namespace: str, name: str, rules: list[dict[str, Any]]
    ) -> None:
        """Before a Role or ClusterRole with these rules is written. Raises Forbidden."""
        asked = Attributes(
            user, "escalate", resource.group, resource.version, resource.plural, namespace=namespace, name=name
        )
        if not self._authorizer.authorize(asked).allowed:
            self._confirm(user, resource, namespace, name, rules)

    def check_aggregation(self, user: User, resource: Resource, name: str) -> None:
        """Before a ClusterRole that gathers other roles' rules is written, or stops to. Raises Forbidden."""
        asked = Attributes(user, "escalate", resource.group, resource.version, resource.plural, name=name)
        if self._authorizer.authorize(asked).allowed:
            return
        owned, _ = self._authorizer.rules_for(user, "")
        if missing_rights(owned, EVERYTHING):
            why = "must have cluster-admin privileges to use the aggregationRule"
            raise forbidden(resource.plural, resource.group, name, why)

    def check_binding(
        self, user: User, resource: Resource, namespace: str, name: str, role_ref: dict[str, Any]
    ) -> None:
        """Before a binding to this role is written. Raises Forbidden, and NotFound for a role that is not there."""
        kind, role_name = role_ref.get("kind", ""), role_ref.get("name", "")
        role_resource = _ROLE_RESOURCE.get(kind, "")
        asked = Attributes(user, "bind", RBAC_GROUP, "*", role_resource, namespace=namespace, name=role_name)
        if self._authorizer.authorize(asked).allowed:
            return
        rules = self._rbac.index().role_rules(namespace, kind, role_name)
        if rules is None:
            raise not_found(kind.lower(), RBAC_GROUP, role_name)
        self._confirm(user, resource, namespace, name, rules)

    def _confirm(self, user: User, resource: Resource, namespace: str, name: str, rules: Sequence[PolicyRule]) -> None:
        owned, errors = self._authorizer.rules_for(user, namespace)
        missing = missing_rights(owned, rules)
        if not missing:
            return
        why = (
            f'user "{user.name}" (groups={quoted_list(user.groups)}) is attempting to grant RBAC permissions not '
            "currently held:\n" + "\n".join(describe_rights(missing))
        )
        if errors:
            why += f"; resolution errors: [{go_errors(errors)}]"
        raise forbidden(resource.plural, resource.group, name, why)
