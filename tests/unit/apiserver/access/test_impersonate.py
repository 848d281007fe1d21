from __future__ import annotations

import pytest

from kubecore.api.errors import Forbidden, InternalError
from kubecore.apiserver.access.authorize import AuthorizerChain, RbacAuthorizer, build_authorizer
from kubecore.apiserver.access.impersonate import impersonate
from kubecore.apiserver.registry.admission import User

from .worlds import ALICE, World, binding, rbac, rule

ROOT = User("root", "", ("system:masters",))


def chain(*rules: dict[str, list[str]]) -> AuthorizerChain:
    world = World(rbac("ClusterRole", "r", rules=list(rules)), binding("b", "r", ("User", "alice")))
    return build_authorizer(["RBAC"], RbacAuthorizer(world))


def test_without_the_headers_one_stays_oneself() -> None:
    assert impersonate(ALICE, [("accept", "*/*")], chain()) is ALICE


def test_whoever_passes_every_check_may_act_as_anybody() -> None:
    headers = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "devs"),
        ("impersonate-group", "ops"),
        ("impersonate-uid", "7"),
        ("impersonate-extra-example.com%2fscopes", "view"),
        ("impersonate-extra-example.com%2fscopes", "edit"),
    ]
    user = impersonate(ROOT, headers, chain())
    assert user == User("jane", "7", ("devs", "ops", "system:authenticated"), {"example.com/scopes": ("view", "edit")})


def test_a_user_needs_leave_to_act_as_another() -> None:
    with pytest.raises(Forbidden) as raised:
        impersonate(ALICE, [("impersonate-user", "bob")], chain())
    assert raised.value.message == (
        'users "bob" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope'
    )
    allowed = chain(rule("impersonate", "users", names="bob"))
    assert impersonate(ALICE, [("impersonate-user", "bob")], allowed).name == "bob"
    with pytest.raises(Forbidden):
        impersonate(ALICE, [("impersonate-user", "carol")], allowed)


def test_each_group_and_extra_needs_leave_of_its_own() -> None:
    allowed = chain(rule("impersonate", "users"), rule("impersonate", "userextras/scopes", ["authentication.k8s.io"]))
    with pytest.raises(Forbidden, match='groups "system:masters" is forbidden'):
        impersonate(ALICE, [("impersonate-user", "bob"), ("impersonate-group", "system:masters")], allowed)
    user = impersonate(ALICE, [("impersonate-user", "bob"), ("impersonate-extra-scopes", "view")], allowed)
    assert user.extra == {"scopes": ("view",)}


def test_a_service_account_brings_its_groups() -> None:
    allowed = chain(rule("impersonate", "serviceaccounts"))
    user = impersonate(ALICE, [("impersonate-user", "system:serviceaccount:shop:robot")], allowed)
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")


def test_the_anonymous_user_stays_unauthenticated() -> None:
    user = impersonate(ROOT, [("impersonate-user", "system:anonymous")], chain())
    assert user.groups == ("system:unauthenticated",)


def test_a_group_without_a_user_makes_no_sense() -> None:
    with pytest.raises(InternalError, match="without impersonating a user"):
        impersonate(ROOT, [("impersonate-group", "devs")], chain())
